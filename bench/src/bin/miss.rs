//! What a miss costs beside its loader, what each caller costs who waits for the same key, and that
//! however many wait, the source is asked once.
//!
//! - *Miss*: 100,000 keys, each asked for once, of a loader that answers at once. `loader` is that alone,
//!   with an `Arc` around its value, as most subjects keep it.
//! - *Waiter*: 1,000 tasks ask for a cold key whose loader takes 2 ms; the time by 1,000. Making the
//!   tasks is part of it, for all alike; `tasks` is that alone, with a bare `Notify` to wait for.
//! - *Crowd*: 10,000 callers wait for one cold key of Larder before its source says anything. Then it
//!   answers, fails, panics, or hangs until the time-out. Each must get that, after one fetch.
//!
//! The first two run on a runtime of one thread, and their figures are that thread's CPU time; rounds
//! take turns. A round of misses is a process of its own: in memory that another subject has given back
//! piecemeal, the allocator takes as long as the cache. The third is no measurement: it ends the program with an error if anything else happens.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use larder_bench::keys::shuffled;
use larder_bench::measure::{Contender, cpu, cpu_ns_per, interleave};
use larder_bench::subjects::{self, Cachet, Foyer, MokaFuture, Raw};
use larder_bench::table::{against, aim};
use larder_bench::{Payload, child};
use larder_cache::{Attempt, Cache, Error, Fetched, Options, Source};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, Semaphore};

const ROUNDS: usize = 11;
const KEYS: usize = 100_000;
const WAITERS: usize = 1_000;
const CROWDS: usize = 20;
const CALLERS: u32 = 10_000;
const LOADING: Duration = Duration::from_millis(2);

type Loaded = Result<Payload, io::Error>;

async fn ready() -> Loaded {
    Ok(black_box([7; 64]))
}

async fn slow() -> Loaded {
    tokio::time::sleep(LOADING).await;
    ready().await
}

/// A source that is a function.
struct Loader<F>(F);

impl<F, Fut> Source for Loader<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Loaded> + Send,
{
    type Key = u64;
    type Value = Payload;
    type Error = io::Error;

    async fn fetch(&self, _: &u64, _: Attempt<Payload>) -> Result<Fetched<Payload>, io::Error> {
        Ok(Fetched::value((self.0)().await?))
    }
}

fn larder<F, Fut>(options: Options, load: F) -> Cache<Loader<F>>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Loaded> + Send,
{
    Cache::new(Loader(load), options).expect("the options are valid")
}

async fn ask_larder<S: Source<Key = u64>>(cache: &Cache<S>, key: u64) -> bool {
    cache.get(&key).await.is_ok()
}

async fn ask_raw(cache: &Raw<u64>, key: u64, load: impl Future<Output = Loaded>) -> bool {
    cache.get_or_insert_async(&key, async { load.await.map(Arc::new) }).await.is_ok()
}

async fn ask_moka(cache: &MokaFuture<u64>, key: u64, load: impl Future<Output = Loaded>) -> bool {
    cache.try_get_with(key, async { load.await.map(Arc::new) }).await.is_ok()
}

async fn ask_foyer<Fut>(cache: &Foyer<u64>, key: u64, load: Fut) -> bool
where
    Fut: Future<Output = Loaded> + Send + 'static,
{
    cache.get_or_fetch(&key, || load).await.is_ok()
}

async fn ask_cachet<Fut>(cache: &Cachet<u64>, key: u64, load: Fut) -> bool
where
    Fut: Future<Output = Loaded> + Send,
{
    cache.try_get_or_insert(&key, || async { load.await.map(Arc::new) }).await.is_ok()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

/// Nanoseconds for each key that a new cache is asked for.
fn misses<C>(make: impl FnOnce() -> C, ask: &impl AsyncFn(&C, u64) -> bool) -> f64 {
    let keys = shuffled::<u64>(KEYS, 1);
    one_thread().block_on(async {
        let cache = make();
        let before = cpu();
        for key in &keys {
            assert!(ask(&cache, *key).await, "the loader does not fail");
        }
        cpu().saturating_sub(before).as_secs_f64() * 1e9 / keys.len() as f64
    })
}

const MISSES: [&str; 6] = [
    "loader",
    "larder get",
    "quick_cache get_or_insert_async",
    "foyer get_or_fetch",
    "moka future try_get_with",
    "cachet try_get_or_insert",
];

fn misses_of(subject: &str) -> f64 {
    let (room, none) = (KEYS * 3, &[]);
    match subject {
        "loader" => {
            misses(|| (), &async |(): &(), _| black_box(ready().await.map(Arc::new)).is_ok())
        }
        "larder get" => misses(|| larder(subjects::options(room), ready), &ask_larder),
        "quick_cache get_or_insert_async" => {
            let ask = async |cache: &_, key| ask_raw(cache, key, ready()).await;
            misses(|| subjects::raw(room, 0.5, none), &ask)
        }
        "foyer get_or_fetch" => {
            let ask = async |cache: &_, key| ask_foyer(cache, key, ready()).await;
            misses(|| subjects::foyer(room, none), &ask)
        }
        "moka future try_get_with" => {
            let ask = async |cache: &_, key| ask_moka(cache, key, ready()).await;
            misses(|| subjects::moka_future(room, none), &ask)
        }
        "cachet try_get_or_insert" => {
            let ask = async |cache: &_, key| ask_cachet(cache, key, ready()).await;
            misses(|| subjects::cachet(room, true, none), &ask)
        }
        other => panic!("there is no subject {other}"),
    }
}

fn miss() {
    let mut contenders = MISSES
        .map(|subject| Contender::new(subject, move || child::numbers(subject).into_iter().sum()));
    interleave(ROUNDS, &mut contenders);
    println!("# A miss: {ROUNDS} rounds of {KEYS} keys, ready loader, CPU time\n");
    println!("{}", against("quick_cache get_or_insert_async", &contenders));
    let [loader, larder, ..] = &contenders;
    let beside = larder.samples.median() - loader.samples.median();
    println!(
        "{}\n",
        aim("larder's miss beside the loader, ns", beside, beside <= 1000.0, "≤ 1000")
    );
}

/// Rounds of crowds of tasks that ask for the same key, another one for each crowd.
fn waiters<'a, C: Send + Sync + 'static, Fut>(
    name: &'static str,
    runtime: &'a Runtime,
    cache: C,
    ask: impl Fn(Arc<C>, u64) -> Fut + 'a,
) -> Contender<'a>
where
    Fut: Future<Output = bool> + Send + 'static,
{
    let (cache, mut key) = (Arc::new(cache), 0);
    Contender::new(name, move || {
        cpu_ns_per(CROWDS * WAITERS, || {
            for _ in 0..CROWDS {
                key += 1;
                runtime.block_on(async {
                    let waiting: Vec<_> =
                        (0..WAITERS).map(|_| tokio::spawn(ask(Arc::clone(&cache), key))).collect();
                    for waiter in waiting {
                        assert!(waiter.await.expect("nothing panics"), "the loader does not fail");
                    }
                });
            }
        })
    })
}

fn waiter() {
    let (runtime, room) = (one_thread(), 10_000);
    let (run, none, inside) = (&runtime, &[], runtime.enter());
    let mut contenders = [
        waiters("tasks", run, Notify::new(), |notify, key| async move {
            // The first one to run is the loader; every task runs before its time is over.
            static LAST: AtomicU64 = AtomicU64::new(0);
            if LAST.swap(key, Ordering::Relaxed) == key {
                notify.notified().await;
            } else {
                tokio::time::sleep(LOADING).await;
                notify.notify_waiters();
            }
            true
        }),
        waiters("larder", run, larder(subjects::options(room), slow), |cache, key| async move {
            ask_larder(&cache, key).await
        }),
        waiters("quick_cache", run, subjects::raw(room, 0.5, none), |cache, key| async move {
            ask_raw(&cache, key, slow()).await
        }),
        waiters("foyer", run, subjects::foyer(room, none), |cache, key| async move {
            ask_foyer(&cache, key, slow()).await
        }),
        waiters("moka future", run, subjects::moka_future(room, none), |cache, key| async move {
            ask_moka(&cache, key, slow()).await
        }),
        waiters("cachet", run, subjects::cachet(room, true, none), |cache, key| async move {
            ask_cachet(&cache, key, slow()).await
        }),
    ];
    interleave(ROUNDS, &mut contenders);
    drop(inside);
    println!("# A waiter: {ROUNDS} rounds of {CROWDS} crowds of {WAITERS}, CPU time\n");
    println!("{}", against("quick_cache", &contenders));
    let [tasks, larder, ..] = &contenders;
    let (tasks, waiter) = (tasks.samples.median(), larder.samples.median());
    println!("       larder's waiter beside its task, ns: {:.2}", waiter - tasks);
    println!("{}\n", aim("larder's waiter, ns", waiter, waiter <= 450.0, "≤ 450"));
}

/// What the source does once everybody waits.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Answers,
    Fails,
    Panics,
    Hangs,
}

impl Deed {
    async fn done(self) -> Loaded {
        match self {
            Self::Answers => Ok([7; 64]),
            Self::Fails => Err(io::Error::other("as arranged")),
            // Past the panic hook, which would print it.
            Self::Panics => std::panic::resume_unwind(Box::new("as arranged")),
            Self::Hangs => std::future::pending().await,
        }
    }

    fn is_what_came<T>(self, answer: &Result<T, Error<io::Error>>) -> bool {
        match self {
            Self::Answers => answer.is_ok(),
            Self::Fails => matches!(answer, Err(Error::Source(_))),
            Self::Panics => matches!(answer, Err(Error::Panicked)),
            Self::Hangs => matches!(answer, Err(Error::TimedOut(_))),
        }
    }
}

/// Gives the number of fetches and of callers who got what the source did.
async fn crowd(deed: Deed) -> (u32, u32) {
    let (fetches, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
    let options = Options { fetch_timeout: Duration::from_secs(2), ..Options::default() };
    let cache = larder(options, {
        let (fetches, gate) = (Arc::clone(&fetches), Arc::clone(&gate));
        move || {
            fetches.fetch_add(1, Ordering::Relaxed);
            let gate = Arc::clone(&gate);
            async move {
                let _open = gate.acquire().await;
                deed.done().await
            }
        }
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get(&1).await })
        })
        .collect();
    while cache.stats().waiters < u64::from(CALLERS) {
        tokio::task::yield_now().await;
    }
    gate.add_permits(CALLERS as usize);
    let mut served = 0;
    for caller in callers {
        served += u32::from(deed.is_what_came(&caller.await.expect("a caller does not panic")));
    }
    cache.close().await;
    (fetches.load(Ordering::Relaxed), served)
}

fn crowds() {
    println!("# A crowd: {CALLERS} callers of one cold key\n");
    let two_threads = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let two_threads = two_threads.expect("a runtime can be made");
    for (threads, runtime) in [(1, one_thread()), (2, two_threads)] {
        for deed in [Deed::Answers, Deed::Fails, Deed::Panics, Deed::Hangs] {
            let (fetches, served) = runtime.block_on(crowd(deed));
            println!("{threads} thread(s), the source {deed:?}: {fetches} fetch, {served} served");
            assert_eq!((fetches, served), (1, CALLERS), "one fetch must serve everyone");
        }
    }
    println!();
}

fn main() {
    if let Some(subject) = std::env::args().nth(1) {
        println!("{}", misses_of(&subject));
        return;
    }
    miss();
    waiter();
    crowds();
}
