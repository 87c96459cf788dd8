//! Whether two threads that only read get in each other's way.
//!
//! 1,000 entries, u64 keys drawn in advance with Zipf 0.99, and nothing but lookups, whose owned handle
//! is dropped at once: the hottest keys are asked for by both threads all the time. Rounds of 200 ms
//! take turns. Throughput is the sum over the threads of lookups by time; by CPU time it leaves out
//! what other programs took, by wall time it shows what a user would see on a quiet machine. If the two
//! differ, the threads did not always run at once, and met each other less than they would have.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_bench::chance::{Dice, Zipf};
use larder_bench::keys::shuffled;
use larder_bench::measure::{Samples, cpu};
use larder_bench::table::{Table, aim};
use larder_bench::{now, subjects};

const ENTRIES: u32 = 1_000;
const ROUNDS: usize = 11;
const ROUND: Duration = Duration::from_millis(200);
/// Enough draws for the tail of the distribution, few enough to stay in a core's own cache.
const DRAWS: usize = 1 << 14;

/// Million lookups a second.
#[derive(Clone, Copy)]
struct Throughput {
    cpu: f64,
    wall: f64,
}

#[derive(Default)]
struct Rounds {
    cpu: Samples,
    wall: Samples,
}

impl Rounds {
    fn push(&mut self, throughput: Throughput) {
        self.cpu.push(throughput.cpu);
        self.wall.push(throughput.wall);
    }
}

fn draws(seed: u64) -> Vec<u64> {
    let (zipf, mut dice) = (Zipf::new(ENTRIES, 0.99), Dice::new(seed));
    (0..DRAWS).map(|_| zipf.draw(&mut dice) as u64).collect()
}

fn lookups<T>(draws: &[u64], stop: &AtomicBool, look: impl Fn(&u64) -> T) -> Throughput {
    let (cpu_before, before, mut count) = (cpu(), Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        for key in draws {
            drop(black_box(look(black_box(key))));
        }
        count += draws.len();
    }
    let millions = count as f64 / 1e6;
    Throughput {
        cpu: millions / cpu().saturating_sub(cpu_before).as_secs_f64(),
        wall: millions / before.elapsed().as_secs_f64(),
    }
}

fn round<T>(threads: usize, look: impl Fn(&u64) -> T + Sync) -> Throughput {
    let (stop, start) = (AtomicBool::new(false), Barrier::new(threads + 1));
    let of_one = |seed| {
        let draws = draws(seed);
        start.wait();
        lookups(&draws, &stop, &look)
    };
    let parts: Vec<Throughput> = std::thread::scope(|scope| {
        let of_one = &of_one;
        let running: Vec<_> =
            (0..threads).map(|seed| scope.spawn(move || of_one(seed as u64))).collect();
        start.wait();
        std::thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        running.into_iter().map(|thread| thread.join().expect("a lookup does not panic")).collect()
    });
    Throughput {
        cpu: parts.iter().map(|part| part.cpu).sum(),
        wall: parts.iter().map(|part| part.wall).sum(),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let _inside = runtime.enter();
    let (keys, room) = (shuffled::<u64>(ENTRIES as usize, 1), ENTRIES as usize * 3);
    let larder = subjects::larder(subjects::options(room), &keys);
    let raw = subjects::raw(room, 0.5, &keys);

    let [mut larder_1, mut larder_2, mut raw_1, mut raw_2]: [Rounds; 4] = Default::default();
    let ask_larder = |key: &u64| now(larder.get(key));
    let ask_raw = |key: &u64| raw.get(key);
    for _ in 0..ROUNDS {
        raw_1.push(round(1, ask_raw));
        larder_1.push(round(1, ask_larder));
        raw_2.push(round(2, ask_raw));
        larder_2.push(round(2, ask_larder));
    }

    println!("# Two threads that read: median of {ROUNDS} rounds, million lookups a second\n");
    let heading = ["", "1 thread", "2 threads", "together ÷ alone", "2 threads ÷ quick_cache"];
    let mut table = Table::new(&heading);
    let mut rows = |by: &str, of: fn(&Rounds) -> f64| {
        for (name, one, two) in [("quick_cache", &raw_1, &raw_2), ("larder", &larder_1, &larder_2)]
        {
            let (one, two) = (of(one), of(two));
            table.row([
                format!("{name}, {by} time"),
                format!("{one:.1}"),
                format!("{two:.1}"),
                format!("{:.2}", two / one),
                format!("{:.2}", two / of(&raw_2)),
            ]);
        }
        (of(&larder_2) / of(&larder_1), of(&larder_2) / of(&raw_2))
    };
    let (together, of_raw) = rows("CPU", |rounds| rounds.cpu.median());
    rows("wall", |rounds| rounds.wall.median());
    println!("{table}");
    if larder_2.wall.median() < 0.9 * larder_2.cpu.median() {
        println!("The machine was busy: measure again.\n");
    }
    println!("{}", aim("larder, together ÷ alone", together, together >= 1.0, "≥ 1"));
    println!("{}", aim("larder ÷ quick_cache, 2 threads", of_raw, of_raw >= 0.9, "≥ 0.9"));
}
