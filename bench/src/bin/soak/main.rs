//! Whether anything is lost or left over in the long run.
//!
//! `soak [SECONDS] [SUBJECT...]`, five minutes for each subject and every one of them, `plain`, `blocking`
//! and `polling`, unless told otherwise. 1,000 callers ask for 10,000 keys of a source that answers, fails,
//! panics or hangs as chance will have it, while keys are put and invalidated; of a cache that keeps
//! things fresh they ask with bounds of every kind, and 200 subscribers come and go. Then the cache is
//! closed under load. The program fails unless
//!
//! - every single call ended within its bound, and every caller came back, and so for subscriptions;
//! - nothing but the deliberate panics panicked;
//! - as many tasks are alive as were before the cache was made;
//! - the heap's median over the last quarter of the time is not above that over the second quarter by
//!   more than 3 %, and what is left once the cache is gone is less than 16 KiB.
//!
//! A new kind of cache to soak is a `Subject` and a line in `main`.

mod kept;
mod plain;
mod source;
mod subject;
mod tally;
mod watchdog;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_bench::chance::Dice;
use larder_bench::heap::{self, Counting};
use larder_bench::measure::Samples;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::subject::{Subject, World};
use crate::tally::Tally;
use crate::watchdog::Watchdog;

#[global_allocator]
static HEAP: Counting = Counting;

const CALLERS: usize = 1_000;
const SUBSCRIBERS: usize = 200;
/// A caller's pause after each call, at most; half of it on average.
const PAUSE_MS: u64 = 60;
const MEDDLING: Duration = Duration::from_millis(5);
const GROWTH: f64 = 1.03;
const LEFT_OVER: usize = 16 << 10;

fn main() -> ExitCode {
    source::silence_deliberate_panics();
    let mut arguments = std::env::args().skip(1).peekable();
    let seconds = arguments.next_if(|first| first.parse::<u64>().is_ok());
    let seconds = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let chosen: Vec<String> = arguments.collect();
    let length = Duration::from_secs(seconds);

    let mut faults = Vec::new();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    if wanted("plain") {
        faults.extend(soak("plain", length, plain::Plain::new));
    }
    if wanted("blocking") {
        faults.extend(soak("blocking", length, kept::Kept::blocking));
    }
    if wanted("polling") {
        faults.extend(soak("polling", length, kept::Kept::polling));
    }
    for fault in &faults {
        println!("FAULT {fault}");
    }
    println!("{}", if faults.is_empty() { "sound" } else { "NOT SOUND" });
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Soaks a subject on a runtime of its own; gives what was wrong.
fn soak<S: Subject>(name: &str, length: Duration, make: impl FnOnce(World) -> S) -> Vec<String> {
    println!("# {name}: {} s, {CALLERS} callers of {} keys\n", length.as_secs(), World::KEYS);
    let builder =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = builder.expect("a runtime can be made");
    // The runtime's own threads and queues are there before the heap is first looked at.
    runtime.block_on(async {
        tokio::spawn(async {}).await.expect("nothing panics");
        while alive() > 0 {
            tokio::task::yield_now().await;
        }
    });
    let faults = runtime.block_on(life(length, make));
    drop(runtime);
    faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
}

async fn life<S: Subject>(length: Duration, make: impl FnOnce(World) -> S) -> Vec<String> {
    let mut faults = Vec::new();
    let (tasks_before, heap_before) = (alive(), heap::live());
    let subject = Arc::new(make(World::new()));
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let watchdog = Watchdog::new(CALLERS + SUBSCRIBERS, subject.bound());

    let callers: Vec<_> = (0..CALLERS + SUBSCRIBERS)
        .map(|number| {
            let caller = Caller {
                number,
                subject: Arc::clone(&subject),
                tally: Arc::clone(&tally),
                watchdog: watchdog.clone(),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(caller.call())
        })
        .collect();
    let meddler = tokio::spawn(meddle(Arc::clone(&subject), Arc::clone(&stop)));

    let samples = sample(length, &*subject, &watchdog).await;
    faults.extend(growth(&samples));
    println!("\n{}\n\n{tally}", subject.report());

    // Closed under load: whoever waits is released, whoever comes is refused.
    if tokio::time::timeout(subject.bound(), subject.close()).await.is_err() {
        faults.push(format!("close() took longer than {:?}", subject.bound()));
    }
    stop.store(true, Ordering::Relaxed);
    faults.extend(come_back(callers, meddler, subject.bound()).await);
    faults.extend(subject.faults_after_close());
    faults.extend(watchdog.faults());
    println!("longest call: {:?}, allowed: {:?}", watchdog.longest(), subject.bound());
    drop((subject, tally, watchdog));

    faults.extend(leaked_tasks(tasks_before).await);
    let left_over = heap::live().saturating_sub(heap_before);
    println!("left over once it is gone: {left_over} bytes of heap\n");
    if left_over > LEFT_OVER {
        faults.push(format!("{left_over} bytes of heap are left over"));
    }
    let strangers = source::other_panics();
    if strangers > 0 {
        faults.push(format!("{strangers} panics that nobody had arranged"));
    }
    faults
}

struct Caller<S> {
    number: usize,
    subject: Arc<S>,
    tally: Arc<Tally>,
    watchdog: Watchdog,
    stop: Arc<AtomicBool>,
}

impl<S: Subject> Caller<S> {
    async fn call(self) {
        let mut dice = Dice::new(self.number as u64);
        while !self.stop.load(Ordering::Relaxed) {
            self.watchdog.begin(self.number);
            let outcome = if self.number < CALLERS {
                Some(self.subject.ask(&mut dice).await)
            } else {
                self.subject.follow(&mut dice).await
            };
            self.watchdog.end(self.number);
            let Some(outcome) = outcome else { return };
            self.tally.count(outcome);
            tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS))).await;
        }
    }
}

async fn meddle<S: Subject>(subject: Arc<S>, stop: Arc<AtomicBool>) {
    let mut dice = Dice::new(u64::MAX);
    while !stop.load(Ordering::Relaxed) {
        subject.meddle(&mut dice);
        tokio::time::sleep(MEDDLING).await;
    }
}

/// Tells the heap's size at intervals, for as long as the soak takes.
async fn sample<S: Subject>(length: Duration, subject: &S, watchdog: &Watchdog) -> Vec<usize> {
    let (period, begin) = (Duration::from_secs(10).min(length / 20), Instant::now());
    let mut samples = Vec::new();
    while begin.elapsed() < length && watchdog.faults().is_empty() {
        tokio::time::sleep(period).await;
        let heap = heap::live();
        let (at, resident) = (begin.elapsed().as_secs_f64(), heap::resident() / 1024);
        println!("{at:6.1} s  heap {:6} KiB  resident {resident:6} KiB  {}", heap / 1024, {
            subject.line()
        });
        samples.push(heap);
    }
    samples
}

/// Compares medians: a sample right after everything was invalidated is low.
fn growth(samples: &[usize]) -> Option<String> {
    let quarter = samples.len() / 4;
    let median =
        |part: &[usize]| part.iter().map(|heap| *heap as f64).collect::<Samples>().median();
    let (second, last) = (&samples[quarter..quarter * 2], &samples[samples.len() - quarter..]);
    let ratio = median(last) / median(second);
    println!("\nheap, last quarter ÷ second quarter: {ratio:.4} (allowed: {GROWTH})");
    // Too few samples make NaN, which is no proof either.
    (ratio.is_nan() || ratio > GROWTH).then(|| format!("the heap grows: × {ratio:.4}"))
}

async fn come_back(
    callers: Vec<JoinHandle<()>>,
    meddler: JoinHandle<()>,
    bound: Duration,
) -> Option<String> {
    let deadline = tokio::time::Instant::now() + bound + Duration::from_millis(PAUSE_MS);
    let mut lost = 0;
    for task in callers.into_iter().chain([meddler]) {
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => lost += 1,
        }
    }
    (lost > 0).then(|| format!("{lost} callers did not come back"))
}

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A task that has told its end is alive for a moment more.
async fn leaked_tasks(before: usize) -> Option<String> {
    for _ in 0..100 {
        if alive() <= before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("tasks: {before} before, {} after", alive());
    (alive() > before).then(|| format!("{} tasks leaked", alive() - before))
}
