//! What a cache and its flights share, and the changes they make to it.
//!
//! Lock order: a shard of the side table, then a shard of the store. Nothing here waits.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::clock::{Clock, Ticker, Time};
use crate::entry::{Freshness, Versioned};
use crate::error::Error;
use crate::flight::{Flights, Shard};
use crate::options::Options;
use crate::source::{Fresh, Source};
use crate::stats::{Counters, Event, Stats};
use crate::store::{Admission, Store, Weighted};
use crate::trouble::Trouble;

/// One fetch's outcome, shared by all who wait for it.
pub(crate) type Outcome<S> = Result<Arrival<<S as Source>::Value>, Error<<S as Source>::Error>>;
type Key<S> = <S as Source>::Key;
type Loading<S> = Shard<Key<S>, Outcome<S>>;

/// A value that came from the source.
pub(crate) struct Arrival<V> {
    pub(crate) entry: Arc<Versioned<V>>,
    pub(crate) at: Time,
}

pub(crate) struct Engine<S: Source> {
    pub(crate) source: S,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) store: Store<S::Key, Arc<Versioned<S::Value>>>,
    pub(crate) troubles: Store<S::Key, Trouble<S::Error>>,
    pub(crate) flights: Flights<S::Key, Outcome<S>>,
    pub(crate) counters: Counters,
    /// Where flights run, however a request is polled.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Moves the clock, if it is the cache's own.
    ticker: Mutex<Option<Ticker>>,
    dice: RandomState,
}

impl<V> Clone for Arrival<V> {
    fn clone(&self) -> Self {
        Self { entry: Arc::clone(&self.entry), at: self.at }
    }
}

impl<V> Weighted for Arc<Versioned<V>> {
    #[inline]
    fn weight(&self) -> u64 {
        Versioned::weight(self)
    }
}

impl<S: Source> Engine<S> {
    /// `options` are valid.
    pub(crate) fn new(source: S, options: Options) -> Self {
        let (clock, ticker) = options.clock.clone().map_or_else(
            || {
                let clock = Clock::running();
                (clock.clone(), Some(Ticker::start(clock, Ticker::PERIOD)))
            },
            |clock| (clock, None),
        );
        let troubles = options.limits.troubles;
        Self {
            source,
            clock,
            store: Store::new(options.capacity, options.expected_entries, options.ghost_allocation),
            troubles: Store::new(u64::from(troubles), troubles as usize, 0.0),
            flights: Flights::new(options.limits),
            counters: Counters::new(),
            runtime: tokio::runtime::Handle::current(),
            ticker: Mutex::new(ticker),
            dice: RandomState::default(),
            options,
        }
    }

    /// Makes an entry of a value that arrives at `now`. `weight` is the source's word.
    pub(crate) fn entry(
        &self,
        fresh: Fresh<S::Value>,
        weight: u64,
        now: Time,
    ) -> Arc<Versioned<S::Value>> {
        let freshness = Freshness::new(now, fresh.age, self.ttl(fresh.ttl));
        Arc::new(Versioned::new(fresh.value, fresh.index, weight.max(1), freshness))
    }

    /// A source's ttl, or the cache's if that is shorter.
    pub(crate) fn ttl(&self, ttl: Option<Duration>) -> Duration {
        ttl.map_or(self.options.ttl, |ttl| ttl.min(self.options.ttl))
    }

    /// Stores an entry in place of what there was; says whether it was light enough.
    pub(crate) fn publish(&self, key: &S::Key, entry: &Arc<Versioned<S::Value>>) -> bool {
        match self.store.insert(key, Arc::clone(entry)) {
            Admission::Admitted { evicted } => {
                self.counters.add(Event::Eviction, evicted);
                true
            }
            Admission::TooHeavy => {
                self.counters.count(Event::Refused);
                false
            }
        }
    }

    /// Advances `key`'s generation, and forgets its absence. The failures stay: they belong to the
    /// source.
    pub(crate) fn advance(&self, shard: &mut Loading<S>, key: &S::Key) {
        shard.outdate(key);
        self.troubles.remove_if(key, Trouble::is_absent);
    }

    pub(crate) fn forget_all(&self) {
        // A flight that lands after its shard was visited is outdated; one that begins after that and
        // lands before the store is cleared loses a good value, which costs a fetch.
        self.flights.each_shard(Shard::outdate_all);
        self.troubles.retain(|trouble| !trouble.is_absent());
        self.store.clear();
    }

    /// Remembers that the owner has no such thing.
    pub(crate) fn remember_absent(&self, key: &S::Key, remember_for: Option<Duration>, now: Time) {
        self.store.remove(key);
        let ttl = self.options.absent_ttl;
        let ttl = remember_for.map_or(ttl, |shorter| shorter.min(ttl));
        self.troubles.insert(key, Trouble::Absent { since: now, until: now.after(ttl) });
    }

    /// Remembers one more failure; says whether the source may be asked again at once.
    pub(crate) fn remember_failure(&self, key: &S::Key, error: Error<S::Error>) -> bool {
        let before = self.troubles.get(key).map_or(0, |trouble| trouble.failures());
        let failures = before.saturating_add(1);
        let now = self.clock.now();
        let wait = self.options.backoff.wait(failures, self.throw_dice(key, failures, now));
        let wait = wait.max(self.options.error_ttl);
        self.troubles.insert(key, Trouble::Failing { failures, retry_at: now.after(wait), error });
        wait.is_zero()
    }

    /// Jitter needs no better randomness than a seeded hash.
    fn throw_dice(&self, key: &S::Key, failures: u32, now: Time) -> u32 {
        let hash = self.dice.hash_one((key, failures, now));
        u32::try_from(hash >> 32).unwrap_or(u32::MAX)
    }

    /// Ends every flight, refuses new ones, and forgets everything.
    pub(crate) fn shut(&self) {
        self.flights.close();
        // Whoever saw the cache open under a shard's lock is through once that lock was taken here;
        // whoever takes it later sees the cache closed. So nothing is stored after `clear`.
        self.flights.each_shard(|_| ());
        self.store.clear();
        self.troubles.clear();
    }

    pub(crate) fn take_ticker(&self) -> Option<Ticker> {
        self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn stats(&self) -> Stats {
        let total = |event| self.counters.total(event);
        let (flights, waiters) = self.flights.crowd();
        Stats {
            hits: total(Event::Hit),
            misses: total(Event::Miss),
            stale: total(Event::Stale),
            negative: total(Event::Negative),
            joins: total(Event::Join),
            overloaded: total(Event::Overloaded),
            fetched: total(Event::Fetched),
            unmodified: total(Event::Unmodified),
            absent: total(Event::Absent),
            failed: total(Event::Failed),
            timed_out: total(Event::TimedOut),
            panicked: total(Event::Panicked),
            evictions: total(Event::Eviction),
            refused: total(Event::Refused),
            entries: self.store.len() as u64,
            weight: self.store.weight(),
            flights,
            waiters,
        }
    }
}
