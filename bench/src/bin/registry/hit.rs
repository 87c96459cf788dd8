//! A hit: "where is X?", of what is in memory.
//!
//! One thread asks again and again for one service of 1, 50 or 1,000 instances, and drops the handle on the
//! snapshot that it gets. Rounds take turns; figures are this thread's CPU time per question, medians. By hand:
//! a map from names to shared lists, behind a lock, or behind a pointer that is swapped. go-micro's is its
//! process' CPU time, garbage collector included: each hit makes a copy of all that was asked for.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwap;
use larder_bench::golang::GoProgram;
use larder_bench::measure::{Contender, cpu_ns_per, interleave};
use larder_bench::now;
use larder_bench::table::{Table, aim};
use larder_registry::model::{Instance, Name};
use larder_registry::{Backend, Mirror, RegistryCache, View, registry_cache};

const SIZES: [usize; 3] = [1, 50, 1_000];
const ROUNDS: usize = 15;
const QUESTIONS: usize = 200_000;
const AIM_NS: f64 = 60.0;
/// Of the dearest to the cheapest size: what is left to the machine's moods.
const SAME: f64 = 1.2;

type ByHand = HashMap<String, Arc<Vec<Arc<Instance>>>>;

fn contender<'a, T>(name: &'static str, ask: impl Fn() -> Option<T> + 'a) -> Contender<'a> {
    Contender::new(name, move || {
        let mut found = 0;
        let ns = cpu_ns_per(QUESTIONS, || {
            for _ in 0..QUESTIONS {
                found += usize::from(black_box(ask()).is_some());
            }
        });
        assert_eq!(found, QUESTIONS, "{name} did not find the service");
        ns
    })
}

/// Names and medians at one size.
fn medians(count: usize) -> Vec<(&'static str, f64)> {
    let runtime = crate::runtime();
    let _inside = runtime.enter();
    let registry = crate::filled(1, count);
    let name = larder_bench::instances::service_name(0);
    let cache = RegistryCache::new(registry.clone(), registry_cache::Options::default());
    let cache = cache.expect("the options are valid");
    let mirror = Mirror::start(registry.clone(), 1_000, larder_cache::Clock::running());
    let service = runtime.block_on(async {
        assert!(mirror.wait_until_ready(std::time::Duration::from_secs(10)).await);
        cache.get(&name).await.expect("it is registered")
    });
    let held = Arc::new(service.instances().cloned().collect::<Vec<_>>());
    let by_hand = ByHand::from([(name.as_str().to_owned(), held)]);
    let (locked, swapped) = (RwLock::new(by_hand.clone()), ArcSwap::from_pointee(by_hand));
    let mut contenders = [
        contender("larder get", || now(cache.get(black_box(&name))).ok()),
        contender("larder peek", || cache.peek(black_box(&name))),
        contender("larder get, Name made", || {
            now(cache.get(&Name::new(black_box("service-0")))).ok()
        }),
        contender("larder Mirror", || mirror.snapshot().service(black_box(&name)).cloned()),
        contender("by hand, RwLock", || {
            locked.read().expect("nobody panics").get(black_box(name.as_str())).cloned()
        }),
        contender("by hand, ArcSwap", || swapped.load().get(black_box(name.as_str())).cloned()),
    ];
    interleave(ROUNDS, &mut contenders);
    let medians = contenders.iter().map(|it| (it.name, it.samples.median())).collect();
    drop(contenders);
    runtime.block_on(async {
        mirror.close().await;
        cache.stop().await;
    });
    medians
}

/// Prints the table; gives lines about the aims.
pub fn report(go_micro: &GoProgram) -> Vec<String> {
    let mut columns: Vec<Vec<(&str, f64)>> = Vec::new();
    for size in SIZES {
        let mut column = medians(size);
        let [_, median] = go_micro.numbers(&format!("hit {size}"));
        column.push(("go-micro", median));
        columns.push(column);
    }
    println!("# A hit, of a service of 1, 50 and 1,000 instances: {ROUNDS} rounds, CPU time\n");
    let heading = ["ns", "1", "50", "1,000", "÷ get at 1", "at 50", "at 1,000"];
    let mut table = Table::new(&heading);
    for (row, (name, _)) in columns[0].iter().enumerate() {
        let figures = columns.iter().map(|column| format!("{:.1}", column[row].1));
        let ratios = columns.iter().map(|column| format!("{:.2}", column[row].1 / column[0].1));
        table.row([(*name).to_owned()].into_iter().chain(figures).chain(ratios));
    }
    println!("{table}");
    let gets = columns.iter().map(|column| column[0].1);
    let (least, most) = (gets.clone().fold(f64::INFINITY, f64::min), gets.fold(0.0, f64::max));
    let same = format!("≤ {SAME}");
    vec![
        aim("a hit, ns, the dearest of three sizes", most, most <= AIM_NS, "≤ 60"),
        aim("a hit, dearest ÷ cheapest size", most / least, most / least <= SAME, &same),
    ]
}
