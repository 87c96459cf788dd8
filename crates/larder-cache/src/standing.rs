//! What is remembered about a key beside its value: that it is absent, that it fails, how often it was
//! fetched.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use crate::clock::{Time, millis};
use crate::error::Error;
use crate::pace::Pace;
use crate::store::Weighted;

/// How a key stands with its source.
pub(crate) struct Standing<E> {
    pub(crate) pace: Pace,
    pub(crate) trouble: Option<Trouble<E>>,
}

/// Why the source is not asked about a key for a while.
pub(crate) enum Trouble<E> {
    /// The owner said at `since` that there is no such thing; believed until `until`.
    Absent { since: Time, until: Time },
    /// The last fetches failed.
    Failing(Failing<E>),
}

/// A row of failures.
pub(crate) struct Failing<E> {
    /// How many in a row.
    pub(crate) failures: u32,
    /// When the last one failed.
    pub(crate) failed_at: Time,
    /// When the next fetch may begin.
    pub(crate) retry_at: Time,
    /// By how much of a second this key comes later than others once their upstream is back.
    pub(crate) jitter: Duration,
    /// The source refuses for good: nothing in the background asks again.
    pub(crate) refused: bool,
    pub(crate) error: Error<E>,
}

impl<E> Standing<E> {
    /// The answer for a caller who would have the source asked now; `None` if it may be asked.
    ///
    /// A caller's `max_age` applies to an absence as to a value. Nothing that a caller says applies to
    /// a back-off.
    pub(crate) fn answer(
        &self,
        max_age: Duration,
        recovered_at: Option<Time>,
        now: Time,
    ) -> Option<Error<E>> {
        match &self.trouble {
            None => None,
            Some(Trouble::Absent { since, until }) => {
                let young = millis(now.since(*since)) < millis(max_age);
                (now < *until && young).then_some(Error::Absent)
            }
            Some(Trouble::Failing(failing)) => {
                (now < failing.retry_at(recovered_at)).then(|| failing.error.clone())
            }
        }
    }

    /// Until when nothing in the background asks the source; [`Time::MAX`] if never again.
    pub(crate) fn rests_until(&self, recovered_at: Option<Time>) -> Time {
        match &self.trouble {
            None => Time::ZERO,
            Some(Trouble::Absent { until, .. }) => *until,
            Some(Trouble::Failing(failing)) if failing.refused => Time::MAX,
            Some(Trouble::Failing(failing)) => failing.retry_at(recovered_at),
        }
    }

    pub(crate) fn failing(&self) -> Option<&Failing<E>> {
        match &self.trouble {
            Some(Trouble::Failing(failing)) => Some(failing),
            _ => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Absent { .. }))
    }

    /// The error that a subscriber sees.
    pub(crate) fn error(&self) -> Option<Error<E>> {
        match &self.trouble {
            None => None,
            Some(Trouble::Absent { .. }) => Some(Error::Absent),
            Some(Trouble::Failing(failing)) => Some(failing.error.clone()),
        }
    }
}

impl<E> Failing<E> {
    /// An upstream that came back after the failure ends the back-off within a second.
    fn retry_at(&self, recovered_at: Option<Time>) -> Time {
        match recovered_at {
            Some(back) if back >= self.failed_at => self.retry_at.min(back.after(self.jitter)),
            _ => self.retry_at,
        }
    }
}

// Derived, these would ask for `E: Clone` and `E: Default`.
impl<E> Default for Standing<E> {
    fn default() -> Self {
        Self { pace: Pace::default(), trouble: None }
    }
}

impl<E> Clone for Standing<E> {
    fn clone(&self) -> Self {
        Self { pace: self.pace, trouble: self.trouble.clone() }
    }
}

impl<E> Clone for Trouble<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Absent { since, until } => Self::Absent { since: *since, until: *until },
            Self::Failing(failing) => {
                Self::Failing(Failing { error: failing.error.clone(), ..*failing })
            }
        }
    }
}

impl<E> Weighted for Standing<E> {
    fn weight(&self) -> u64 {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    fn failing(refused: bool) -> Standing<std::fmt::Error> {
        let failing = Failing {
            failures: 4,
            failed_at: at(100),
            retry_at: at(160),
            jitter: Duration::from_millis(300),
            refused,
            error: Error::Panicked,
        };
        Standing { pace: Pace::default(), trouble: Some(Trouble::Failing(failing)) }
    }

    #[test]
    fn a_back_off_ends_in_time_or_soon_after_the_upstream_is_back() {
        let standing = failing(false);
        assert_eq!(standing.rests_until(None), at(160));
        assert_eq!(standing.rests_until(Some(at(99))), at(160), "back before the failure");
        assert_eq!(standing.rests_until(Some(at(110))), Time::from_millis(110_300));
        assert!(standing.answer(Duration::ZERO, None, at(159)).is_some(), "no caller bypasses it");
        assert!(standing.answer(Duration::ZERO, Some(at(110)), at(111)).is_none());
    }

    #[test]
    fn who_is_refused_for_good_is_asked_by_callers_only() {
        let standing = failing(true);
        assert_eq!(standing.rests_until(None), Time::MAX);
        assert!(standing.answer(Duration::MAX, None, at(160)).is_none());
    }

    #[test]
    fn an_absence_is_believed_for_its_time_and_by_those_who_accept_its_age() {
        let trouble = Some(Trouble::Absent { since: at(10), until: at(15) });
        let standing: Standing<std::fmt::Error> = Standing { pace: Pace::default(), trouble };
        assert!(standing.answer(Duration::MAX, None, at(14)).is_some());
        assert!(standing.answer(Duration::from_secs(3), None, at(14)).is_none());
        assert!(standing.answer(Duration::MAX, None, at(15)).is_none());
    }
}
