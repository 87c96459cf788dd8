//! Where a cache gets its values: the [`Source`] trait, what it is told and what it may answer.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use crate::entry::Entry;

/// The owner of the values, asked when the cache has none that is fresh enough.
///
/// ```
/// use std::convert::Infallible;
/// use larder_cache::{Attempt, Fetched, Source};
///
/// struct Lengths;
///
/// impl Source for Lengths {
///     type Key = String;
///     type Value = usize;
///     type Error = Infallible;
///
///     async fn fetch(&self, key: &String, _: Attempt<usize>) -> Result<Fetched<usize>, Infallible> {
///         Ok(Fetched::value(key.len()))
///     }
/// }
/// ```
///
/// The future runs in a task of its own. It is dropped when the time allowed is over or the cache is
/// closed, never because a caller went away; one that [waits](Attempt::wait) for news also when nobody
/// is interested any more, or somebody needs an answer now. A panic inside is caught and reported to the
/// waiters.
pub trait Source: Send + Sync + 'static {
    /// What values are asked by. Credentials belong into it: an answer never crosses a key.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;
    /// What is cached. It is never cloned by the cache.
    type Value: Send + Sync + 'static;
    /// Why a fetch failed. One error is shared by everyone who waited for it.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Asks the owner for `key`'s value.
    fn fetch(
        &self,
        key: &Self::Key,
        attempt: Attempt<Self::Value>,
    ) -> impl Future<Output = Result<Fetched<Self::Value>, Self::Error>> + Send;

    /// How much of the cache's capacity `value` takes, in the unit of
    /// [`Options::capacity`](crate::Options::capacity); 0 counts as 1. Called once for each value.
    ///
    /// Defaults to: 1, so that the capacity is a number of entries. It is here and not among the
    /// options because only the source's author knows the types, and so that options stay plain data.
    fn weigh(&self, key: &Self::Key, value: &Self::Value) -> u64 {
        let _ = (key, value);
        1
    }

    /// Whether `after` says the same as `before`, so that subscribers need not hear of it. Asked when a
    /// fetch brings a value although there is one.
    ///
    /// Defaults to: never, that is, every value that is fetched counts as a change. A source that is
    /// polled and cannot answer [`Fetched::NotModified`] should compare. In a cache that refreshes by
    /// [blocking fetches](crate::Refresh::Blocking), an equal index says the same in any case.
    fn is_same(&self, before: &Self::Value, after: &Self::Value) -> bool {
        let _ = (before, after);
        false
    }

    /// What an error says about whom.
    ///
    /// Defaults to: [`Blame::Entry`].
    fn blame(&self, error: &Self::Error) -> Blame {
        let _ = error;
        Blame::Entry
    }

    /// Whether a fetch that [waits](Attempt::wait) for news answers as soon as there are any, so that the
    /// value has no age meanwhile.
    ///
    /// Defaults to: yes.
    fn vouches_while_waiting(&self) -> bool {
        true
    }

    /// Hears of every value that leaves the cache, after it has left and outside of every lock. It runs
    /// on whichever task caused the removal, so it should be quick. A panic in it is caught.
    ///
    /// Defaults to: nothing.
    fn removed(&self, key: &Self::Key, value: &Self::Value, cause: Removal) {
        let _ = (key, value, cause);
    }
}

/// What a failed fetch says about whom; see [`Source::blame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// This key failed, and may succeed the next time: it backs off.
    Entry,
    /// The whole [`Upstream`](crate::Upstream) could not be reached, or is out of order. A fetch that
    /// takes too long counts as this.
    Upstream,
    /// The source refuses this key for good, as when a token was revoked: nothing in the background
    /// asks again, the value stays, and the next caller who finds it stale tries once more after the
    /// longest back-off.
    Refusal,
}

/// Why a value left the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Another value took its place.
    Replaced,
    /// It made room for others.
    Evicted,
    /// A value that was too heavy to be kept came in its place.
    TooHeavy,
    /// It was invalidated.
    Invalidated,
    /// It was deleted: [`AutoRefresh::delete`](crate::AutoRefresh::delete) and
    /// [`delete_delayed`](crate::AutoRefresh::delete_delayed).
    Deleted,
    /// The owner says that there is no such thing any more.
    Absent,
    /// Nobody had read it for the cache's [idle time](crate::Options::idle).
    Idle,
    /// It was too old to be served even while the source fails.
    Expired,
    /// The cache was closed.
    Closed,
}

/// What a source is told about the fetch that it is asked for.
pub struct Attempt<V> {
    pub(crate) previous: Option<Previous<V>>,
    pub(crate) max_age: Duration,
    pub(crate) wait: Option<Wait>,
    pub(crate) time_allowed: Duration,
}

/// What a blocking fetch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The index that must be passed: that of the previous value, as the source gave it.
    pub past: u64,
    /// For how long to wait for that at most. Then the source answers with what it has, or with
    /// [`Fetched::NotModified`].
    pub at_most: Duration,
}

impl<V> Attempt<V> {
    /// The value that the cache still has, fresh or not. Without one, [`Fetched::NotModified`] is an
    /// error.
    pub fn previous(&self) -> Option<&V> {
        self.previous.as_ref().map(Previous::value)
    }

    /// The index that came with the [`previous`](Self::previous) value.
    pub fn previous_index(&self) -> Option<u64> {
        self.previous.as_ref().map(Previous::source_index)
    }

    /// Whether to wait for something new before answering. Only a cache that refreshes by
    /// [blocking fetches](crate::Refresh::Blocking) asks for this, and only once it has a value.
    pub fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// How old an answer may be for the caller who started this fetch: a source that is itself a
    /// cache must not answer with an older copy. `Duration::MAX` if any copy will do.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The future is dropped after this long.
    pub fn time_allowed(&self) -> Duration {
        self.time_allowed
    }

    /// The same attempt, as a source within this one sees it, of whose values `part` finds one in each of
    /// the cache's: for a source that keeps something beside what another source brings.
    pub fn part<P>(self, part: fn(&V) -> &P) -> Attempt<P>
    where
        V: Send + Sync + 'static,
        P: 'static,
    {
        let previous = self.previous.map(|previous| Previous::Part(Box::new((previous, part))));
        let Self { max_age, wait, time_allowed, .. } = self;
        Attempt { previous, max_age, wait, time_allowed }
    }

    /// The entry that the cache still has; `None` for a [`part`](Self::part) of one.
    pub(crate) fn into_entry(self) -> Option<Entry<V>> {
        match self.previous? {
            Previous::Entry(entry) => Some(entry),
            Previous::Part(_) => None,
        }
    }
}

/// What the cache still has.
pub(crate) enum Previous<V> {
    Entry(Entry<V>),
    /// A part of what it has.
    Part(Box<dyn Part<V>>),
}

/// A value within another one.
pub(crate) trait Part<P>: Send + Sync {
    fn value(&self) -> &P;
    fn source_index(&self) -> u64;
}

impl<V: Send + Sync + 'static, P> Part<P> for (Previous<V>, fn(&V) -> &P) {
    fn value(&self) -> &P {
        (self.1)(self.0.value())
    }

    fn source_index(&self) -> u64 {
        self.0.source_index()
    }
}

impl<V> Previous<V> {
    fn value(&self) -> &V {
        match self {
            Self::Entry(entry) => entry.value(),
            Self::Part(part) => part.value(),
        }
    }

    fn source_index(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.source_index(),
            Self::Part(part) => part.source_index(),
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Attempt<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("previous", &self.previous())
            .field("max_age", &self.max_age)
            .field("wait", &self.wait)
            .field("time_allowed", &self.time_allowed)
            .finish()
    }
}

/// A source's answer.
#[derive(Debug)]
pub enum Fetched<V> {
    /// A value, to replace whatever there was.
    Fresh(Fresh<V>),
    /// The previous value still holds.
    NotModified {
        /// As in [`Fresh::ttl`].
        ttl: Option<Duration>,
    },
    /// The owner knows that there is no such thing. Callers get
    /// [`Error::Absent`](crate::Error::Absent), and the previous value is forgotten.
    Absent {
        /// How long to answer so without asking again; shortens the cache's
        /// [`absent_ttl`](crate::Options::absent_ttl), never lengthens it.
        remember_for: Option<Duration>,
    },
}

impl<V> Fetched<V> {
    /// `value`, with index 0, kept for the cache's ttl.
    pub fn value(value: V) -> Self {
        Self::Fresh(Fresh::new(value))
    }
}

/// A value with what is known about it: an answer of a source, or what is put in from outside.
#[derive(Debug, Clone)]
pub struct Fresh<V> {
    pub(crate) value: V,
    pub(crate) index: u64,
    pub(crate) ttl: Option<Duration>,
    pub(crate) age: Duration,
    pub(crate) terminal: bool,
    pub(crate) kept: bool,
}

impl<V> Fresh<V> {
    /// `value`, of age zero, with index 0, kept for the cache's ttl.
    pub fn new(value: V) -> Self {
        Self { value, index: 0, ttl: None, age: Duration::ZERO, terminal: false, kept: true }
    }

    /// Sets the owner's change counter for this value.
    #[must_use]
    pub fn index(mut self, index: u64) -> Self {
        self.index = index;
        self
    }

    /// Shortens the time for which the value is fresh, counted from its arrival. A ttl longer than
    /// the cache's own [`ttl`](crate::Options::ttl) has no effect.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Says that the value had left its owner this long before it arrived here.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The same about what `change` makes of the value.
    pub fn map<W>(self, change: impl FnOnce(V) -> W) -> Fresh<W> {
        let Self { value, index, ttl, age, terminal, kept } = self;
        Fresh { value: change(value), index, ttl, age, terminal, kept }
    }

    /// To what the [`ttl`](Self::ttl) was shortened, if it was.
    pub fn shortened_to(&self) -> Option<Duration> {
        self.ttl
    }

    /// Says that a value that is fetched is for those who wait for it, and is not worth its place: the key has
    /// no value after that, and the next request asks again. Of a value that is put from outside it has no
    /// effect.
    #[must_use]
    pub fn unkept(mut self) -> Self {
        self.kept = false;
        self
    }

    /// Says that the value will not change any more: a cache that refreshes
    /// [in batches](crate::Refresh::Batch) does not ask about it again, and lets it go when its ttl is
    /// over. In any other cache it has no effect.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }
}

impl<V> From<V> for Fresh<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

impl<V> From<Fresh<V>> for Fetched<V> {
    fn from(fresh: Fresh<V>) -> Self {
        Self::Fresh(fresh)
    }
}
