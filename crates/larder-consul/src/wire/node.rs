//! Nodes, and what an agent says about itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::parts::{Document, NodeAddresses, Pairs};

/// A machine: an element of `catalog/nodes`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Node<'a> {
    /// A UUID.
    #[serde(rename = "ID")]
    pub id: Cow<'a, str>,
    /// Its name.
    pub node: Cow<'a, str>,
    /// Where it is.
    pub address: Cow<'a, str>,
    /// The datacenter it is in.
    pub datacenter: Cow<'a, str>,
    /// Its other addresses, such as `lan` and `wan`.
    pub tagged_addresses: NodeAddresses<'a>,
    /// What the operator says about it.
    pub meta: Pairs<'a>,
    /// Admin partition, of the Enterprise Edition.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub partition: Cow<'a, str>,
    /// The cluster that it was imported from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub peer_name: Cow<'a, str>,
    /// Region and zone.
    #[serde(skip_serializing_if = "Document::is_none")]
    pub locality: Document<'a>,
    /// The index at which it came.
    pub create_index: u64,
    /// The index at which it last changed.
    pub modify_index: u64,
}

/// `agent/self`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AgentSelf<'a> {
    /// The few facts that clients read.
    pub config: AgentConfig<'a>,
    /// Everything else that is configured. Not stable, says Consul.
    #[serde(serialize_with = "Document::or_empty")]
    pub debug_config: Document<'a>,
    /// Where it is in the network's space.
    pub coord: Coordinate,
    /// Itself as a member.
    pub member: Member<'a>,
    /// Figures by family.
    #[serde(deserialize_with = "super::or_default")]
    pub stats: BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    /// The node's metadata.
    pub meta: Pairs<'a>,
}

/// What is configured, as far as clients read it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AgentConfig<'a> {
    /// The datacenter it is in.
    pub datacenter: Cow<'a, str>,
    /// The datacenter that decides about tokens and certificates.
    pub primary_datacenter: Cow<'a, str>,
    /// The node's name.
    pub node_name: Cow<'a, str>,
    /// The node's UUID.
    #[serde(rename = "NodeID")]
    pub node_id: Cow<'a, str>,
    /// The source that it was built from.
    pub revision: Cow<'a, str>,
    /// Whether it is a server, not a client agent.
    pub server: bool,
    /// Which Consul it speaks like.
    pub version: Cow<'a, str>,
    /// When it was built, in RFC 3339.
    pub build_date: Cow<'a, str>,
}

/// A place in the network's space, from which round trips are estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Coordinate {
    /// The place, in seconds.
    pub vec: [f64; 8],
    /// How sure it is; 1.5, the default, is not at all.
    pub error: f64,
    /// Correction of estimates, in seconds.
    pub adjustment: f64,
    /// The height above the space, in seconds; 1e-5 by default.
    pub height: f64,
}

impl Default for Coordinate {
    fn default() -> Self {
        Self { adjustment: 0.0, error: 1.5, height: 1e-5, vec: [0.0; 8] }
    }
}

/// An element of `agent/members`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Member<'a> {
    /// The node's name.
    pub name: Cow<'a, str>,
    /// The node's address.
    pub addr: Cow<'a, str>,
    /// The port of its gossip.
    pub port: u16,
    /// What it says about itself.
    #[serde(deserialize_with = "super::or_default")]
    pub tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// 1 for alive.
    pub status: u8,
    /// The oldest gossip it understands.
    pub protocol_min: u8,
    /// The newest.
    pub protocol_max: u8,
    /// What it speaks.
    pub protocol_cur: u8,
    /// The oldest messages of Consul it understands.
    pub delegate_min: u8,
    /// The newest.
    pub delegate_max: u8,
    /// What it speaks.
    pub delegate_cur: u8,
}
