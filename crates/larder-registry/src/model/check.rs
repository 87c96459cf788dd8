//! Health checks that are attached to an instance, in Consul's terms.

use std::time::Duration;

use super::Opaque;

/// One health check of an instance: how it is probed, and what the last probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique within the instance.
    pub id: String,
    /// For people.
    pub name: String,
    /// What the last probe said.
    pub health: Health,
    /// For people: what this check is about.
    pub notes: String,
    /// For people: what the last probe printed.
    pub output: String,
    /// How it is probed.
    pub probe: Probe,
    /// Time between two probes; zero when somebody else reports.
    pub interval: Duration,
    /// How long a probe may take; zero for the prober's default.
    pub timeout: Duration,
    /// Deregister the instance once this check has been critical for so long.
    pub deregister_after: Option<Duration>,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// All is well.
    Passing,
    /// It serves, but somebody should look.
    Warning,
    /// It must not be used.
    Critical,
}

/// How a check is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The instance reports; silence for longer than this is critical.
    Ttl(Duration),
    /// A connection is opened to `host:port`.
    Tcp(String),
    /// A request is sent to this URL; the document holds method, headers, body and TLS settings.
    Http {
        /// Where to.
        url: String,
        /// The rest of the definition.
        definition: Opaque,
    },
    /// A kind that Larder stores and hands back without probing it (gRPC, script, alias, …).
    Other {
        /// Consul's name of the kind.
        kind: String,
        /// The whole definition.
        definition: Opaque,
    },
}
