//! How long it takes until a change of the registry in memory shows in a cache over it.
//!
//! Services of ten instances, all of them followed, take turns in gaining an instance and losing an older one,
//! 10,000 changes a second altogether. The thread that makes them looks for them as well, by `peek`, in the order in
//! which it made them: from just before the write until it is seen. What is not seen within 20 ms is late.
//! A process for each run, as go-micro's (`go-micro/subjects.go`), which does the same. Wall time, microseconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use larder_bench::golang::GoProgram;
use larder_bench::instances::{instance, service_name};
use larder_bench::measure::Samples;
use larder_bench::table::{Table, aim};
use larder_bench::{child, now};
use larder_registry::model::{Instance, Key, Name};
use larder_registry::{Backend, RegistryCache, registry_cache};

const RATE: u32 = 10_000;
const SECONDS: u32 = 2;
const RUNS: usize = 3;
const LATE: Duration = Duration::from_millis(20);
const SERVICES: [usize; 3] = [1, 100, 1_000];
/// go-micro loses most of them at more.
const SERVICES_OF_GO: [usize; 2] = [1, 100];

struct Change {
    at: Instant,
    service: Name,
    instance: String,
    there: bool,
}

/// The `number`th change: a service gains an instance, and next it loses an older one.
fn change(number: usize, names: &[Name]) -> Change {
    let ids = (256 / names.len()).max(4);
    let turn = number / names.len();
    let there = turn % 2 == 0;
    let id = if there { turn / 2 % ids } else { (turn / 2 + ids / 2) % ids };
    let service = names[number % names.len()].clone();
    Change { at: Instant::now(), service, instance: format!("churn-{id}"), there }
}

/// The median, the 99th percentile and the greatest delay in microseconds, and how many of a thousand were late.
pub fn measure(subject: &str) -> Vec<f64> {
    let services = subject.split_whitespace().last().and_then(|number| number.parse().ok());
    let names: Vec<Name> = (0..services.expect("a number of services")).map(service_name).collect();
    let runtime = crate::runtime();
    let _inside = runtime.enter();
    let registry = crate::filled(names.len(), 10);
    let cache = RegistryCache::new(registry.clone(), registry_cache::Options::default());
    let cache = cache.expect("the options are valid");
    runtime.block_on(async {
        for name in &names {
            cache.get(name).await.expect("it is registered");
        }
        while cache.stats().keepers.connected < names.len() as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });

    let write = |number: usize| {
        let mut it = change(number, &names);
        let fresh = Instance { id: it.instance.clone(), ..instance(it.service.as_str(), number) };
        let key = Key::new(it.service.as_str(), &it.instance);
        it.at = Instant::now();
        if it.there {
            now(registry.register(fresh)).expect("there is room");
        } else {
            // The first that leave have never come.
            let _ = now(registry.deregister(&key));
        }
        it
    };
    let shows = |it: &Change| {
        cache.peek(&it.service).is_some_and(|held| held.get(&it.instance).is_some() == it.there)
    };
    let total = (RATE * SECONDS) as usize;
    let (mut pending, mut figures, mut late, mut sent) = (VecDeque::new(), Vec::new(), 0, 0);
    let begun = Instant::now();
    while sent < total || !pending.is_empty() {
        if sent < total && begun.elapsed().as_secs_f64() >= sent as f64 / f64::from(RATE) {
            pending.push_back(write(sent));
            sent += 1;
        }
        let Some(first) = pending.front() else { continue };
        let (shown, took) = (shows(first), first.at.elapsed());
        if shown || took > LATE {
            figures.push(took.min(LATE).as_secs_f64() * 1e6);
            late += usize::from(took > LATE);
            pending.pop_front();
        }
    }
    figures.sort_by(f64::total_cmp);
    let at = |percent: usize| figures[(figures.len() * percent / 100).min(figures.len() - 1)];
    vec![at(50), at(99), at(100), 1_000.0 * late as f64 / total as f64]
}

/// The medians of several runs.
fn medians(run: impl Fn() -> [f64; 4]) -> [f64; 4] {
    let runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
    std::array::from_fn(|figure| runs.iter().map(|run| run[figure]).collect::<Samples>().median())
}

/// Prints the table; gives lines about the aims.
pub fn report(go_micro: &GoProgram) -> Vec<String> {
    println!(
        "# A change until it shows, {RATE} a second for {SECONDS} s: medians of {RUNS} runs\n"
    );
    let mut table = Table::new(&[
        "services followed",
        "µs median",
        "p99",
        "greatest",
        "late, ‰",
        "p99 ÷ larder",
    ]);
    let mut aims = Vec::new();
    for services in SERVICES {
        let larder = medians(|| {
            let numbers = child::numbers(&format!("visible {services}"));
            numbers.try_into().expect("four figures")
        });
        let mut row = |name: &str, [median, p99, greatest, late]: [f64; 4]| {
            let texts = [median, p99, greatest].map(|figure| format!("{figure:.0}"));
            let more = [format!("{late:.1}"), format!("{:.1}", p99 / larder[1])];
            table.row([format!("{services}, {name}")].into_iter().chain(texts).chain(more));
        };
        row("larder", larder);
        if SERVICES_OF_GO.contains(&services) {
            row(
                "go-micro",
                medians(|| go_micro.numbers(&format!("visible {services} {RATE} {SECONDS}"))),
            );
        }
        let what = format!("a change until it shows, µs p99, {services} services");
        aims.push(aim(&what, larder[1], larder[1] <= 1_000.0, "≤ 1,000"));
    }
    println!("{table}");
    aims
}
