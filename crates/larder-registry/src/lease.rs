//! Leases: how long a registration lasts without renewal.
//!
//! Pure: `now` is an argument. Renewing costs one map update and taking what has expired costs only
//! what has expired, however many leases there are. An instance's lease runs out one duration after
//! its last renewal. (Eureka adds the duration twice after a renewal, so that there it takes 180
//! seconds to miss an instance that promised a heartbeat every 30.)

use std::collections::HashMap;
use std::time::Duration;

use larder_cache::Time;
use larder_cache::expiry::Deadlines;

use crate::model::Key;

/// All leases of a registry. Bounded by the catalog whose instances they belong to.
#[derive(Debug, Default)]
pub struct Leases {
    deadlines: Deadlines<Key>,
    held: HashMap<Key, Held>,
}

#[derive(Debug)]
struct Held {
    duration: Duration,
    renewed_at: u64,
}

impl Leases {
    /// Starts or restarts a lease. `wall` is the time of day in milliseconds since 1970.
    pub fn grant(&mut self, key: Key, duration: Duration, now: Time, wall: u64) {
        self.deadlines.set(key.clone(), now.after(duration));
        self.held.insert(key, Held { duration, renewed_at: wall });
    }

    /// Renews a lease from `now`. Does nothing for an instance without a lease, which never expires.
    pub fn renew(&mut self, key: &Key, now: Time, wall: u64) {
        if let Some(held) = self.held.get_mut(key) {
            held.renewed_at = wall;
            self.deadlines.set(key.clone(), now.after(held.duration));
        }
    }

    /// Ends a lease.
    pub fn end(&mut self, key: &Key) {
        self.held.remove(key);
        self.deadlines.remove(key);
    }

    /// When the lease was last renewed, in milliseconds since 1970.
    pub fn renewed_at(&self, key: &Key) -> Option<u64> {
        self.held.get(key).map(|held| held.renewed_at)
    }

    /// Ends and returns the lease that ran out first, if one has run out by `now`.
    pub fn pop_expired(&mut self, now: Time) -> Option<Key> {
        let (key, _) = self.deadlines.pop(now)?;
        self.held.remove(&key);
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

    const TEN_SECS: Duration = Duration::from_secs(10);

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
}
