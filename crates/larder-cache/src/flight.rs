//! Single flight: at most one fetch per key, everyone else waits for it.
//!
//! A side table holds the keys that are loading; an idle entry has no part in it. A flight goes in
//! *rounds*. Its callers wait for the current round; once the key is put or invalidated, the current
//! round is *outdated*: those who wait for it get its answer, but those who come later wait for the
//! next round, whose fetch begins when the current one is over. So there is never more than one fetch
//! for a key, no answer is older than an invalidation that came before the request, and a key that is
//! invalidated all the time still answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::error::Crowd;
use crate::options::Limits;

const SHARDS: usize = 64;

/// The keys that are loading, and the bounds on flights and waiters.
pub(crate) struct Flights<K, O> {
    shards: Box<[Mutex<Shard<K, O>>]>,
    hasher: RandomState,
    limits: Limits,
    seats: Arc<Semaphore>,
    chairs: Semaphore,
    /// Has no permits ever; closing it tells everyone that waits for one.
    closing: Semaphore,
}

/// The loading keys of one shard. Only ever locked for a few map operations, never across an await.
pub(crate) struct Shard<K, O>(HashMap<K, Flight<O>, RandomState>);

struct Flight<O> {
    current: Arc<Round<O>>,
    /// The age that the current fetch was asked for.
    max_age: Duration,
    /// The key was put or invalidated since the current fetch began.
    outdated: bool,
    next: Option<Arc<Round<O>>>,
    next_max_age: Duration,
}

/// One fetch and those who wait for its outcome.
pub(crate) struct Round<O> {
    outcome: OnceLock<O>,
    landed: Notify,
}

/// A place in a round.
pub(crate) enum Place<O> {
    /// In a flight that is under way.
    Joined(Arc<Round<O>>),
    /// The first in a new flight, which the caller must start.
    Leading(Arc<Round<O>>, OwnedSemaphorePermit),
}

impl<K: Hash + Eq + Clone, O: Clone> Flights<K, O> {
    pub(crate) fn new(limits: Limits) -> Self {
        let shard = || Mutex::new(Shard(HashMap::default()));
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::default(),
            limits,
            seats: Arc::new(Semaphore::new(limits.flights as usize)),
            chairs: Semaphore::new(limits.waiters as usize),
            closing: Semaphore::new(0),
        }
    }

    /// Locks the shard that `key` belongs to. What changes a key's value does it under this lock, so
    /// that a flight cannot land in the middle.
    pub(crate) fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, O>> {
        let hash = self.hasher.hash_one(key);
        // The low bits; the map inside has a hasher of its own.
        lock(&self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)])
    }

    /// Locks every shard, one after another.
    pub(crate) fn each_shard(&self, mut visit: impl FnMut(&mut Shard<K, O>)) {
        self.shards.iter().for_each(|shard| visit(&mut lock(shard)));
    }

    /// Takes one of the places for waiters; it is free again when the permit is dropped.
    pub(crate) fn chair(&self) -> Result<SemaphorePermit<'_>, Crowd> {
        self.chairs.try_acquire().map_err(|_| Crowd::Waiters)
    }

    /// Joins the flight for `key`, or makes one.
    ///
    /// Any fetch under way will do, unless `strict`: then it must be one that was asked for a value
    /// at least as young as `max_age`.
    pub(crate) fn join(
        &self,
        shard: &mut Shard<K, O>,
        key: &K,
        max_age: Duration,
        strict: bool,
    ) -> Result<Place<O>, Crowd> {
        match shard.0.entry(key.clone()) {
            Entry::Occupied(flight) => Ok(Place::Joined(flight.into_mut().join(max_age, strict))),
            Entry::Vacant(none) => {
                let seat = Arc::clone(&self.seats).try_acquire_owned();
                let seat = seat.map_err(|_| Crowd::Flights)?;
                let flight = none.insert(Flight::new(max_age));
                Ok(Place::Leading(Arc::clone(&flight.current), seat))
            }
        }
    }

    /// From now on [`is_closing`](Self::is_closing) is true and [`closing`](Self::closing) is over.
    pub(crate) fn close(&self) {
        self.closing.close();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_closed()
    }

    /// Waits for [`close`](Self::close). Cancel-safe: it takes nothing that could be lost.
    pub(crate) async fn closing(&self) {
        let _ = self.closing.acquire().await;
    }

    /// Waits until every flight has given its seat back, which is the last thing that its task does.
    pub(crate) async fn all_landed(&self) {
        let _ = self.seats.acquire_many(self.limits.flights).await;
    }

    /// How many flights are under way, and how many callers wait.
    pub(crate) fn crowd(&self) -> (u64, u64) {
        let flights = self.limits.flights as usize - self.seats.available_permits();
        let waiters = self.limits.waiters as usize - self.chairs.available_permits();
        (flights as u64, waiters as u64)
    }
}

impl<K: Hash + Eq, O: Clone> Shard<K, O> {
    /// Advances `key`'s generation: a fetch that has begun cannot change the key any more.
    pub(crate) fn outdate(&mut self, key: &K) {
        if let Some(flight) = self.0.get_mut(key) {
            flight.outdated = true;
        }
    }

    /// As [`outdate`](Self::outdate), for all keys.
    pub(crate) fn outdate_all(&mut self) {
        self.0.values_mut().for_each(|flight| flight.outdated = true);
    }

    /// Whether the fetch under way for `key` began before a put or an invalidation.
    pub(crate) fn is_outdated(&self, key: &K) -> bool {
        self.0.get(key).is_none_or(|flight| flight.outdated)
    }

    /// Ends the current round. If somebody waits for the next one, that becomes the current one, and
    /// the flight must go on. The outcome is to be told after the shard is unlocked.
    pub(crate) fn land(&mut self, key: &K) -> Option<Landed<O>> {
        let flight = self.0.get_mut(key)?;
        match flight.next.take() {
            Some(next) => {
                let round = std::mem::replace(&mut flight.current, next);
                flight.max_age = std::mem::replace(&mut flight.next_max_age, Duration::MAX);
                flight.outdated = false;
                Some(Landed { round, goes_on: Some(flight.max_age) })
            }
            None => {
                self.0.remove(key).map(|flight| Landed { round: flight.current, goes_on: None })
            }
        }
    }

    /// Ends the flight; gives back whoever waits, now or for the next round.
    pub(crate) fn end(&mut self, key: &K) -> impl Iterator<Item = Arc<Round<O>>> + use<K, O> {
        let flight = self.0.remove(key);
        flight.into_iter().flat_map(|flight| [Some(flight.current), flight.next]).flatten()
    }
}

/// A round that is over.
pub(crate) struct Landed<O> {
    pub(crate) round: Arc<Round<O>>,
    /// The greatest age that the next round asks for, if there is a next round.
    pub(crate) goes_on: Option<Duration>,
}

impl<O> Flight<O> {
    fn new(max_age: Duration) -> Self {
        let current = Arc::new(Round::new());
        Self { current, max_age, outdated: false, next: None, next_max_age: Duration::MAX }
    }

    fn join(&mut self, max_age: Duration, strict: bool) -> Arc<Round<O>> {
        let too_lax = strict && max_age < self.max_age;
        if !self.outdated && !too_lax {
            return Arc::clone(&self.current);
        }
        self.next_max_age = self.next_max_age.min(max_age);
        Arc::clone(self.next.get_or_insert_with(|| Arc::new(Round::new())))
    }
}

impl<O> Round<O> {
    fn new() -> Self {
        Self { outcome: OnceLock::new(), landed: Notify::new() }
    }
}

impl<O: Clone> Round<O> {
    /// Tells everyone who waits, and whoever is still about to wait.
    pub(crate) fn tell(&self, outcome: O) {
        // A round has one outcome: the first.
        let _ = self.outcome.set(outcome);
        self.landed.notify_waiters();
    }

    /// Waits for the outcome. Cancel-safe: the outcome stays where it is.
    pub(crate) async fn outcome(&self) -> O {
        loop {
            // `notified()` counts from its creation on: an outcome told after this line wakes it,
            // one told before is found by the look that follows.
            let landed = self.landed.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            landed.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under the lock there are only map operations; a panic in a key's `Eq` or `Hash` leaves the map
    // whole, so what a poisoned mutex guards is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
