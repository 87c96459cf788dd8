//! What one caller asks for, beyond the key.

use std::time::Duration;

/// What one caller asks for, beyond the key. The default asks for nothing but what the cache's
/// [`Options`](crate::Options) say.
///
/// A request can be stricter than the options, never more lenient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The value must be no older than this, or it is fetched. Any length; defaults to
    /// `Duration::MAX`, no bound.
    pub max_age: Duration,
    /// If the fetch fails, a value may be served that stopped being fresh no longer ago than this.
    /// Any length; zero for "rather an error". Defaults to `Duration::MAX`, which leaves it to
    /// [`Options::stale_if_error`](crate::Options::stale_if_error).
    pub stale_if_error: Duration,
}

impl Default for Request {
    fn default() -> Self {
        Self { max_age: Duration::MAX, stale_if_error: Duration::MAX }
    }
}
