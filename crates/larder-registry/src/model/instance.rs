//! An instance and everything that hangs off it.

use std::collections::BTreeMap;

use super::{Check, Health, Key, Metadata, Name, Status};

/// One running copy of a service.
///
/// Plain data: changing an instance changes nothing in a registry until a
/// [`Backend`](crate::Backend) is told. Parts that few instances have are boxed, so that the many pay
/// one pointer for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The service that this is a copy of.
    pub service: Name,
    /// Unique within the service.
    pub id: String,
    /// Whether the registrant sent no id and [`id`](Self::id) was derived from something else. Eureka
    /// prints an instance's id only when it was given.
    pub id_is_derived: bool,
    /// The version of the service that this copy runs; empty when unversioned.
    pub version: String,
    /// Where it is reached.
    pub address: Address,
    /// What the registrant says about taking traffic, overrides already applied. Whoever shows an
    /// instance or picks one asks [`effective_status`](Self::effective_status), which heeds the checks.
    pub status: Status,
    /// An operator's word, which beats the instance's own as long as the instance says it serves.
    pub status_override: Option<Status>,
    /// What the registrant says about this instance.
    pub metadata: Metadata,
    /// What the registrant says about the service as a whole (go-micro keeps both).
    pub service_metadata: Metadata,
    /// Consul's tags.
    pub tags: Vec<String>,
    /// Eureka's virtual addresses.
    pub vips: Vips,
    /// How long a registration lasts, and what happened to it; none for one that never expires.
    pub lease: Option<Lease>,
    /// Links for people and for probes.
    pub pages: Option<Box<Pages>>,
    /// Where the instance runs, in Eureka's terms.
    pub data_center: Option<Box<DataCenter>>,
    /// The machine that the instance runs on, in Consul's terms.
    pub node: Option<Box<Node>>,
    /// What Consul's service mesh knows about the instance.
    pub mesh: Option<Box<Mesh>>,
    /// go-micro's description of what can be called.
    pub endpoints: Vec<Endpoint>,
    /// Health checks.
    pub checks: Vec<Check>,
    /// Share of traffic relative to the other instances.
    pub weights: Option<Weights>,
    /// Eureka's application group.
    pub group: Option<String>,
    /// The AWS auto-scaling group.
    pub asg: Option<String>,
    /// Eureka's obsolete `sid`.
    pub sid: Option<String>,
    /// Eureka's obsolete country; 1, the United States, by default.
    pub country_id: i32,
    /// Whether this instance is the registry server itself.
    pub is_coordinator: bool,
    /// When the registry last changed this instance: milliseconds since 1970.
    pub updated_at: u64,
    /// When the registrant last changed its own description: milliseconds since 1970, by its clock.
    /// A registration with a smaller value than the registry holds is out of date. Zero when unknown.
    pub dirty_at: u64,
    /// The last change; none before the registry has seen it.
    pub action: Option<Action>,
}

impl Instance {
    /// An instance that is up, with nothing but its key: no address, no lease.
    pub fn new(service: &str, id: &str) -> Self {
        Self {
            service: Name::new(service),
            id: id.to_owned(),
            id_is_derived: false,
            version: String::new(),
            address: Address::default(),
            status: Status::Up,
            status_override: None,
            metadata: Metadata::new(),
            service_metadata: Metadata::new(),
            tags: Vec::new(),
            vips: Vips::default(),
            lease: None,
            pages: None,
            data_center: None,
            node: None,
            mesh: None,
            endpoints: Vec::new(),
            checks: Vec::new(),
            weights: None,
            group: None,
            asg: None,
            sid: None,
            country_id: 1,
            is_coordinator: false,
            updated_at: 0,
            dirty_at: 0,
            action: None,
        }
    }

    /// Whether it takes traffic, everything considered: [`status`](Self::status), but
    /// [`Status::Down`] while that is [`Status::Up`] and a check is critical.
    ///
    /// An operator's override to any other status stands. One to `UP`, which is how Eureka's operators
    /// bring an instance back, hides no failing check, as it hides no instance's own `DOWN`.
    pub fn effective_status(&self) -> Status {
        let fails = || self.checks.iter().any(|check| check.health == Health::Critical);
        if self.status == Status::Up && fails() { Status::Down } else { self.status }
    }

    /// Whether both say the same, whenever the registry last changed them. Of leases `same_lease` says it.
    pub fn says_the_same(
        &self,
        other: &Self,
        same_lease: impl FnOnce(&Lease, &Lease) -> bool,
    ) -> bool {
        // Each by its name, so that a new field is not forgotten; and nothing is copied for it.
        let Self {
            service,
            id,
            id_is_derived,
            version,
            address,
            status,
            status_override,
            metadata,
            service_metadata,
            tags,
            vips,
            pages,
            data_center,
            node,
            mesh,
            endpoints,
            checks,
            weights,
            group,
            asg,
            sid,
            country_id,
            is_coordinator,
            dirty_at,
            lease,
            updated_at: _,
            action: _,
        } = self;
        let leases = match (lease, &other.lease) {
            (Some(lease), Some(other)) => same_lease(lease, other),
            (lease, other) => lease == other,
        };
        leases
            && *service == other.service
            && *id == other.id
            && *id_is_derived == other.id_is_derived
            && *version == other.version
            && *address == other.address
            && *status == other.status
            && *status_override == other.status_override
            && *metadata == other.metadata
            && *service_metadata == other.service_metadata
            && *tags == other.tags
            && *vips == other.vips
            && *pages == other.pages
            && *data_center == other.data_center
            && *node == other.node
            && *mesh == other.mesh
            && *endpoints == other.endpoints
            && *checks == other.checks
            && *weights == other.weights
            && *group == other.group
            && *asg == other.asg
            && *sid == other.sid
            && *country_id == other.country_id
            && *is_coordinator == other.is_coordinator
            && *dirty_at == other.dirty_at
    }

    /// The check with this id.
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// Whether its own [`metadata`](Self::metadata) has this pair.
    pub fn has_label(&self, key: &str, value: &str) -> bool {
        self.metadata.get(key) == Some(value)
    }

    /// Whether it has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|held| held == tag)
    }

    /// Whether it offers an endpoint of this name.
    pub fn has_endpoint(&self, name: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.name == name)
    }

    /// Which instance this is.
    pub fn key(&self) -> Key {
        Key { service: self.service.clone(), id: self.id.as_str().into() }
    }
}

/// Where an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address {
    /// A name that callers resolve, or whatever the registrant calls its host.
    pub host: Option<String>,
    /// An address that needs no resolving.
    pub ip: Option<String>,
    /// The port for plain traffic.
    pub port: Option<Port>,
    /// The port for TLS.
    pub secure_port: Option<Port>,
}

/// A port, which Eureka can switch off without forgetting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// 0 to 65535.
    pub number: u16,
    /// Whether callers may use it.
    pub enabled: bool,
}

/// Eureka's virtual addresses: comma-separated names under which clients look for the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vips {
    /// For plain traffic, as written.
    pub plain: Option<String>,
    /// For TLS, as written.
    pub secure: Option<String>,
}

/// How long a registration lasts without renewal, and what happened to it.
///
/// The times are milliseconds since 1970, 0 for "never"; they are what the registry knew when the
/// instance last changed (a renewal is no change).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How often the registrant intends to renew, in seconds; 30 by default.
    pub renewal_interval_secs: u32,
    /// How long after the last renewal the registration ends, in seconds; 90 by default.
    pub duration_secs: u32,
    /// When it was registered.
    pub registered_at: u64,
    /// When it was last renewed.
    pub renewed_at: u64,
    /// When it ended.
    pub evicted_at: u64,
    /// When it was first up.
    pub up_since: u64,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            renewal_interval_secs: 30,
            duration_secs: 90,
            registered_at: 0,
            renewed_at: 0,
            evicted_at: 0,
            up_since: 0,
        }
    }
}

/// Links of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pages {
    /// For people.
    pub home: Option<String>,
    /// For people who wonder how it is.
    pub status: Option<String>,
    /// For probes.
    pub health: Option<String>,
    /// For probes over TLS.
    pub secure_health: Option<String>,
}

/// Where an instance runs, in Eureka's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataCenter {
    /// `MyOwn`, `Amazon` or `Netflix`.
    pub name: String,
    /// What the cloud says about the machine; none where Eureka has no room for it.
    pub metadata: Option<Metadata>,
}

/// The machine that an instance runs on, in Consul's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// A UUID.
    pub id: String,
    /// The node's name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The datacenter it is in.
    pub datacenter: String,
    /// Its other addresses, such as `lan` and `wan`.
    pub tagged_addresses: BTreeMap<String, String>,
    /// What the operator says about it.
    pub metadata: Metadata,
}

/// What Consul's catalog holds beyond an address: mostly for its service mesh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mesh {
    /// `connect-proxy`, `mesh-gateway`, …; empty for a plain service.
    pub kind: String,
    /// A Unix socket in place of a port.
    pub socket_path: String,
    /// Whether others may change the tags.
    pub enable_tag_override: bool,
    /// Addresses by network, such as `lan`, `wan`, `lan_ipv4`.
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Proxy configuration.
    pub proxy: Option<Opaque>,
    /// Connect configuration.
    pub connect: Option<Opaque>,
    /// Region and zone.
    pub locality: Option<Opaque>,
    /// Enterprise namespace; empty in the community edition.
    pub namespace: String,
    /// Admin partition; empty in the community edition.
    pub partition: String,
    /// The cluster that the instance was imported from; empty for a local one.
    pub peer: String,
}

/// An address under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedAddress {
    /// Host or IP.
    pub address: String,
    /// 0 to 65535.
    pub port: u16,
}

/// A document that one protocol stores here and reads back; nobody else looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opaque(pub String);

/// Share of traffic relative to the other instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// While its checks pass; 1 by default.
    pub passing: u32,
    /// While one of them warns; 1 by default.
    pub warning: u32,
}

/// Something that can be called on a service, as go-micro describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, such as `Greeter.Hello`.
    pub name: String,
    /// What it takes.
    pub request: Option<Value>,
    /// What it answers.
    pub response: Option<Value>,
    /// What the registrant says about it.
    pub metadata: Metadata,
}

/// A type in an [`Endpoint`]'s description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The field's name.
    pub name: String,
    /// The field's type.
    pub kind: String,
    /// The fields of a composite type. Decoders bound the depth.
    pub fields: Vec<Value>,
}

/// What last happened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was registered.
    Added,
    /// Something about it changed.
    Modified,
    /// It was deregistered, or its lease ran out.
    Deleted,
}

impl Action {
    /// Eureka's word for it, such as `ADDED`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Probe;

    #[test]
    fn a_critical_check_takes_down_what_is_up_and_nothing_else() {
        let check = |id, health| Check { health, ..Check::new(id, Probe::Tcp("h:1".to_owned())) };
        for status in Status::ALL {
            for health in Health::ALL {
                let mut instance = Instance { status, ..Instance::new("web", "1") };
                assert_eq!(instance.effective_status(), status);
                instance.checks = vec![check("a", Health::Passing), check("b", health)];
                let fails = status == Status::Up && health == Health::Critical;
                let expected = if fails { Status::Down } else { status };
                assert_eq!(instance.effective_status(), expected, "{status}, {health}");
            }
        }
    }
}
