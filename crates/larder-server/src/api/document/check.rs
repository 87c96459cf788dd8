//! The documents about checks.

use larder_registry::model::{self, Probe};
use serde::{Deserialize, Serialize};

/// A check of an instance, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Unique within the instance.
    pub id: String,
    /// For people.
    pub name: String,
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// For people: why. In a watch, and where an instance was registered, as of the instance's last
    /// change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The URL that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The `host:port` that is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// How long it stays without a report before it turns critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// The kind of a check that came over another protocol and that nobody here looks after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Time between two probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_secs: Option<u64>,
    /// How long a probe may take; none for the prober's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// How long it may be critical before the instance is deregistered; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after_secs: Option<u64>,
}

/// A check in a registration: with one of `http`, `tcp` and `ttl_secs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRegistration {
    /// Unique within the instance.
    pub id: String,
    /// For people; the id if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The URL to ask, `http://` only: 2xx is passing, 429 a warning, anything else critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The `host:port` to connect to: passing if it accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// The registrant reports; silence for longer than this is critical. 1 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u32>,
    /// Time between two probes: 1 to 86,400, 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_secs: Option<u32>,
    /// How long a probe may take: 1 to 60; 10 by default, but no longer than the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// Deregister the instance once it has been critical for so long: 60 to 604,800; never by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after_secs: Option<u32>,
    /// What is believed until the first probe or report: `passing`, `warning` or `critical`, the
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The body of a report about a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// For people: why. The first 4 KiB are kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl From<&model::Check> for Check {
    fn from(held: &model::Check) -> Self {
        let mut check = Self {
            id: held.id.clone(),
            name: held.name.clone(),
            status: held.health.to_string(),
            output: held.output.clone(),
            http: None,
            tcp: None,
            ttl_secs: None,
            kind: None,
            interval_secs: Some(held.interval.as_secs()).filter(|secs| *secs > 0),
            timeout_secs: Some(held.timeout.as_secs()).filter(|secs| *secs > 0),
            deregister_after_secs: held.deregister_after.map(|wait| wait.as_secs()),
        };
        match &held.probe {
            Probe::Http { url, .. } => check.http = Some(url.clone()),
            Probe::Tcp(target) => check.tcp = Some(target.clone()),
            Probe::Ttl(ttl) => check.ttl_secs = Some(ttl.as_secs()),
            Probe::Other { kind, .. } => check.kind = Some(kind.clone()),
        }
        check
    }
}
