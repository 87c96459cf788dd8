//! What the driver of batches shares with the rest of the cache: the schedule, and what it is to do.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::auto_refresh::{Capacity, Load};
use crate::clock::{Time, millis};
use crate::entry::Entry;
use crate::keep::batch::schedule::Schedule;
use crate::pace::Rate;
use crate::signal::{Signal, Wakers};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// Lock order: the shard of a key, then the schedule.
pub(crate) struct Desk<K, V> {
    schedule: Mutex<Schedule<K, Entry<V>>>,
    phase: Mutex<Phase>,
    /// How many batches are in flight.
    batches: AtomicUsize,
    /// How many keys are in those.
    keys: AtomicUsize,
    /// Keys whose values have become terminal, for whoever tracks them.
    ended: Mutex<Vec<K>>,
    /// How many terminal values there are, as far as is known.
    terminal: AtomicUsize,
    pace: Throughput,
    pub(crate) latency: Latency,
    pub(crate) changed: Signal,
}

/// What a driver's plan lets through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) every: Duration,
    /// Keys in a batch, if their number is all that counts.
    pub(crate) size: Option<usize>,
    pub(crate) parallel: usize,
    pub(crate) rate: Option<Rate>,
}

/// What the driver does, in the order in which it does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It waits to be started.
    Waiting,
    /// It starts batches.
    Running,
    /// It starts none any more, and waits for those in flight.
    Draining,
    /// It has ended.
    Over,
}

/// How long batches take.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    count: AtomicU64,
    keys: AtomicU64,
    total_ms: AtomicU64,
    longest_ms: AtomicU64,
}

/// How the rest of the cache tells the driver about keys.
pub(crate) struct Enlist<K, V>(pub(crate) Arc<Desk<K, V>>);

impl<K: Hash + Eq + Clone, V> Desk<K, V> {
    pub(crate) fn new(pace: Throughput, phase: Phase) -> Self {
        Self {
            schedule: Mutex::new(Schedule::new(pace.every)),
            phase: Mutex::new(phase),
            batches: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            ended: Mutex::default(),
            terminal: AtomicUsize::new(0),
            pace,
            latency: Latency::default(),
            changed: Signal::default(),
        }
    }

    pub(crate) fn schedule(&self) -> MutexGuard<'_, Schedule<K, Entry<V>>> {
        lock(&self.schedule)
    }

    pub(crate) fn phase(&self) -> Phase {
        *lock(&self.phase)
    }

    /// Enters a phase, unless it is past it already.
    pub(crate) fn enter(&self, next: Phase) {
        let mut phase = lock(&self.phase);
        *phase = next.max(*phase);
        drop(phase);
        drop(self.changed.raise());
    }

    /// Waits until the driver has ended. Cancel-safe: it takes nothing.
    pub(crate) async fn over(&self) {
        loop {
            let seen = self.changed.version();
            if self.phase() == Phase::Over {
                return;
            }
            self.changed.past(seen).await;
        }
    }

    /// A value has become terminal.
    pub(crate) fn note_ended(&self, key: &K) {
        self.terminal.fetch_add(1, Ordering::AcqRel);
        lock(&self.ended).push(key.clone());
    }

    /// Those of which that was noted since the last look.
    pub(crate) fn take_ended(&self) -> Vec<K> {
        std::mem::take(&mut *lock(&self.ended))
    }

    /// A terminal value has left. That may be heard of before it is noted.
    pub(crate) fn note_departed(&self) {
        self.terminal.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn terminal(&self) -> usize {
        let terminal = self.terminal.load(Ordering::Acquire);
        // Below zero for a moment.
        if terminal > usize::MAX / 2 { 0 } else { terminal }
    }

    /// Whether `entries` can be refreshed as often as they should be.
    #[expect(clippy::cast_precision_loss, reason = "nobody fetches so many keys")]
    pub(crate) fn capacity(&self, entries: usize) -> Capacity {
        let batches = self.latency.count();
        let mean = if batches == 0 { 1.0 } else { self.latency.keys() as f64 / batches as f64 };
        Capacity::of(&Load {
            live: entries.saturating_sub(self.terminal()),
            period: self.pace.every,
            batch: self.pace.size.map_or(mean, |size| size as f64),
            rate: self.pace.rate.map(|rate| rate.per_second),
            workers: self.pace.parallel,
            latency: self.latency.mean(),
        })
    }

    pub(crate) fn batches(&self) -> usize {
        self.batches.load(Ordering::Acquire)
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Ordering::Acquire)
    }

    /// A batch of so many keys begins.
    pub(crate) fn took_off(&self, keys: usize) {
        self.keys.fetch_add(keys, Ordering::AcqRel);
        self.batches.fetch_add(1, Ordering::AcqRel);
    }

    /// It is over.
    pub(crate) fn landed(&self, keys: usize) {
        self.keys.fetch_sub(keys, Ordering::AcqRel);
        self.batches.fetch_sub(1, Ordering::AcqRel);
        drop(self.changed.raise());
    }
}

impl<K: Hash + Eq + Clone, V> Enlist<K, V> {
    /// A key has a value, or is doomed; the driver finds out whether that is news.
    pub(crate) fn note_change(&self, key: &K) -> Wakers {
        self.0.schedule().note_change(key);
        self.0.changed.raise()
    }

    /// An entry has left the cache; `queued` if it had a row.
    pub(crate) fn has_left(&self, key: &K, queued: bool) {
        let mut schedule = self.0.schedule();
        schedule.note_outcome(key, false);
        if queued {
            schedule.strike();
        }
    }
}

impl Latency {
    pub(crate) fn took(&self, keys: usize, from: Time, to: Time) {
        let took = millis(to.since(from));
        self.keys.fetch_add(keys as u64, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ms.fetch_add(took, Ordering::Relaxed);
        self.longest_ms.fetch_max(took, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(crate) fn mean(&self) -> Option<Duration> {
        let total_us = self.total_ms.load(Ordering::Relaxed).saturating_mul(1000);
        total_us.checked_div(self.count()).map(Duration::from_micros)
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(Ordering::Relaxed))
    }
}
