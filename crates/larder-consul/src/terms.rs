//! How a read wants to be answered: how fresh, how long to wait, from which copy.

use std::time::Duration;

/// What one request says about its answer, beside [what it asks for](crate::question::Question).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Which copy of the catalog may answer.
    pub consistency: Consistency,
    /// Wait until the index is greater than this; zero does not wait.
    pub index: u64,
    /// `wait`: how long, as asked; none for the default. Not clamped yet.
    pub wait: Option<Duration>,
    /// `hash`: wait until the content's hash is another one.
    pub hash: Option<Box<str>>,
    /// `cached`: the agent's cache may answer.
    pub cached: bool,
    /// What `Cache-Control` says; heeded with [`cached`](Self::cached).
    pub cache_control: CacheControl,
    /// `max_stale`: how far behind a copy may be that answers a stale read.
    pub max_stale: Option<Duration>,
}

/// Which copy of the catalog may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// What the leader holds.
    #[default]
    Leader,
    /// What any server holds.
    Stale,
    /// What the leader holds once a quorum has confirmed that it is one.
    Consistent,
}

/// A request's `Cache-Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheControl {
    /// The oldest copy that will do.
    pub max_age: Option<Duration>,
    /// No copy will do.
    pub must_revalidate: bool,
    /// How long beyond that a copy will do while the source fails.
    pub stale_if_error: Option<Duration>,
}
