//! What is remembered about a key beside its value: that it is absent, or that it fails.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use crate::clock::{Time, millis};
use crate::error::Error;
use crate::source::Blame;
use crate::store::Weighted;
use crate::upstream::Condition;

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
    /// When the last one failed; if it is one that was never answered, when it began.
    pub(crate) failed_at: Time,
    /// When the next fetch may begin.
    pub(crate) retry_at: Time,
    /// By how much of a second this key comes later than others once their upstream is back.
    pub(crate) jitter: Duration,
    /// Whom the source blames. Where it refuses for good, nothing in the background asks again.
    pub(crate) blame: Blame,
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
        upstream: Condition,
        now: Time,
    ) -> Option<Error<E>> {
        match self {
            Self::Absent { since, until } => {
                let young = millis(now.since(*since)) < millis(max_age);
                (now < *until && young).then_some(Error::Absent)
            }
            Self::Failing(failing) => {
                (now < failing.retry_at(upstream)).then(|| failing.error.clone())
            }
        }
    }

    /// Until when nothing in the background asks the source; [`Time::MAX`] if never again.
    pub(crate) fn rests_until(&self, upstream: Condition) -> Time {
        match self {
            Self::Absent { since, until } => (*until).max(since.after(ABSENCE)),
            Self::Failing(failing) if failing.is_refused() => Time::MAX,
            Self::Failing(failing) => failing.retry_at(upstream),
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
    fn is_refused(&self) -> bool {
        self.blame == Blame::Refusal
    }

    /// Whether the row has ended although nothing has succeeded: the upstream, which was to blame for it, is
    /// back. One more failure begins another one, or else it would back off as if it had never been back.
    pub(crate) fn is_over(&self, recovered_at: Option<Time>) -> bool {
        self.blame == Blame::Upstream && recovered_at.is_some_and(|back| back >= self.failed_at)
    }

    /// An upstream that came back after the failure ends the back-off within a second. While it is down,
    /// the back-off that it is to blame for does not count: somebody must find out that it is back, and
    /// whose turn it is decides who.
    fn retry_at(&self, upstream: Condition) -> Time {
        match upstream.recovered_at {
            _ if upstream.is_down && self.blame == Blame::Upstream => Time::ZERO,
            // In the same millisecond counts as after: the other way round it would wait for long.
            Some(back) if back >= self.failed_at => self.retry_at.min(back.after(self.jitter)),
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

    fn failing(blame: Blame) -> Trouble<std::fmt::Error> {
        Trouble::Failing(Failing {
            failures: 4,
            failed_at: at(100),
            retry_at: at(160),
            jitter: Duration::from_millis(300),
            blame,
            error: Error::Panicked,
        })
    }

    const UP: Condition = Condition { is_down: false, recovered_at: None };

    fn back(secs: u64) -> Condition {
        Condition { recovered_at: Some(at(secs)), ..UP }
    }

    #[test]
    fn a_back_off_ends_in_time_or_soon_after_the_upstream_is_back() {
        let trouble = failing(Blame::Entry);
        assert_eq!(trouble.rests_until(UP), at(160));
        assert_eq!(trouble.rests_until(back(99)), at(160), "back before the failure");
        assert_eq!(trouble.rests_until(back(100)), Time::from_millis(100_300));
        assert_eq!(trouble.rests_until(back(110)), Time::from_millis(110_300));
        assert!(trouble.answer(Duration::ZERO, UP, at(159)).is_some(), "no caller bypasses it");
        assert!(trouble.answer(Duration::ZERO, back(110), at(111)).is_none());
    }

    #[test]
    fn while_the_upstream_is_down_no_back_off_counts_that_it_is_to_blame_for() {
        let down = Condition { is_down: true, ..UP };
        assert_eq!(failing(Blame::Upstream).rests_until(down), Time::ZERO);
        assert_eq!(failing(Blame::Upstream).rests_until(UP), at(160));
        assert_eq!(failing(Blame::Entry).rests_until(down), at(160));
        assert_eq!(failing(Blame::Refusal).rests_until(down), Time::MAX);
    }

    #[test]
    fn a_row_that_the_upstream_was_to_blame_for_is_over_when_it_is_back() {
        let over =
            |blame, back: Option<u64>| failing(blame).failing().unwrap().is_over(back.map(at));
        assert!(over(Blame::Upstream, Some(100)) && !over(Blame::Upstream, Some(99)));
        assert!(!over(Blame::Upstream, None) && !over(Blame::Entry, Some(100)));
    }

    #[test]
    fn who_is_refused_for_good_is_asked_by_callers_only() {
        let trouble = failing(Blame::Refusal);
        assert_eq!(trouble.rests_until(UP), Time::MAX);
        assert!(trouble.answer(Duration::MAX, UP, at(160)).is_none());
    }

    #[test]
    fn an_absence_is_believed_for_its_time_and_by_those_who_accept_its_age() {
        let trouble: Trouble<std::fmt::Error> = Trouble::Absent { since: at(10), until: at(15) };
        assert!(trouble.answer(Duration::MAX, UP, at(14)).is_some());
        assert!(trouble.answer(Duration::from_secs(3), UP, at(14)).is_none());
        assert!(trouble.answer(Duration::MAX, UP, at(15)).is_none());
    }

    #[test]
    fn nothing_in_the_background_asks_about_an_absence_more_than_once_a_second() {
        let trouble: Trouble<std::fmt::Error> = Trouble::Absent { since: at(10), until: at(10) };
        assert_eq!(trouble.rests_until(UP), at(11));
    }
}
