//! The documents of the API, as they are written and read.

mod check;

use std::collections::BTreeMap;

use larder_registry::catalog;
use larder_registry::model::{self, Port, Status};
use serde::{Deserialize, Serialize};

pub use check::{Check, CheckRegistration, CheckReport};

/// The answer to `GET services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Grows with every change.
    pub revision: u64,
    /// In the order of their names, whatever the case.
    pub services: Vec<ServiceSummary>,
}

/// One service in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The name, as its first registrant wrote it.
    pub name: String,
    /// How many instances it has.
    pub instances: usize,
    /// How many are in which status; statuses that do not occur are left out.
    pub status: BTreeMap<String, usize>,
}

/// The answer to `GET services/{service}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The revision of the last change to this service.
    pub revision: u64,
    /// The name, as its first registrant wrote it.
    pub name: String,
    /// In the order of their ids.
    pub instances: Vec<Instance>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The service, as this instance's registrant wrote it.
    pub service: String,
    /// Unique within the service.
    pub id: String,
    /// `UP`, `DOWN`, `STARTING`, `OUT_OF_SERVICE` or `UNKNOWN`; `DOWN` in place of `UP` while a check is
    /// critical.
    pub status: String,
    /// An operator's override of the status, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_override: Option<String>,
    /// The host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The port for plain traffic, if it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The port for TLS, if it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_port: Option<u16>,
    /// The version that it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the registrant says about it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Its lease; none if it never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Its health checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// When it last changed, in milliseconds since 1970.
    pub updated_at: u64,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// How long after its last renewal it ends.
    pub duration_secs: u32,
    /// When it was registered, in milliseconds since 1970.
    pub registered_at: u64,
    /// When it was last renewed, in milliseconds since 1970: in a watch, as of the change.
    pub renewed_at: u64,
    /// How long ago that was when it was listed, by the server's clock, so that nobody needs one that
    /// agrees with it; none elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_secs_ago: Option<u64>,
}

/// The body of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The port for plain traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The port for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_port: Option<u16>,
    /// `UP`, the default, `DOWN` or `STARTING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The version that it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How long it stays without renewal: 1 to 86,400; for ever if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u32>,
    /// Health checks: at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckRegistration>,
}

/// The data of a watch's events `instance`, `apply` and `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceChange {
    /// The revision of the change; none in the listing at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The instance as it is now, or as it was last.
    pub instance: Instance,
}

/// The data of a watch's event `init_done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingEnd {
    /// Every change up to here is in the listing.
    pub revision: u64,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence that says what is wrong and what to do.
    pub error: String,
}

impl From<&catalog::Snapshot> for Services {
    fn from(snapshot: &catalog::Snapshot) -> Self {
        let services = snapshot.services().map(|service| ServiceSummary::from(&**service));
        Self { revision: snapshot.revision(), services: services.collect() }
    }
}

impl From<&catalog::Service> for ServiceSummary {
    fn from(service: &catalog::Service) -> Self {
        let mut status = BTreeMap::new();
        for instance in service.instances() {
            *status.entry(instance.effective_status().to_string()).or_insert(0) += 1;
        }
        Self { name: service.name().to_string(), instances: service.len(), status }
    }
}

impl From<&model::Instance> for Instance {
    fn from(held: &model::Instance) -> Self {
        let usable = |port: Option<Port>| port.filter(|port| port.enabled).map(|port| port.number);
        let metadata = held.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            service: held.service.to_string(),
            id: held.id.clone(),
            status: held.effective_status().to_string(),
            status_override: held.status_override.as_ref().map(Status::to_string),
            host: held.address.host.clone(),
            ip: held.address.ip.clone(),
            port: usable(held.address.port),
            secure_port: usable(held.address.secure_port),
            version: held.version.clone(),
            tags: held.tags.clone(),
            metadata: metadata.collect(),
            lease: held.lease.as_ref().map(|lease| Lease {
                duration_secs: lease.duration_secs,
                registered_at: lease.registered_at,
                renewed_at: lease.renewed_at,
                renewed_secs_ago: None,
            }),
            checks: held.checks.iter().map(Check::from).collect(),
            updated_at: held.updated_at,
        }
    }
}
