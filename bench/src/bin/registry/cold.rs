//! A crowd that asks for what nobody has asked for before.
//!
//! 100 callers, a task each, ask at once for one service of a registry that takes 5 ms to answer, in each of 20
//! new caches: how often it is read, and how often a watch is opened. All must get the same snapshot.

use std::sync::Arc;
use std::time::Duration;

use larder_bench::golang::GoProgram;
use larder_bench::instances::Elsewhere;
use larder_bench::table::aim;
use larder_registry::catalog::Service;
use larder_registry::{RegistryCache, registry_cache};
use tokio::sync::Barrier;

const CALLERS: usize = 100;
const CACHES: usize = 20;
const DELAY: Duration = Duration::from_millis(5);

/// Reads and watches of one crowd.
async fn crowd() -> (u64, usize) {
    let registry = Arc::new(Elsewhere::new(1, 10, DELAY));
    let cache = RegistryCache::new(registry.clone(), registry_cache::Options::default());
    let cache = cache.expect("the options are valid");
    let barrier = Arc::new(Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (cache, barrier, name) =
                (cache.clone(), barrier.clone(), registry.names()[0].clone());
            tokio::spawn(async move {
                barrier.wait().await;
                Arc::clone(&cache.get(&name).await.expect("it is there"))
            })
        })
        .collect();
    let mut got: Vec<Arc<Service>> = Vec::new();
    for caller in callers {
        got.push(caller.await.expect("nobody panics"));
    }
    assert!(got.iter().all(|it| it.len() == 10), "everybody gets all of it");
    assert!(got.windows(2).all(|two| Arc::ptr_eq(&two[0], &two[1])), "and the same");
    // The watch is opened after that.
    while registry.watches().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = (registry.reads(), registry.watches().len());
    cache.stop().await;
    asked
}

/// Prints the figures; gives lines about the aims.
pub fn report(go_micro: &GoProgram) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let (mut reads, mut watches) = (0, 0);
    for _ in 0..CACHES {
        let (read, watched) = runtime.block_on(crowd());
        (reads, watches) = (reads.max(read), watches.max(watched));
    }
    let [mut of_go, mut watched] = [0.0_f64; 2];
    for _ in 0..5 {
        let [read, watches] = go_micro.numbers(&format!("cold {CALLERS}"));
        (of_go, watched) = (of_go.max(read), watched.max(watches));
        if read.is_nan() {
            (of_go, watched) = (f64::NAN, f64::NAN);
        }
    }
    println!(
        "# {CALLERS} callers of a cold service, {CACHES} caches: the most that one of them asked\n"
    );
    println!("larder: {reads} read, {watches} watch; go-micro: {of_go} read, {watched} watch\n");
    assert_eq!((reads, watches), (1, 1), "a crowd has a service read once, and watched once");
    vec![aim("backend calls of 100 cold callers", reads as f64, reads == 1, "1")]
}
