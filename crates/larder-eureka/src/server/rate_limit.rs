//! Against clients that read too often: at most so many reads of lists a second, of which at most so many of
//! everything. Eureka's `RateLimitingFilter`; off unless a server is told otherwise.
//!
//! Pure: `now` is an argument. Two token buckets, whoever reads: what is bounded is the server's work. Java's
//! clients and servers, which read as they should, are privileged, as whoever else is named.

use larder_cache::{Rate, Time};

use super::path::Route;

/// How often lists may be read.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimits {
    /// Reads of `apps`, `apps/delta` and `apps/{app}` together; `registryFetchAverageRate`. 10 at once and
    /// 500 a second by default.
    pub reads: Rate,
    /// Reads of `apps` alone; `registryFullFetchAverageRate`. 10 at once and 100 a second by default.
    pub full_reads: Rate,
    /// Who is never refused, by the header `DiscoveryIdentity-Name`; nobody by default.
    pub privileged: Vec<String>,
    /// Whether Java's own clients and servers are refused as well; not by default.
    pub throttles_standard_clients: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            reads: Rate { burst: 10, per_second: 500.0 },
            full_reads: Rate { burst: 10, per_second: 100.0 },
            privileged: Vec::new(),
            throttles_standard_clients: false,
        }
    }
}

/// The names under which Java's clients and servers ask.
const STANDARD: [&str; 2] = ["DefaultClient", "DefaultServer"];

/// What has been read lately.
#[derive(Debug)]
pub(super) struct RateLimiter {
    limits: RateLimits,
    reads: Bucket,
    full_reads: Bucket,
}

impl RateLimiter {
    pub(super) fn new(limits: RateLimits, now: Time) -> Self {
        let (reads, full_reads) =
            (Bucket::full(limits.reads, now), Bucket::full(limits.full_reads, now));
        Self { limits, reads, full_reads }
    }

    /// Whether this may be read now by somebody of this name. What is refused counts as not read.
    pub(super) fn admits(&mut self, route: &Route, client: Option<&str>, now: Time) -> bool {
        let is_full = match route {
            Route::Apps => true,
            Route::Delta | Route::App(_) => false,
            _ => return true,
        };
        if self.is_privileged(client) {
            return true;
        }
        let (reads, full_reads) = (self.limits.reads, self.limits.full_reads);
        let is_free = self.reads.has_room(reads, now)
            && (!is_full || self.full_reads.has_room(full_reads, now));
        if is_free {
            self.reads.take();
            if is_full {
                self.full_reads.take();
            }
        }
        is_free
    }

    fn is_privileged(&self, client: Option<&str>) -> bool {
        let Some(client) = client else { return false };
        let is_standard = STANDARD.contains(&client) && !self.limits.throttles_standard_clients;
        is_standard || self.limits.privileged.iter().any(|one| one == client)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Time,
}

impl Bucket {
    fn full(rate: Rate, now: Time) -> Self {
        Self { tokens: rate.burst.into(), at: now }
    }

    fn has_room(&mut self, rate: Rate, now: Time) -> bool {
        let earned = now.since(self.at).as_secs_f64() * rate.per_second;
        self.tokens = (self.tokens + earned).min(rate.burst.into());
        self.at = now;
        self.tokens >= 1.0
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE_EARNED: f64 = 0.001;

    fn limiter(change: impl FnOnce(&mut RateLimits)) -> RateLimiter {
        let mut limits = RateLimits {
            reads: Rate { burst: 3, per_second: NONE_EARNED },
            full_reads: Rate { burst: 2, per_second: NONE_EARNED },
            ..RateLimits::default()
        };
        change(&mut limits);
        RateLimiter::new(limits, Time::ZERO)
    }

    fn admitted(limiter: &mut RateLimiter, route: &Route, client: Option<&str>) -> usize {
        (0..10).filter(|_| limiter.admits(route, client, Time::ZERO)).count()
    }

    /// `testCustomClientShedding`
    #[test]
    fn beyond_the_burst_reads_are_refused_and_those_of_everything_sooner() {
        let mut limiter = limiter(|_| {});
        assert_eq!(admitted(&mut limiter, &Route::Apps, Some("mine")), 2);
        assert_eq!(admitted(&mut limiter, &Route::Delta, Some("mine")), 1, "one of three was left");
        assert_eq!(admitted(&mut limiter, &Route::App("A".into()), None), 0);
    }

    /// `testPrivilegedClientAlwaysServed`
    #[test]
    fn the_privileged_are_never_refused() {
        let mut limiter = limiter(|limits| limits.privileged = vec!["mine".to_owned()]);
        for client in ["mine", "DefaultClient", "DefaultServer"] {
            assert_eq!(admitted(&mut limiter, &Route::Apps, Some(client)), 10, "{client}");
        }
        assert_eq!(admitted(&mut limiter, &Route::Apps, Some("yours")), 2);
    }

    /// `testStandardClientsThrottlingEnforceable`
    #[test]
    fn javas_own_clients_can_be_refused_too() {
        let mut limiter = limiter(|limits| limits.throttles_standard_clients = true);
        assert_eq!(admitted(&mut limiter, &Route::Apps, Some("DefaultClient")), 2);
    }

    /// `RateLimiterTest`
    #[test]
    fn what_was_earned_may_be_read_and_no_more_than_a_burst_is_saved() {
        let rate = Rate { burst: 2, per_second: 10.0 };
        let mut limiter = limiter(|limits| (limits.reads, limits.full_reads) = (rate, rate));
        let mut at = |millis| {
            let now = Time::from_millis(millis);
            (0..10).filter(|_| limiter.admits(&Route::Delta, None, now)).count()
        };
        assert_eq!((at(0), at(50), at(100), at(60_000)), (2, 0, 1, 2));
    }

    #[test]
    fn nothing_but_lists_is_limited() {
        let mut limiter = limiter(|_| {});
        for route in [Route::Vip("v".into()), Route::Instance("A".into(), "i".into()), Route::Batch]
        {
            assert_eq!(admitted(&mut limiter, &route, None), 10, "{route:?}");
        }
    }
}
