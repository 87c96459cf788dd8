//! What tracking many items costs: reading one, syncing those that are due, and keeping a million.
//!
//! The source answers "unchanged" at once, so that what is measured is the tracking: finding what is due,
//! taking each item's present value along, and taking its answer back. CPU time is the whole process's,
//! less that of an idle one. The figures of flyte's cache are in docs/benchmarks.md: it was run once, and
//! cannot be run from here.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use larder_bench::heap::{self, Counting};
use larder_bench::measure::{Samples, cpu_ns_per};
use larder_bench::table::{Table, aim};
use larder_bench::{chance, child};
use larder_cache::{
    AutoRefresh, AutoRefreshOptions, Batches, OneSynced, SyncSource, Synced, Tracked,
};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static HEAP: Counting = Counting;

/// Answers at once that nothing has changed.
struct Unchanged;

impl SyncSource for Unchanged {
    type Id = u64;
    type Item = [u8; 16];
    type Error = Infallible;

    async fn sync(
        &self,
        batch: Vec<(u64, Tracked<[u8; 16]>)>,
    ) -> Result<Vec<OneSynced<Self>>, Infallible> {
        Ok(batch.into_iter().map(|(id, _)| (id, Ok(Synced::Unchanged))).collect())
    }

    fn is_terminal(&self, _: &u64, _: &[u8; 16]) -> bool {
        false
    }
}

const BATCH: u32 = 100;

/// Items with a period, none of them synced on creation, nothing limited but the two workers.
fn tracking(items: u64, period: Duration) -> AutoRefresh<Unchanged> {
    let options = AutoRefreshOptions {
        size: usize::try_from(items).expect("it fits") + 1,
        period,
        workers: 2,
        batches: Batches::by_size(BATCH),
        refresh_rate: None,
        sync_on_create: false,
        ..AutoRefreshOptions::default()
    };
    let tracked = AutoRefresh::new(Unchanged, options).expect("they make sense");
    for id in 0..items {
        tracked.get_or_create(&id, [7; 16]).expect("there is room");
    }
    tracked
}

/// The CPU time of this process.
fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made")
}

/// Nanoseconds for a read in the order of creation and in a random one, by one thread and by each of two.
fn reads(items: u64) -> [f64; 4] {
    let runtime = runtime();
    let _inside = runtime.enter();
    let tracked = tracking(items, Duration::from_hours(1));
    let in_order: Vec<u64> = (0..items).collect();
    let mut shuffled = in_order.clone();
    chance::shuffle(&mut shuffled, &mut chance::Dice::new(1));
    let round = |ids: &[u64]| {
        cpu_ns_per(ids.len(), || {
            for id in ids {
                assert!(std::hint::black_box(tracked.get(id)).is_some());
            }
        })
    };
    let alone = |ids: &[u64]| (0..9).map(|_| round(ids)).collect::<Samples>().median();
    let together = |ids: &[u64]| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| alone(ids))).collect();
            let figures = threads.into_iter().map(|thread| thread.join().expect("it reads"));
            figures.fold(0.0, f64::max)
        })
    };
    [alone(&in_order), alone(&shuffled), together(&in_order), together(&shuffled)]
}

/// CPU nanoseconds for each synced item, when every item is due once in `period`; and the share of a core.
fn syncs(items: u64, period: Duration, watch: Duration) -> [f64; 3] {
    let runtime = runtime();
    let _inside = runtime.enter();
    let tracked = tracking(items, period);
    tracked.start().expect("it was not stopped");
    // Created together, items are due together; the jitter spreads them over a sixteenth of a period
    // each time. What counts is how many are synced, and what that costs.
    std::thread::sleep(period + period / 8);
    let (synced, busy, from) = (tracked.stats().unchanged, cpu_secs(), Instant::now());
    let mut busiest = 0.0_f64;
    while from.elapsed() < watch {
        let (before, at) = (cpu_secs(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        busiest = busiest.max((cpu_secs() - before) / at.elapsed().as_secs_f64());
    }
    let (busy, took) = (cpu_secs() - busy, from.elapsed());
    let synced = tracked.stats().unchanged - synced;
    assert!(synced > 0, "something is due within {watch:?}");
    [busy * 1e9 / synced as f64, 100.0 * busy / took.as_secs_f64(), 100.0 * busiest]
}

/// Heap bytes for each item, the item itself left out, and resident ones.
fn memory(items: u64) -> [f64; 2] {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (before, resident) = (heap::live(), heap::resident());
    let tracked = tracking(items, Duration::from_hours(1));
    tracked.start().expect("it was not stopped");
    while tracked.stats().queued < items {
        std::thread::sleep(Duration::from_millis(10));
    }
    let item = size_of::<[u8; 16]>() as f64;
    let bytes = |now: usize, before: usize| now.saturating_sub(before) as f64 / items as f64 - item;
    [bytes(heap::live(), before), bytes(heap::resident(), resident)]
}

const READS: &str = "reads";
const SYNCS: &str = "syncs";
const SHARE: &str = "share";
const MEMORY: &str = "memory";
const SIZES: [u64; 2] = [100_000, 1_000_000];

fn measure(subject: &str) -> Vec<f64> {
    match subject.split_once(' ').expect("a subject has a size") {
        (READS, size) => reads(size.parse().expect("a size")).to_vec(),
        // Every item once in four seconds.
        (SYNCS, size) => {
            let period = Duration::from_secs(4);
            syncs(size.parse().expect("a size"), period, 3 * period).to_vec()
        }
        // One in a hundred a second.
        (SHARE, size) => {
            let period = Duration::from_secs(100);
            syncs(size.parse().expect("a size"), period, period + period / 16).to_vec()
        }
        (MEMORY, size) => memory(size.parse().expect("a size")).to_vec(),
        other => panic!("there is no subject {other:?}"),
    }
}

fn main() {
    if let Some(subject) = std::env::args().nth(1) {
        let figures = measure(&subject);
        println!("{}", figures.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
        return;
    }
    println!("# AutoRefresh: u64 ids, 16-byte items, batches of {BATCH}\n");
    let reads = child::numbers(&format!("{READS} {}", SIZES[0]));
    let mut table = Table::new(&["get, 100,000 items", "ns, in order", "ns, random order"]);
    table.row(["one thread".into(), format!("{:.1}", reads[0]), format!("{:.1}", reads[1])]);
    table.row(["each of two".into(), format!("{:.1}", reads[2]), format!("{:.1}", reads[3])]);
    println!("{table}");

    let mut table = Table::new(&["items", "CPU ns a sync", "bytes an item", "resident"]);
    let mut worst = [0.0_f64; 2];
    for size in SIZES {
        let rounds = (0..3).map(|_| child::numbers(&format!("{SYNCS} {size}"))[0]);
        let sync = rounds.collect::<Samples>().median();
        let memory = child::numbers(&format!("{MEMORY} {size}"));
        worst = [worst[0].max(sync), worst[1].max(memory[0])];
        table.row([
            size.to_string(),
            format!("{sync:.0}"),
            format!("{:.1}", memory[0]),
            format!("{:.1}", memory[1]),
        ]);
    }
    println!("{table}");
    let share = child::numbers(&format!("{SHARE} {}", SIZES[1]));
    println!("1,000,000 items, one in a hundred due a second: {:.1} % of a core", share[1]);
    println!("its busiest second: {:.1} %\n", share[2]);
    println!("{}", aim("get, in order, ns", reads[0], reads[0] <= 80.0, "≤ 80"));
    println!("{}", aim("CPU ns a sync, at either size", worst[0], worst[0] <= 1000.0, "≤ 1000"));
    println!("{}", aim("bytes an item, at either size", worst[1], worst[1] <= 200.0, "≤ 200"));
    println!("{}", aim("% of a core", share[1], share[1] < 5.0, "< 5"));
}
