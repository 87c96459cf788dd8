//! Services of a node, in the four forms in which Consul prints them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::node::Node;
use super::parts::{Document, NodeAddresses, Pairs, ServiceAddresses, Texts};

/// Share of traffic. One without it has 1 of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Weights {
    /// While its checks pass.
    pub passing: i64,
    /// While one of them warns.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// The service in `health/service/:service` and `catalog/node/:node`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeService<'a> {
    /// `connect-proxy`, `mesh-gateway`, …; empty for a plain service.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: Cow<'a, str>,
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: Cow<'a, str>,
    /// The service's name.
    pub service: Cow<'a, str>,
    /// Its tags.
    pub tags: Texts<'a>,
    /// Where it is reached; empty for the node's address.
    pub address: Cow<'a, str>,
    /// Its other addresses.
    #[serde(skip_serializing_if = "ServiceAddresses::is_empty")]
    pub tagged_addresses: ServiceAddresses<'a>,
    /// What its registrant says about it.
    pub meta: Pairs<'a>,
    /// Where it is reached; 0 for nowhere.
    #[serde(skip_serializing_if = "super::is_default")]
    pub port: i64,
    /// A Unix socket in place of a port.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub socket_path: Cow<'a, str>,
    /// Share of traffic.
    #[serde(deserialize_with = "super::or_default")]
    pub weights: Weights,
    /// Whether others may change the tags.
    pub enable_tag_override: bool,
    /// What a proxy is configured with.
    #[serde(serialize_with = "Document::or_empty")]
    pub proxy: Document<'a>,
    /// What the mesh is configured with.
    #[serde(serialize_with = "Document::or_empty")]
    pub connect: Document<'a>,
    /// Region and zone.
    #[serde(skip_serializing_if = "Document::is_none")]
    pub locality: Document<'a>,
    /// Enterprise namespace.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: Cow<'a, str>,
    /// Admin partition, of the Enterprise Edition.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub partition: Cow<'a, str>,
    /// The cluster that it was imported from.
    pub peer_name: Cow<'a, str>,
    /// The index at which it came.
    pub create_index: u64,
    /// The index at which it last changed.
    pub modify_index: u64,
}

/// The service in `agent/services`, `agent/service/:id` and `agent/health/service/…`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AgentService<'a> {
    /// `connect-proxy`, `mesh-gateway`, …; empty for a plain service.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: Cow<'a, str>,
    /// Unique on this agent.
    #[serde(rename = "ID")]
    pub id: Cow<'a, str>,
    /// The service's name.
    pub service: Cow<'a, str>,
    /// Its tags.
    pub tags: Texts<'a>,
    /// What its registrant says about it.
    pub meta: Pairs<'a>,
    /// Where it is reached; 0 for nowhere.
    pub port: i64,
    /// Where it is reached; empty for the agent's address.
    pub address: Cow<'a, str>,
    /// A Unix socket in place of a port.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub socket_path: Cow<'a, str>,
    /// Its other addresses.
    #[serde(skip_serializing_if = "ServiceAddresses::is_empty")]
    pub tagged_addresses: ServiceAddresses<'a>,
    /// Share of traffic.
    #[serde(deserialize_with = "super::or_default")]
    pub weights: Weights,
    /// Whether others may change the tags.
    pub enable_tag_override: bool,
    /// In `agent/service/:id` only: what a read with `?hash=` waits to differ from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub content_hash: Cow<'a, str>,
    /// What a proxy is configured with.
    #[serde(skip_serializing_if = "Document::is_none")]
    pub proxy: Document<'a>,
    /// What the mesh is configured with.
    #[serde(skip_serializing_if = "Document::is_none")]
    pub connect: Document<'a>,
    /// The cluster that it was imported from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub peer_name: Cow<'a, str>,
    /// The datacenter the agent is in.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub datacenter: Cow<'a, str>,
    /// Region and zone.
    #[serde(skip_serializing_if = "Document::is_none")]
    pub locality: Document<'a>,
}

/// An element of `catalog/service/:service`: a node and its service in one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ServiceNode<'a> {
    /// The node's UUID.
    #[serde(rename = "ID")]
    pub id: Cow<'a, str>,
    /// The node's name.
    pub node: Cow<'a, str>,
    /// The node's address.
    pub address: Cow<'a, str>,
    /// The datacenter it is in.
    pub datacenter: Cow<'a, str>,
    /// The node's other addresses.
    pub tagged_addresses: NodeAddresses<'a>,
    /// The node's metadata.
    pub node_meta: Pairs<'a>,
    /// `connect-proxy`, `mesh-gateway`, …; empty for a plain service.
    pub service_kind: Cow<'a, str>,
    /// Unique on its node.
    #[serde(rename = "ServiceID")]
    pub service_id: Cow<'a, str>,
    /// The service's name.
    pub service_name: Cow<'a, str>,
    /// Its tags.
    pub service_tags: Texts<'a>,
    /// Where it is reached; empty for the node's address.
    pub service_address: Cow<'a, str>,
    /// Its other addresses.
    #[serde(skip_serializing_if = "ServiceAddresses::is_empty")]
    pub service_tagged_addresses: ServiceAddresses<'a>,
    /// Share of traffic.
    #[serde(deserialize_with = "super::or_default")]
    pub service_weights: Weights,
    /// What its registrant says about it.
    pub service_meta: Pairs<'a>,
    /// Where it is reached; 0 for nowhere.
    pub service_port: i64,
    /// A Unix socket in place of a port.
    pub service_socket_path: Cow<'a, str>,
    /// Whether others may change the tags.
    pub service_enable_tag_override: bool,
    /// What a proxy is configured with.
    #[serde(serialize_with = "Document::or_empty")]
    pub service_proxy: Document<'a>,
    /// What the mesh is configured with.
    #[serde(serialize_with = "Document::or_empty")]
    pub service_connect: Document<'a>,
    /// Region and zone.
    pub service_locality: Document<'a>,
    /// The cluster that it was imported from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub peer_name: Cow<'a, str>,
    /// The index at which it came.
    pub create_index: u64,
    /// The index at which it last changed.
    pub modify_index: u64,
}

/// `catalog/node/:node`. A node that nobody knows is `null`: an `Option` of this.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeServices<'a> {
    /// The node.
    pub node: Node<'a>,
    /// What runs on it, by id.
    #[serde(deserialize_with = "super::or_default")]
    pub services: BTreeMap<Cow<'a, str>, NodeService<'a>>,
}

/// `catalog/node-services/:node`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeServiceList<'a> {
    /// The node; none if nobody knows it.
    pub node: Option<Node<'a>>,
    /// What runs on it.
    #[serde(deserialize_with = "super::or_default")]
    pub services: Vec<NodeService<'a>>,
}

/// `catalog/services`: each service's tags, without repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CatalogServices<'a>(
    /// Sorted tags by the service's name.
    pub BTreeMap<Cow<'a, str>, std::collections::BTreeSet<Cow<'a, str>>>,
);

impl<'a> CatalogServices<'a> {
    /// Adds one instance's tags.
    pub fn add(&mut self, service: &'a str, tags: &'a [String]) {
        let held = self.0.entry(Cow::Borrowed(service)).or_default();
        held.extend(tags.iter().map(|tag| Cow::Borrowed(tag.as_str())));
    }
}
