//! What is remembered about keys beside their values: that they are absent, or that they fail.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use crate::clock::{Time, millis};
use crate::error::Error;
use crate::store::Weighted;

/// Why the source is not asked about a key for a while.
pub(crate) enum Trouble<E> {
    /// The owner said at `since` that there is no such thing; believed until `until`.
    Absent { since: Time, until: Time },
    /// The last `failures` fetches failed; the next one may begin at `retry_at`.
    Failing { failures: u32, retry_at: Time, error: Error<E> },
}

impl<E> Trouble<E> {
    /// The answer for a caller who would have the source asked now; `None` if it may be asked.
    ///
    /// A caller's `max_age` applies to an absence as to a value. Nothing that a caller says applies
    /// to a back-off.
    pub(crate) fn answer(&self, max_age: Duration, now: Time) -> Option<Error<E>> {
        match self {
            Self::Absent { since, until } => {
                let young = millis(now.since(*since)) < millis(max_age);
                (now < *until && young).then_some(Error::Absent)
            }
            Self::Failing { retry_at, error, .. } => (now < *retry_at).then(|| error.clone()),
        }
    }

    /// How many fetches in a row have failed.
    pub(crate) fn failures(&self) -> u32 {
        match self {
            Self::Absent { .. } => 0,
            Self::Failing { failures, .. } => *failures,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}

impl<E> Clone for Trouble<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent { since, until } => Self::Absent { since: *since, until: *until },
            Self::Failing { failures, retry_at, error } => {
                Self::Failing { failures: *failures, retry_at: *retry_at, error: error.clone() }
            }
        }
    }
}

impl<E> Weighted for Trouble<E> {
    fn weight(&self) -> u64 {
        1
    }
}
