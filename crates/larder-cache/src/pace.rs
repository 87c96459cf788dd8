//! How often one key may be fetched: a token bucket, kept as what was taken from it and when.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use crate::clock::Time;
use crate::store::Weighted;

/// A limit on the fetches of one key, whoever causes them. Beyond it a fetch waits for its turn, and so
/// do its callers.
///
/// Consul's agent cache has the same limit for each entry, off unless configured (`entry_fetch_rate`,
/// `entry_fetch_max_burst`); here it is on, as the last guard against a source that answers a blocking
/// fetch at once, without news, for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many fetches may follow each other at once. Defaults to: 100. Range: from 1.
    pub burst: u32,
    /// How many a second there may be in the long run. Defaults to: 100. Range: 0.001 to 1,000,000.
    pub per_second: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: 100, per_second: 100.0 }
    }
}

impl Rate {
    pub(crate) const RANGE: &str = "burst from 1, 0.001 to 1,000,000 a second";

    pub(crate) fn is_sensible(self) -> bool {
        self.burst >= 1 && (0.001..=1_000_000.0).contains(&self.per_second)
    }

    /// How long it takes to earn a whole burst: a key that was fetched less lately owes nothing.
    pub(crate) fn memory(self) -> Duration {
        self.time_to_earn(f64::from(self.burst))
    }

    /// How long it takes to earn so many fetches; a rate is never so low that this overflows.
    fn time_to_earn(self, fetches: f64) -> Duration {
        Duration::from_secs_f64(fetches.max(0.0) / self.per_second)
    }
}

impl Weighted for Pace {
    fn weight(&self) -> u64 {
        1
    }
}

/// What a key owes: how many fetches it had taken and not yet earned at a moment. It is kept apart from
/// the rate, so that a changed rate holds at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pace {
    owed: f64,
    at: Time,
}

impl Pace {
    /// When the next fetch may begin.
    pub(crate) fn next(self, rate: Rate) -> Time {
        let too_much = self.owed + 1.0 - f64::from(rate.burst);
        let wait = rate.time_to_earn(too_much).as_micros().div_ceil(1000);
        Time::from_millis(self.at.as_millis().saturating_add(wait.try_into().unwrap_or(u64::MAX)))
    }

    /// After a fetch that began at `now`.
    #[must_use]
    pub(crate) fn fetched(self, rate: Rate, now: Time) -> Self {
        let earned = now.since(self.at).as_secs_f64() * rate.per_second;
        Self { owed: (self.owed - earned).max(0.0) + 1.0, at: now }
    }
}

/// One limit for many: a token bucket, full at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: Option<Rate>,
    pace: Pace,
}

impl Bucket {
    /// Without a rate there is no limit.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, pace: Pace::default() }
    }

    /// From when on there is a token.
    pub(crate) fn next(&self) -> Time {
        self.rate.map_or(Time::ZERO, |rate| self.pace.next(rate))
    }

    /// Takes one.
    pub(crate) fn take(&mut self, now: Time) {
        if let Some(rate) = self.rate {
            self.pace = self.pace.fetched(rate, now);
        }
    }

    /// How many tokens there will be `within` this time, those of now among them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pub(crate) fn tokens(&self, within: Duration, now: Time) -> usize {
        let Some(rate) = self.rate else { return usize::MAX };
        let earned = now.since(self.pace.at).as_secs_f64() * rate.per_second;
        let held = f64::from(rate.burst) - (self.pace.owed - earned).max(0.0);
        (held + within.as_secs_f64() * rate.per_second) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_comes_at_the_rate() {
        let rate = Rate { burst: 3, per_second: 10.0 };
        let (mut pace, mut now, mut begun) =
            (Pace::default(), Time::from_millis(5_000), Vec::new());
        for _ in 0..6 {
            now = now.max(pace.next(rate));
            begun.push(now.as_millis() - 5_000);
            pace = pace.fetched(rate, now);
        }
        assert_eq!(begun, [0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn tokens_come_back_up_to_the_burst() {
        let rate = Rate { burst: 2, per_second: 10.0 };
        let at = Time::from_millis;
        let pace = Pace::default().fetched(rate, at(0)).fetched(rate, at(0));
        assert_eq!(pace.next(rate), at(100));
        let pace = pace.fetched(rate, at(60_000)).fetched(rate, at(60_000));
        assert_eq!(pace.next(rate), at(60_100), "an hour's rest earns no more than the burst");
    }

    #[test]
    fn a_bucket_tells_what_it_holds_and_what_it_will() {
        let at = Time::from_millis;
        let mut bucket = Bucket::new(Some(Rate { burst: 3, per_second: 10.0 }));
        assert_eq!(bucket.tokens(Duration::from_secs(1), at(500)), 13);
        (0..3).for_each(|_| bucket.take(at(500)));
        assert_eq!((bucket.next(), bucket.tokens(Duration::ZERO, at(500))), (at(600), 0));
        assert_eq!(bucket.tokens(Duration::from_secs(1), at(700)), 12);
        assert_eq!(Bucket::new(None).tokens(Duration::ZERO, at(0)), usize::MAX);
    }

    #[test]
    fn a_changed_rate_holds_from_now_on() {
        let slow = Rate { burst: 1, per_second: 0.1 };
        let pace = Pace::default().fetched(slow, Time::ZERO);
        assert_eq!(pace.next(slow), Time::from_millis(10_000));
        assert_eq!(pace.next(Rate { burst: 2, ..slow }), Time::ZERO);
        assert_eq!(pace.next(Rate { per_second: 10.0, ..slow }), Time::from_millis(100));
    }
}
