//! Health checks, and what carries them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::node::Node;
use super::parts::Texts;
use super::service::{AgentService, NodeService};

/// One check of a node, or of a service on it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthCheck<'a> {
    /// The node's name.
    pub node: Cow<'a, str>,
    /// Unique on the node.
    #[serde(rename = "CheckID")]
    pub check_id: Cow<'a, str>,
    /// For people.
    pub name: Cow<'a, str>,
    /// `passing`, `warning` or `critical`.
    pub status: Cow<'a, str>,
    /// For people: what it is about.
    pub notes: Cow<'a, str>,
    /// For people: what it said last.
    pub output: Cow<'a, str>,
    /// The service it belongs to; empty if it is the node's.
    #[serde(rename = "ServiceID")]
    pub service_id: Cow<'a, str>,
    /// That service's name.
    pub service_name: Cow<'a, str>,
    /// That service's tags.
    pub service_tags: Texts<'a>,
    /// `ttl`, `http`, `tcp`, …; empty if nobody says.
    #[serde(rename = "Type")]
    pub kind: Cow<'a, str>,
    /// Time between two probes, in Go's form.
    pub interval: Cow<'a, str>,
    /// How long a probe may take, in Go's form.
    pub timeout: Cow<'a, str>,
    /// The port at which a proxy exposes what is probed.
    pub exposed_port: i64,
    /// How it is probed. Agents keep that to themselves; checks that were put into the catalog from outside
    /// say it.
    #[serde(deserialize_with = "super::or_default")]
    pub definition: CheckDefinition<'a>,
    /// The index at which it came.
    pub create_index: u64,
    /// The index at which it last changed.
    pub modify_index: u64,
}

/// How a check is probed, as the catalog has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CheckDefinition<'a> {
    /// Time between two probes.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub interval: Duration,
    /// How long a probe may take.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub timeout: Duration,
    /// How long it may be critical before the service is deregistered.
    #[serde(with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub deregister_critical_service_after: Duration,
    /// A URL that is asked.
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    pub http: Cow<'a, str>,
    /// The name that its certificate is for.
    #[serde(rename = "TLSServerName", skip_serializing_if = "str::is_empty")]
    pub tls_server_name: Cow<'a, str>,
    /// Whether any certificate will do.
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "super::is_default")]
    pub tls_skip_verify: bool,
    /// Headers that are sent.
    #[serde(deserialize_with = "super::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    /// How it is asked.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: Cow<'a, str>,
    /// What is sent along.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub body: Cow<'a, str>,
    /// Whether redirects are left alone.
    #[serde(skip_serializing_if = "super::is_default")]
    pub disable_redirects: bool,
    /// `host:port` that is connected to.
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    pub tcp: Cow<'a, str>,
    /// `host:port` that is sent a datagram.
    #[serde(rename = "UDP", skip_serializing_if = "str::is_empty")]
    pub udp: Cow<'a, str>,
    /// `host:port/service` that is asked over gRPC.
    #[serde(rename = "GRPC", skip_serializing_if = "str::is_empty")]
    pub grpc: Cow<'a, str>,
}

/// An element of `health/service/:service`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CheckServiceNode<'a> {
    /// Where it runs.
    pub node: Node<'a>,
    /// What runs.
    pub service: NodeService<'a>,
    /// How it is: the node's checks, then its own.
    #[serde(deserialize_with = "super::or_default")]
    pub checks: Vec<HealthCheck<'a>>,
}

/// `agent/health/service/id/:id`, and an element of `agent/health/service/name/:name`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ServiceHealth<'a> {
    /// The worst of its checks, or `maintenance`.
    pub aggregated_status: Cow<'a, str>,
    /// What runs.
    pub service: AgentService<'a>,
    /// How it is.
    #[serde(deserialize_with = "super::or_default")]
    pub checks: Vec<HealthCheck<'a>>,
}
