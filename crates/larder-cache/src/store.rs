//! The bounded store: `quick_cache` behind a narrow interface.
//!
//! Its capacity is divided among shards, and a value heavier than a shard would silently not be kept,
//! or flush the shard; so such a value is refused here, before it is admitted.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::entry::Versioned;
use crate::options::Options;
use crate::stats::{Counters, Happened};

/// A fast hash with a seed of its own in every process: users choose keys.
type Hasher = foldhash::fast::RandomState;

pub(crate) struct Store<K, V> {
    entries: Cache<K, Arc<Versioned<V>>, ByWeight, Hasher, CountEvictions>,
}

/// A value was not stored: it is heavier than a shard of the cache, which holds
/// [`capacity`](crate::Options::capacity) divided by [`shards`](crate::Options::shards). Nothing is
/// stored for the key now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value of weight {weight} is too heavy to be stored: a shard holds {most}")]
pub struct TooHeavy {
    /// The value's weight.
    pub weight: u64,
    /// What a shard holds.
    pub most: u64,
}

impl<K: Hash + Eq + Clone, V> Store<K, V> {
    pub(crate) fn new(options: &Options, counters: Arc<Counters>) -> Self {
        let sizes = OptionsBuilder::new()
            .weight_capacity(options.capacity)
            .estimated_items_capacity(options.expected_entries)
            .shards(options.shards)
            .ghost_allocation(options.ghost_allocation)
            .build()
            .expect("every size is given, and the ghost allocation was validated");
        let lifecycle = CountEvictions(counters);
        Self { entries: Cache::with_options(sizes, ByWeight, Hasher::default(), lifecycle) }
    }

    /// The entry, which counts as used.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<Versioned<V>>> {
        self.entries.get(key)
    }

    /// The entry, which does not count as used.
    pub(crate) fn peek(&self, key: &K) -> Option<Arc<Versioned<V>>> {
        self.entries.peek(key)
    }

    /// Puts the entry in place of whatever is there. One that is too heavy is not stored, and what was
    /// there is gone all the same: it is no longer right.
    pub(crate) fn insert(&self, key: K, entry: Arc<Versioned<V>>) -> Result<(), TooHeavy> {
        let (weight, most) = (entry.weight(), self.entries.shard_capacity());
        if weight > most {
            self.entries.remove(&key);
            return Err(TooHeavy { weight, most });
        }
        self.entries.insert(key, entry);
        Ok(())
    }

    pub(crate) fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }
}

#[derive(Debug, Clone)]
struct ByWeight;

impl<K, V> Weighter<K, Arc<Versioned<V>>> for ByWeight {
    fn weight(&self, _: &K, entry: &Arc<Versioned<V>>) -> u64 {
        entry.weight()
    }
}

#[derive(Debug, Clone)]
struct CountEvictions(Arc<Counters>);

impl<K, V> Lifecycle<K, Arc<Versioned<V>>> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: Arc<Versioned<V>>) {
        self.0.count(Happened::Evicted);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Time;
    use crate::entry::Freshness;

    fn store(capacity: u64, shards: usize) -> (Store<u64, u64>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let options = Options { capacity, shards, expected_entries: 1_000, ..Options::default() };
        (Store::new(&options, counters.clone()), counters)
    }

    fn entry(value: u64, weight: u64) -> Arc<Versioned<u64>> {
        let freshness = Freshness::starting(Time::ZERO, Duration::ZERO, Duration::MAX);
        Arc::new(Versioned::new(value, 0, weight, freshness))
    }

    #[test]
    fn the_weight_never_exceeds_the_capacity_and_evictions_are_counted() {
        let (store, counters) = store(1_000, 1);
        for key in 0..500 {
            store.insert(key, entry(key, 10)).expect("it is light");
        }
        assert!(store.weight() <= 1_000 && store.weight() >= 900, "{}", store.weight());
        assert_eq!(counters.total(Happened::Evicted) + store.len() as u64, 500);
    }

    #[test]
    fn a_value_heavier_than_a_shard_is_refused_and_flushes_nobody() {
        let (store, counters) = store(800, 8);
        for key in 0..40 {
            store.insert(key, entry(key, 1)).expect("it is light");
        }
        let refused = TooHeavy { weight: 101, most: 100 };
        assert_eq!(store.insert(99, entry(0, 101)), Err(refused));
        assert_eq!((store.len(), counters.total(Happened::Evicted)), (40, 0));
        store.insert(98, entry(0, 50)).expect("half a shard is not too heavy");
        assert!(store.get(&98).is_some());
    }

    #[test]
    fn a_value_that_has_become_too_heavy_takes_its_older_self_out() {
        let (store, _) = store(800, 8);
        store.insert(1, entry(7, 1)).expect("it is light");
        assert!(store.insert(1, entry(8, 1_000)).is_err());
        assert!(store.peek(&1).is_none());
    }
}
