//! What one caller asks for: the bounds that belong to a request, not to the cache.

use std::time::Duration;

/// The bounds of one request. They only ever narrow what the cache's [`Options`](crate::Options)
/// allow; the default narrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub(crate) max_age: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) newer: Option<Newer>,
}

/// What a parked caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newer {
    pub(crate) min_index: u64,
    pub(crate) wait: Duration,
}

impl Request {
    /// Narrows nothing.
    pub const DEFAULT: Self =
        Self { max_age: Duration::MAX, stale_if_error: Duration::MAX, timeout: None, newer: None };

    /// Asks for a value younger than `max_age`. Zero asks the source in any case.
    ///
    /// Defaults to: as fresh as the cache's ttl says.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Accepts a value that has been stale for less than `bound` if the source fails. Zero accepts
    /// none.
    ///
    /// Defaults to: the cache's own [`stale_if_error`](crate::Options::stale_if_error), which is also
    /// the upper limit.
    #[must_use]
    pub fn stale_if_error(mut self, bound: Duration) -> Self {
        self.stale_if_error = bound;
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
        self.newer = Some(Newer { min_index: index, wait });
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

impl Default for Request {
    fn default() -> Self {
        Self::DEFAULT
    }
}
