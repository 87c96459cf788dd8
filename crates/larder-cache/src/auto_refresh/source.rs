//! Who owns the tracked items: [`SyncSource`], what it is asked and what it may answer.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::ops::Deref;
use std::time::Duration;

use crate::entry::Entry;
use crate::source::{Blame, Removal};

/// The external owner of tracked items.
///
/// ```
/// use larder_cache::{OneSynced, SyncSource, Synced, Tracked};
///
/// struct Jobs;
///
/// #[derive(Clone, Copy, PartialEq)]
/// enum Job { Running { percent: u8 }, Done }
///
/// impl SyncSource for Jobs {
///     type Id = String;
///     type Item = Job;
///     type Error = std::io::Error;
///
///     async fn sync(&self, batch: Vec<(String, Tracked<Job>)>) -> Result<Vec<OneSynced<Self>>, std::io::Error> {
///         let ask = |job: &Job| match job {
///             Job::Running { percent: 100 } => Synced::Updated(Job::Done),
///             Job::Running { percent } => Synced::Updated(Job::Running { percent: percent + 1 }),
///             Job::Done => Synced::Unchanged,
///         };
///         Ok(batch.into_iter().map(|(id, job)| (id, Ok(ask(&job)))).collect())
///     }
///
///     fn is_terminal(&self, _: &String, job: &Job) -> bool {
///         *job == Job::Done
///     }
/// }
/// ```
pub trait SyncSource: Send + Sync + 'static {
    /// What items are known by. Credentials belong into it.
    type Id: Hash + Eq + Clone + Send + Sync + 'static;
    /// What is tracked.
    type Item: Send + Sync + 'static;
    /// Why a sync failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks the owner about some items, each as it is at this moment, none of which is in another sync.
    ///
    /// Items that the answer does not mention are [`Synced::Unchanged`]. An error counts for every item
    /// of the batch; so does a panic, or taking longer than
    /// [`sync_timeout`](crate::AutoRefreshOptions::sync_timeout). What the answer says about an id that
    /// is not in the batch is counted, logged and ignored. It is dropped when the time is over and when
    /// the cache is closed.
    fn sync(
        &self,
        batch: Vec<(Self::Id, Tracked<Self::Item>)>,
    ) -> impl Future<Output = Result<Vec<OneSynced<Self>>, Self::Error>> + Send;

    /// Whether the item will not change any more: it stays readable, is never synced again and never
    /// overwritten. Must say the same of the same item every time.
    fn is_terminal(&self, id: &Self::Id, item: &Self::Item) -> bool;

    /// How often to ask about an item.
    ///
    /// Defaults to: `None`, as [`period`](crate::AutoRefreshOptions::period) says. From 1 ms.
    fn period(&self, id: &Self::Id, item: &Self::Item) -> Option<Duration> {
        let _ = (id, item);
        None
    }

    /// What an error says about whom. [`Blame::Upstream`] three times in a row stops all syncs but for
    /// one a second; [`Blame::Refusal`] ends the syncs of that item.
    ///
    /// Defaults to: [`Blame::Entry`].
    fn blame(&self, error: &Self::Error) -> Blame {
        let _ = error;
        Blame::Entry
    }

    /// Hears that a sync has made an item terminal, after it can be read and outside of every lock.
    ///
    /// Defaults to: nothing.
    fn finished(&self, id: &Self::Id, item: &Self::Item) {
        let _ = (id, item);
    }

    /// Hears of every item that leaves, and why, after it has left and outside of every lock. It runs on
    /// whichever task caused it, so it should be quick. Never called with [`Removal::Replaced`].
    ///
    /// Defaults to: nothing.
    fn removed(&self, id: &Self::Id, item: &Self::Item, cause: Removal) {
        let _ = (id, item, cause);
    }
}

/// What a sync says about one item.
pub type OneSynced<R> =
    (<R as SyncSource>::Id, Result<Synced<<R as SyncSource>::Item>, <R as SyncSource>::Error>);

/// The state of an item at its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced<T> {
    /// As it was.
    Unchanged,
    /// This, now.
    Updated(T),
    /// There is no such thing any more: the item leaves.
    Gone,
}

/// An item as it was when its sync began. Dereferences to it.
pub struct Tracked<T>(pub(crate) Entry<T>);

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: fmt::Debug> fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracked").field(&**self).finish()
    }
}
