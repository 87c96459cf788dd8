//! A cached value, and the decision whether it may be served.
//!
//! Pure: `now` is an argument. An entry is replaced whole by a new value; "not modified" only moves
//! its times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Time;
use crate::request::Request;

/// A value with what the cache knows about it.
#[derive(Debug)]
pub struct Versioned<V> {
    value: V,
    index: u64,
    weight: u64,
    /// When the owner last vouched for the value, in milliseconds.
    confirmed_at: AtomicU64,
    /// Until when it is fresh, in milliseconds.
    fresh_until: AtomicU64,
}

/// How long a value is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    pub(crate) confirmed_at: Time,
    pub(crate) fresh_until: Time,
}

impl Freshness {
    /// Of a value that was `age` old at `now` and is fresh for `ttl` from then on.
    pub(crate) fn starting(now: Time, age: Duration, ttl: Duration) -> Self {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let confirmed_at = Time::from_millis(now.as_millis().saturating_sub(age));
        Self { confirmed_at, fresh_until: now.after(ttl) }
    }
}

/// What a request may do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve it.
    Serve,
    /// Fetch a new one.
    Fetch,
}

impl<V> Versioned<V> {
    pub(crate) fn new(value: V, index: u64, weight: u64, freshness: Freshness) -> Self {
        let entry = Self {
            value,
            index,
            weight,
            confirmed_at: AtomicU64::new(0),
            fresh_until: AtomicU64::new(0),
        };
        entry.confirm(freshness);
        entry
    }

    /// The value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// The owner's change counter; 0 for a source that has none.
    pub fn index(&self) -> u64 {
        self.index
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Moves the times. A reader in between may see one of them moved and not the other: either the
    /// value is fresh a moment late, or its age is that of the earlier confirmation, which was true.
    pub(crate) fn confirm(&self, freshness: Freshness) {
        self.confirmed_at.store(freshness.confirmed_at.as_millis(), Ordering::Relaxed);
        self.fresh_until.store(freshness.fresh_until.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn age_millis(&self, now: Time) -> u64 {
        now.as_millis().saturating_sub(self.confirmed_at.load(Ordering::Relaxed))
    }

    fn age(&self, now: Time) -> Duration {
        Duration::from_millis(self.age_millis(now))
    }

    pub(crate) fn fresh_until(&self) -> Time {
        Time::from_millis(self.fresh_until.load(Ordering::Relaxed))
    }

    /// Whether the entry may be served to this request.
    pub(crate) fn judge(&self, request: &Request, now: Time) -> Verdict {
        let fresh = now < self.fresh_until();
        // The first half spares most requests the second load.
        let young = request.max_age == Duration::MAX || self.age(now) <= request.max_age;
        if fresh && young { Verdict::Serve } else { Verdict::Fetch }
    }

    /// Whether the entry may stand in for a fetch that failed: it stopped being fresh at most `bound`
    /// ago. An entry that is still fresh, but too old for the request, may too.
    pub(crate) fn may_stand_in(&self, bound: Duration, now: Time) -> bool {
        let stale_for = now.since(self.fresh_until());
        bound > Duration::ZERO && stale_for <= bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1_000)
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Confirmed at 100 s, fresh until 110 s.
    fn entry() -> Versioned<()> {
        Versioned::new((), 0, 1, Freshness::starting(at(100), Duration::ZERO, secs(10)))
    }

    #[test]
    fn an_entry_is_served_until_its_ttl_is_over() {
        let request = Request::default();
        assert_eq!(entry().judge(&request, at(109)), Verdict::Serve);
        assert_eq!(entry().judge(&request, at(110)), Verdict::Fetch);
    }

    #[test]
    fn a_request_can_be_stricter_than_the_ttl_and_not_more_lenient() {
        let max_age = |bound| Request { max_age: bound, ..Request::default() };
        assert_eq!(entry().judge(&max_age(secs(5)), at(105)), Verdict::Serve);
        assert_eq!(entry().judge(&max_age(secs(5)), at(106)), Verdict::Fetch);
        assert_eq!(entry().judge(&max_age(secs(60)), at(111)), Verdict::Fetch);
        assert_eq!(entry().judge(&max_age(Duration::ZERO), at(100)), Verdict::Serve);
    }

    #[test]
    fn an_entry_stands_in_for_a_failure_within_the_bound() {
        assert!(entry().may_stand_in(secs(5), at(115)));
        assert!(!entry().may_stand_in(secs(5), at(116)));
        assert!(!entry().may_stand_in(Duration::ZERO, at(105)), "zero means: rather an error");
    }

    #[test]
    fn confirming_an_entry_makes_it_fresh_and_young() {
        let entry = entry();
        entry.confirm(Freshness::starting(at(200), Duration::ZERO, secs(10)));
        assert_eq!(entry.age(at(203)), secs(3));
        assert_eq!(entry.judge(&Request::default(), at(209)), Verdict::Serve);
    }

    #[test]
    fn a_value_that_arrives_old_keeps_its_age_and_is_fresh_from_its_arrival() {
        let entry = Versioned::new((), 0, 1, Freshness::starting(at(100), secs(30), secs(10)));
        assert_eq!(entry.age(at(101)), secs(31));
        assert_eq!(entry.judge(&Request::default(), at(109)), Verdict::Serve);
    }
}
