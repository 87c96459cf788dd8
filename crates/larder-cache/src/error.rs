//! Why a caller got no value.

use std::sync::Arc;
use std::time::Duration;

/// Why a caller got no value. All callers of one flight get the same one.
///
/// The cache itself tries again when the entry's back-off is over and somebody asks; a caller that
/// retries sooner gets the same error without disturbing the source. So [`Source`](Self::Source),
/// [`TimedOut`](Self::TimedOut) and [`Panicked`](Self::Panicked) may be retried at any rate;
/// [`Overloaded`](Self::Overloaded) should be retried later; the others not at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The source says that there is no such thing: an answer rather than a failure.
    #[error("there is no such thing")]
    Absent,
    /// The source failed.
    #[error("the source failed: {0}")]
    Source(Arc<E>),
    /// The source did not answer in time.
    #[error("the source did not answer within {0:?}")]
    TimedOut(Duration),
    /// The source panicked; its message went to the panic hook.
    #[error("the source panicked")]
    Panicked,
    /// The source said "not modified" although there was nothing that could have been: a defect of the
    /// source.
    #[error("the source said \"not modified\" of a value that it never gave")]
    NothingToConfirm,
    /// As many fetches are under way, or as many callers waiting, as the options allow.
    #[error("the cache is overloaded: {0} are under way, the most that may be")]
    Overloaded(Limit),
    /// The cache was closed.
    #[error("the cache is closed")]
    Closed,
}

/// The bound that an [`Error::Overloaded`] met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Options::max_flights`](crate::Options::max_flights).
    Flights(usize),
    /// [`Options::max_waiters`](crate::Options::max_waiters).
    Waiters(usize),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flights(most) => write!(f, "{most} fetches"),
            Self::Waiters(most) => write!(f, "{most} waiting callers"),
        }
    }
}

// By hand: a derive would ask that `E` can be cloned.
impl<E> Clone for Error<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Source(error) => Self::Source(error.clone()),
            Self::TimedOut(after) => Self::TimedOut(*after),
            Self::Panicked => Self::Panicked,
            Self::NothingToConfirm => Self::NothingToConfirm,
            Self::Overloaded(limit) => Self::Overloaded(*limit),
            Self::Closed => Self::Closed,
        }
    }
}
