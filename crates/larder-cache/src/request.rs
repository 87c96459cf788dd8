//! What one caller asks for: the bounds that belong to a request, not to the cache.

use std::time::Duration;

/// The bounds of one request. They only ever narrow what the cache's [`Options`](crate::Options)
/// allow; the default narrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub(crate) max_age: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    /// Narrows nothing.
    pub const DEFAULT: Self =
        Self { max_age: Duration::MAX, stale_if_error: Duration::MAX, timeout: None };

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
