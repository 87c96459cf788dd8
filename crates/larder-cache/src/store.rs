//! The bounded store: `quick_cache` (S3-FIFO-like, sharded) behind the few calls that the engine needs.

use std::hash::Hash;
use std::marker::PhantomData;

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

/// The part of a shard that a single value may fill; the rest is for newcomers on probation.
const HOT_ALLOCATION: f64 = 0.97;

/// Something with a weight that never changes while it is stored. It is cloned on every look.
pub(crate) trait Weighted: Clone {
    /// From 1: the store never evicts what weighs nothing.
    fn weight(&self) -> u64;
}

/// A map of bounded weight that evicts the least valuable entries.
pub(crate) struct Store<K, T> {
    cache: Cache<K, T, ByWeight, RandomState, Evictions<K, T>>,
    heaviest: u64,
}

/// What became of an entry given to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is in, and this many others are out.
    Admitted { evicted: u64 },
    /// It is heavier than a shard may hold, and nothing was evicted for it. The key has no entry now:
    /// the one that it had is outdated.
    TooHeavy,
}

impl<K: Hash + Eq + Clone, T: Weighted> Store<K, T> {
    pub(crate) fn new(capacity: u64, expected_entries: usize, ghost_allocation: f64) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(capacity)
            .estimated_items_capacity(expected_entries)
            .hot_allocation(HOT_ALLOCATION)
            .ghost_allocation(ghost_allocation)
            .build()
            .expect("the two options that must be set are set");
        let evictions = Evictions(PhantomData);
        let cache = Cache::with_options(options, ByWeight, RandomState::default(), evictions);
        let heaviest = heaviest(cache.shard_capacity());
        Self { cache, heaviest }
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<T> {
        self.cache.get(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.cache.contains_key(key)
    }

    pub(crate) fn insert(&self, key: &K, entry: T) -> Admission {
        if entry.weight() > self.heaviest {
            self.remove(key);
            return Admission::TooHeavy;
        }
        let mut gone = Gone { evicted: 0, dropped_outside: Vec::new() };
        self.cache.insert_with_lifecycle(key.clone(), entry, &mut gone);
        Admission::Admitted { evicted: gone.evicted }
    }

    pub(crate) fn remove(&self, key: &K) -> bool {
        self.cache.remove(key).is_some()
    }

    pub(crate) fn remove_if(&self, key: &K, unwanted: impl FnOnce(&T) -> bool) {
        self.cache.remove_if(key, unwanted);
    }

    pub(crate) fn retain(&self, wanted: impl Fn(&T) -> bool) {
        self.cache.retain(|_, entry| wanted(entry));
    }

    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.cache.weight()
    }
}

/// As `quick_cache` reckons it: beyond this it drops a newcomer without a word.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "the store computes it so, and the two must agree"
)]
fn heaviest(shard_capacity: u64) -> u64 {
    ((shard_capacity as f64 * HOT_ALLOCATION) as u64).max(1)
}

#[derive(Clone)]
struct ByWeight;

impl<K, T: Weighted> Weighter<K, T> for ByWeight {
    fn weight(&self, _: &K, entry: &T) -> u64 {
        entry.weight()
    }
}

struct Evictions<K, T>(PhantomData<fn() -> (K, T)>);

impl<K, T> Clone for Evictions<K, T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

/// What one insert pushed out.
struct Gone<K, T> {
    evicted: u64,
    /// Evicted and replaced entries: kept until the shard is unlocked, since dropping them runs code
    /// of the value's author.
    dropped_outside: Vec<(K, T)>,
}

// Derived, it would ask for defaults of K and T.
impl<K, T> Default for Gone<K, T> {
    fn default() -> Self {
        Self { evicted: 0, dropped_outside: Vec::new() }
    }
}

impl<K, T> Lifecycle<K, T> for Evictions<K, T> {
    type RequestState = Gone<K, T>;

    // Only evictions come through here; `on_evict` also sees replaced entries.
    fn before_evict(&self, gone: &mut Gone<K, T>, _: &K, _: &mut T) {
        gone.evicted += 1;
    }

    fn on_evict(&self, gone: &mut Gone<K, T>, key: K, entry: T) {
        gone.dropped_outside.push((key, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Kilos(u64);

    impl Weighted for Kilos {
        fn weight(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn the_heaviest_value_that_fits_is_admitted_and_one_more_is_refused() {
        for capacity in [1, 2, 33, 100, 12_345] {
            let store: Store<u32, Kilos> = Store::new(capacity, 1, 0.5);
            let most = store.heaviest;
            assert_eq!(store.insert(&1, Kilos(most)), Admission::Admitted { evicted: 0 });
            assert_eq!(store.get(&1), Some(Kilos(most)), "capacity {capacity}");
            assert_eq!(store.insert(&2, Kilos(most + 1)), Admission::TooHeavy);
            assert_eq!((store.get(&2), store.len()), (None, 1));
        }
    }

    #[test]
    fn a_refused_value_evicts_nobody_but_the_outdated_one_of_its_key() {
        let store: Store<u32, Kilos> = Store::new(100, 10, 0.5);
        store.insert(&1, Kilos(1));
        store.insert(&2, Kilos(1));
        assert_eq!(store.insert(&1, Kilos(1_000)), Admission::TooHeavy);
        assert_eq!((store.get(&1), store.get(&2)), (None, Some(Kilos(1))));
    }

    #[test]
    fn evictions_are_counted_and_replacements_are_not() {
        let store: Store<u32, Kilos> = Store::new(10, 10, 0.5);
        let mut evicted = 0;
        for key in 0..60 {
            match store.insert(&key, Kilos(1)) {
                Admission::Admitted { evicted: more } => evicted += more,
                Admission::TooHeavy => panic!("1 is not heavy"),
            }
        }
        assert_eq!((store.len(), evicted), (10, 50));
        let kept = (0..60).find(|key| store.contains(key)).unwrap();
        assert_eq!(store.insert(&kept, Kilos(1)), Admission::Admitted { evicted: 0 });
    }

    #[test]
    fn the_weight_stays_within_the_capacity() {
        let store: Store<u32, Kilos> = Store::new(1_000, 100, 0.5);
        for key in 0..10_000 {
            store.insert(&key, Kilos(u64::from(key % 50) + 1));
            assert!(store.weight() <= 1_000 + 3, "{}: shards round up", store.weight());
        }
    }
}
