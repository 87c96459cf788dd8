//! Single flight: the one fetch under way for a key, and the table of them.
//!
//! A flight is a task of its own, so that a caller who gives up cancels nobody. It *lands* exactly
//! once, on every path: with an answer, with the source's error, because its time is up, because the
//! source panicked, or because the cache is closed. Landing releases everyone who waits.
//!
//! The table is also what bars a value that was loaded before an `invalidate` or `put` from undoing it:
//! both take the key's flight out of the table, and a flight may publish only while it is in. Those who
//! waited for it get its answer all the same; those who come later start a new one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::entry::Versioned;
use crate::error::Error;

/// What a flight lands with.
pub(crate) type Landing<V, E> = Result<Arc<Versioned<V>>, Error<E>>;

/// One fetch under way.
pub(crate) struct Flight<V, E> {
    landing: OnceLock<Landing<V, E>>,
    landed: Notify,
}

impl<V, E> Flight<V, E> {
    fn new() -> Self {
        Self { landing: OnceLock::new(), landed: Notify::new() }
    }

    /// Releases everyone who waits, and all who come. Only the first landing counts.
    pub(crate) fn land(&self, landing: Landing<V, E>) {
        if self.landing.set(landing).is_ok() {
            self.landed.notify_waiters();
        }
    }

    pub(crate) fn has_landed(&self) -> bool {
        self.landing.get().is_some()
    }

    /// Waits for the landing. Cancelling this wait harms nobody.
    pub(crate) async fn landed(&self) -> Landing<V, E> {
        let mut notified = std::pin::pin!(self.landed.notified());
        // In line first, then the look: a landing between a look and getting in line would be slept
        // through.
        notified.as_mut().enable();
        if let Some(landing) = self.landing.get() {
            return landing.clone();
        }
        notified.await;
        self.landing.get().cloned().unwrap_or(Err(Error::Closed))
    }
}

/// Keys with a fetch under way: a map in several parts, each with its own lock. Holds at most as many
/// as the caller lets in.
pub(crate) struct Flights<K, V, E> {
    parts: Box<[Mutex<Part<K, V, E>>]>,
    hasher: foldhash::fast::RandomState,
}

pub(crate) type Part<K, V, E> = HashMap<K, Arc<Flight<V, E>>, foldhash::fast::RandomState>;

impl<K: Hash + Eq + Clone, V, E> Flights<K, V, E> {
    const PARTS: usize = 16;

    pub(crate) fn new() -> Self {
        let parts = (0..Self::PARTS).map(|_| Mutex::default()).collect();
        Self { parts, hasher: foldhash::fast::RandomState::default() }
    }

    /// Locks the part of the table that `key` belongs to. Whoever changes the key's stored value holds
    /// this lock; that is what makes "is my flight still in the table?" and "then store" one step.
    pub(crate) fn lock(&self, key: &K) -> MutexGuard<'_, Part<K, V, E>> {
        let hash = self.hasher.hash_one(key);
        lock(&self.parts[(hash >> 32) as usize % Self::PARTS])
    }
}

/// Puts a new flight for `key` into its part of the table.
pub(crate) fn start<K: Hash + Eq + Clone, V, E>(
    part: &mut Part<K, V, E>,
    key: &K,
) -> Arc<Flight<V, E>> {
    let flight = Arc::new(Flight::new());
    part.insert(key.clone(), flight.clone());
    flight
}

/// Takes this flight out of the table; whether it was in, which means that it may publish.
pub(crate) fn take_out<K: Hash + Eq, V, E>(
    part: &mut Part<K, V, E>,
    key: &K,
    flight: &Arc<Flight<V, E>>,
) -> bool {
    let is_in = part.get(key).is_some_and(|listed| Arc::ptr_eq(listed, flight));
    if is_in {
        part.remove(key);
    }
    is_in
}

/// A count with a limit: of flights, or of waiting callers.
#[derive(Debug)]
pub(crate) struct Bounded {
    count: AtomicUsize,
    most: usize,
}

impl Bounded {
    pub(crate) fn new(most: usize) -> Self {
        Self { count: AtomicUsize::new(0), most }
    }

    /// One more, until the returned place is dropped; none if that would be more than the limit.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        self.count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < self.most).then_some(count + 1)
            })
            .ok()
            .map(|_| Place(self.clone()))
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }
}

/// A place among a bounded number.
#[derive(Debug)]
pub(crate) struct Place(Arc<Bounded>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Locks, also after a panic elsewhere: nothing that runs under these locks can stop half-way, except a
/// key's own `Hash` or `Eq`, which leave the map as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
