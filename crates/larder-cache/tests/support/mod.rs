//! A source that does what the test says, one answer after another.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, missing_debug_implementations, reason = "it is part of the tests")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Backoff, Blame, Cache, Clock, Fetched, Fresh, Hands, Options, Removal, Source, Wait,
};
use tokio::sync::Semaphore;

/// What the source does with one fetch. When the script is over, it answers `Value(0)`.
pub enum Step {
    Value(u64),
    Fresh(Fresh<u64>),
    NotModified,
    Absent,
    AbsentFor(Duration),
    Fail,
    Panic,
    Hang,
    /// Waits for [`Scripted::open`], then goes on to the next step.
    Gate,
    /// Fails, and refuses the key for good.
    Refuse,
    /// From now on: waits for as long as it may, and has nothing new.
    Quiet,
    /// From now on: has nothing new, and says so at once.
    Hasty,
    /// From now on: fails.
    Broken,
}

/// What one fetch was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub key: u32,
    pub previous: Option<u64>,
    pub wait: Option<Wait>,
    pub time_allowed: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("the owner is down")]
pub struct Down;

/// A handle on the source; the cache has another one.
#[derive(Clone)]
pub struct Scripted(Arc<Script>);

/// The previous value, its index and the age asked for.
type Seen = (Option<u64>, Option<u64>, Duration);

struct Script {
    steps: Mutex<VecDeque<Step>>,
    fetches: AtomicUsize,
    running: AtomicUsize,
    gate: Semaphore,
    last_attempt: Mutex<Seen>,
    told: Mutex<Vec<Told>>,
    removals: Mutex<Vec<(u64, Removal)>>,
    blame: Mutex<Blame>,
    compares: bool,
}

impl Scripted {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::made(steps, false)
    }

    /// As [`new`](Self::new), of a source that says which values are the same.
    pub fn comparing(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::made(steps, true)
    }

    fn made(steps: impl IntoIterator<Item = Step>, compares: bool) -> Self {
        Self(Arc::new(Script {
            steps: Mutex::new(steps.into_iter().collect()),
            fetches: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            last_attempt: Mutex::default(),
            told: Mutex::default(),
            removals: Mutex::default(),
            blame: Mutex::new(Blame::Entry),
            compares,
        }))
    }

    /// How many fetches have begun.
    pub fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    /// How many fetches are under way.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// Lets one gated fetch through.
    pub fn open(&self) {
        self.0.gate.add_permits(1);
    }

    /// Forgets the script but for this step.
    pub fn only(&self, step: Step) {
        *self.0.steps.lock().unwrap() = VecDeque::from([step]);
    }

    /// What the last fetch was told.
    pub fn last_attempt(&self) -> Seen {
        *self.0.last_attempt.lock().unwrap()
    }

    /// What each fetch was told.
    pub fn told(&self) -> Vec<Told> {
        self.0.told.lock().unwrap().clone()
    }

    /// The values that have left the cache, and why.
    pub fn removals(&self) -> Vec<(u64, Removal)> {
        self.0.removals.lock().unwrap().clone()
    }

    fn next(&self) -> Step {
        let mut steps = self.0.steps.lock().unwrap();
        match steps.front() {
            Some(Step::Quiet) => Step::Quiet,
            Some(Step::Hasty) => Step::Hasty,
            Some(Step::Broken) => Step::Broken,
            _ => steps.pop_front().unwrap_or(Step::Value(0)),
        }
    }

    fn fail(&self, blame: Blame) -> Down {
        *self.0.blame.lock().unwrap() = blame;
        Down
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Scripted {
    type Key = u32;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, key: &u32, attempt: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        self.0.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(&self.0.running);
        let seen = (attempt.previous().copied(), attempt.previous_index(), attempt.max_age());
        *self.0.last_attempt.lock().unwrap() = seen;
        let (wait, time_allowed) = (attempt.wait(), attempt.time_allowed());
        self.0.told.lock().unwrap().push(Told { key: *key, previous: seen.0, wait, time_allowed });
        loop {
            match self.next() {
                Step::Quiet | Step::Hasty if seen.0.is_none() => {
                    return Ok(Fresh::new(0).index(1).into());
                }
                Step::Value(value) => return Ok(Fetched::value(value)),
                Step::Fresh(fresh) => return Ok(fresh.into()),
                Step::NotModified | Step::Hasty => return Ok(Fetched::NotModified { ttl: None }),
                Step::Absent => return Ok(Fetched::Absent { remember_for: None }),
                Step::AbsentFor(ttl) => return Ok(Fetched::Absent { remember_for: Some(ttl) }),
                Step::Fail | Step::Broken => return Err(self.fail(Blame::Entry)),
                Step::Refuse => return Err(self.fail(Blame::Refusal)),
                Step::Quiet => {
                    let at_most = wait.map_or(Duration::ZERO, |wait| wait.at_most);
                    tokio::time::sleep(at_most).await;
                    return Ok(Fetched::NotModified { ttl: None });
                }
                Step::Panic => panic!("the source panics, as the test wants it"),
                Step::Hang => std::future::pending().await,
                Step::Gate => self.0.gate.acquire().await.unwrap().forget(),
            }
        }
    }

    /// Values from a thousand on are as heavy as they say.
    fn weigh(&self, _: &u32, value: &u64) -> u64 {
        if *value < 1000 { 1 } else { *value }
    }

    fn is_same(&self, before: &u64, after: &u64) -> bool {
        self.0.compares && before == after
    }

    fn blame(&self, _: &Down) -> Blame {
        *self.0.blame.lock().unwrap()
    }

    fn removed(&self, _: &u32, value: &u64, cause: Removal) {
        self.0.removals.lock().unwrap().push((*value, cause));
    }
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Fresh for 10 s, stale for 20 s more, absent for 5 s; back-off of 4 s after the second failure.
pub fn options() -> (Options, Hands) {
    let (clock, hands) = Clock::by_hand(0);
    let options = Options {
        ttl: secs(10),
        stale_if_error: secs(20),
        absent_ttl: secs(5),
        fetch_timeout: secs(3),
        backoff: Backoff { free_failures: 1, base: secs(4), cap: secs(16) },
        clock: Some(clock),
        ..Options::default()
    };
    (options, hands)
}

pub fn cache(steps: impl IntoIterator<Item = Step>) -> (Cache<Scripted>, Scripted, Hands) {
    let source = Scripted::new(steps);
    let (options, hands) = options();
    (Cache::new(source.clone(), options).unwrap(), source, hands)
}

/// Lets every other task run until it waits.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// An owner of one value with an index, which blocks as Consul does.
#[derive(Clone)]
pub struct Counted(Arc<Owned>);

struct Owned {
    state: Mutex<State>,
    changed: tokio::sync::Notify,
    fetches: AtomicUsize,
}

#[derive(Clone, Copy)]
struct State {
    value: u64,
    index: u64,
    failing: bool,
    last_wait: Option<u64>,
}

impl Counted {
    /// Holds `value` at index 10.
    pub fn new(value: u64) -> Self {
        let state = State { value, index: 10, failing: false, last_wait: None };
        let (changed, fetches) = (tokio::sync::Notify::new(), AtomicUsize::new(0));
        Self(Arc::new(Owned { state: Mutex::new(state), changed, fetches }))
    }

    /// Changes the value; the index grows by one.
    pub fn set(&self, value: u64) {
        self.change(|state| (state.value, state.index) = (value, state.index + 1));
    }

    /// Begins again at a lower index, as after a restored backup.
    pub fn restart(&self, value: u64, index: u64) {
        self.change(|state| (state.value, state.index) = (value, index));
    }

    /// Fails from now on, also those who wait; or no longer.
    pub fn fail(&self, failing: bool) {
        self.change(|state| state.failing = failing);
    }

    pub fn index(&self) -> u64 {
        self.0.state.lock().unwrap().index
    }

    /// The index that the last fetch waited to pass.
    pub fn last_wait(&self) -> Option<u64> {
        self.0.state.lock().unwrap().last_wait
    }

    pub fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap());
        self.0.changed.notify_waiters();
    }
}

impl Source for Counted {
    type Key = u32;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, _: &u32, attempt: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        let wait = attempt.wait();
        self.0.state.lock().unwrap().last_wait = wait.map(|wait| wait.past);
        let deadline = wait.map_or(Duration::ZERO, |wait| wait.at_most);
        let over = tokio::time::sleep(deadline);
        tokio::pin!(over);
        loop {
            let changed = self.0.changed.notified();
            let state = *self.0.state.lock().unwrap();
            if state.failing {
                return Err(Down);
            }
            // A lower index counts as passed: the owner has begun again.
            if wait.is_none_or(|wait| wait.past != state.index) {
                return Ok(Fresh::new(state.value).index(state.index).into());
            }
            tokio::select! {
                () = changed => {}
                () = &mut over => {
                    return Ok(Fresh::new(state.value).index(state.index).into());
                }
            }
        }
    }

    fn is_same(&self, before: &u64, after: &u64) -> bool {
        before == after
    }
}
