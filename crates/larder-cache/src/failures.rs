//! What is remembered about keys that have no fresh value: that there is no such thing, or that their
//! source fails and is to be left alone for a while.
//!
//! It belongs to the key and not to a caller, so that an impatient one cannot get around it. Bounded:
//! the memory that was needed least is forgotten first.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::backoff::Backoff;
use crate::clock::Time;
use crate::error::Error;

type Hasher = foldhash::fast::RandomState;

pub(crate) struct Failures<K, E> {
    memories: Cache<K, Memory<E>, quick_cache::UnitWeighter, Hasher>,
    backoff: Backoff,
    chance: Chance,
}

#[derive(Debug)]
enum Memory<E> {
    Absent { until: Time },
    Failing { failures: u32, retry_at: Time, error: Error<E> },
}

impl<E> Clone for Memory<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent { until } => Self::Absent { until: *until },
            Self::Failing { failures, retry_at, error } => {
                Self::Failing { failures: *failures, retry_at: *retry_at, error: error.clone() }
            }
        }
    }
}

impl<K: Hash + Eq + Clone, E> Failures<K, E> {
    pub(crate) fn new(most: usize, backoff: Backoff) -> Self {
        let unit = quick_cache::UnitWeighter;
        let memories =
            Cache::with(most, most as u64, unit, Hasher::default(), DefaultLifecycle::default());
        Self { memories, backoff, chance: Chance::default() }
    }

    /// Why the source must not be asked for `key` now, if so.
    pub(crate) fn recall(&self, key: &K, now: Time) -> Option<Error<E>> {
        match self.memories.get(key)? {
            Memory::Absent { until } if now < until => Some(Error::Absent),
            Memory::Failing { retry_at, error, .. } if now < retry_at => Some(error),
            _ => None,
        }
    }

    /// There is no such thing until `remember` is over.
    pub(crate) fn absent(&self, key: K, remember: Duration, now: Time) {
        if remember.is_zero() {
            self.forget(&key);
        } else {
            self.memories.insert(key, Memory::Absent { until: now.after(remember) });
        }
    }

    /// One more failure in a row.
    pub(crate) fn failed(&self, key: K, error: Error<E>, now: Time) {
        let before = match self.memories.peek(&key) {
            Some(Memory::Failing { failures, .. }) => failures,
            _ => 0,
        };
        let failures = before.saturating_add(1);
        let retry_at = now.after(self.backoff.wait(failures, self.chance.next()));
        self.memories.insert(key, Memory::Failing { failures, retry_at, error });
    }

    /// All is well with `key`.
    pub(crate) fn forget(&self, key: &K) {
        self.memories.remove(key);
    }
}

/// Chance enough for jitter: the hashes of a counter under a seed that differs in every process.
#[derive(Debug, Default)]
struct Chance {
    seed: Hasher,
    drawn: AtomicU64,
}

impl Chance {
    fn next(&self) -> u32 {
        let hash = self.seed.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed));
        (hash >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn failures() -> Failures<u64, ()> {
        Failures::new(1_000, Backoff::default())
    }

    #[test]
    fn an_absence_is_remembered_as_long_as_the_source_says() {
        let failures = failures();
        failures.absent(1, Duration::from_millis(100), at(0));
        assert!(matches!(failures.recall(&1, at(99)), Some(Error::Absent)));
        assert!(failures.recall(&1, at(100)).is_none());
        failures.absent(2, Duration::ZERO, at(0));
        assert!(failures.recall(&2, at(0)).is_none());
    }

    #[test]
    fn the_first_failure_is_not_waited_for_and_the_second_is() {
        let failures = failures();
        failures.failed(1, Error::Panicked, at(0));
        assert!(failures.recall(&1, at(0)).is_none());
        failures.failed(1, Error::Panicked, at(0));
        assert!(matches!(failures.recall(&1, at(74)), Some(Error::Panicked)));
        assert!(failures.recall(&1, at(100)).is_none());
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let failures = failures();
        failures.failed(1, Error::Panicked, at(0));
        failures.forget(&1);
        failures.failed(1, Error::Panicked, at(0));
        assert!(failures.recall(&1, at(0)).is_none());
    }

    #[test]
    fn no_more_is_remembered_than_allowed() {
        let failures: Failures<u64, ()> = Failures::new(100, Backoff::default());
        for key in 0..10_000 {
            failures.absent(key, Duration::MAX, at(0));
        }
        assert!(failures.memories.len() <= 100);
    }

    #[test]
    fn chance_differs_from_draw_to_draw() {
        let chance = Chance::default();
        let draws: std::collections::HashSet<u32> = (0..100).map(|_| chance.next()).collect();
        assert!(draws.len() > 90);
    }
}
