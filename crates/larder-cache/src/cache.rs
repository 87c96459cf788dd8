//! The cache: the lookup story from the caller's side. It orchestrates and decides nothing.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::{Capabilities, Engine};
use crate::entry::{Entry, Verdict, judge};
use crate::error::Error;
use crate::get::Get;
use crate::keep::Refresh;
use crate::keep::batch::FetchMany;
use crate::keep::batch::desk::{Desk, Enlist, Phase};
use crate::keep::batch::driver::Driver;
use crate::keep::batch::plan::{First, Plan};
use crate::keep::watch::{Watch, follow};
use crate::options::{Options, OutOfRange};
use crate::pace::Rate;
use crate::reply::{Origin, Reply};
use crate::request::Request;
use crate::source::{Attempt, Blame, Fetched, Fresh, Removal, Source};
use crate::stats::{Event, Stats};
use crate::sweep;
use crate::sync::sleep;
use crate::upstream::Upstream;

/// A read-through cache of what `S` owns. Clones are handles on the same cache.
///
/// Entries are bounded by weight; fetches, waiters, keepers and subscriptions by
/// [`Limits`](crate::Limits). Dropping the last handle ends all of its background work;
/// [`close`](Self::close) also waits for the end.
pub struct Cache<S: Source> {
    pub(crate) engine: Arc<Engine<S>>,
    owner: Arc<Owner<S>>,
}

pub(crate) type Answer<S> = Result<Reply<<S as Source>::Value>, Error<<S as Source>::Error>>;

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

/// Tasks hold the engine, so that its own drop would never come while one lives.
struct Owner<S: Source>(Arc<Engine<S>>);

impl<S: Source> Cache<S> {
    /// Makes an empty cache. Its tasks run on the tokio runtime that this is called in; outside of one
    /// it panics.
    pub fn new(source: S, options: Options) -> Result<Self, OutOfRange> {
        let range = "for Cache::watching or Cache::batching only";
        if matches!(options.refresh, Refresh::Watch { .. } | Refresh::Batch { .. }) {
            return Err(OutOfRange { option: "refresh", range });
        }
        Self::with(source, options, Capabilities { follow: None, enlist: None })
    }

    fn with(
        source: S,
        options: Options,
        capabilities: Capabilities<S>,
    ) -> Result<Self, OutOfRange> {
        options.validate()?;
        let engine = Arc::new(Engine::new(source, options, capabilities));
        if let Some(share) = &engine.options.share {
            // Through a variable, to have it become a trait object.
            let holder: std::sync::Weak<dyn crate::budget::Holder> =
                Arc::<Engine<S>>::downgrade(&engine) as _;
            share.join(holder);
        }
        engine.tasks.spawn(sweep::run(Arc::clone(&engine)));
        Ok(Self { owner: Arc::new(Owner(Arc::clone(&engine))), engine })
    }

    /// As [`new`](Self::new), for a source that can be watched; the options' way of refreshing is
    /// [`Refresh::Watch`].
    pub fn watching(source: S, options: Options) -> Result<Self, OutOfRange>
    where
        S: Watch,
    {
        if !matches!(options.refresh, Refresh::Watch { .. }) {
            return Err(OutOfRange { option: "refresh", range: "Watch, for Cache::watching" });
        }
        Self::with(source, options, Capabilities { follow: Some(follow::<S>), enlist: None })
    }

    /// As [`new`](Self::new), for a source that can be asked about many keys at once; the options' way
    /// of refreshing is [`Refresh::Batch`].
    pub fn batching(source: S, options: Options) -> Result<Self, OutOfRange>
    where
        S: FetchMany,
    {
        let Refresh::Batch { every, size, parallel } = options.refresh else {
            return Err(OutOfRange { option: "refresh", range: "Batch, for Cache::batching" });
        };
        let plan = Plan {
            every,
            size: size as usize,
            divide: None,
            parallel: parallel as usize,
            rate: None,
            first: First::Later,
            silence: Blame::Upstream,
            tracks: false,
        };
        let desk = Arc::new(Desk::new(plan.throughput(), Phase::Running));
        Self::driven(source, options, plan, desk)
    }

    /// A cache that refreshes in batches as `plan` says, once its desk says that it may.
    pub(crate) fn driven(
        source: S,
        options: Options,
        plan: Plan<S>,
        desk: Arc<Desk<S::Key, S::Value>>,
    ) -> Result<Self, OutOfRange>
    where
        S: FetchMany,
    {
        let enlist = Some(Enlist(Arc::clone(&desk)));
        let cache = Self::with(source, options, Capabilities { follow: None, enlist })?;
        let driver = Driver::new(Arc::clone(&cache.engine), desk, plan);
        cache.engine.tasks.spawn(driver.run());
        Ok(cache)
    }

    /// `key`'s value, from memory if it is fresh, or else from the source.
    ///
    /// A hit never waits. A caller that gives up cancels nobody: drop the future at will.
    pub fn get<'a>(
        &'a self,
        key: &'a S::Key,
    ) -> impl Future<Output = Answer<S>> + Send + use<'a, S> {
        Get { cache: self, key, miss: None }
    }

    /// As [`get`](Self::get), within the bounds of `request`.
    pub async fn get_with(&self, key: &S::Key, request: &Request) -> Answer<S> {
        match self.look_within(key, request) {
            Some((entry, now)) => Ok(Reply::new(entry, now, Origin::Hit)),
            None => self.miss(key, *request).await,
        }
    }

    /// `key`'s value if it is in memory and fresh. Never asks the source; counts as a hit, or not at
    /// all.
    #[inline]
    pub fn peek(&self, key: &S::Key) -> Option<Reply<S::Value>> {
        self.look(key).map(|(entry, now)| Reply::new(entry, now, Origin::Hit))
    }

    /// As [`peek`](Self::peek), within the bounds of `request`.
    #[inline]
    pub fn peek_with(&self, key: &S::Key, request: &Request) -> Option<Reply<S::Value>> {
        self.look_within(key, request).map(|(entry, now)| Reply::new(entry, now, Origin::Hit))
    }

    /// The first step of the story, for a request without bounds of its own: one comparison of times.
    ///
    /// It returns two words, which travel in registers: a whole reply, handed on through an async fn's
    /// states, is copied twice, for half of the price of the lookup.
    #[inline]
    pub(crate) fn look(&self, key: &S::Key) -> Option<(Entry<S::Value>, Time)> {
        let engine = &*self.engine;
        let entry = engine.store.get(key)?;
        let now = engine.clock.coarse();
        if now >= entry.fresh_until() {
            return None;
        }
        entry.touch(now);
        engine.counters.count(Event::Hit);
        Some((entry, now))
    }

    /// As [`look`](Self::look), within the bounds of `request`.
    fn look_within(&self, key: &S::Key, request: &Request) -> Option<(Entry<S::Value>, Time)> {
        let engine = &*self.engine;
        let entry = engine.store.get(key)?;
        let now = engine.clock.coarse();
        if request.newer.is_some_and(|newer| entry.index() <= newer.min_index) {
            // A cache that cannot wait for an index ignores it, on the long way round.
            return None;
        }
        if judge(entry.freshness(), request, Duration::ZERO, now) != Verdict::Fresh {
            return None;
        }
        entry.touch(now);
        engine.counters.count(Event::Hit);
        Some((entry, now))
    }

    /// Sets `key`'s value from outside. A fetch that is under way cannot undo it. With an index, this is
    /// also how a cache is populated before its first fetch: a keeper goes on from there, once there is a
    /// subscriber or a request that finds the value too old.
    pub fn put(&self, key: &S::Key, value: impl Into<Fresh<S::Value>>) -> Put {
        self.engine.put(key, value.into(), |_| false).0
    }

    /// Sets `key`'s value from outside unless the cache holds one, fresh or stale. A fetch that is
    /// under way cannot undo it.
    pub fn put_if_absent(&self, key: &S::Key, value: impl Into<Fresh<S::Value>>) -> Put {
        self.engine.put(key, value.into(), |engine| engine.store.contains(key)).0
    }

    /// Forgets `key`'s value; says whether there was one.
    ///
    /// Whoever asks after this gets a value whose fetch began after it. A fetch that is under way is
    /// not disturbed: those who wait for it get its value, and nobody else. A key that is subscribed is
    /// fetched again at once.
    pub fn invalidate(&self, key: &S::Key) -> bool {
        let mut aftermath = Aftermath::new();
        let mut shard = self.engine.slots.shard(key);
        let was_there = self.engine.forget(key, &mut shard, Removal::Invalidated, &mut aftermath);
        drop(shard);
        aftermath.settle(&self.engine);
        was_there
    }

    /// Forgets that there is no such thing as `key`, as [`invalidate`](Self::invalidate) does, and leaves a
    /// value alone, fresh or stale; says whether there was none. For whoever knows that something has come
    /// into being, and not what: while the source fails, a stale value is all that there is.
    pub fn invalidate_absence(&self, key: &S::Key) -> bool {
        let mut aftermath = Aftermath::new();
        let mut shard = self.engine.slots.shard(key);
        let is_absent = !self.engine.store.contains(key);
        if is_absent {
            self.engine.forget(key, &mut shard, Removal::Invalidated, &mut aftermath);
        }
        drop(shard);
        aftermath.settle(&self.engine);
        is_absent
    }

    /// Forgets the values of all keys that `chosen` picks, as [`invalidate`](Self::invalidate) does for
    /// one; says how many there were. It looks at every key; `chosen` runs outside of every lock.
    pub fn invalidate_where(&self, chosen: impl Fn(&S::Key) -> bool) -> usize {
        let engine = &self.engine;
        // First those that are loading: what lands after that is found in the store.
        let mut keys = std::collections::HashSet::new();
        engine.slots.each_shard(|shard| keys.extend(shard.keys().cloned()));
        keys.extend(engine.store.keys());
        // An absence is forgotten as well.
        keys.extend(engine.troubles.keys());
        keys.into_iter().filter(|key| chosen(key) && self.invalidate(key)).count()
    }

    /// Forgets every value, as [`invalidate`](Self::invalidate) does for one.
    pub fn invalidate_all(&self) {
        let engine = &*self.engine;
        let mut aftermath = Aftermath::new();
        // A flight that lands after its shard was visited is outdated; one that begins after that and
        // lands before the store is cleared loses a good value, which costs a fetch.
        engine.slots.each_shard(|shard| {
            for slot in shard.values_mut() {
                slot.rounds.outdate();
                aftermath.hold(slot.topic.forget());
                aftermath.wake(slot.topic.beacon.raise());
            }
        });
        drop(engine.troubles.retain(|trouble| !trouble.is_absent()));
        for (key, entry) in engine.store.clear() {
            aftermath.removed(key, entry, Removal::Invalidated);
        }
        aftermath.settle(engine);
    }

    /// Changes the [capacity](Options::capacity) while the cache runs; evicts what no longer fits.
    /// Zero counts as 1.
    pub fn resize(&self, capacity: u64) {
        self.engine.resize(capacity.max(1));
    }

    /// Changes the [rate limit](Options::rate) while the cache runs, for every key from its next fetch
    /// on; says whether it is another one now.
    pub fn set_rate(&self, rate: Option<Rate>) -> Result<bool, OutOfRange> {
        if rate.is_some_and(|rate| !rate.is_sensible()) {
            return Err(OutOfRange { option: "rate", range: Rate::RANGE });
        }
        Ok(self.engine.set_rate(rate))
    }

    /// The system behind the source.
    pub fn upstream(&self) -> &Upstream {
        &self.engine.upstream
    }

    /// What the cache has done and what it holds.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Releases everyone who waits with [`Error::Closed`], ends every subscription, forgets every value,
    /// and returns when the last task of this cache has ended. Requests from now on get the same error.
    pub async fn close(&self) {
        self.engine.shut();
        self.engine.tasks.all_ended().await;
        if let Some(ticker) = self.engine.take_ticker() {
            ticker.stop().await;
        }
    }
}

/// A cache is itself a source: of the tier above it.
///
/// A value keeps its age on the way up, so that the bounds of the caller above hold for both tiers
/// together. A blocking fetch of the tier above waits here for the index. A stale value is not passed
/// on: the tier above gets the error, and puts it beside its own last good value.
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
        let mut request =
            Request::DEFAULT.stale_if_error(Duration::ZERO).max_age(attempt.max_age());
        if let Some(wait) = attempt.wait() {
            request = request.min_index(wait.past, wait.at_most).heeding_errors();
            let options = &self.engine.options;
            let known = self.peek(key).is_some_and(|reply| reply.index() <= wait.past);
            if known && !options.refresh.can_park() {
                // It cannot notice a change: the tier above waits for as long as it would not look.
                sleep(wait.at_most.min(options.ttl)).await;
            }
        }
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

    fn is_same(&self, before: &S::Value, after: &S::Value) -> bool {
        self.engine.source.is_same(before, after)
    }

    fn vouches_while_waiting(&self) -> bool {
        self.engine.options.refresh.connects() && self.engine.source.vouches_while_waiting()
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
        drop(self.0.take_ticker());
    }
}

impl<S: Source> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
