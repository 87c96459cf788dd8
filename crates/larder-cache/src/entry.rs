//! An entry, and the pure judgement whether it may answer a request.
//!
//! Pure: `now` is an argument.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Time, millis};
use crate::request::Request;

/// One value with what is known about it, replaced whole; only its freshness moves, when the source
/// says "not modified".
#[derive(Debug)]
pub(crate) struct Versioned<V> {
    vouched_ms: AtomicI64,
    fresh_until: AtomicU64,
    index: u64,
    weight: u64,
    value: V,
}

/// How fresh an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// When the source last vouched for the value, in milliseconds on the cache's clock. Negative
    /// if that was before the clock was made: a value may arrive from another cache with an age.
    vouched_ms: i64,
    /// Until when the cache takes the value for fresh.
    fresh_until: Time,
}

/// What an entry may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve it.
    Fresh,
    /// Fetch; serve it if the fetch fails.
    Stale,
    /// Fetch; never serve it.
    Expired,
}

/// Whether an entry may answer `request` at `now`, where the cache lets entries be stale for
/// `endure` if the source fails.
pub(crate) fn judge(
    freshness: Freshness,
    request: &Request,
    endure: Duration,
    now: Time,
) -> Verdict {
    let age = freshness.age_ms(now);
    let max_age = millis(request.max_age);
    if now < freshness.fresh_until && age < max_age {
        return Verdict::Fresh;
    }
    let overdue = millis(now.since(freshness.fresh_until)).max(age.saturating_sub(max_age));
    let bound = request.stale_if_error.min(endure);
    if overdue < millis(bound) { Verdict::Stale } else { Verdict::Expired }
}

impl Freshness {
    /// Of a value that arrived at `now`, `age` after it had left its owner, fresh for `ttl`.
    pub(crate) fn new(now: Time, age: Duration, ttl: Duration) -> Self {
        let age = i64::try_from(millis(age)).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Self { vouched_ms: now_ms.saturating_sub(age), fresh_until: now.after(ttl) }
    }

    /// Milliseconds since the source last vouched for the value.
    pub(crate) fn age_ms(self, now: Time) -> u64 {
        now.as_millis().saturating_add_signed(self.vouched_ms.saturating_neg())
    }
}

impl<V> Versioned<V> {
    pub(crate) fn new(value: V, index: u64, weight: u64, freshness: Freshness) -> Self {
        Self {
            vouched_ms: AtomicI64::new(freshness.vouched_ms),
            fresh_until: AtomicU64::new(freshness.fresh_until.as_millis()),
            index,
            weight,
            value,
        }
    }

    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn freshness(&self) -> Freshness {
        Freshness {
            vouched_ms: self.vouched_ms.load(Ordering::Relaxed),
            fresh_until: Time::from_millis(self.fresh_until.load(Ordering::Relaxed)),
        }
    }

    /// Moves the freshness: the source says that the value still holds.
    ///
    /// A reader may see one of the two moved and the other not. Either half is true by itself, and
    /// the old half can only make the entry look older than it is.
    pub(crate) fn vouch(&self, freshness: Freshness) {
        self.vouched_ms.store(freshness.vouched_ms, Ordering::Relaxed);
        self.fresh_until.store(freshness.fresh_until.as_millis(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    /// Arrived at 100 s, fresh until 110 s, endured until 115 s.
    fn verdict(request: Request, now: Time) -> Verdict {
        judge(Freshness::new(at(100), secs(0), secs(10)), &request, secs(5), now)
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_expired() {
        let request = Request::DEFAULT;
        assert_eq!(verdict(request, Time::from_millis(109_999)), Verdict::Fresh);
        assert_eq!(verdict(request, at(110)), Verdict::Stale);
        assert_eq!(verdict(request, Time::from_millis(114_999)), Verdict::Stale);
        assert_eq!(verdict(request, at(115)), Verdict::Expired);
    }

    #[test]
    fn a_max_age_shortens_both_bounds_and_never_lengthens_them() {
        let request = Request::DEFAULT.max_age(secs(4));
        assert_eq!(verdict(request, at(103)), Verdict::Fresh);
        assert_eq!(verdict(request, at(104)), Verdict::Stale);
        assert_eq!(verdict(request, at(109)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.max_age(secs(60)), at(110)), Verdict::Stale);
    }

    #[test]
    fn a_max_age_of_zero_is_never_fresh() {
        assert_eq!(verdict(Request::DEFAULT.max_age(secs(0)), at(100)), Verdict::Stale);
    }

    #[test]
    fn the_tighter_of_two_staleness_bounds_holds() {
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(2)), at(112)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(99)), at(115)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(0)), at(110)), Verdict::Expired);
    }

    #[test]
    fn a_value_may_be_older_than_the_clock() {
        let freshness = Freshness::new(at(1), secs(20), secs(10));
        assert_eq!(freshness.age_ms(at(2)), 21_000);
        let request = Request::DEFAULT.max_age(secs(20));
        assert_eq!(judge(freshness, &request, secs(5), at(2)), Verdict::Stale);
    }

    #[test]
    fn for_ever_is_for_ever() {
        let freshness = Freshness::new(at(1), secs(0), Duration::MAX);
        let later = Time::from_millis(u64::MAX - 1);
        assert_eq!(judge(freshness, &Request::DEFAULT, secs(0), later), Verdict::Fresh);
    }

    proptest! {
        /// Time only makes an entry worse, and a narrower request never makes it better.
        #[test]
        fn judgement_is_monotonic(
            ttl in 0_u64..50, age in 0_u64..50, endure in 0_u64..50, now in 100_u64..200,
            later in 0_u64..50, max_age in 0_u64..50, bound in 0_u64..50,
        ) {
            let rank = |verdict| match verdict { Verdict::Fresh => 0, Verdict::Stale => 1, Verdict::Expired => 2 };
            let freshness = Freshness::new(at(100), secs(age), secs(ttl));
            let wide = Request::DEFAULT;
            let narrow = wide.max_age(secs(max_age)).stale_if_error(secs(bound));
            let judged = |request: &Request, now| rank(judge(freshness, request, secs(endure), at(now)));
            prop_assert!(judged(&wide, now) <= judged(&wide, now + later));
            prop_assert!(judged(&wide, now) <= judged(&narrow, now));
        }
    }
}
