//! What can go wrong, by phase.

use std::sync::Arc;
use std::time::Duration;

/// Why a request got no value; or, inside [`Origin::Stale`](crate::Origin::Stale), why it got a stale
/// one.
///
/// Nobody should retry in a loop: `Source`, `TimedOut`, `Panicked`, `Down`, `NoIndex`, `Stream` and
/// `NothingToConfirm` are retried by the entry's keeper, if it has one, or else by the next request, as
/// the entry's back-off allows. `Overloaded` and `Impatient` may be retried by
/// the caller after a pause. `Absent` is an answer: the owner said that there is nothing. `Closed` is
/// final.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// Look: the owner says that there is no such thing.
    #[error("there is no such entry")]
    Absent,
    /// Join: as many fetches are under way, or as many callers are waiting, as
    /// [`Limits`](crate::Limits) allows.
    #[error("too many {0} already")]
    Overloaded(Crowd),
    /// Join: the caller's own [time-out](crate::Request::timeout) passed, or the time for which it waits for
    /// an [index](crate::Request::min_index) without there being a value. The fetch goes on.
    #[error("no answer within the caller's {0:?}")]
    Impatient(Duration),
    /// Fetch: the source failed. Everyone who waited has the same error, and so has everyone who asks
    /// while the entry backs off.
    #[error(transparent)]
    Source(Arc<E>),
    /// Fetch: the source took longer than [`fetch_timeout`](crate::Options::fetch_timeout).
    #[error("the source gave no answer within {0:?}")]
    TimedOut(Duration),
    /// Fetch: the source panicked.
    #[error("the source panicked")]
    Panicked,
    /// Fetch: the source's upstream is down, and the next look at it is not due yet; see
    /// [`Upstream`](crate::Upstream).
    #[error("the source's upstream is down; it is asked again within a second")]
    Down,
    /// Fetch: the source answered a [blocking fetch](crate::Refresh::Blocking) without an index, so that
    /// the next one would not block. The value is kept and served; the entry backs off.
    #[error("the source counts no changes, so it cannot be waited for")]
    NoIndex,
    /// Keep: the source's stream of changes ended at once, went quiet for too long, or made no sense.
    #[error("the source's stream {0}")]
    Stream(StreamFault),
    /// Fetch: the source said "not modified" of a value that it was not shown.
    #[error("the source confirmed a value that there was not")]
    NothingToConfirm,
    /// Any: the cache was closed or dropped, or its runtime shut down.
    #[error("the cache is closed")]
    Closed,
}

/// Of whom there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// Fetches under way.
    Flights,
    /// Callers waiting for a fetch, or for an index.
    Waiters,
    /// Keys kept fresh in the background.
    Keepers,
    /// Subscriptions.
    Subscriptions,
}

/// What is wrong with a stream of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// It ended without having said anything, or within a second.
    #[error("ended too soon")]
    Brief,
    /// Nothing came for the [idle time-out](crate::Refresh::Watch::idle_timeout).
    #[error("went quiet")]
    Quiet,
    /// A list was changed or finished that had not begun, or began within another.
    #[error("has its events in a wrong order")]
    Disordered,
    /// A list has more items than [`Limits::listed`](crate::Limits::listed).
    #[error("lists more items than the limit")]
    TooLong,
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flights => "fetches are under way",
            Self::Waiters => "callers are waiting",
            Self::Keepers => "keys are kept fresh",
            Self::Subscriptions => "subscriptions exist",
        })
    }
}

// Derived, it would ask for `E: Clone`.
impl<E> Clone for Error<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Overloaded(crowd) => Self::Overloaded(*crowd),
            Self::Impatient(after) => Self::Impatient(*after),
            Self::Source(error) => Self::Source(Arc::clone(error)),
            Self::TimedOut(after) => Self::TimedOut(*after),
            Self::Panicked => Self::Panicked,
            Self::Down => Self::Down,
            Self::NoIndex => Self::NoIndex,
            Self::Stream(fault) => Self::Stream(*fault),
            Self::NothingToConfirm => Self::NothingToConfirm,
            Self::Closed => Self::Closed,
        }
    }
}

/// Why a subscription cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The cache refreshes on demand, so that a subscription polls, and the request does not say how
    /// often; or it asks for an age below a millisecond, which no way of refreshing can keep. Give it a
    /// [`max_age`](crate::Request::max_age).
    #[error(
        "a subscription to a cache that refreshes on demand needs a max_age to poll by, from 1 ms"
    )]
    NoMaxAge,
    /// There are as many as [`Limits`](crate::Limits) allows.
    #[error("too many {0} already")]
    Overloaded(Crowd),
    /// The cache is closed.
    #[error("the cache is closed")]
    Closed,
}
