//! How a check is probed: between a registration and the model.

use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::{Opaque, Probe};
use serde::{Deserialize, Serialize};

use crate::wire::definition::CheckRegistration;
use crate::wire::{duration, is_default};

/// How a URL is asked, where it is no plain `GET`. This is the document of [`Probe::Http`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HttpDefinition {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) method: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) header: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) body: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tls_skip_verify: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tls_server_name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) disable_redirects: bool,
}

impl HttpDefinition {
    /// Empty for a plain `GET`, which is what can be probed here.
    fn to_document(&self) -> Opaque {
        if *self == Self::default() {
            return Opaque::default();
        }
        Opaque(serde_json::to_string(self).expect("texts, lists and maps of them are JSON"))
    }

    /// A document that others wrote says nothing.
    pub(super) fn of(document: &Opaque) -> Self {
        serde_json::from_str(&document.0).unwrap_or_default()
    }
}

/// How the check is probed. Where several ways are named, the first of HTTP, TCP and the others counts.
pub(super) fn probe(check: &CheckRegistration) -> Probe {
    if !check.http.is_empty() {
        let is_get = check.method.eq_ignore_ascii_case("GET");
        let definition = HttpDefinition {
            method: if is_get { String::new() } else { check.method.clone() },
            header: check.header.clone(),
            body: check.body.clone(),
            tls_skip_verify: check.tls_skip_verify,
            tls_server_name: check.tls_server_name.clone(),
            disable_redirects: check.disable_redirects,
        };
        Probe::Http { url: check.http.clone(), definition: definition.to_document() }
    } else if !check.tcp.is_empty() && !check.tcp_use_tls {
        Probe::Tcp(check.tcp.clone())
    } else if check.is_probed() || check.is_alias() {
        Probe::Other { kind: kind(check).to_owned(), definition: other(check) }
    } else {
        Probe::Ttl(check.ttl)
    }
}

/// Consul's name of the kind.
fn kind(check: &CheckRegistration) -> &'static str {
    if !check.tcp.is_empty() {
        "tcp"
    } else if !check.udp.is_empty() {
        "udp"
    } else if !check.grpc.is_empty() {
        "grpc"
    } else if !check.h2ping.is_empty() {
        "h2ping"
    } else if !check.os_service.is_empty() {
        "os_service"
    } else if check.is_alias() {
        "alias"
    } else if !check.docker_container_id.is_empty() {
        "docker"
    } else {
        "script"
    }
}

/// The whole definition, in Consul's words.
fn other(check: &CheckRegistration) -> Opaque {
    let texts = [
        ("TCP", &check.tcp),
        ("UDP", &check.udp),
        ("GRPC", &check.grpc),
        ("H2PING", &check.h2ping),
        ("OSService", &check.os_service),
        ("AliasService", &check.alias_service),
        ("AliasNode", &check.alias_node),
        ("DockerContainerID", &check.docker_container_id),
        ("Shell", &check.shell),
        ("TLSServerName", &check.tls_server_name),
    ];
    let flags = [
        ("TCPUseTLS", check.tcp_use_tls),
        ("GRPCUseTLS", check.grpc_use_tls),
        ("TLSSkipVerify", check.tls_skip_verify),
    ];
    let mut document = serde_json::Map::new();
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    document.extend(texts.map(|(name, text)| (name.to_owned(), text.clone().into())));
    let flags = flags.into_iter().filter(|(_, flag)| *flag);
    document.extend(flags.map(|(name, flag)| (name.to_owned(), flag.into())));
    if !check.args.is_empty() {
        document.insert("ScriptArgs".to_owned(), check.args.clone().into());
    }
    Opaque(serde_json::Value::Object(document).to_string())
}

/// In Go's form; empty for none.
pub(super) fn period(duration: Duration) -> String {
    if duration.is_zero() { String::new() } else { duration::format(duration) }
}
