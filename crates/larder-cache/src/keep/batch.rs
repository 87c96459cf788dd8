//! Staying fresh by fetching many keys at a time.
//!
//! Keys come due one by one, so the work of a cycle grows with what is due and not with what is cached.
//! The [`schedule`] says which; the [`driver`], one task for a cache, divides them into batches and has a
//! few of these in [`flight`] at a time.

mod berth;
mod boarding;
pub(crate) mod desk;
pub(crate) mod division;
pub(crate) mod driver;
mod flight;
pub(crate) mod plan;
mod schedule;
mod seating;

use std::future::Future;
use std::time::Duration;

use crate::source::{Attempt, Fetched, Source};

/// A source that can be asked about many keys at once; used by caches made with
/// [`Cache::batching`](crate::Cache::batching).
pub trait FetchMany: Source {
    /// Asks the owner for many values. Keys that the answer does not mention count as
    /// [`Fetched::NotModified`]; an error counts for each key. What the answer says about a key that was
    /// not asked for, or for the second time, is counted as [`strays`](crate::Stats::strays), logged,
    /// and ignored.
    ///
    /// A request that finds no value still asks [`fetch`](Source::fetch).
    fn fetch_many(
        &self,
        batch: Vec<(Self::Key, Attempt<Self::Value>)>,
    ) -> impl Future<Output = Result<Vec<OneOfMany<Self>>, Self::Error>> + Send;

    /// How often to ask about `key` while it has this value. Below 1 ms counts as that.
    ///
    /// Defaults to: `None`, as the cache's [way of refreshing](crate::Refresh::Batch) says.
    fn period(&self, key: &Self::Key, value: &Self::Value) -> Option<Duration> {
        let _ = (key, value);
        None
    }

    /// Hears that a batch has brought a [terminal](crate::Fresh::terminal) value, after it is in the
    /// cache and outside of every lock. A panic in it is caught.
    ///
    /// Defaults to: nothing.
    fn finished(&self, key: &Self::Key, value: &Self::Value) {
        let _ = (key, value);
    }
}

/// What [`FetchMany`] says about one key.
pub type OneOfMany<S> =
    (<S as Source>::Key, Result<Fetched<<S as Source>::Value>, <S as Source>::Error>);
