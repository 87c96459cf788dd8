//! Counters that cost next to nothing on a hit.
//!
//! One shared counter would cost more than the whole lookup once two cores hit it. Here each thread
//! has a lane of its own, padded to its own cache lines, and adds with a plain load and store.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::crowd::Counted;
use crate::engine::Engine;
use crate::source::Source;

/// What a cache has done since it was made, and what it holds now. Lanes are read one after another:
/// the numbers of one snapshot may be some events apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered from memory, fresh.
    pub hits: u64,
    /// Requests that found nothing fresh enough at the first look. Each ends as a join, as a stale or
    /// negative answer, as overloaded, or finds that the value has just arrived.
    pub misses: u64,
    /// Requests answered with a stale value and the error beside it.
    pub stale: u64,
    /// Requests answered from memory with "absent", with the last error of a key that backs off, or because
    /// the upstream is down.
    pub negative: u64,
    /// Requests that waited for a fetch that another one had started.
    pub joins: u64,
    /// Requests that found too many flights or waiters.
    pub overloaded: u64,
    /// Fetches that brought a value.
    pub fetched: u64,
    /// Fetches answered "not modified".
    pub unmodified: u64,
    /// Fetches answered "absent".
    pub absent: u64,
    /// Fetches that the source failed, or confirmed a value that there was not.
    pub failed: u64,
    /// Fetches that took too long.
    pub timed_out: u64,
    /// Fetches that panicked.
    pub panicked: u64,
    /// Fetches that the source [refused for good](crate::Blame::Refusal); they count as failed, too.
    pub refusals: u64,
    /// Entries evicted to make room.
    pub evictions: u64,
    /// Entries that left because nobody had read them for the idle time.
    pub idle: u64,
    /// Entries that left because they were too old to be served even while the source fails.
    pub expired: u64,
    /// Values that were not kept because they are heavier than a shard.
    pub refused: u64,
    /// Requests that waited for an index to pass.
    pub parked: u64,
    /// Events that a source's streams brought.
    pub streamed: u64,
    /// Answers about keys that a batch had not asked about, or twice about the same: they are ignored.
    pub strays: u64,
    /// Keys that a function which divides due keys into batches dropped, doubled or invented.
    pub misdivided: u64,
    /// Panics of [`Source::removed`](crate::Source::removed) and of callbacks.
    pub listener_panics: u64,
    /// Entries held now.
    pub entries: u64,
    /// Their weight now.
    pub weight: u64,
    /// The weight that they may have.
    pub capacity: u64,
    /// Fetches under way now that callers asked for.
    pub flights: u64,
    /// Callers waiting now.
    pub waiters: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Keys kept fresh in the background now.
    pub keepers: Keepers,
    /// For how long the source's upstream has been down; `None` if it is up.
    pub upstream_down_for: Option<Duration>,
}

/// The keepers of a cache, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepers {
    /// All of them.
    pub total: u64,
    /// Those that wait at the source or follow its stream: their values have no age, if the source
    /// [vouches](crate::Source::vouches_while_waiting) for them meanwhile.
    pub connected: u64,
    /// Those whose last fetch or stream failed: they back off, or try again, and their values grow old.
    pub failing: u64,
}

impl<S: Source> Engine<S> {
    pub(crate) fn stats(&self) -> Stats {
        let total = |event| self.counters.total(event);
        let crowds = &self.crowds;
        Stats {
            hits: total(Event::Hit),
            misses: total(Event::Miss),
            stale: total(Event::Stale),
            negative: total(Event::Negative),
            joins: total(Event::Join),
            overloaded: total(Event::Overloaded),
            fetched: total(Event::Fetched),
            unmodified: total(Event::Unmodified),
            absent: total(Event::Absent),
            failed: total(Event::Failed),
            timed_out: total(Event::TimedOut),
            panicked: total(Event::Panicked),
            refusals: total(Event::Refusal),
            evictions: total(Event::Eviction),
            idle: total(Event::Idle),
            expired: total(Event::Expired),
            refused: total(Event::Refused),
            parked: total(Event::Parked),
            streamed: total(Event::Streamed),
            strays: total(Event::Stray),
            misdivided: total(Event::Misdivided),
            listener_panics: total(Event::ListenerPanic),
            entries: self.store.len() as u64,
            weight: self.store.weight(),
            capacity: self.store.capacity(),
            flights: crowds.flights.taken(),
            waiters: crowds.waiters.taken(),
            subscriptions: crowds.subscriptions.taken(),
            keepers: Keepers {
                total: crowds.keepers.taken(),
                connected: crowds.counted.of(Counted::Connected),
                failing: crowds.counted.of(Counted::Failing),
            },
            upstream_down_for: self.upstream.down_for(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Event {
    Hit,
    Miss,
    Stale,
    Negative,
    Join,
    Overloaded,
    Fetched,
    Unmodified,
    Absent,
    Failed,
    TimedOut,
    Panicked,
    Refusal,
    Eviction,
    Idle,
    Expired,
    Refused,
    Parked,
    Streamed,
    Stray,
    Misdivided,
    ListenerPanic,
}

const EVENTS: usize = Event::ListenerPanic as usize + 1;

/// Lanes for so many threads at a time; any further ones share the last lane.
const LANES: usize = 32;
const SHARED: usize = LANES - 1;
/// Not yet asked for a lane.
const UNKNOWN: usize = usize::MAX;

/// Whole pairs of cache lines, because processors fetch them so.
#[repr(align(128))]
#[derive(Default)]
struct Lane([AtomicU64; EVENTS]);

/// The counters of one cache: 8 KiB, in place, because a pointer to them would be one more load in
/// each hit.
pub(crate) struct Counters([Lane; LANES]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Lane::default()))
    }

    #[inline]
    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    #[inline]
    pub(crate) fn add(&self, event: Event, n: u64) {
        let lane = LANE.get();
        if lane >= SHARED {
            return self.add_slowly(event, n);
        }
        let counter = &self.0[lane].0[event as usize];
        // Nobody else writes here: a lane has one thread at a time, and changing hands goes through a
        // mutex. So this needs no locked instruction.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For a thread that has not asked for a lane yet, or shares the last one.
    #[cold]
    fn add_slowly(&self, event: Event, n: u64) {
        if LANE.get() == UNKNOWN {
            assign_lane();
        }
        // Where the lane is this thread's own, a locked instruction does no harm.
        self.0[LANE.get().min(SHARED)].0[event as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, event: Event) -> u64 {
        self.0.iter().map(|lane| lane.0[event as usize].load(Ordering::Relaxed)).sum()
    }
}

/// The numbers of the lanes that no thread has. They are per process: a thread has the same lane in
/// every cache.
static FREE: Mutex<Lanes> = Mutex::new(Lanes { returned: Vec::new(), next: 0 });

struct Lanes {
    returned: Vec<usize>,
    next: usize,
}

/// A thread's lane; given back when the thread ends.
struct Lease(usize);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(UNKNOWN) };
    // Apart from LANE because a thread-local with a destructor costs a check on every use.
    static LEASE: Lease = Lease::take();
}

fn assign_lane() {
    // A thread that counts while its locals are being destroyed gets the shared lane.
    LANE.set(LEASE.try_with(|lease| lease.0).unwrap_or(SHARED));
}

fn free_lanes() -> std::sync::MutexGuard<'static, Lanes> {
    // Nothing in here panics half-way.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    fn take() -> Self {
        let mut free = free_lanes();
        if let Some(lane) = free.returned.pop() {
            return Self(lane);
        }
        let lane = free.next;
        free.next = (lane + 1).min(SHARED);
        Self(lane)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First leave the lane, then let another thread have it.
        LANE.set(SHARED);
        if self.0 != SHARED {
            free_lanes().returned.push(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_with_more_threads_than_lanes() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..LANES * 2 {
                scope.spawn(|| (0..10_000).for_each(|_| counters.count(Event::Hit)));
            }
        });
        assert_eq!(counters.total(Event::Hit), LANES as u64 * 2 * 10_000);
        assert_eq!(counters.total(Event::Miss), 0);
    }

    fn taken_lane() -> usize {
        assign_lane();
        LANE.get()
    }

    #[test]
    fn live_threads_do_not_share_a_lane_that_is_added_to_without_a_lock() {
        let (mut lanes, barrier) = (Vec::new(), std::sync::Barrier::new(8));
        std::thread::scope(|scope| {
            let taken: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (taken_lane(), barrier.wait()).0)).collect();
            lanes.extend(taken.into_iter().map(|thread| thread.join().unwrap()));
        });
        lanes.retain(|lane| *lane != SHARED);
        let before = lanes.len();
        lanes.sort_unstable();
        lanes.dedup();
        assert_eq!(lanes.len(), before);
    }
}
