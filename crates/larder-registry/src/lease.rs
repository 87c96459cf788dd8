//! Leases: how long a registration lasts without renewal.
//!
//! Pure: `now` is an argument. Renewing costs one map update and taking what has expired costs only
//! what has expired, however many leases there are. An instance's lease runs out one duration after
//! its last renewal. (Eureka adds the duration twice after a renewal, so that there it takes 180
//! seconds to miss an instance that promised a heartbeat every 30.)

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexSet;
use larder_cache::Time;
use larder_cache::expiry::Deadlines;

use crate::model::Key;

/// All leases of a registry. Bounded by the catalog whose instances they belong to.
#[derive(Debug, Default)]
pub struct Leases {
    deadlines: Deadlines<Key>,
    held: HashMap<Key, Held>,
    /// Those that ran out and are [held on to](Self::hold_expired).
    overdue: IndexSet<Key>,
    /// How many renewals are due in a minute, in thousandths.
    due: u64,
    time: LeaseTime,
}

#[derive(Debug)]
struct Held {
    duration: Duration,
    renewed_at: u64,
    /// How many renewals are due in a minute, in thousandths.
    due: u64,
}

/// What a registrant asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long its lease lasts without renewal.
    pub duration: Duration,
    /// How often it says that it will renew.
    pub interval: Duration,
}

/// How long a lease lasts after it was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaseTime {
    /// Its duration. The default.
    #[default]
    Strict,
    /// Twice its duration, as with Netflix's server, which adds it twice.
    Double,
}

impl Leases {
    /// No leases yet, which will last so long.
    pub fn lasting(time: LeaseTime) -> Self {
        Self { time, ..Self::default() }
    }

    /// Starts or restarts a lease, which is to be renewed once in each `interval`. `wall` is the time of
    /// day in milliseconds since 1970.
    pub fn grant(&mut self, key: Key, lease: Terms, now: Time, wall: u64) {
        let Terms { duration, interval } = lease;
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let due = 60_000_000 / interval;
        self.overdue.swap_remove(&key);
        self.deadlines.set(key.clone(), now.after(duration));
        let before = self.held.insert(key, Held { duration, renewed_at: wall, due });
        self.due = self.due + due - before.map_or(0, |before| before.due);
    }

    /// Renews a lease from `now`. Does nothing for an instance without a lease, which never expires.
    pub fn renew(&mut self, key: &Key, now: Time, wall: u64) {
        if let Some(held) = self.held.get_mut(key) {
            held.renewed_at = wall;
            let lasts = match self.time {
                LeaseTime::Strict => held.duration,
                LeaseTime::Double => 2 * held.duration,
            };
            self.overdue.swap_remove(key);
            self.deadlines.set(key.clone(), now.after(lasts));
        }
    }

    /// Ends a lease.
    pub fn end(&mut self, key: &Key) {
        self.forget(key);
        self.overdue.swap_remove(key);
        self.deadlines.remove(key);
    }

    fn forget(&mut self, key: &Key) {
        self.due -= self.held.remove(key).map_or(0, |held| held.due);
    }

    /// How many leases there are, those that ran out and are held on to included.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many renewals are due in a minute, in thousandths.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// How many ran out and are held on to.
    pub fn overdue(&self) -> usize {
        self.overdue.len()
    }

    /// Sets those that have run out by `now` aside: they end when they are [picked](Self::end_overdue),
    /// unless they are renewed before.
    pub fn hold_expired(&mut self, now: Time) {
        while let Some((key, _)) = self.deadlines.pop(now) {
            self.overdue.insert(key);
        }
    }

    /// Ends and returns one of those that ran out, by its place among them.
    pub fn end_overdue(&mut self, place: usize) -> Option<Key> {
        let key = self.overdue.swap_remove_index(place)?;
        self.forget(&key);
        Some(key)
    }

    /// When the lease was last renewed, in milliseconds since 1970.
    pub fn renewed_at(&self, key: &Key) -> Option<u64> {
        self.held.get(key).map(|held| held.renewed_at)
    }

    /// Ends and returns the lease that ran out first, if one has run out by `now`.
    pub fn pop_expired(&mut self, now: Time) -> Option<Key> {
        let (key, _) = self.deadlines.pop(now)?;
        self.forget(&key);
        Some(key)
    }

    /// The moment before which no lease runs out.
    pub fn next_expiry(&self) -> Option<Time> {
        self.deadlines.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_SECS: Terms =
        Terms { duration: Duration::from_secs(10), interval: Duration::from_secs(3) };

    fn key(id: &str) -> Key {
        Key::new("web", id)
    }

    #[test]
    fn a_lease_runs_out_one_duration_after_its_last_renewal() {
        let mut leases = Leases::default();
        leases.grant(key("1"), TEN_SECS, Time::ZERO, 0);
        leases.renew(&key("1"), Time::from_millis(9_000), 9_000);
        assert_eq!(leases.pop_expired(Time::from_millis(18_999)), None);
        assert_eq!(leases.renewed_at(&key("1")), Some(9_000));
        assert_eq!(leases.pop_expired(Time::from_millis(19_000)), Some(key("1")));
        assert_eq!(leases.renewed_at(&key("1")), None);
    }

    #[test]
    fn a_lease_that_was_ended_does_not_run_out() {
        let mut leases = Leases::default();
        leases.grant(key("1"), TEN_SECS, Time::ZERO, 0);
        leases.end(&key("1"));
        assert_eq!(leases.pop_expired(Time::MAX), None);
    }

    #[test]
    fn renewing_what_has_no_lease_grants_none() {
        let mut leases = Leases::default();
        leases.renew(&key("1"), Time::ZERO, 0);
        assert_eq!(leases.next_expiry(), None);
    }

    #[test]
    fn a_renewed_lease_may_last_twice_as_long_as_it_does_with_netflix() {
        let mut leases = Leases::lasting(LeaseTime::Double);
        leases.grant(key("1"), TEN_SECS, Time::ZERO, 0);
        assert_eq!(leases.next_expiry(), Some(Time::from_millis(10_000)));
        leases.renew(&key("1"), Time::from_millis(5_000), 5_000);
        assert_eq!(leases.pop_expired(Time::from_millis(24_999)), None);
        assert_eq!(leases.pop_expired(Time::from_millis(25_000)), Some(key("1")));
    }

    #[test]
    fn what_ran_out_and_is_held_on_to_can_be_renewed_and_end() {
        let mut leases = Leases::default();
        for id in ["1", "2"] {
            leases.grant(key(id), TEN_SECS, Time::ZERO, 0);
        }
        assert_eq!(leases.due(), 40_000, "each renews every three seconds");
        leases.hold_expired(Time::from_millis(10_000));
        assert_eq!((leases.overdue(), leases.next_expiry()), (2, None));
        leases.renew(&key("1"), Time::from_millis(11_000), 11_000);
        assert_eq!((leases.overdue(), leases.len()), (1, 2));
        assert_eq!(leases.end_overdue(0), Some(key("2")));
        assert_eq!((leases.overdue(), leases.len(), leases.due()), (0, 1, 20_000));
        assert_eq!(leases.end_overdue(0), None);
    }
}
