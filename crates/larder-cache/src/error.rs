//! What can go wrong, by phase.

use std::sync::Arc;
use std::time::Duration;

/// Why a request got no value; or, inside [`Origin::Stale`](crate::Origin::Stale), why it got a stale
/// one.
///
/// Nobody should retry in a loop: `Source`, `TimedOut`, `Panicked` and `NothingToConfirm` are retried
/// by the next request, as the entry's back-off allows. `Overloaded` and `Impatient` may be retried by
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
    /// Join: the caller's own [time-out](crate::Request::timeout) passed. The fetch goes on.
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
    /// Callers waiting for a fetch.
    Waiters,
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flights => "fetches are under way",
            Self::Waiters => "callers are waiting",
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
            Self::NothingToConfirm => Self::NothingToConfirm,
            Self::Closed => Self::Closed,
        }
    }
}
