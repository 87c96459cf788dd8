//! Where values come from.

use std::error::Error;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::entry::Versioned;
use crate::error;

/// Where a cache gets its values.
///
/// Implement it for whatever owns the values: a client of a service, a database, an encoder. The cache
/// calls [`fetch`](Self::fetch) for one key at a time, never twice at once for the same key, in a task
/// of its own and within a time limit; so an implementation needs no locks, no retries and no patience
/// of its own.
///
/// ```
/// use larder_cache::{Attempt, Fetched, Source};
///
/// struct Length;
///
/// impl Source for Length {
///     type Key = String;
///     type Value = usize;
///     type Error = std::convert::Infallible;
///
///     async fn fetch(&self, key: &String, _: Attempt<usize>) -> Result<Fetched<usize>, Self::Error> {
///         Ok(Fetched::value(key.len()))
///     }
/// }
/// ```
pub trait Source: Send + Sync + 'static {
    /// What a value is found by. Put credentials into it wherever the owner's answer depends on them.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;
    /// What is cached. Wrap it in an `Arc` or `Bytes` if callers need to own it cheaply.
    type Value: Send + Sync + 'static;
    /// Why a value could not be had.
    type Error: Error + Send + Sync + 'static;

    /// Asks the owner for the value of `key`.
    ///
    /// An error starts the entry's back-off; "there is no such thing" is not an error but
    /// [`Fetched::absent`]. A panic counts as a failure and harms only this fetch. The future is
    /// dropped when its time is up or the cache is closed.
    fn fetch(
        &self,
        key: &Self::Key,
        attempt: Attempt<Self::Value>,
    ) -> impl Future<Output = Result<Fetched<Self::Value>, Self::Error>> + Send;

    /// How much of the cache's capacity the value takes. Belongs to the source because it goes with
    /// the value's type; 1 by default, so that the capacity counts values.
    fn weigh(&self, key: &Self::Key, value: &Self::Value) -> u64 {
        let _ = (key, value);
        1
    }
}

/// What a source may know about the fetch that it is asked for.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt<V> {
    /// The value that is cached, however old: its index, or the value itself, can be used to ask
    /// whether anything has changed.
    pub previous: Option<Arc<Versioned<V>>>,
    /// How long the fetch may take before it is given up.
    pub time_allowed: Duration,
}

/// What a source answers.
#[derive(Debug)]
pub struct Fetched<V>(pub(crate) Answer<V>);

#[derive(Debug)]
pub(crate) enum Answer<V> {
    Value { value: V, index: u64, age: Duration, ttl: Option<Duration> },
    NotModified { ttl: Option<Duration> },
    Absent { remember: Duration },
}

impl<V> Fetched<V> {
    /// A value: of index 0, of age zero, and fresh for as long as the cache's options say.
    pub fn value(value: V) -> Self {
        Self(Answer::Value { value, index: 0, age: Duration::ZERO, ttl: None })
    }

    /// The previous value is still right: it is fresh anew. An error if there was none.
    pub fn not_modified() -> Self {
        Self(Answer::NotModified { ttl: None })
    }

    /// There is no such thing, and for `remember` nobody needs to ask again.
    pub fn absent(remember: Duration) -> Self {
        Self(Answer::Absent { remember })
    }

    /// Gives the value the owner's change counter.
    #[must_use]
    pub fn with_index(mut self, new: u64) -> Self {
        if let Answer::Value { index, .. } = &mut self.0 {
            *index = new;
        }
        self
    }

    /// Says that the value was already this old when it was fetched, as a cache in between knows.
    #[must_use]
    pub fn with_age(mut self, old: Duration) -> Self {
        if let Answer::Value { age, .. } = &mut self.0 {
            *age = old;
        }
        self
    }

    /// Makes the value fresh for `for_this_long`, if that is less than the cache's
    /// [`ttl`](crate::Options::ttl).
    #[must_use]
    pub fn with_ttl(mut self, for_this_long: Duration) -> Self {
        if let Answer::Value { ttl, .. } | Answer::NotModified { ttl } = &mut self.0 {
            *ttl = Some(for_this_long);
        }
        self
    }
}

/// A cache is itself a source, so that one can be put in front of another.
///
/// Values keep their index and their age on the way, and are fresh in the outer cache no longer than in
/// the inner one. So one that the inner cache serves although its own source failed is not fresh at all:
/// the next caller asks again.
impl<S: Source> Source for Cache<S>
where
    S::Value: Clone,
{
    type Key = S::Key;
    type Value = S::Value;
    type Error = error::Error<S::Error>;

    async fn fetch(
        &self,
        key: &S::Key,
        _: Attempt<S::Value>,
    ) -> Result<Fetched<S::Value>, Self::Error> {
        match self.get(key).await {
            Ok(reply) => {
                let fetched = Fetched::value(S::Value::clone(&reply));
                let fresh_for = self.fresh_for(&reply);
                Ok(fetched.with_index(reply.index()).with_age(reply.age()).with_ttl(fresh_for))
            }
            // Remembered by the inner cache, for as long as its source said.
            Err(error::Error::Absent) => Ok(Fetched::absent(Duration::ZERO)),
            Err(error) => Err(error),
        }
    }

    fn weigh(&self, key: &S::Key, value: &S::Value) -> u64 {
        self.source().weigh(key, value)
    }
}
