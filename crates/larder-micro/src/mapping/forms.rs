//! The parts of an instance that are carried along, as JSON: one form for each part of the model.
//!
//! The names are stored in registries: renaming a field here loses what is stored there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Pairs;
use larder_registry::model::{
    Address, Check, DataCenter, Health, Lease, Mesh, Node, Opaque, Pages, Port, Probe,
    TaggedAddress, Vips, Weights,
};
use serde::{Deserialize, Serialize};

pub(super) mod words;

/// What is not written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AddressForm {
    #[serde(skip_serializing_if = "is_default")]
    host: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    port: Option<PortForm>,
    #[serde(skip_serializing_if = "is_default")]
    secure_port: Option<PortForm>,
}

impl From<&Address> for AddressForm {
    fn from(address: &Address) -> Self {
        Self {
            host: address.host.clone(),
            ip: address.ip.clone(),
            port: address.port.map(Into::into),
            secure_port: address.secure_port.map(Into::into),
        }
    }
}

impl From<AddressForm> for Address {
    fn from(form: AddressForm) -> Self {
        Self {
            host: form.host,
            ip: form.ip,
            port: form.port.map(Into::into),
            secure_port: form.secure_port.map(Into::into),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PortForm {
    #[serde(skip_serializing_if = "is_default")]
    number: u16,
    #[serde(skip_serializing_if = "is_default")]
    enabled: bool,
}

impl From<Port> for PortForm {
    fn from(port: Port) -> Self {
        Self { number: port.number, enabled: port.enabled }
    }
}

impl From<PortForm> for Port {
    fn from(form: PortForm) -> Self {
        Self { number: form.number, enabled: form.enabled }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VipsForm {
    #[serde(skip_serializing_if = "is_default")]
    plain: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    secure: Option<String>,
}

impl From<&Vips> for VipsForm {
    fn from(vips: &Vips) -> Self {
        Self { plain: vips.plain.clone(), secure: vips.secure.clone() }
    }
}

impl From<VipsForm> for Vips {
    fn from(form: VipsForm) -> Self {
        Self { plain: form.plain, secure: form.secure }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LeaseForm {
    #[serde(skip_serializing_if = "is_default")]
    renewal_interval_secs: u32,
    #[serde(skip_serializing_if = "is_default")]
    duration_secs: u32,
    #[serde(skip_serializing_if = "is_default")]
    registered_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    renewed_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    evicted_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    up_since: u64,
}

impl From<Lease> for LeaseForm {
    fn from(lease: Lease) -> Self {
        Self {
            renewal_interval_secs: lease.renewal_interval_secs,
            duration_secs: lease.duration_secs,
            registered_at: lease.registered_at,
            renewed_at: lease.renewed_at,
            evicted_at: lease.evicted_at,
            up_since: lease.up_since,
        }
    }
}

impl From<LeaseForm> for Lease {
    fn from(form: LeaseForm) -> Self {
        Self {
            renewal_interval_secs: form.renewal_interval_secs,
            duration_secs: form.duration_secs,
            registered_at: form.registered_at,
            renewed_at: form.renewed_at,
            evicted_at: form.evicted_at,
            up_since: form.up_since,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PagesForm {
    #[serde(skip_serializing_if = "is_default")]
    home: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    status: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    health: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    secure_health: Option<String>,
}

impl From<&Pages> for PagesForm {
    fn from(pages: &Pages) -> Self {
        Self {
            home: pages.home.clone(),
            status: pages.status.clone(),
            health: pages.health.clone(),
            secure_health: pages.secure_health.clone(),
        }
    }
}

impl From<PagesForm> for Pages {
    fn from(form: PagesForm) -> Self {
        Self {
            home: form.home,
            status: form.status,
            health: form.health,
            secure_health: form.secure_health,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DataCenterForm {
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    metadata: Option<Pairs>,
}

impl From<&DataCenter> for DataCenterForm {
    fn from(data_center: &DataCenter) -> Self {
        Self { name: data_center.name.clone(), metadata: data_center.metadata.clone().map(Pairs) }
    }
}

impl From<DataCenterForm> for DataCenter {
    fn from(form: DataCenterForm) -> Self {
        Self { name: form.name, metadata: form.metadata.map(|pairs| pairs.0) }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NodeForm {
    #[serde(skip_serializing_if = "is_default")]
    id: String,
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    address: String,
    #[serde(skip_serializing_if = "is_default")]
    datacenter: String,
    #[serde(skip_serializing_if = "is_default")]
    tagged_addresses: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    metadata: Pairs,
}

impl From<&Node> for NodeForm {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.clone(),
            name: node.name.clone(),
            address: node.address.clone(),
            datacenter: node.datacenter.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            metadata: Pairs(node.metadata.clone()),
        }
    }
}

impl From<NodeForm> for Node {
    fn from(form: NodeForm) -> Self {
        Self {
            id: form.id,
            name: form.name,
            address: form.address,
            datacenter: form.datacenter,
            tagged_addresses: form.tagged_addresses,
            metadata: form.metadata.0,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MeshForm {
    #[serde(skip_serializing_if = "is_default")]
    kind: String,
    #[serde(skip_serializing_if = "is_default")]
    socket_path: String,
    #[serde(skip_serializing_if = "is_default")]
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "is_default")]
    tagged_addresses: BTreeMap<String, TaggedAddressForm>,
    #[serde(skip_serializing_if = "is_default")]
    proxy: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    connect: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    locality: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    namespace: String,
    #[serde(skip_serializing_if = "is_default")]
    partition: String,
    #[serde(skip_serializing_if = "is_default")]
    peer: String,
}

impl From<&Mesh> for MeshForm {
    fn from(mesh: &Mesh) -> Self {
        Self {
            kind: mesh.kind.clone(),
            socket_path: mesh.socket_path.clone(),
            enable_tag_override: mesh.enable_tag_override,
            tagged_addresses: mesh
                .tagged_addresses
                .iter()
                .map(|(tag, at)| (tag.clone(), at.into()))
                .collect(),
            proxy: mesh.proxy.as_ref().map(|document| document.0.clone()),
            connect: mesh.connect.as_ref().map(|document| document.0.clone()),
            locality: mesh.locality.as_ref().map(|document| document.0.clone()),
            namespace: mesh.namespace.clone(),
            partition: mesh.partition.clone(),
            peer: mesh.peer.clone(),
        }
    }
}

impl From<MeshForm> for Mesh {
    fn from(form: MeshForm) -> Self {
        Self {
            kind: form.kind,
            socket_path: form.socket_path,
            enable_tag_override: form.enable_tag_override,
            tagged_addresses: form
                .tagged_addresses
                .into_iter()
                .map(|(tag, at)| (tag, at.into()))
                .collect(),
            proxy: form.proxy.map(Opaque),
            connect: form.connect.map(Opaque),
            locality: form.locality.map(Opaque),
            namespace: form.namespace,
            partition: form.partition,
            peer: form.peer,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TaggedAddressForm {
    #[serde(skip_serializing_if = "is_default")]
    address: String,
    #[serde(skip_serializing_if = "is_default")]
    port: u16,
}

impl From<&TaggedAddress> for TaggedAddressForm {
    fn from(tagged: &TaggedAddress) -> Self {
        Self { address: tagged.address.clone(), port: tagged.port }
    }
}

impl From<TaggedAddressForm> for TaggedAddress {
    fn from(form: TaggedAddressForm) -> Self {
        Self { address: form.address, port: form.port }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WeightsForm {
    #[serde(skip_serializing_if = "is_default")]
    passing: u32,
    #[serde(skip_serializing_if = "is_default")]
    warning: u32,
}

impl From<Weights> for WeightsForm {
    fn from(weights: Weights) -> Self {
        Self { passing: weights.passing, warning: weights.warning }
    }
}

impl From<WeightsForm> for Weights {
    fn from(form: WeightsForm) -> Self {
        Self { passing: form.passing, warning: form.warning }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CheckForm {
    id: String,
    #[serde(default, skip_serializing_if = "is_default")]
    name: String,
    #[serde(with = "words::health")]
    health: Health,
    #[serde(default, skip_serializing_if = "is_default")]
    notes: String,
    #[serde(default, skip_serializing_if = "is_default")]
    output: String,
    probe: ProbeForm,
    #[serde(default, skip_serializing_if = "is_default")]
    interval: Duration,
    #[serde(default, skip_serializing_if = "is_default")]
    timeout: Duration,
    #[serde(default, skip_serializing_if = "is_default")]
    deregister_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProbeForm {
    Ttl(Duration),
    Tcp(String),
    Http { url: String, definition: String },
    Other { kind: String, definition: String },
}

impl From<&Check> for CheckForm {
    fn from(check: &Check) -> Self {
        Self {
            id: check.id.clone(),
            name: check.name.clone(),
            health: check.health,
            notes: check.notes.clone(),
            output: check.output.clone(),
            probe: ProbeForm::from(&check.probe),
            interval: check.interval,
            timeout: check.timeout,
            deregister_after: check.deregister_after,
        }
    }
}

impl From<CheckForm> for Check {
    fn from(form: CheckForm) -> Self {
        Self {
            id: form.id,
            name: form.name,
            health: form.health,
            notes: form.notes,
            output: form.output,
            probe: form.probe.into(),
            interval: form.interval,
            timeout: form.timeout,
            deregister_after: form.deregister_after,
        }
    }
}

impl From<&Probe> for ProbeForm {
    fn from(probe: &Probe) -> Self {
        match probe {
            Probe::Ttl(silence) => Self::Ttl(*silence),
            Probe::Tcp(address) => Self::Tcp(address.clone()),
            Probe::Http { url, definition } => {
                Self::Http { url: url.clone(), definition: definition.0.clone() }
            }
            Probe::Other { kind, definition } => {
                Self::Other { kind: kind.clone(), definition: definition.0.clone() }
            }
        }
    }
}

impl From<ProbeForm> for Probe {
    fn from(form: ProbeForm) -> Self {
        match form {
            ProbeForm::Ttl(silence) => Self::Ttl(silence),
            ProbeForm::Tcp(address) => Self::Tcp(address),
            ProbeForm::Http { url, definition } => {
                Self::Http { url, definition: Opaque(definition) }
            }
            ProbeForm::Other { kind, definition } => {
                Self::Other { kind, definition: Opaque(definition) }
            }
        }
    }
}
