//! What of a Consul is shown as a registry.

use crate::client;
use crate::remote;

/// How to reach a Consul, and what of it is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its agents, and how patient to be with them. The first is the one that instances are registered with,
    /// until it fails.
    pub client: client::Options,
    /// How what is followed is kept.
    pub keeping: remote::Options,
    /// Services that are not shown. Defaults to: `consul`, under which Consul's servers list themselves. Range:
    /// any; letter case does not count.
    pub hidden: Vec<String>,
    /// How many services one watch of everything follows; beyond it the watch says so, and tells nothing.
    /// Defaults to: 10,000. Range: 1 or more; zero counts as 1.
    pub max_services: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client: client::Options::default(),
            keeping: remote::Options::default(),
            hidden: vec!["consul".to_owned()],
            max_services: 10_000,
        }
    }
}

/// Why the [`Options`] cannot be used. Not retried: correct them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The way to the agents cannot be used.
    #[error(transparent)]
    Client(#[from] client::OptionsError),
    /// What is followed cannot be kept like that.
    #[error(transparent)]
    Keeping(#[from] remote::OutOfRange),
}
