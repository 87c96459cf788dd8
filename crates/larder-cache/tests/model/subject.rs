//! The cache under test, and an owner that writes down what it is asked and told.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder_cache::{
    Attempt, Backoff, Blame, Cache, Clock, Fetched, Options, Origin, Removal, Reply, Request,
    Source, Subscription,
};

use crate::operation::{Bounds, What};
use crate::support::secs;

pub(crate) const TTL: u64 = 10_000;
pub(crate) const ENDURE: u64 = 20_000;
pub(crate) const ABSENT_TTL: u64 = 5_000;
pub(crate) const FETCH_TIMEOUT: u64 = 3_000;
pub(crate) const IDLE: u64 = 15_000;
pub(crate) const SWEEP_EVERY: u64 = IDLE / 4;
pub(crate) const FREE_FAILURES: u32 = 1;
pub(crate) const BASE: u64 = 4_000;
pub(crate) const CAP: u64 = 16_000;
pub(crate) const CAPACITY: u64 = 6;

/// What the owner saw, in the order in which it happened. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) key: u32,
    pub(crate) what: Happened,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Happened {
    /// A fetch began, which was shown this value and will be answered so.
    Began { previous: Option<u64>, answer: What },
    /// It is over: answered, dropped, or gone in a panic.
    Ended,
    /// The listener was told.
    Removed { value: u64, cause: Removal },
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Hit { value: u64, age: u64 },
    Miss { value: u64, age: u64 },
    Stale { value: u64, age: u64, error: String },
    Failed(String),
}

impl Seen {
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Stale { error, .. } | Self::Failed(error) => Some(error),
            Self::Hit { .. } | Self::Miss { .. } => None,
        }
    }
}

/// What a subscription was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) value: Option<u64>,
    pub(crate) error: Option<String>,
    pub(crate) missed: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("{}", failed(*.0))]
pub(crate) struct Failed(What);

fn failed(what: What) -> &'static str {
    match what {
        What::Refuse => "refused",
        What::Unreachable => "unreachable",
        _ => "failed",
    }
}

#[derive(Clone)]
pub(crate) struct Owner(Arc<Diary>);

pub(crate) struct Diary {
    clock: Clock,
    answer: Mutex<(What, Duration)>,
    events: Mutex<Vec<Event>>,
}

impl Owner {
    fn note(&self, key: u32, what: Happened) {
        let at = self.0.clock.now().as_millis();
        self.0.events.lock().unwrap().push(Event { at, key, what });
    }
}

struct UnderWay<'a>(&'a Owner, u32);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.note(self.1, Happened::Ended);
    }
}

impl Source for Owner {
    type Key = u32;
    type Value = u64;
    type Error = Failed;

    async fn fetch(&self, key: &u32, attempt: Attempt<u64>) -> Result<Fetched<u64>, Failed> {
        let (answer, delay) = *self.0.answer.lock().unwrap();
        self.note(*key, Happened::Began { previous: attempt.previous().copied(), answer });
        let _under_way = UnderWay(self, *key);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match answer {
            What::Value(value) => Ok(Fetched::value(value)),
            What::NotModified => Ok(Fetched::NotModified { ttl: None }),
            What::Absent => Ok(Fetched::Absent { remember_for: None }),
            What::Fail | What::Refuse | What::Unreachable => Err(Failed(answer)),
            // As a panic, but without its message on the terminal.
            What::Panic => std::panic::resume_unwind(Box::new("as the scenario wants it")),
            What::Hang => std::future::pending().await,
        }
    }

    fn weigh(&self, _: &u32, value: &u64) -> u64 {
        weight(*value)
    }

    fn blame(&self, error: &Failed) -> Blame {
        match error.0 {
            What::Refuse => Blame::Refusal,
            What::Unreachable => Blame::Upstream,
            _ => Blame::Entry,
        }
    }

    fn removed(&self, key: &u32, value: &u64, cause: Removal) {
        self.note(*key, Happened::Removed { value: *value, cause });
    }
}

pub(crate) fn weight(value: u64) -> u64 {
    match value {
        1_000.. => value,
        _ if value % 10 == 9 => 3,
        _ => 1,
    }
}

/// A cache on demand, on tokio's paused time.
pub(crate) struct Subject {
    pub(crate) cache: Cache<Owner>,
    owner: Owner,
    pub(crate) subscriptions: Vec<Subscription<Owner>>,
}

impl Subject {
    pub(crate) fn new() -> Self {
        let clock = Clock::running();
        let owner = Owner(Arc::new(Diary {
            clock: clock.clone(),
            answer: Mutex::new((What::Value(0), Duration::ZERO)),
            events: Mutex::default(),
        }));
        let cache = Cache::new(owner.clone(), options(clock)).unwrap();
        Self { cache, owner, subscriptions: Vec::new() }
    }

    pub(crate) fn now(&self) -> u64 {
        self.owner.0.clock.now().as_millis()
    }

    /// What has happened since this was asked last.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.owner.0.events.lock().unwrap())
    }

    pub(crate) fn answer(&self, what: What, delay: u64) {
        *self.owner.0.answer.lock().unwrap() = (what, secs(delay));
    }

    pub(crate) async fn get(&self, key: u32, bounds: Bounds) -> Seen {
        let answer = self.cache.get_with(&key, &request(bounds)).await;
        answer.map_or_else(|error| Seen::Failed(error.to_string()), |reply| seen(&reply))
    }

    /// Polls a request once; says what came of it, if it was over by then.
    pub(crate) fn ask_and_leave(&self, key: u32) -> Option<Seen> {
        let asked = pin!(self.cache.get(&key));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(reply)) => Some(seen(&reply)),
            Poll::Ready(Err(error)) => Some(Seen::Failed(error.to_string())),
            Poll::Pending => None,
        }
    }

    pub(crate) fn subscribe(&mut self, key: u32, max_age: u64) {
        let request = Request::DEFAULT.max_age(secs(max_age));
        self.subscriptions.push(self.cache.subscribe(&key, &request).unwrap());
    }

    /// The next update, if there is one.
    pub(crate) fn changed(&mut self, nth: usize) -> Option<Told> {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(update) = self.subscriptions[nth].poll_changed(&mut context) else {
            return None;
        };
        let update = update.expect("the cache is open");
        let value = update.value.map(|reply| *reply);
        let error = update.error.as_ref().map(ToString::to_string);
        Some(Told { value, error, missed: update.missed })
    }
}

fn options(clock: Clock) -> Options {
    let millis = Duration::from_millis;
    Options {
        capacity: CAPACITY,
        expected_entries: 8,
        ttl: millis(TTL),
        stale_if_error: millis(ENDURE),
        absent_ttl: millis(ABSENT_TTL),
        fetch_timeout: millis(FETCH_TIMEOUT),
        idle: millis(IDLE),
        backoff: Backoff { free_failures: FREE_FAILURES, base: millis(BASE), cap: millis(CAP) },
        rate: None,
        clock: Some(clock),
        ..Options::default()
    }
}

fn request(bounds: Bounds) -> Request {
    let Bounds { max_age, stale_if_error, timeout } = bounds;
    let mut request = Request::DEFAULT;
    if (max_age, stale_if_error) == (Some(0), Some(0)) {
        request = request.must_revalidate();
    } else {
        request = max_age.map_or(request, |bound| request.max_age(secs(bound)));
        request = stale_if_error.map_or(request, |bound| request.stale_if_error(secs(bound)));
    }
    timeout.map_or(request, |patience| request.timeout(secs(patience)))
}

#[expect(clippy::cast_possible_truncation, reason = "a scenario takes minutes")]
fn seen(reply: &Reply<u64>) -> Seen {
    let (value, age) = (**reply, reply.age().as_millis() as u64);
    match reply.origin() {
        Origin::Hit => Seen::Hit { value, age },
        Origin::Miss | Origin::Unchanged => Seen::Miss { value, age },
        Origin::Stale(reason) => Seen::Stale { value, age, error: reason.to_string() },
    }
}
