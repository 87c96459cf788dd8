//! What one caller asks for: the bounds that belong to a request, not to the cache.

use std::time::Duration;

use crate::clock::millis;

/// The bounds of one request. They only ever narrow what the cache's [`Options`](crate::Options)
/// allow; the default narrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    // Milliseconds, because a hit compares them and should not have to convert anything.
    max_age_ms: u64,
    stale_if_error_ms: u64,
    pub(crate) timeout: Option<Duration>,
    pub(crate) newer: Option<Newer>,
}

/// What a parked caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newer {
    pub(crate) min_index: u64,
    pub(crate) wait: Duration,
    /// Not to wait on while the source fails: for a tier above, which says how old its value is.
    pub(crate) heeds_errors: bool,
}

impl Request {
    /// Narrows nothing.
    pub const DEFAULT: Self =
        Self { max_age_ms: u64::MAX, stale_if_error_ms: u64::MAX, timeout: None, newer: None };

    /// Asks for a value younger than `max_age`. Zero asks the source in any case.
    ///
    /// Defaults to: as fresh as the cache's ttl says.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age_ms = millis(max_age);
        self
    }

    /// Accepts a value that has been stale for less than `bound` if the source fails. Zero accepts
    /// none.
    ///
    /// Defaults to: the cache's own [`stale_if_error`](crate::Options::stale_if_error), which is also
    /// the upper limit.
    #[must_use]
    pub fn stale_if_error(mut self, bound: Duration) -> Self {
        self.stale_if_error_ms = millis(bound);
        self
    }

    /// Asks the source in any case, and accepts nothing but its answer: if it fails, that is the
    /// answer. The same as a [`max_age`](Self::max_age) and a [`stale_if_error`](Self::stale_if_error)
    /// of zero.
    #[must_use]
    pub fn must_revalidate(self) -> Self {
        self.max_age(Duration::ZERO).stale_if_error(Duration::ZERO)
    }

    /// Waits for a value whose index is greater than `index`, for at most `wait`. It wakes exactly when
    /// the index passes, when the time is over, or when the cache closes; after the time is over it gets
    /// the value as it is, with [`Origin::Unchanged`](crate::Origin::Unchanged). While the source fails
    /// it goes on waiting, unless there is no value: then it gets the error. A
    /// [`max_age`](Self::max_age) holds for the value that the wait begins with.
    ///
    /// A cache that refreshes [on demand](crate::Refresh::OnDemand) could not notice a change, and
    /// ignores this, as Consul's agent cache does.
    ///
    /// Defaults to: not waiting.
    #[must_use]
    pub fn min_index(mut self, index: u64, wait: Duration) -> Self {
        self.newer = Some(Newer { min_index: index, wait, heeds_errors: false });
        self
    }

    /// Waits no longer than `timeout`. Then a stale value within the bounds is served, with
    /// [`Error::Impatient`](crate::Error::Impatient) beside it, or else that error. The fetch goes on.
    ///
    /// Defaults to: as long as the source may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Request {
    /// Has a parked request end when the source fails.
    pub(crate) fn heeding_errors(mut self) -> Self {
        if let Some(newer) = &mut self.newer {
            newer.heeds_errors = true;
        }
        self
    }

    pub(crate) fn max_age_ms(&self) -> u64 {
        self.max_age_ms
    }

    pub(crate) fn stale_if_error_ms(&self) -> u64 {
        self.stale_if_error_ms
    }

    /// As a duration; `Duration::MAX` if any age will do.
    pub(crate) fn greatest_age(&self) -> Duration {
        match self.max_age_ms {
            u64::MAX => Duration::MAX,
            millis => Duration::from_millis(millis),
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::DEFAULT
    }
}
