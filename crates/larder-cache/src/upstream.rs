//! Whether the system behind a source is down: then nobody hammers it, and everybody comes back soon
//! after it does.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::signal::{Signal, Wakers};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// So many failures in a row, of whichever keys, mean that an upstream is down.
const FAILURES: u32 = 3;
/// While it is down, it is asked this often.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// One system that sources ask. Clones are handles on the same one.
///
/// Each cache has an upstream of its own; caches that ask the same system should share one, by
/// [`Options::upstream`](crate::Options::upstream), and with it its clock. After three failures in a
/// row that the source blames on [the upstream](crate::Blame::Upstream), with no success between, it
/// counts as down: from then on one fetch a second is let through, of whichever key, and everyone else
/// is answered from memory at once. The first success ends it: entries that back off are asked again
/// within a second, spread over that second.
#[derive(Debug, Clone)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    health: Mutex<Health>,
    /// The last word of the upstream was a success: there is nothing to look up in its health.
    well: AtomicBool,
    /// When the upstream came back last.
    recovered_ms: AtomicU64,
    /// Rises when the upstream comes back.
    back: Signal,
}

const NEVER: u64 = u64::MAX;

/// Pure: `now` is an argument.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Health {
    failures: u32,
    down_since: Option<Time>,
    next_probe: Time,
}

impl Upstream {
    /// An upstream that is up, for caches that live by `clock`.
    pub fn new(clock: Clock) -> Self {
        let (health, back) = (Mutex::new(Health::default()), Signal::default());
        let (well, recovered_ms) = (AtomicBool::new(true), AtomicU64::new(NEVER));
        Self(Arc::new(Shared { clock, health, well, recovered_ms, back }))
    }

    /// For how long the upstream has been down; `None` if it is up.
    pub fn down_for(&self) -> Option<Duration> {
        let since = lock(&self.0.health).down_since?;
        Some(self.0.clock.now().since(since))
    }

    pub(crate) fn is_down(&self) -> bool {
        !self.is_well() && lock(&self.0.health).down_since.is_some()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// When a fetch may begin, if not now. Takes no turn.
    pub(crate) fn closed_until(&self, now: Time) -> Option<Time> {
        if self.is_well() {
            return None;
        }
        lock(&self.0.health).closed_until(now)
    }

    /// Lets a fetch begin, or says when to come again. While the upstream is down, who is let in is
    /// the probe.
    pub(crate) fn enter(&self, now: Time) -> Result<(), Time> {
        if self.is_well() {
            return Ok(());
        }
        lock(&self.0.health).enter(now)
    }

    /// Gives back the turn of a probe that was given up before it came to anything.
    pub(crate) fn leave(&self, now: Time) {
        if !self.is_well() {
            lock(&self.0.health).leave(now);
        }
    }

    pub(crate) fn succeeded(&self, now: Time) -> Wakers {
        if self.is_well() {
            return Wakers::default();
        }
        let mut health = lock(&self.0.health);
        let recovered = health.succeeded();
        if recovered {
            self.0.recovered_ms.store(now.as_millis(), Ordering::Release);
        }
        // Under the lock, as in `failed`: the last to hold it has the last word.
        self.0.well.store(true, Ordering::Release);
        drop(health);
        if recovered { self.0.back.raise() } else { Wakers::default() }
    }

    pub(crate) fn failed(&self, now: Time) {
        let mut health = lock(&self.0.health);
        health.failed(now);
        self.0.well.store(false, Ordering::Release);
    }

    pub(crate) fn recovered_at(&self) -> Option<Time> {
        match self.0.recovered_ms.load(Ordering::Acquire) {
            NEVER => None,
            millis => Some(Time::from_millis(millis)),
        }
    }

    fn is_well(&self) -> bool {
        self.0.well.load(Ordering::Acquire)
    }

    /// Rises when the upstream comes back.
    pub(crate) fn back(&self) -> &Signal {
        &self.0.back
    }
}

impl Health {
    fn closed_until(&self, now: Time) -> Option<Time> {
        (self.down_since.is_some() && now < self.next_probe).then_some(self.next_probe)
    }

    fn enter(&mut self, now: Time) -> Result<(), Time> {
        if let Some(at) = self.closed_until(now) {
            return Err(at);
        }
        if self.down_since.is_some() {
            self.next_probe = now.after(PROBE_EVERY);
        }
        Ok(())
    }

    fn leave(&mut self, now: Time) {
        if self.down_since.is_some() {
            self.next_probe = self.next_probe.min(now);
        }
    }

    /// Says whether it was down until now.
    fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.down_since.take().is_some()
    }

    fn failed(&mut self, now: Time) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.down_since.get_or_insert(now);
            self.next_probe = self.next_probe.max(now.after(PROBE_EVERY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn three_failures_in_a_row_close_it_and_one_fetch_a_second_gets_through() {
        let mut health = Health::default();
        health.failed(at(0));
        health.failed(at(1));
        assert_eq!(health.enter(at(2)), Ok(()));
        health.failed(at(3));
        assert_eq!(health.enter(at(4)), Err(at(1_003)));
        assert_eq!(health.enter(at(1_003)), Ok(()), "the probe");
        assert_eq!(health.enter(at(1_004)), Err(at(2_003)), "and nobody else");
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_turn_to_the_next() {
        let mut health = Health::default();
        (0..3).for_each(|now| health.failed(at(now)));
        assert_eq!(health.enter(at(1_002)), Ok(()));
        assert_eq!(health.enter(at(1_010)), Err(at(2_002)));
        health.leave(at(1_010));
        assert_eq!(health.enter(at(1_010)), Ok(()));
        assert_eq!(health.enter(at(1_010)), Err(at(2_010)), "one turn, and not two");
    }

    #[test]
    fn a_success_between_failures_keeps_it_open() {
        let mut health = Health::default();
        for now in 0..10 {
            health.failed(at(now));
            health.failed(at(now));
            assert!(!health.succeeded());
        }
        assert_eq!(health.enter(at(11)), Ok(()));
    }

    #[test]
    fn the_first_success_opens_it() {
        let mut health = Health::default();
        (0..3).for_each(|now| health.failed(at(now)));
        assert!(health.succeeded());
        assert_eq!(health.enter(at(501)), Ok(()));
    }
}
