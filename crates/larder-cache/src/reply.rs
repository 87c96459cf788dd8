//! What a caller gets: the value, and how it came here.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::entry::Entry;

/// A value from the cache. Dereferences to the value; cheap to make and to clone.
///
/// The value stays alive as long as the reply, whatever happens to the entry.
pub struct Reply<V> {
    entry: Entry<V>,
    /// When the reply was made.
    at: Time,
    origin: Origin,
}

/// Where a reply came from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// From memory, fresh enough for the request.
    Hit,
    /// From the source, by a fetch that this request started or joined, or whose value it waited for.
    Miss,
    /// From memory: nothing newer than the [`min_index`](crate::Request::min_index) came in time.
    Unchanged,
    /// From memory, no longer fresh enough, for this reason.
    Stale(Reason),
}

/// Why a value is stale: a [`crate::Error`] of the cache, whatever the type of its source's errors.
///
/// It is one word, so that the replies of hits, which have none, are small.
#[derive(Clone)]
pub struct Reason(Arc<Box<dyn std::error::Error + Send + Sync>>);

impl<V> Reply<V> {
    pub(crate) fn new(entry: Entry<V>, at: Time, origin: Origin) -> Self {
        Self { entry, at, origin }
    }

    /// How long before this reply was made the source last vouched for the value, to within the
    /// clock's tick. If it has vouched for the value since then, the reply is of age zero: it was right
    /// when it was made.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.entry.freshness().age_ms(self.at))
    }

    /// For how long after this reply was made the value stays fresh; zero if it is not, and beyond all
    /// bounds for one that has no end.
    pub fn fresh_for(&self) -> Duration {
        self.entry.fresh_until().since(self.at)
    }

    /// The owner's change counter for this value; 0 if the source does not count. It never goes
    /// backwards: when the owner's does, as after a restored backup, the cache goes on counting from
    /// where it was.
    pub fn index(&self) -> u64 {
        self.entry.index()
    }

    /// Where the reply came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Why the value is stale; `None` for a value that is as fresh as was asked for.
    pub fn error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.origin {
            Origin::Stale(reason) => Some(&**reason),
            Origin::Hit | Origin::Miss | Origin::Unchanged => None,
        }
    }
}

impl Reason {
    pub(crate) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(Box::new(error)))
    }
}

impl Deref for Reason {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &**self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<V> Deref for Reply<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.entry.value()
    }
}

impl<V> Clone for Reply<V> {
    fn clone(&self) -> Self {
        Self { entry: Entry::clone(&self.entry), origin: self.origin.clone(), ..*self }
    }
}

impl<V: fmt::Debug> fmt::Debug for Reply<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("value", self.entry.value())
            .field("age", &self.age())
            .field("index", &self.index())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
