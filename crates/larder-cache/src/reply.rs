//! What a caller gets: the value, how old it is, and where it came from.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::entry::Versioned;
use crate::error::Error;

/// A value, how old it is, where it came from, and what went wrong meanwhile.
///
/// Dereferences to the value. Cloning costs a reference count.
pub struct Reply<V, E> {
    entry: Arc<Versioned<V>>,
    /// In milliseconds: a `Duration` would cost a division on every hit.
    age: u64,
    origin: Origin,
    error: Option<Error<E>>,
}

/// Where a reply's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was cached and good enough for the request.
    Hit,
    /// It was fetched, by this call or by one that this call joined.
    Miss,
    /// It was cached, no longer good enough, and stands in for a fetch that failed:
    /// [`Reply::error`] says why. From [`peek`](crate::Cache::peek), it is merely no longer fresh.
    Stale,
}

impl<V, E> Reply<V, E> {
    pub(crate) fn new(entry: Arc<Versioned<V>>, now: Time, origin: Origin) -> Self {
        let age = entry.age_millis(now);
        Self { entry, age, origin, error: None }
    }

    pub(crate) fn stale(entry: Arc<Versioned<V>>, now: Time, error: Error<E>) -> Self {
        Self { error: Some(error), ..Self::new(entry, now, Origin::Stale) }
    }

    pub(crate) fn entry(&self) -> &Versioned<V> {
        &self.entry
    }

    /// How long ago the owner last vouched for the value, to within the clock's tick (10 ms).
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.age)
    }

    /// Where the value came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The owner's change counter; 0 for a source that has none.
    pub fn index(&self) -> u64 {
        self.entry.index()
    }

    /// Why the value could not be refreshed, if that was tried and failed.
    pub fn error(&self) -> Option<&Error<E>> {
        self.error.as_ref()
    }
}

impl<V, E> Deref for Reply<V, E> {
    type Target = V;

    fn deref(&self) -> &V {
        self.entry.value()
    }
}

impl<V, E> Clone for Reply<V, E> {
    fn clone(&self) -> Self {
        let Self { entry, age, origin, error } = self;
        Self { entry: entry.clone(), age: *age, origin: *origin, error: error.clone() }
    }
}

impl<V: fmt::Debug, E: fmt::Debug> fmt::Debug for Reply<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("value", self.entry.value())
            .field("index", &self.index())
            .field("age", &self.age())
            .field("origin", &self.origin)
            .field("error", &self.error)
            .finish()
    }
}
