//! How long it takes until everybody knows: 100,000 subscribers of one key, each a task that waits for a
//! change, and a value that is put.
//!
//! *All woken* is the wall time from just before the put until the last of them has the new value.
//! *Longest pause* is what another task on the same runtime, which sleeps for 1 ms again and again, sees
//! meanwhile: the most time between two of its turns, from the put until all are woken. Its sleep
//! and the runtime's timer, which is exact to a millisecond, are in it. `bare` is the same with a
//! `tokio::sync::watch` in place of the cache: it wakes all of its receivers in one go, and so shows what
//! the tasks alone take. Both take turns; medians of all publishes but the first.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder_bench::measure::Samples;
use larder_bench::table::{Table, aim};
use larder_cache::{Attempt, Cache, Fetched, Options, Put, Refresh, Request, Source};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

const SUBSCRIBERS: u32 = 100_000;
const PUBLISHES: u64 = 11;
const KEY: u64 = 1;
const TICK: Duration = Duration::from_millis(1);
const AIM_MS: f64 = 50.0;

struct Numbered;

impl Source for Numbered {
    type Key = u64;
    type Value = u64;
    type Error = Infallible;

    async fn fetch(&self, _: &u64, _: Attempt<u64>) -> Result<Fetched<u64>, Infallible> {
        unreachable!("every value is put")
    }
}

/// Counts who has seen what was published last.
struct Roll {
    seen: AtomicU32,
    /// What is being published.
    number: AtomicU64,
    complete: Notify,
}

impl Roll {
    /// What everybody finds at the beginning is none of what is counted.
    fn new() -> Arc<Self> {
        let (seen, complete) = (AtomicU32::new(0), Notify::new());
        Arc::new(Self { seen, number: AtomicU64::new(u64::MAX), complete })
    }

    fn saw(&self, number: u64) {
        let last = number == self.number.load(Ordering::Acquire);
        if last && self.seen.fetch_add(1, Ordering::AcqRel) + 1 == SUBSCRIBERS {
            self.complete.notify_one();
        }
    }

    /// Publishes, and waits until everybody has it; gives how long that took.
    async fn call(&self, number: u64, publish: &impl Fn(u64)) -> Duration {
        self.seen.store(0, Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
        let begin = Instant::now();
        publish(number);
        self.complete.notified().await;
        let woken = begin.elapsed();
        assert_eq!(self.seen.load(Ordering::Acquire), SUBSCRIBERS, "everybody has it, once");
        woken
    }
}

/// Takes a turn every millisecond, and notes the longest time between two.
#[derive(Default)]
struct Bystander {
    watched: AtomicBool,
    longest_us: AtomicU64,
}

impl Bystander {
    async fn stand(&self) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            if self.watched.load(Ordering::Acquire) {
                let pause = u64::try_from(last.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.longest_us.fetch_max(pause, Ordering::AcqRel);
            }
            last = Instant::now();
        }
    }

    /// The longest pause, in milliseconds, that overlaps with `work`.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> (T, f64) {
        self.longest_us.store(0, Ordering::Release);
        self.watched.store(true, Ordering::Release);
        let done = work.await;
        // The turn that it waits for now counts as well.
        while self.longest_us.load(Ordering::Acquire) == 0 {
            tokio::time::sleep(TICK).await;
        }
        tokio::time::sleep(TICK * 3).await;
        self.watched.store(false, Ordering::Release);
        (done, self.longest_us.load(Ordering::Acquire) as f64 / 1e3)
    }
}

#[derive(Default)]
struct Figures {
    woken: Samples,
    pause: Samples,
}

/// A way of publishing to all of a runtime's subscribers.
struct Audience<P> {
    roll: Arc<Roll>,
    publish: P,
}

fn larder(runtime: &Runtime) -> Audience<impl Fn(u64) + use<>> {
    let _inside = runtime.enter();
    let options = Options { refresh: Refresh::Pushed, ..Options::default() };
    let cache = Cache::new(Numbered, options).expect("the options are valid");
    assert_eq!(cache.put(&KEY, 0), Put::Stored);
    let roll = Roll::new();
    for _ in 0..SUBSCRIBERS {
        let handle = cache.subscribe(&KEY, &Request::DEFAULT);
        let (mut handle, roll) = (handle.expect("there is room"), Arc::clone(&roll));
        tokio::spawn(async move {
            while let Some(update) = handle.changed().await {
                update.value.inspect(|value| roll.saw(**value));
            }
        });
    }
    Audience { roll, publish: move |number| assert_eq!(cache.put(&KEY, number), Put::Stored) }
}

fn bare(runtime: &Runtime) -> Audience<impl Fn(u64) + use<>> {
    let (sender, receiver) = watch::channel(0);
    let roll = Roll::new();
    for _ in 0..SUBSCRIBERS {
        let (mut receiver, roll) = (receiver.clone(), Arc::clone(&roll));
        runtime.spawn(async move {
            while receiver.changed().await.is_ok() {
                let number = *receiver.borrow_and_update();
                roll.saw(number);
            }
        });
    }
    Audience { roll, publish: move |number| sender.send(number).expect("there are receivers") }
}

async fn publish<P: Fn(u64)>(
    to: &Audience<P>,
    number: u64,
    bystander: &Bystander,
    figures: &mut Figures,
) {
    // Whoever woke last is asleep again.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (woken, pause) = bystander.beside(to.roll.call(number, &to.publish)).await;
    // The first publish meets subscribers that have never waited.
    if number > 1 {
        figures.woken.push(woken.as_secs_f64() * 1e3);
        figures.pause.push(pause);
    }
}

fn row(table: &mut Table, threads: usize, name: &str, Figures { woken, pause }: &Figures) {
    table.row([
        format!("{name}, {threads} thread(s)"),
        format!("{:.1}", woken.min()),
        format!("{:.1}", woken.median()),
        format!("{:.1}", pause.min()),
        format!("{:.1}", pause.median()),
    ]);
}

fn main() {
    let mut table =
        Table::new(&["", "all woken, ms min", "median", "longest pause, ms min", "median"]);
    let mut aims = Vec::new();
    for threads in [2, 1] {
        let mut builder = match threads {
            1 => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(threads).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let [mut of_larder, mut of_bare]: [Figures; 2] = Default::default();
        let bystander = Arc::new(Bystander::default());
        runtime.spawn({
            let bystander = Arc::clone(&bystander);
            async move { bystander.stand().await }
        });
        let (larder, bare) = (larder(&runtime), bare(&runtime));
        // On a task of its own: what `block_on` runs is on a thread that is not the runtime's.
        let publishes = async move {
            for number in 1..=PUBLISHES {
                publish(&larder, number, &bystander, &mut of_larder).await;
                publish(&bare, number, &bystander, &mut of_bare).await;
            }
            (of_larder, of_bare)
        };
        let (of_larder, of_bare) =
            runtime.block_on(async { tokio::spawn(publishes).await.expect("nothing panics") });
        row(&mut table, threads, "larder", &of_larder);
        row(&mut table, threads, "bare", &of_bare);
        let (woken, pause) = (of_larder.woken.median(), of_larder.pause.median());
        aims.push(aim(
            &format!("all woken, ms, {threads} thread(s)"),
            woken,
            woken <= AIM_MS,
            "≤ 50",
        ));
        aims.push(format!("       longest pause of another task, ms: {pause:.2}"));
    }
    println!("# To {SUBSCRIBERS} subscribers of one key: {} publishes, wall time\n", PUBLISHES - 1);
    println!("{table}");
    for line in aims {
        println!("{line}");
    }
}
