//! Whether the system behind a source is down: then nobody hammers it, and everybody comes back soon
//! after it does.

mod health;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::clock::{Clock, Time};
use crate::signal::{Signal, Wakers};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock, sleep};

use health::{Health, turn_of};

/// Over how many milliseconds those are spread who ask again once an upstream is back. With the second
/// that may pass before the probe that finds it back, all are there within two.
const SPREAD_MS: u64 = 750;

/// One system that sources ask. Clones are handles on the same one.
///
/// Each cache has an upstream of its own; caches that ask the same system should share one, by
/// [`Options::upstream`](crate::Options::upstream), and with it its clock. After three failures in a
/// row that the source blames on [the upstream](crate::Blame::Upstream), with no success between, it
/// counts as down: from then on a turn comes up about once a second, three quarters of one at the least,
/// and whoever takes it asks as the probe, however long it would back off by itself; everyone else is
/// answered from memory at once. The first success ends it: entries that back off are asked again
/// within a second, spread over three quarters of it.
///
/// Who asks the same system without a cache takes part by [`retry`](Self::retry),
/// [`note_success`](Self::note_success) and [`note_failure`](Self::note_failure).
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
    /// Rises when the upstream goes down, and when it comes back.
    turned: Signal,
    dice: RandomState,
}

/// What an upstream has to do with the back-offs of those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Condition {
    /// It is down: whose turn it is stands in for every back-off that it is to blame for.
    pub(crate) is_down: bool,
    /// When it came back last.
    pub(crate) recovered_at: Option<Time>,
}

const NEVER: u64 = u64::MAX;

impl Upstream {
    /// An upstream that is up, for caches that live by `clock`.
    pub fn new(clock: Clock) -> Self {
        let (health, turned) = (Mutex::new(Health::default()), Signal::default());
        let (well, recovered_ms) = (AtomicBool::new(true), AtomicU64::new(NEVER));
        let dice = RandomState::default();
        Self(Arc::new(Shared { clock, health, well, recovered_ms, turned, dice }))
    }

    /// For how long the upstream has been down; `None` if it is up.
    pub fn down_for(&self) -> Option<Duration> {
        let since = lock(&self.0.health).down_since()?;
        Some(self.0.clock.now().since(since))
    }

    /// Waits until who failed at `failed_at`, and would back off for `wait`, may ask again: after that
    /// time, or when the turn is free, which is about once a second for all who wait here together; while
    /// the upstream is down, by a turn alone. Once it came back, after less than a second.
    ///
    /// Cancel-safe: what is dropped while it waits has taken nothing.
    pub async fn retry(&self, failed_at: Time, wait: Duration) {
        let (retry_at, jitter) = (failed_at.after(wait), self.jitter(failed_at.as_millis()));
        loop {
            let seen = self.0.turned.version();
            let now = self.0.clock.now();
            let until = match self.recovered_at() {
                Some(back) if back >= failed_at && !self.is_down() => {
                    let until = back.after(jitter).min(retry_at);
                    if now >= until { Ok(()) } else { Err(until) }
                }
                _ => lock(&self.0.health).enter_again(retry_at, now, self.turn(now)),
            };
            let Err(until) = until else { return };
            // Cancel-safe: both take nothing.
            tokio::select! {
                biased;
                () = self.0.turned.past(seen) => {}
                () = sleep(until.since(now)) => {}
            }
        }
    }

    /// The upstream has answered.
    pub fn note_success(&self) {
        drop(self.succeeded(self.0.clock.now()));
    }

    /// The upstream has failed, and not what it was asked for. It was asked at `asked_at`.
    pub fn note_failure(&self, asked_at: Time) {
        drop(self.failed(asked_at, self.0.clock.now()));
    }

    pub(crate) fn is_down(&self) -> bool {
        !self.is_well() && lock(&self.0.health).down_since().is_some()
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
        lock(&self.0.health).enter(now, self.turn(now))
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
        if recovered { self.0.turned.raise() } else { Wakers::default() }
    }

    /// A call that began at `asked_at` was not answered. One from before the upstream came back says
    /// nothing about it as it is now.
    pub(crate) fn failed(&self, asked_at: Time, now: Time) -> Wakers {
        if self.recovered_at().is_some_and(|back| asked_at <= back) {
            return Wakers::default();
        }
        let mut health = lock(&self.0.health);
        let went_down = health.failed(now, self.turn(now));
        self.0.well.store(false, Ordering::Release);
        drop(health);
        // Who backs off for long takes part in the turns from now on.
        if went_down { self.0.turned.raise() } else { Wakers::default() }
    }

    pub(crate) fn recovered_at(&self) -> Option<Time> {
        match self.0.recovered_ms.load(Ordering::Acquire) {
            NEVER => None,
            millis => Some(Time::from_millis(millis)),
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        Condition { is_down: self.is_down(), recovered_at: self.recovered_at() }
    }

    /// Rises when the upstream goes down, and when it comes back.
    pub(crate) fn turned(&self) -> &Signal {
        &self.0.turned
    }

    fn is_well(&self) -> bool {
        self.0.well.load(Ordering::Acquire)
    }

    fn turn(&self, now: Time) -> Duration {
        turn_of(self.0.dice.hash_one(now))
    }

    fn jitter(&self, salt: u64) -> Duration {
        spread(self.0.dice.hash_one(salt))
    }
}

/// By how much who asks again comes later than the upstream did.
pub(crate) fn spread(dice: u64) -> Duration {
    Duration::from_millis(dice % SPREAD_MS)
}
