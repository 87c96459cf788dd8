//! How much memory 100,000 instances take in the cache of a registry: for `registry`, which prints the table.
//!
//! `registry_memory SUBJECT SERVICES` prints the bytes for each instance: of the heap, as asked for, and of the
//! resident set. A program of its own, because counting makes allocations slower. Nobody else holds the
//! instances: the backend makes each when it is asked for it, twice, as the cache reads and then watches, and the
//! cache must drop one of the two. `bare` is the instances alone in a vector; in `both` the backend is a registry in
//! memory, which holds them as well.

use std::sync::Arc;
use std::time::Duration;

use larder_bench::heap::{self, Counting};
use larder_bench::instances::{Elsewhere, instance, service_name};
use larder_bench::{child, now};
use larder_cache::Clock;
use larder_registry::{Backend, Memory, Mirror, RegistryCache, memory, registry_cache};

#[global_allocator]
static HEAP: Counting = Counting;

const INSTANCES: usize = 100_000;

/// Has a cache over `registry` follow everything.
async fn followed(registry: Arc<dyn Backend>, services: usize) -> RegistryCache {
    let cache = RegistryCache::new(registry, registry_cache::Options::default());
    let cache = cache.expect("the options are valid");
    for name in (0..services).map(service_name) {
        cache.get(&name).await.expect("it is there");
    }
    while cache.stats().streamed < services as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cache
}

fn filled(services: usize, count: usize) -> Arc<Memory> {
    let registry = Arc::new(Memory::start(memory::Options::default(), Clock::running()));
    for name in (0..services).map(service_name) {
        for number in 0..count {
            now(registry.register(instance(name.as_str(), number))).expect("there is room");
        }
    }
    registry
}

/// Makes what is to be measured, and hands it back to be held.
async fn made(subject: &str, services: usize) -> Box<dyn std::any::Any> {
    let count = INSTANCES / services;
    let elsewhere = || Arc::new(Elsewhere::new(services, count, Duration::ZERO));
    match subject {
        "bare" => {
            let names = (0..services).map(service_name);
            let all = names.flat_map(|name| {
                (0..count).map(move |number| Arc::new(instance(name.as_str(), number)))
            });
            Box::new(all.collect::<Vec<_>>())
        }
        "cache" => Box::new(followed(elsewhere(), services).await),
        "both" => Box::new(followed(filled(services, count), services).await),
        "mirror" => {
            let mirror = Mirror::start(elsewhere(), 65_536, Clock::running());
            assert!(mirror.wait_until_ready(Duration::from_secs(60)).await, "it has been read");
            Box::new(mirror)
        }
        other => panic!("there is no subject {other}"),
    }
}

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let (subject, services) = argument.split_once(' ').expect("SUBJECT SERVICES, as one argument");
    let services = services.parse().expect("a number of services");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let (heap, resident) = (heap::live(), heap::resident());
    let held = runtime.block_on(async {
        let held = made(subject, services).await;
        // What is to be dropped, is.
        tokio::time::sleep(Duration::from_millis(200)).await;
        held
    });
    let bytes = |now: usize, before: usize| now.saturating_sub(before) as f64 / INSTANCES as f64;
    child::say(&[bytes(heap::live(), heap), bytes(heap::resident(), resident)]);
    runtime.block_on(async { drop(held) });
}
