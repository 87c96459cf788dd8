//! What happened in a cache, counted.
//!
//! One shared counter would cost more than the hit that it counts, because two cores would fight for
//! its cache line. So there are several copies, each on lines of its own; a thread adds to the copy that
//! it was dealt, and whoever wants to know adds them up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More copies than this gain nothing on the machines we measure on; threads beyond it share.
const STRIPES: usize = 16;

/// What can happen; the index of its counter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happened {
    Hit,
    Miss,
    Join,
    StaleServed,
    Fetched,
    NotModified,
    Absent,
    Failed,
    Superseded,
    Refused,
    Evicted,
    Overloaded,
}

const KINDS: usize = Happened::Overloaded as usize + 1;

/// Aligned to two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; KINDS]);

#[derive(Debug, Default)]
pub(crate) struct Counters([Stripe; STRIPES]);

thread_local! {
    static STRIPE: usize = {
        static DEALT: AtomicUsize = AtomicUsize::new(0);
        DEALT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Counters {
    pub(crate) fn count(&self, what: Happened) {
        // A thread that is being torn down counts on the first stripe.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        self.0[stripe].0[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, what: Happened) -> u64 {
        self.0.iter().map(|stripe| stripe.0[what as usize].load(Ordering::Relaxed)).sum()
    }
}

/// What happened in a cache since it was made, and what it holds now.
///
/// Reading it costs a few hundred loads. The counts are exact, but not of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Calls answered at once with a value that was good enough.
    pub hits: u64,
    /// Calls that started a fetch.
    pub misses: u64,
    /// Calls that joined a fetch which somebody else had started.
    pub joins: u64,
    /// Calls answered with a value that stood in for a failed fetch.
    pub stale_served: u64,
    /// Fetches that brought a new value.
    pub fetched: u64,
    /// Fetches that confirmed the value.
    pub not_modified: u64,
    /// Fetches that found that there is no such thing.
    pub absent: u64,
    /// Fetches that failed, timed out or panicked.
    pub failed: u64,
    /// Fetches whose value was not stored because the key was invalidated or put meanwhile.
    pub superseded: u64,
    /// Values not stored because they are heavier than a shard of the store.
    pub refused: u64,
    /// Values that were dropped to make room.
    pub evicted: u64,
    /// Calls refused because of a limit on fetches or waiting calls.
    pub overloaded: u64,
    /// Values held now.
    pub entries: u64,
    /// Their weight.
    pub weight: u64,
    /// Fetches under way now.
    pub flights: u64,
    /// Calls waiting for them now.
    pub waiters: u64,
}

impl Stats {
    pub(crate) fn counted(counters: &Counters) -> Self {
        Self {
            hits: counters.total(Happened::Hit),
            misses: counters.total(Happened::Miss),
            joins: counters.total(Happened::Join),
            stale_served: counters.total(Happened::StaleServed),
            fetched: counters.total(Happened::Fetched),
            not_modified: counters.total(Happened::NotModified),
            absent: counters.total(Happened::Absent),
            failed: counters.total(Happened::Failed),
            superseded: counters.total(Happened::Superseded),
            refused: counters.total(Happened::Refused),
            evicted: counters.total(Happened::Evicted),
            overloaded: counters.total(Happened::Overloaded),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_many_threads_add_up() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1_000).for_each(|_| counters.count(Happened::Hit)));
            }
        });
        assert_eq!(counters.total(Happened::Hit), 2_000 * STRIPES as u64);
        assert_eq!(counters.total(Happened::Miss), 0);
    }
}
