//! What is remembered about a key beside its value: that it is absent, or that it fails.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use crate::clock::{Time, millis};
use crate::error::Error;
use crate::store::Weighted;

/// For how long at least nothing in the background asks about an absent key again.
const ABSENCE: Duration = Duration::from_secs(1);

/// How a key stands with its source: why it is not asked about it for a while.
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

impl<E> Trouble<E> {
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
        match self {
            Self::Absent { since, until } => {
                let young = millis(now.since(*since)) < millis(max_age);
                (now < *until && young).then_some(Error::Absent)
            }
            Self::Failing(failing) => {
                (now < failing.retry_at(recovered_at)).then(|| failing.error.clone())
            }
        }
    }

    /// Until when nothing in the background asks the source; [`Time::MAX`] if never again.
    pub(crate) fn rests_until(&self, recovered_at: Option<Time>) -> Time {
        match self {
            Self::Absent { since, until } => (*until).max(since.after(ABSENCE)),
            Self::Failing(failing) if failing.refused => Time::MAX,
            Self::Failing(failing) => failing.retry_at(recovered_at),
        }
    }

    pub(crate) fn failing(&self) -> Option<&Failing<E>> {
        match self {
            Self::Failing(failing) => Some(failing),
            Self::Absent { .. } => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// The error that a subscriber sees.
    pub(crate) fn error(&self) -> Error<E> {
        match self {
            Self::Absent { .. } => Error::Absent,
            Self::Failing(failing) => failing.error.clone(),
        }
    }
}

impl<E> Failing<E> {
    /// An upstream that came back after the failure ends the back-off within a second.
    fn retry_at(&self, recovered_at: Option<Time>) -> Time {
        match recovered_at {
            Some(back) if back > self.failed_at => self.retry_at.min(back.after(self.jitter)),
            _ => self.retry_at,
        }
    }
}

// Derived, it would ask for `E: Clone`.
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

impl<E> Weighted for Trouble<E> {
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

    fn failing(refused: bool) -> Trouble<std::fmt::Error> {
        Trouble::Failing(Failing {
            failures: 4,
            failed_at: at(100),
            retry_at: at(160),
            jitter: Duration::from_millis(300),
            refused,
            error: Error::Panicked,
        })
    }

    #[test]
    fn a_back_off_ends_in_time_or_soon_after_the_upstream_is_back() {
        let trouble = failing(false);
        assert_eq!(trouble.rests_until(None), at(160));
        assert_eq!(trouble.rests_until(Some(at(99))), at(160), "back before the failure");
        assert_eq!(trouble.rests_until(Some(at(110))), Time::from_millis(110_300));
        assert!(trouble.answer(Duration::ZERO, None, at(159)).is_some(), "no caller bypasses it");
        assert!(trouble.answer(Duration::ZERO, Some(at(110)), at(111)).is_none());
    }

    #[test]
    fn who_is_refused_for_good_is_asked_by_callers_only() {
        let trouble = failing(true);
        assert_eq!(trouble.rests_until(None), Time::MAX);
        assert!(trouble.answer(Duration::MAX, None, at(160)).is_none());
    }

    #[test]
    fn an_absence_is_believed_for_its_time_and_by_those_who_accept_its_age() {
        let trouble: Trouble<std::fmt::Error> = Trouble::Absent { since: at(10), until: at(15) };
        assert!(trouble.answer(Duration::MAX, None, at(14)).is_some());
        assert!(trouble.answer(Duration::from_secs(3), None, at(14)).is_none());
        assert!(trouble.answer(Duration::MAX, None, at(15)).is_none());
    }

    #[test]
    fn nothing_in_the_background_asks_about_an_absence_more_than_once_a_second() {
        let trouble: Trouble<std::fmt::Error> = Trouble::Absent { since: at(10), until: at(10) };
        assert_eq!(trouble.rests_until(None), at(11));
    }
}
