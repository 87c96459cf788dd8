//! The caches that are compared, each made for the same number of entries and with a time to live of
//! an hour where there is such a thing. All but foyer hold an `Arc`; foyer hands out handles of its
//! own. All hash with [`RandomState`].

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Attempt, Cache, Clock, Fetched, Options, Put, Source};
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{OptionsBuilder, UnitWeighter};

use crate::keys::Key;
use crate::{Payload, RandomState, now};

const HOUR: Duration = Duration::from_hours(1);

/// The bare store that Larder builds on, with the same features.
pub type Raw<K> = quick_cache::sync::Cache<K, Arc<Payload>, UnitWeighter, RandomState>;
/// moka's synchronous cache.
pub type MokaSync<K> = moka::sync::Cache<K, Arc<Payload>, RandomState>;
/// moka's asynchronous cache.
pub type MokaFuture<K> = moka::future::Cache<K, Arc<Payload>, RandomState>;
/// foyer's cache in memory.
pub type Foyer<K> = foyer_memory::Cache<K, Payload, RandomState>;
/// cachet over its own cache in memory.
pub type Cachet<K> = cachet::Cache<K, Arc<Payload>>;

/// A source that is never asked: every key is put.
#[derive(Debug)]
pub struct Never<K>(PhantomData<fn() -> K>);

impl<K: Key> Source for Never<K> {
    type Key = K;
    type Value = Payload;
    type Error = Infallible;

    async fn fetch(&self, _: &K, _: Attempt<Payload>) -> Result<Fetched<Payload>, Infallible> {
        unreachable!("every key is put before it is asked for")
    }
}

/// Larder's options for `room` entries.
pub fn options(room: usize) -> Options {
    Options { capacity: room as u64, expected_entries: room, ttl: HOUR, ..Options::default() }
}

/// Larder with `keys` put. To be called inside a tokio runtime.
pub fn larder<K: Key>(options: Options, keys: &[K]) -> Cache<Never<K>> {
    let cache = Cache::new(Never(PhantomData), options).expect("the options are valid");
    assert!(keys.iter().all(|key| cache.put(key, [0; 64]) == Put::Stored), "all are light");
    cache
}

/// A clock that stands still, for what must do the same in every run.
pub fn stopped() -> Clock {
    Clock::by_hand(0).0
}

/// `quick_cache` as Larder sets it, with `keys` in it.
pub fn raw<K: Key>(room: usize, ghosts: f64, keys: &[K]) -> Raw<K> {
    let options = OptionsBuilder::new()
        .weight_capacity(room as u64)
        .estimated_items_capacity(room)
        .ghost_allocation(ghosts)
        .build()
        .expect("the two options that must be set are set");
    let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
    let cache = Raw::with_options(options, UnitWeighter, hasher, lifecycle);
    for key in keys {
        cache.insert(key.clone(), Arc::new([0; 64]));
    }
    cache
}

/// moka's synchronous cache with `keys` in it.
pub fn moka_sync<K: Key>(room: usize, keys: &[K]) -> MokaSync<K> {
    let builder = moka::sync::Cache::builder().max_capacity(room as u64).time_to_live(HOUR);
    let cache = builder.build_with_hasher(RandomState::default());
    for key in keys {
        cache.insert(key.clone(), Arc::new([0; 64]));
    }
    cache.run_pending_tasks();
    cache
}

/// moka's asynchronous cache with `keys` in it.
pub fn moka_future<K: Key>(room: usize, keys: &[K]) -> MokaFuture<K> {
    let builder = moka::future::Cache::builder().max_capacity(room as u64).time_to_live(HOUR);
    let cache = builder.build_with_hasher(RandomState::default());
    for key in keys {
        now(cache.insert(key.clone(), Arc::new([0; 64])));
    }
    now(cache.run_pending_tasks());
    cache
}

/// foyer's S3-FIFO, its fastest, with `keys` in it. It has no time to live.
pub fn foyer<K: Key>(room: usize, keys: &[K]) -> Foyer<K> {
    let cache = foyer_memory::CacheBuilder::new(room)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .with_hash_builder(RandomState::default())
        .build();
    for key in keys {
        drop(cache.insert(key.clone(), [0; 64]));
    }
    cache
}

/// cachet, with concurrent misses merged if `merged`, and `keys` in it. To be called inside a tokio
/// runtime.
pub fn cachet<K: Key>(room: usize, merged: bool, keys: &[K]) -> Cachet<K> {
    let memory = cachet::InMemoryCache::builder()
        .max_capacity(room as u64)
        .with_hasher(RandomState::default())
        .build()
        .expect("a capacity is all that was set");
    let builder = cachet::Cache::builder(tick::Clock::new_tokio()).storage(memory).ttl(HOUR);
    let cache = if merged { builder.stampede_protection().build() } else { builder.build() };
    for key in keys {
        now(cache.insert(key.clone(), Arc::new([0; 64]))).expect("memory does not fail");
    }
    cache
}
