//! Who owns the values in these tests, and how the tests are run.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use larder_cache::{
    Attempt, Backoff, Blame, Cache, Clock, Fetched, Fresh, Hands, Limits, Options, Refresh, Source,
};
use shuttle::future::JoinHandle;
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

pub(crate) const KEY: u32 = 1;
pub(crate) const OTHER: u32 = 2;
/// A sleep that ends some time.
pub(crate) const SOON: Duration = Duration::from_secs(1);
/// A sleep that does not end.
pub(crate) const NEVER: Duration = Duration::from_secs(1_000_000);
/// The index of the first value.
pub(crate) const FIRST: u64 = 10;

/// More than any run takes in which nobody is left behind.
const MOST_STEPS: usize = 50_000;

/// Runs `test` in as many interleavings as said: most picked at random, some by giving tasks priorities
/// that change a few times, which finds what needs one task to be far behind.
pub(crate) fn explore<F>(runs: usize, test: fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config.stack_size = 0x2_0000;
    let run = move || shuttle::future::block_on(test());
    Runner::new(RandomScheduler::new(runs), config.clone()).run(run);
    Runner::new(PctScheduler::new(3, runs / 3), config).run(run);
}

/// Starts a task.
pub(crate) fn start<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    shuttle::future::spawn(future)
}

/// Lets others go on, for a few turns or not at all.
pub(crate) async fn turns() {
    while shuttle::rand::thread_rng().gen_bool(0.7) {
        shuttle::future::yield_now().await;
    }
}

/// `future`'s output, or `None` if it is given up before it has one.
pub(crate) async fn for_a_while<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = turns() => None,
    }
}

/// Waits until something is so that nobody tells.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        shuttle::future::yield_now().await;
    }
}

/// What the owner does with a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Fails,
    CannotBeReached,
    Panics,
    NeverAnswers,
}

#[derive(Debug, thiserror::Error)]
#[error("the owner is down")]
pub(crate) struct Down(pub(crate) Blame);

/// A handle on the owner of one value with an index, the same for all keys; the cache has another one.
#[derive(Clone)]
pub(crate) struct Owner(Arc<Books>);

struct Books {
    page: shuttle::sync::Mutex<Page>,
    /// How many fetches there are now, by key.
    running: std::sync::Mutex<HashMap<u32, usize>>,
    most_running: AtomicU64,
    fetches: AtomicU64,
}

struct Page {
    value: u64,
    index: u64,
    mood: Mood,
    readers: Vec<Waker>,
}

struct Running<'a>(&'a Books, u32);

impl Owner {
    /// Holds 1 at [`FIRST`].
    pub(crate) fn new(mood: Mood) -> Self {
        let page = Page { value: 1, index: FIRST, mood, readers: Vec::new() };
        Self(Arc::new(Books {
            page: shuttle::sync::Mutex::new(page),
            running: std::sync::Mutex::default(),
            most_running: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
        }))
    }

    /// Changes the value to the next; its index grows with it.
    pub(crate) fn change(&self) -> u64 {
        self.turn(|page| (page.value, page.index) = (page.value + 1, page.index + 1))
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        self.turn(|page| page.mood = mood);
    }

    fn turn(&self, turn: impl FnOnce(&mut Page)) -> u64 {
        let mut page = self.0.page.lock().unwrap();
        turn(&mut page);
        let (value, readers) = (page.value, std::mem::take(&mut page.readers));
        drop(page);
        readers.into_iter().for_each(Waker::wake);
        value
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.0.fetches.load(Ordering::SeqCst)
    }

    /// The most fetches of one key that there were at a time.
    pub(crate) fn most_running(&self) -> u64 {
        self.0.most_running.load(Ordering::SeqCst)
    }

    /// Whether no cache asks it any more.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn begin(&self, key: u32) -> Running<'_> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let mut running = self.0.running.lock().unwrap();
        let now = running.entry(key).or_default();
        *now += 1;
        self.0.most_running.fetch_max(*now as u64, Ordering::SeqCst);
        Running(&self.0, key)
    }

    /// What there is once the index is another one than `past`, or the mood is bad.
    pub(crate) async fn read(&self, past: Option<u64>) -> (Mood, u64, u64) {
        std::future::poll_fn(|context| {
            let mut page = self.0.page.lock().unwrap();
            if page.mood == Mood::Answers && past == Some(page.index) {
                page.readers.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready((page.mood, page.value, page.index))
        })
        .await
    }

    pub(crate) async fn answer(&self, key: u32, past: Option<u64>) -> Result<Fetched<u64>, Down> {
        let _running = self.begin(key);
        // Read first and told later: what comes between makes the answer an old one.
        let (mood, value, index) = self.read(past).await;
        turns().await;
        match mood {
            Mood::Answers => Ok(Fresh::new(value).index(index).into()),
            Mood::Fails => Err(Down(Blame::Entry)),
            Mood::CannotBeReached => Err(Down(Blame::Upstream)),
            // Without the panic hook, which would print a page each time.
            Mood::Panics => std::panic::resume_unwind(Box::new("the owner panics")),
            Mood::NeverAnswers => std::future::pending().await,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

impl Source for Owner {
    type Key = u32;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, key: &u32, attempt: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.answer(*key, attempt.wait().map(|wait| wait.past)).await
    }

    fn blame(&self, down: &Down) -> Blame {
        down.0
    }
}

/// Nothing grows old, nothing times out, nothing backs off, and time stands still.
pub(crate) fn options(refresh: Refresh) -> (Options, Hands) {
    let (clock, hands) = Clock::by_hand(0);
    let options = Options {
        capacity: 100,
        expected_entries: 1,
        ttl: Duration::MAX,
        fetch_timeout: NEVER,
        idle: Duration::MAX,
        backoff: Backoff { free_failures: u32::MAX, ..Backoff::default() },
        rate: None,
        limits: Limits { troubles: 32, ..Limits::default() },
        refresh,
        clock: Some(clock),
        ..Options::default()
    };
    (options, hands)
}

pub(crate) fn cache(refresh: Refresh, mood: Mood) -> (Cache<Owner>, Owner) {
    let owner = Owner::new(mood);
    (Cache::new(owner.clone(), options(refresh).0).unwrap(), owner)
}

/// By fetches that wait at the owner until something has changed.
pub(crate) const BLOCKING: Refresh = Refresh::Blocking { wait: NEVER };

/// Closes, and looks whether anything is left.
pub(crate) async fn close<S: Source>(cache: &Cache<S>) {
    cache.close().await;
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.flights, stats.waiters), (0, 0, 0));
    assert_eq!((stats.subscriptions, stats.keepers.total), (0, 0));
    assert_eq!((stats.keepers.connected, stats.keepers.failing), (0, 0));
}
