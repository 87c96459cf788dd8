//! What a hit costs, beside raw `quick_cache` and moka in the same run.
//!
//! Every subject returns an owned handle on a 64-byte value, which is dropped at once. Keys are asked
//! for in a shuffled order. Asynchronous ones are polled by hand, since a hit must not wait: what is
//! measured is the cache and not an executor.

#![allow(missing_docs, reason = "criterion's macros make a public function")]

use std::convert::Infallible;
use std::future::Future;
use std::hash::Hash;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::RandomState;
use larder_cache::{Attempt, Cache, Fetched, Options, Put, Source};
use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;

type Payload = [u8; 64];
type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    fn nth(n: u64) -> Self;
}

impl Key for u64 {
    fn nth(n: u64) -> Self {
        n
    }
}

impl Key for String {
    fn nth(n: u64) -> Self {
        format!("{n:032}")
    }
}

struct Never<K>(std::marker::PhantomData<fn() -> K>);

impl<K: Key> Source for Never<K> {
    type Key = K;
    type Value = Payload;
    type Error = Infallible;

    async fn fetch(&self, _: &K, _: Attempt<Payload>) -> Result<Fetched<Payload>, Infallible> {
        unreachable!("every key is put before it is asked for")
    }
}

/// The result of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a hit waited"),
    }
}

/// What a lookup gives.
trait Found {
    fn found(&self) -> bool;
}

impl<T> Found for Option<T> {
    fn found(&self) -> bool {
        self.is_some()
    }
}

impl<T, E> Found for Result<T, E> {
    fn found(&self) -> bool {
        self.is_ok()
    }
}

/// Measures a single lookup, over and over through all the keys.
fn lookups<K, T: Found>(group: &mut Group<'_>, name: &str, keys: &[K], look: impl Fn(&K) -> T) {
    assert!(keys.iter().all(|key| look(key).found()), "{name} lost a key");
    let mut next = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            next = if next + 1 == keys.len() { 0 } else { next + 1 };
            black_box(look(black_box(&keys[next]))).found()
        });
    });
}

/// Room for three times the keys, so that no subject evicts.
fn room(keys: usize) -> usize {
    keys * 3
}

fn larder<K: Key>(keys: &[K]) -> Cache<Never<K>> {
    let options = Options {
        capacity: room(keys.len()) as u64,
        expected_entries: room(keys.len()),
        ttl: Duration::from_secs(3600),
        ..Options::default()
    };
    let cache =
        Cache::new(Never(std::marker::PhantomData), options).expect("the options are valid");
    assert!(keys.iter().all(|key| cache.put(key, [0; 64]) == Put::Stored));
    cache
}

fn raw<K: Key>(keys: &[K]) -> quick_cache::sync::Cache<K, Arc<Payload>, UnitWeighter, RandomState> {
    let cache = quick_cache::sync::Cache::with(
        room(keys.len()),
        room(keys.len()) as u64,
        UnitWeighter,
        RandomState::default(),
        DefaultLifecycle::default(),
    );
    for key in keys {
        cache.insert(key.clone(), Arc::new([0; 64]));
    }
    cache
}

fn moka_sync<K: Key>(keys: &[K]) -> moka::sync::Cache<K, Arc<Payload>, RandomState> {
    let cache = moka::sync::Cache::builder()
        .max_capacity(room(keys.len()) as u64)
        .time_to_live(Duration::from_secs(3600))
        .build_with_hasher(RandomState::default());
    for key in keys {
        cache.insert(key.clone(), Arc::new([0; 64]));
    }
    cache.run_pending_tasks();
    cache
}

fn moka_future<K: Key>(keys: &[K]) -> moka::future::Cache<K, Arc<Payload>, RandomState> {
    let cache = moka::future::Cache::builder()
        .max_capacity(room(keys.len()) as u64)
        .time_to_live(Duration::from_secs(3600))
        .build_with_hasher(RandomState::default());
    for key in keys {
        now(cache.insert(key.clone(), Arc::new([0; 64])));
    }
    now(cache.run_pending_tasks());
    cache
}

fn shuffled<K: Key>(count: u64) -> Vec<K> {
    let mut numbers: Vec<u64> = (0..count).collect();
    let mut state = 1_u64;
    for i in (1..numbers.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (i + 1);
        numbers.swap(i, other);
    }
    numbers.into_iter().map(K::nth).collect()
}

fn hits<K: Key>(criterion: &mut Criterion, kind: &str, count: u64) {
    let keys = shuffled::<K>(count);
    let (larder, raw) = (larder(&keys), raw(&keys));
    let (sync, future) = (moka_sync(&keys), moka_future(&keys));
    let mut group = criterion.benchmark_group(format!("hit/{kind}/{count}"));
    group.throughput(Throughput::Elements(1));
    lookups(&mut group, "quick_cache", &keys, |key| raw.get(key));
    lookups(&mut group, "larder get", &keys, |key| now(larder.get(key)));
    lookups(&mut group, "larder peek", &keys, |key| larder.peek(key));
    lookups(&mut group, "quick_cache again", &keys, |key| raw.get(key));
    lookups(&mut group, "moka sync", &keys, |key| sync.get(key));
    lookups(&mut group, "moka future", &keys, |key| now(future.get(key)));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    // The cache's clock ticks on this runtime's own thread, as it would in a program.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime can be made");
    let _inside = runtime.enter();
    for count in [1_000, 100_000] {
        hits::<u64>(criterion, "u64", count);
        hits::<String>(criterion, "string32", count);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
