//! The bounded store: `quick_cache` (S3-FIFO-like, sharded) behind the few calls that the engine needs.
//!
//! Its locks are not those of [`crate::sync`], as some are locked while `quick_cache` holds its own: in
//! the interleaving tests nobody goes on while a call of the store is under way.

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

// Not `fast`: with small integers as keys, one process in a hundred (its seed is the process's) had shards
// half empty, and evicted a third of what there was room for. It costs three instructions.
use foldhash::quality::RandomState;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

/// The part of a shard that a single value may fill; the rest is for newcomers on probation.
const HOT_ALLOCATION: f64 = 0.97;

/// Something with a weight that never changes while it is stored. It is cloned on every look.
pub(crate) trait Weighted: Clone {
    /// From 1: the store never evicts what weighs nothing.
    fn weight(&self) -> u64;

    /// Hears that it leaves the store. Runs under locks: it may do no more than note that.
    fn leave(&self) {}
}

/// A map of bounded weight that evicts the least valuable entries.
///
/// What it evicts or replaces it hands back, to be dropped outside of its locks: that runs code of the
/// value's author, who may ask the cache something.
pub(crate) struct Store<K, T> {
    cache: Cache<K, T, ByWeight, RandomState, Evictions<K, T>>,
    /// Held while the capacity changes.
    resizing: Mutex<()>,
    sink: Arc<Sink<K, T>>,
    heaviest: AtomicU64,
}

/// What became of an entry given to the store.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission<K, T> {
    /// It is in, and these others are out: one of them may be the one that it replaced.
    Admitted(Vec<(K, T)>),
    /// It is heavier than a shard may hold, and nothing was evicted for it. The key has no entry now:
    /// the one that it had is outdated, and is handed back.
    TooHeavy(Option<(K, T)>),
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
        let sink = Arc::new(Sink::default());
        let evictions = Evictions(Arc::clone(&sink));
        let cache = Cache::with_options(options, ByWeight, RandomState::default(), evictions);
        let heaviest = AtomicU64::new(heaviest(cache.shard_capacity()));
        Self { cache, resizing: Mutex::default(), sink, heaviest }
    }

    /// Finds an entry for a caller: it becomes more valuable.
    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<T> {
        self.cache.get(key)
    }

    /// Finds an entry for the cache itself: its value to callers stays the same.
    pub(crate) fn peek(&self, key: &K) -> Option<T> {
        self.cache.peek(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.cache.contains_key(key)
    }

    pub(crate) fn insert(&self, key: &K, entry: T) -> Admission<K, T> {
        if entry.weight() > self.heaviest.load(Ordering::Relaxed) {
            return Admission::TooHeavy(self.remove(key));
        }
        let mut gone = Gone::default();
        self.cache.insert_with_lifecycle(key.clone(), entry, &mut gone);
        Admission::Admitted(gone.0)
    }

    pub(crate) fn remove(&self, key: &K) -> Option<(K, T)> {
        self.cache.remove(key).inspect(|(_, entry)| entry.leave())
    }

    pub(crate) fn remove_if(&self, key: &K, unwanted: impl FnOnce(&T) -> bool) -> Option<(K, T)> {
        self.cache.remove_if(key, unwanted).inspect(|(_, entry)| entry.leave())
    }

    /// Takes out what is not wanted, one shard after another.
    pub(crate) fn retain(&self, wanted: impl Fn(&T) -> bool) -> Vec<(K, T)> {
        // The store drops what it takes out under its lock; a clone makes that drop a small one.
        let gone = RefCell::new(Vec::new());
        self.cache.retain(|key, entry| {
            let wanted = wanted(entry);
            if !wanted {
                entry.leave();
                gone.borrow_mut().push((key.clone(), entry.clone()));
            }
            wanted
        });
        gone.into_inner()
    }

    pub(crate) fn keys(&self) -> Vec<K> {
        self.cache.iter().map(|(key, _)| key).collect()
    }

    pub(crate) fn clear(&self) -> Vec<(K, T)> {
        self.retain(|_| false)
    }

    /// Changes the capacity; hands back what no longer fits.
    ///
    /// Each change shortens by a little the memory of the keys that were here, so it is not for every
    /// day.
    pub(crate) fn resize(&self, capacity: u64) -> Vec<(K, T)> {
        let _resizing = lock(&self.resizing);
        RESIZING.set(true);
        let before = self.cache.shard_capacity();
        self.cache.set_capacity(capacity);
        RESIZING.set(false);
        let heaviest = self.heaviest.load(Ordering::Relaxed);
        let heaviest = rescaled(heaviest, before, self.cache.shard_capacity());
        self.heaviest.store(heaviest, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.sink))
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.cache.capacity()
    }
}

/// A small store beside the entries, for what few keys have. As long as no key has it, looking costs
/// next to nothing.
pub(crate) struct Notes<K, T> {
    store: Store<K, T>,
    used: AtomicBool,
}

impl<K: Hash + Eq + Clone, T: Weighted> Notes<K, T> {
    pub(crate) fn new(limit: u64, expected: u32) -> Self {
        let store = Store::new(limit, expected as usize, 0.0);
        Self { store, used: AtomicBool::new(false) }
    }

    /// Whoever asks after a note was made sees this: a key's notes are made and read under the lock of
    /// its shard.
    fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &K) -> Option<T> {
        if self.is_used() { self.store.get(key) } else { None }
    }

    pub(crate) fn peek(&self, key: &K) -> Option<T> {
        if self.is_used() { self.store.peek(key) } else { None }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.is_used() && self.store.contains(key)
    }

    /// Hands back what it replaces or evicts.
    pub(crate) fn insert(&self, key: &K, note: T) -> Vec<(K, T)> {
        self.used.store(true, Ordering::Relaxed);
        match self.store.insert(key, note) {
            Admission::Admitted(gone) => gone,
            Admission::TooHeavy(gone) => gone.into_iter().collect(),
        }
    }

    pub(crate) fn remove_if(&self, key: &K, unwanted: impl FnOnce(&T) -> bool) -> Option<(K, T)> {
        if self.is_used() { self.store.remove_if(key, unwanted) } else { None }
    }

    pub(crate) fn retain(&self, wanted: impl Fn(&T) -> bool) -> Vec<(K, T)> {
        self.store.retain(wanted)
    }

    pub(crate) fn keys(&self) -> Vec<K> {
        if self.is_used() { self.store.keys() } else { Vec::new() }
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

/// The heaviest after a change of a shard's capacity. The store scales what it has, and rounds down each
/// time: in a shard of few units that adds up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "the store computes it so, and the two must agree"
)]
fn rescaled(heaviest: u64, before: u64, after: u64) -> u64 {
    let part = heaviest as f64 / before as f64;
    ((after as f64 * part) as u64).clamp(1, after)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What panics under these locks is an author's `Hash` or `Eq`, which leaves them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct ByWeight;

impl<K, T: Weighted> Weighter<K, T> for ByWeight {
    fn weight(&self, _: &K, entry: &T) -> u64 {
        entry.weight()
    }
}

thread_local! {
    /// This thread changes the capacity of a store: what it evicts goes to that store's sink.
    static RESIZING: Cell<bool> = const { Cell::new(false) };
}

/// What a change of the capacity evicts.
type Sink<K, T> = Mutex<Vec<(K, T)>>;

struct Evictions<K, T>(Arc<Sink<K, T>>);

impl<K, T> Clone for Evictions<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What one insert pushed out or replaced, kept until the shard is unlocked.
struct Gone<K, T>(Vec<(K, T)>);

// Derived, it would ask for defaults of K and T.
impl<K, T> Default for Gone<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, T: Weighted> Lifecycle<K, T> for Evictions<K, T> {
    type RequestState = Gone<K, T>;

    fn on_evict(&self, gone: &mut Gone<K, T>, key: K, entry: T) {
        entry.leave();
        if RESIZING.get() {
            lock(&self.0).push((key, entry));
        } else {
            gone.0.push((key, entry));
        }
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

    type Kilo = Store<u32, Kilos>;

    fn put(store: &Kilo, key: u32, kilos: u64) -> Vec<u32> {
        match store.insert(&key, Kilos(kilos)) {
            Admission::Admitted(gone) => gone.into_iter().map(|(key, _)| key).collect(),
            Admission::TooHeavy(_) => panic!("{kilos} is not heavy"),
        }
    }

    #[test]
    fn the_heaviest_value_that_fits_is_admitted_and_one_more_is_refused() {
        for capacity in [1, 2, 33, 100, 12_345] {
            let store = Kilo::new(capacity, 1, 0.5);
            let most = store.heaviest.load(Ordering::Relaxed);
            assert!(put(&store, 1, most).is_empty());
            assert_eq!(store.get(&1), Some(Kilos(most)), "capacity {capacity}");
            assert_eq!(store.insert(&2, Kilos(most + 1)), Admission::TooHeavy(None));
            assert_eq!((store.get(&2), store.len()), (None, 1));
        }
    }

    #[test]
    fn small_integers_spread_over_the_shards_whatever_the_seed() {
        for _ in 0..50 {
            let store = Kilo::new(1_000, 1_000, 0.5);
            (0..800).for_each(|key| drop(put(&store, key, 1)));
            assert!(store.len() >= 770, "only {} of 800 were kept", store.len());
        }
    }

    #[test]
    fn after_any_changes_of_the_capacity_the_heaviest_is_still_what_fits() {
        let store = Kilo::new(6, 8, 0.5);
        for capacity in [2, 4, 1, 100, 7, 99, 100, 98, 12] {
            store.resize(capacity);
            store.clear();
            let most = store.heaviest.load(Ordering::Relaxed);
            assert!(put(&store, 1, most).is_empty(), "capacity {capacity}");
            assert_eq!(store.get(&1), Some(Kilos(most)));
        }
    }

    #[test]
    fn a_refused_value_evicts_nobody_but_the_outdated_one_of_its_key() {
        let store = Kilo::new(100, 10, 0.5);
        put(&store, 1, 1);
        put(&store, 2, 1);
        let outdated = Some((1, Kilos(1)));
        assert_eq!(store.insert(&1, Kilos(1_000)), Admission::TooHeavy(outdated));
        assert_eq!((store.get(&1), store.get(&2)), (None, Some(Kilos(1))));
    }

    #[test]
    fn what_is_evicted_or_replaced_is_handed_back() {
        let store = Kilo::new(10, 10, 0.5);
        let evicted: usize = (0..60).map(|key| put(&store, key, 1).len()).sum();
        assert_eq!((store.len(), evicted), (10, 50));
        let kept = (0..60).find(|key| store.contains(key)).unwrap();
        assert_eq!(put(&store, kept, 1), [kept]);
    }

    #[test]
    fn the_weight_stays_within_the_capacity() {
        let store = Kilo::new(1_000, 100, 0.5);
        for key in 0..10_000 {
            put(&store, key, u64::from(key % 50) + 1);
            assert!(store.weight() <= 1_000 + 3, "{}: shards round up", store.weight());
        }
    }

    #[test]
    fn a_smaller_capacity_hands_back_what_no_longer_fits() {
        let store = Kilo::new(1_000, 1_000, 0.5);
        // Far from full, because the keys spread unevenly over the shards.
        (0..400).for_each(|key| drop(put(&store, key, 1)));
        let gone = store.resize(100);
        assert_eq!(gone.len() + store.len(), 400);
        assert!(store.weight() <= 107, "{}: shards round up", store.weight());
        assert!(gone.iter().all(|(key, _)| !store.contains(key)));
        store.resize(1_000);
        assert!((1_000..1_300).all(|key| put(&store, key, 1).is_empty()));
    }
}
