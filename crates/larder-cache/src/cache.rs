//! The cache: it looks, joins, fetches, publishes and endures; what is decided is decided elsewhere.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::{Clock, Ticker, Time};
use crate::entry::{Freshness, Verdict, Versioned};
use crate::error::{Error, Limit};
use crate::failures::Failures;
use crate::flight::{self, Bounded, Flight, Flights, Landing, Place, lock};
use crate::options::{InvalidOption, Options};
use crate::reply::{Origin, Reply};
use crate::request::Request;
use crate::source::{Answer, Attempt, Fetched, Source};
use crate::stats::{Counters, Happened, Stats};
use crate::store::{Store, TooHeavy};

/// What a call gets: a reply, or why there is none.
pub type Outcome<S> =
    Result<Reply<<S as Source>::Value, <S as Source>::Error>, Error<<S as Source>::Error>>;

/// A read-through cache over one source. Cloning gives another handle on the same cache.
///
/// Bounded in weight, in fetches under way, in waiting callers and in remembered failures; see
/// [`Options`]. Fetches run as tasks on the tokio runtime of the caller that started them.
/// [`close`](Self::close) ends them and joins them; a cache that is only dropped lets those that are
/// under way run to their end or their time limit.
pub struct Cache<S: Source> {
    core: Arc<Core<S>>,
}

impl<S: Source> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<S: Source> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

struct Core<S: Source> {
    source: S,
    ttl: Duration,
    stale_if_error: Duration,
    fetch_timeout: Duration,
    clock: Clock,
    store: Store<S::Key, S::Value>,
    flights: Flights<S::Key, S::Value, S::Error>,
    failures: Failures<S::Key, S::Error>,
    counters: Arc<Counters>,
    under_way: Arc<Bounded>,
    waiting: Arc<Bounded>,
    /// The flights' tasks; none once the cache is closed.
    tasks: Mutex<Option<JoinSet<()>>>,
    ticker: Mutex<Option<Ticker>>,
}

/// What a call that did not hit gets to do.
enum Boarding<S: Source> {
    /// Nothing: meanwhile there is a value.
    Served(Reply<S::Value, S::Error>),
    /// Wait for this flight, at this place.
    Waits(Arc<Flight<S::Value, S::Error>>, Place),
}

impl<S: Source> Cache<S> {
    /// A cache in front of `source`. Without a clock in the options it must be made inside a tokio
    /// runtime, which then runs the cache's own ticker.
    pub fn new(source: S, options: Options) -> Result<Self, InvalidOption> {
        options.validate()?;
        let counters = Arc::new(Counters::default());
        let store = Store::new(&options, counters.clone());
        let failures = Failures::new(options.max_remembered_failures, options.backoff);
        let ticker = options.clock.is_none();
        let clock = options.clock.unwrap_or_else(Clock::running);
        let ticker = ticker.then(|| Ticker::start(clock.clone(), Ticker::PERIOD));
        let core = Core {
            source,
            ttl: options.ttl,
            stale_if_error: options.stale_if_error,
            fetch_timeout: options.fetch_timeout,
            clock,
            store,
            flights: Flights::new(),
            failures,
            counters,
            under_way: Arc::new(Bounded::new(options.max_flights)),
            waiting: Arc::new(Bounded::new(options.max_waiters)),
            tasks: Mutex::new(Some(JoinSet::new())),
            ticker: Mutex::new(ticker),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// The value of `key`, from the cache or from the source, as the options say.
    ///
    /// A hit never awaits. Dropping the future harms nobody: the fetch goes on for whoever else waits
    /// for it, and for the next caller.
    pub async fn get(&self, key: &S::Key) -> Outcome<S> {
        self.get_with(key, &Request::default()).await
    }

    /// As [`get`](Self::get), with wishes of the caller's own.
    pub async fn get_with(&self, key: &S::Key, request: &Request) -> Outcome<S> {
        if let Some(reply) = self.hit(key, request) {
            return Ok(reply);
        }
        // Boxed, so that a hit does not pay for the room that a wait needs.
        Box::pin(self.miss(key, request)).await
    }

    /// What is cached for `key`, fresh or not; never asks the source, and does not count as a use.
    /// The reply's [`origin`](Reply::origin) says whether it is fresh.
    pub fn peek(&self, key: &S::Key) -> Option<Reply<S::Value, S::Error>> {
        let entry = self.core.store.peek(key)?;
        let now = self.core.clock.coarse();
        let origin = match entry.judge(&Request::default(), now) {
            Verdict::Serve => Origin::Hit,
            Verdict::Fetch => Origin::Stale,
        };
        Some(Reply::new(entry, now, origin))
    }

    /// Stores a value that came from elsewhere, fresh for [`Options::ttl`]. A fetch that is under way
    /// will not undo it.
    pub fn put(&self, key: S::Key, value: S::Value) -> Result<(), TooHeavy> {
        let core = &self.core;
        let weight = core.source.weigh(&key, &value);
        let freshness = Freshness::starting(core.clock.now(), Duration::ZERO, core.ttl);
        let entry = Arc::new(Versioned::new(value, 0, weight, freshness));
        let mut part = core.flights.lock(&key);
        part.remove(&key);
        core.failures.forget(&key);
        core.store.insert(key, entry).inspect_err(|_| core.count(Happened::Refused))
    }

    /// Forgets everything about `key`: its value, its absence, its back-off. A fetch that is under way
    /// still answers those who wait for it already, and nobody else.
    pub fn invalidate(&self, key: &S::Key) {
        let core = &self.core;
        let mut part = core.flights.lock(key);
        part.remove(key);
        core.failures.forget(key);
        core.store.remove(key);
    }

    /// What happened since the cache was made, and what it holds now.
    pub fn stats(&self) -> Stats {
        let core = &self.core;
        Stats {
            entries: core.store.len() as u64,
            weight: core.store.weight(),
            flights: core.under_way.count() as u64,
            waiters: core.waiting.count() as u64,
            ..Stats::counted(&core.counters)
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.core.source
    }

    /// Ends every fetch, releases everyone who waits with [`Error::Closed`] (or with a value that may
    /// stand in), and joins every task. What is cached can still be read.
    pub async fn close(&self) {
        let tasks = lock(&self.core.tasks).take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
        let ticker = lock(&self.core.ticker).take();
        if let Some(ticker) = ticker {
            ticker.stop().await;
        }
    }

    /// How much longer the reply's value is fresh.
    pub(crate) fn fresh_for(&self, reply: &Reply<S::Value, S::Error>) -> Duration {
        reply.entry().fresh_until().since(self.core.clock.now())
    }

    fn hit(&self, key: &S::Key, request: &Request) -> Option<Reply<S::Value, S::Error>> {
        let entry = self.core.store.get(key)?;
        let now = self.core.clock.coarse();
        if entry.judge(request, now) == Verdict::Fetch {
            return None;
        }
        self.core.count(Happened::Hit);
        Some(Reply::new(entry, now, Origin::Hit))
    }

    async fn miss(&self, key: &S::Key, request: &Request) -> Outcome<S> {
        let landing = match self.board(key, request) {
            Ok(Boarding::Served(reply)) => return Ok(reply),
            Ok(Boarding::Waits(flight, _place)) => flight.landed().await,
            Err(error) => Err(error),
        };
        let now = self.core.clock.now();
        match landing {
            Ok(entry) => Ok(Reply::new(entry, now, Origin::Miss)),
            Err(error) => self.endure(key, request, error, now),
        }
    }

    /// Joins the key's flight, or starts it.
    fn board(&self, key: &S::Key, request: &Request) -> Result<Boarding<S>, Error<S::Error>> {
        let core = &self.core;
        let mut part = core.flights.lock(key);
        // Looked at again under the lock: a flight may have landed after the first look, and starting
        // another would be one fetch too many.
        let now = core.clock.now();
        let cached = core.store.get(key);
        if let Some(entry) = &cached
            && entry.judge(request, now) == Verdict::Serve
        {
            core.count(Happened::Hit);
            return Ok(Boarding::Served(Reply::new(entry.clone(), now, Origin::Hit)));
        }
        if let Some(flight) = part.get(key) {
            let place = core.enter(&core.waiting, Limit::Waiters)?;
            core.count(Happened::Join);
            return Ok(Boarding::Waits(flight.clone(), place));
        }
        if let Some(error) = core.failures.recall(key, now) {
            return Err(error);
        }
        let place = core.enter(&core.waiting, Limit::Waiters)?;
        let seat = core.enter(&core.under_way, Limit::Flights)?;
        core.count(Happened::Miss);
        let flight = flight::start(&mut part, key);
        drop(part);
        let pilot = Pilot {
            core: core.clone(),
            key: key.clone(),
            flight: flight.clone(),
            previous: cached,
            _seat: seat,
        };
        core.spawn(pilot);
        Ok(Boarding::Waits(flight, place))
    }

    /// A value that is no longer good enough stands in for a failed fetch, within both bounds.
    fn endure(
        &self,
        key: &S::Key,
        request: &Request,
        error: Error<S::Error>,
        now: Time,
    ) -> Outcome<S> {
        if matches!(error, Error::Absent) {
            return Err(error);
        }
        let bound = request.stale_if_error.min(self.core.stale_if_error);
        match self.core.store.peek(key).filter(|entry| entry.may_stand_in(bound, now)) {
            Some(entry) => {
                self.core.count(Happened::StaleServed);
                Ok(Reply::stale(entry, now, error))
            }
            None => Err(error),
        }
    }
}

impl<S: Source> Core<S> {
    fn count(&self, what: Happened) {
        self.counters.count(what);
    }

    fn enter(
        &self,
        bounded: &Arc<Bounded>,
        limit: fn(usize) -> Limit,
    ) -> Result<Place, Error<S::Error>> {
        bounded.enter().ok_or_else(|| {
            self.count(Happened::Overloaded);
            Error::Overloaded(limit(bounded.most()))
        })
    }

    /// Runs the flight as a task of the cache's own. Once the cache is closed the pilot is dropped
    /// instead, which lands the flight.
    fn spawn(&self, pilot: Pilot<S>) {
        if let Some(tasks) = lock(&self.tasks).as_mut() {
            // What has ended since the last spawn is let go, so that the set stays as small as the
            // number of flights. A panic has landed its flight already.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(pilot.fly());
        }
    }

    /// Stores what a flight brought, if it is still the key's flight, and says what it lands with.
    fn publish(
        &self,
        key: &S::Key,
        flight: &Arc<Flight<S::Value, S::Error>>,
        arrival: Arrival<S::Value, S::Error>,
    ) -> Landing<S::Value, S::Error> {
        let mut part = self.flights.lock(key);
        let may_publish = flight::take_out(&mut part, key, flight);
        if !may_publish {
            self.count(Happened::Superseded);
        }
        let now = self.clock.now();
        match arrival {
            Arrival::Entry(entry) => {
                if may_publish {
                    self.failures.forget(key);
                    if self.store.insert(key.clone(), entry.clone()).is_err() {
                        self.count(Happened::Refused);
                    }
                }
                Ok(entry)
            }
            Arrival::Absent(remember) => {
                if may_publish {
                    self.store.remove(key);
                    self.failures.absent(key.clone(), remember, now);
                }
                Err(Error::Absent)
            }
            Arrival::Failure(error) => {
                if may_publish {
                    self.failures.failed(key.clone(), error.clone(), now);
                }
                Err(error)
            }
        }
    }

    /// What a fetch came back with, as an entry.
    fn arrival(
        &self,
        key: &S::Key,
        fetched: Fetched<S::Value>,
        previous: Option<Arc<Versioned<S::Value>>>,
    ) -> Arrival<S::Value, S::Error> {
        let now = self.clock.now();
        match fetched.0 {
            Answer::Value { value, index, age, ttl } => {
                self.count(Happened::Fetched);
                let weight = self.source.weigh(key, &value);
                let freshness = Freshness::starting(now, age, self.at_most_ttl(ttl));
                Arrival::Entry(Arc::new(Versioned::new(value, index, weight, freshness)))
            }
            Answer::NotModified { ttl } => match previous {
                Some(entry) => {
                    self.count(Happened::NotModified);
                    entry.confirm(Freshness::starting(now, Duration::ZERO, self.at_most_ttl(ttl)));
                    Arrival::Entry(entry)
                }
                None => self.failure(Error::NothingToConfirm),
            },
            Answer::Absent { remember } => {
                self.count(Happened::Absent);
                Arrival::Absent(remember)
            }
        }
    }

    /// What the source says, if that is less than what the options say.
    fn at_most_ttl(&self, said: Option<Duration>) -> Duration {
        said.map_or(self.ttl, |said| said.min(self.ttl))
    }

    fn failure(&self, error: Error<S::Error>) -> Arrival<S::Value, S::Error> {
        self.count(Happened::Failed);
        Arrival::Failure(error)
    }
}

/// What a fetch came back with.
enum Arrival<V, E> {
    Entry(Arc<Versioned<V>>),
    Absent(Duration),
    Failure(Error<E>),
}

/// Flies one flight, and lands it whatever happens: by itself at the end of the fetch, else when it is
/// dropped, by a panic of the source, by the close of the cache, or because it never took off.
struct Pilot<S: Source> {
    core: Arc<Core<S>>,
    key: S::Key,
    flight: Arc<Flight<S::Value, S::Error>>,
    previous: Option<Arc<Versioned<S::Value>>>,
    _seat: Place,
}

impl<S: Source> Pilot<S> {
    async fn fly(self) {
        let core = &self.core;
        let time_allowed = core.fetch_timeout;
        let attempt = Attempt { previous: self.previous.clone(), time_allowed };
        let fetch = core.source.fetch(&self.key, attempt);
        let arrival = match tokio::time::timeout(time_allowed, fetch).await {
            Ok(Ok(fetched)) => core.arrival(&self.key, fetched, self.previous.clone()),
            Ok(Err(error)) => core.failure(Error::Source(Arc::new(error))),
            Err(_elapsed) => core.failure(Error::TimedOut(time_allowed)),
        };
        self.land(arrival);
    }

    fn land(&self, arrival: Arrival<S::Value, S::Error>) {
        self.flight.land(self.core.publish(&self.key, &self.flight, arrival));
    }
}

impl<S: Source> Drop for Pilot<S> {
    fn drop(&mut self) {
        if self.flight.has_landed() {
            return;
        }
        let error = if std::thread::panicking() { Error::Panicked } else { Error::Closed };
        self.land(self.core.failure(error));
    }
}

#[cfg(test)]
mod tests;
