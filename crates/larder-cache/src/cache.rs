//! The cache: the lookup story from the caller's side. It orchestrates and decides nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::engine::{Arrival, Engine, Outcome};
use crate::entry::{Verdict, Versioned, judge};
use crate::error::{Crowd, Error};
use crate::flight::{Place, Round};
use crate::load;
use crate::options::{Options, OutOfRange};
use crate::reply::{Origin, Reply};
use crate::request::Request;
use crate::source::{Attempt, Fetched, Fresh, Source};
use crate::stats::{Event, Stats};

/// A read-through cache of what `S` owns. Clones are handles on the same cache.
///
/// Entries are bounded by weight, fetches and waiters by [`Limits`](crate::Limits). Dropping the last
/// handle ends every fetch under way; [`close`](Self::close) also waits for their end.
pub struct Cache<S: Source> {
    engine: Arc<Engine<S>>,
    owner: Arc<Owner<S>>,
}

type Answer<S> = Result<Reply<<S as Source>::Value>, Error<<S as Source>::Error>>;

/// What became of a value put in from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It is the key's value now.
    Stored,
    /// The key had a value already, and still has.
    Present,
    /// It is too heavy to be kept (see [`Options::capacity`]); the key has no value now.
    TooHeavy,
    /// The cache is closed.
    Closed,
}

/// Flights hold the engine, so that its own drop would never come while one hangs.
struct Owner<S: Source>(Arc<Engine<S>>);

/// Where a request that found nothing fresh goes on.
enum Way<S: Source> {
    /// The value has arrived meanwhile.
    Arrived(Reply<S::Value>),
    /// Wait for this round.
    Wait(Arc<Round<Outcome<S>>>),
}

impl<S: Source> Cache<S> {
    /// Makes an empty cache. Fetches run on the tokio runtime that this is called in; outside of one
    /// it panics.
    pub fn new(source: S, options: Options) -> Result<Self, OutOfRange> {
        options.validate()?;
        let engine = Arc::new(Engine::new(source, options));
        Ok(Self { owner: Arc::new(Owner(Arc::clone(&engine))), engine })
    }

    /// `key`'s value, from memory if it is fresh, or else from the source.
    ///
    /// A hit never waits. A caller that gives up cancels nobody: drop the future at will.
    pub async fn get(&self, key: &S::Key) -> Answer<S> {
        match self.look(key, &Request::DEFAULT) {
            Some((entry, now)) => Ok(Reply::new(entry, now, Origin::Hit)),
            None => self.miss(key, Request::DEFAULT).await,
        }
    }

    /// As [`get`](Self::get), within the bounds of `request`.
    pub async fn get_with(&self, key: &S::Key, request: &Request) -> Answer<S> {
        match self.look(key, request) {
            Some((entry, now)) => Ok(Reply::new(entry, now, Origin::Hit)),
            None => self.miss(key, *request).await,
        }
    }

    /// `key`'s value if it is in memory and fresh. Never asks the source; counts as a hit, or not at
    /// all.
    #[inline]
    pub fn peek(&self, key: &S::Key) -> Option<Reply<S::Value>> {
        self.peek_with(key, &Request::DEFAULT)
    }

    /// As [`peek`](Self::peek), within the bounds of `request`.
    #[inline]
    pub fn peek_with(&self, key: &S::Key, request: &Request) -> Option<Reply<S::Value>> {
        self.look(key, request).map(|(entry, now)| Reply::new(entry, now, Origin::Hit))
    }

    /// The first step of the story. It returns two words, which travel in registers: a whole reply,
    /// handed on through an async fn's states, is copied twice, for half of the price of the lookup.
    #[inline]
    fn look(&self, key: &S::Key, request: &Request) -> Option<(Arc<Versioned<S::Value>>, Time)> {
        let engine = &*self.engine;
        let entry = engine.store.get(key)?;
        let now = engine.clock.coarse();
        match judge(entry.freshness(), request, Duration::ZERO, now) {
            Verdict::Fresh => {
                engine.counters.count(Event::Hit);
                Some((entry, now))
            }
            Verdict::Stale | Verdict::Expired => None,
        }
    }

    /// Sets `key`'s value from outside. A fetch that is under way cannot undo it.
    pub fn put(&self, key: &S::Key, value: impl Into<Fresh<S::Value>>) -> Put {
        self.insert(key, value.into(), |_| false)
    }

    /// Sets `key`'s value from outside unless the cache holds one, fresh or stale. A fetch that is
    /// under way cannot undo it.
    pub fn put_if_absent(&self, key: &S::Key, value: impl Into<Fresh<S::Value>>) -> Put {
        self.insert(key, value.into(), |engine| engine.store.contains(key))
    }

    fn insert(
        &self,
        key: &S::Key,
        fresh: Fresh<S::Value>,
        keep_old: impl FnOnce(&Engine<S>) -> bool,
    ) -> Put {
        let engine = &*self.engine;
        // Foreign code runs before the lock is taken.
        let weight = engine.source.weigh(key, &fresh.value);
        let entry = engine.entry(fresh, weight, engine.clock.now());
        let mut shard = engine.flights.shard(key);
        if engine.flights.is_closing() {
            return Put::Closed;
        }
        if keep_old(engine) {
            return Put::Present;
        }
        engine.advance(&mut shard, key);
        if engine.publish(key, &entry) { Put::Stored } else { Put::TooHeavy }
    }

    /// Forgets `key`'s value; says whether there was one.
    ///
    /// Whoever asks after this gets a value whose fetch began after it. A fetch that is under way is
    /// not disturbed: those who wait for it get its value, and nobody else.
    pub fn invalidate(&self, key: &S::Key) -> bool {
        let mut shard = self.engine.flights.shard(key);
        self.engine.advance(&mut shard, key);
        self.engine.store.remove(key)
    }

    /// Forgets every value, as [`invalidate`](Self::invalidate) does for one.
    pub fn invalidate_all(&self) {
        self.engine.forget_all();
    }

    /// What the cache has done and what it holds.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Releases everyone who waits with [`Error::Closed`], forgets every value, and returns when the
    /// last task of this cache has ended. Requests from now on get the same error.
    pub async fn close(&self) {
        self.engine.shut();
        self.engine.flights.all_landed().await;
        if let Some(ticker) = self.engine.take_ticker() {
            ticker.stop().await;
        }
    }

    /// Boxed and out of line, so that the future of a hit stays small.
    #[cold]
    #[inline(never)]
    fn miss(
        &self,
        key: &S::Key,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Answer<S>> + Send + '_>> {
        self.engine.counters.count(Event::Miss);
        let key = key.clone();
        Box::pin(async move {
            let answer = match request.timeout {
                // Cancel-safe: a caller's wait holds nothing but a place among the waiters.
                Some(patience) => tokio::time::timeout(patience, self.load(&key, &request))
                    .await
                    .unwrap_or(Err(Error::Impatient(patience))),
                None => self.load(&key, &request).await,
            };
            answer.or_else(|error| self.endure(&key, &request, error))
        })
    }

    /// Waits for a value from the source that is young enough for the request.
    async fn load(&self, key: &S::Key, request: &Request) -> Answer<S> {
        let (reply, age_on_arrival) = self.wait(key, request, false).await?;
        if age_on_arrival <= request.max_age {
            return Ok(reply);
        }
        // The fetch was started by a caller who minded less, and the source is itself a cache. The
        // second one is asked for this caller's bound; what it brings is the best there is.
        self.wait(key, request, true).await.map(|(reply, _)| reply)
    }

    /// A reply, and how old the value was when it arrived: the time that the caller took to wake up
    /// is not the source's.
    async fn wait(
        &self,
        key: &S::Key,
        request: &Request,
        strict: bool,
    ) -> Result<(Reply<S::Value>, Duration), Error<S::Error>> {
        let chair = self.engine.flights.chair();
        let _chair = chair.map_err(|crowd| self.overloaded(crowd))?;
        match self.join(key, request, strict)? {
            Way::Arrived(reply) => Ok((reply, Duration::ZERO)),
            Way::Wait(round) => {
                let Arrival { entry, at } = round.outcome().await?;
                let age = Duration::from_millis(entry.freshness().age_ms(at));
                Ok((Reply::new(entry, self.engine.clock.now(), Origin::Miss), age))
            }
        }
    }

    /// Joins the flight for `key`, and starts it if there is none.
    fn join(
        &self,
        key: &S::Key,
        request: &Request,
        strict: bool,
    ) -> Result<Way<S>, Error<S::Error>> {
        let engine = &*self.engine;
        let mut shard = engine.flights.shard(key);
        if engine.flights.is_closing() {
            return Err(Error::Closed);
        }
        let now = engine.clock.now();
        // Look again. A caller that found nothing may get here after the flight that it should have
        // joined has landed: without a second look it would start another one.
        if let Some(entry) = engine.store.get(key)
            && judge(entry.freshness(), request, Duration::ZERO, now) == Verdict::Fresh
        {
            return Ok(Way::Arrived(Reply::new(entry, now, Origin::Hit)));
        }
        if let Some(trouble) = engine.troubles.get(key)
            && let Some(error) = trouble.answer(request.max_age, now)
        {
            engine.counters.count(Event::Negative);
            return Err(error);
        }
        let place = engine.flights.join(&mut shard, key, request.max_age, strict);
        drop(shard);
        match place.map_err(|crowd| self.overloaded(crowd))? {
            Place::Joined(round) => {
                engine.counters.count(Event::Join);
                Ok(Way::Wait(round))
            }
            Place::Leading(round, seat) => {
                load::start(&self.engine, key, request.max_age, seat);
                Ok(Way::Wait(round))
            }
        }
    }

    /// The last good value with the error beside it, or else the error.
    fn endure(&self, key: &S::Key, request: &Request, error: Error<S::Error>) -> Answer<S> {
        let engine = &*self.engine;
        // An absence is an answer, not a failure; a closed cache has no values.
        if matches!(error, Error::Absent | Error::Closed) {
            return Err(error);
        }
        let Some(entry) = engine.store.get(key) else { return Err(error) };
        let now = engine.clock.now();
        match judge(entry.freshness(), request, engine.options.stale_if_error, now) {
            Verdict::Fresh => Ok(Reply::new(entry, now, Origin::Hit)),
            Verdict::Stale => {
                engine.counters.count(Event::Stale);
                Ok(Reply::new(entry, now, Origin::Stale(Arc::new(error))))
            }
            Verdict::Expired => Err(error),
        }
    }

    #[cold]
    fn overloaded(&self, crowd: Crowd) -> Error<S::Error> {
        self.engine.counters.count(Event::Overloaded);
        Error::Overloaded(crowd)
    }
}

/// A cache is itself a source: of the tier above it.
///
/// A value keeps its age on the way up, so that the bounds of the caller above hold for both tiers
/// together. A stale value is not passed on: the tier above gets the error, and puts it beside its own
/// last good value.
impl<S: Source> Source for Cache<S>
where
    S::Value: Clone,
{
    type Key = S::Key;
    type Value = S::Value;
    type Error = Error<S::Error>;

    async fn fetch(
        &self,
        key: &S::Key,
        attempt: Attempt<S::Value>,
    ) -> Result<Fetched<S::Value>, Error<S::Error>> {
        let mut request = Request::DEFAULT.stale_if_error(Duration::ZERO);
        request.max_age = attempt.max_age();
        match self.get_with(key, &request).await {
            Ok(reply) => {
                let fresh = Fresh::new(S::Value::clone(&reply));
                Ok(fresh.index(reply.index()).age(reply.age()).into())
            }
            Err(Error::Absent) => Ok(Fetched::Absent { remember_for: None }),
            Err(error) => Err(error),
        }
    }

    fn weigh(&self, key: &S::Key, value: &S::Value) -> u64 {
        self.engine.source.weigh(key, value)
    }
}

impl<S: Source> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), owner: Arc::clone(&self.owner) }
    }
}

impl<S: Source> Drop for Owner<S> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl<S: Source> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
