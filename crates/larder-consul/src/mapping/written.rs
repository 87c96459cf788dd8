//! An instance as it is written to a real Consul, so that it is read back without loss.
//!
//! What Consul has fields for stands there, so that Consul's own clients find it; the rest is
//! [carried](super::carried). A lease is a TTL check that renewals pass; a status and an override are checks
//! that stay critical; checks of a kind that Consul's agents cannot be told to run are TTL checks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::{
    Address, Check, Health, Instance, Lease, Name, Port, Probe, Status, Weights,
};
use serde::Serialize;

use super::carried::{self, Unfit};
use super::shown::{Meshed, port};
use super::{OwnNode, checks, ids, probe};
use crate::wire::definition::MAX_PERIOD;
use crate::wire::{
    self, CheckDefinition, Document, HealthCheck, NodeAddresses, NodeService, Pairs,
    ServiceAddresses, Texts, duration, is_default,
};

/// The body of `agent/service/register` for this instance, whose id is [`service_id`](super::service_id).
///
/// To be sent with `?replace-existing-checks=true`: an override that was lifted is a check that is left out.
pub fn agent_registration(instance: &Instance) -> Result<Vec<u8>, Unfit> {
    let id = ids::service_id(&instance.service, &instance.id);
    let meta = meta(instance)?;
    let mesh = Meshed::of(instance);
    let written = written_checks(instance, &id);
    let body = ServiceBody {
        id: &id,
        name: instance.service.as_str(),
        tags: &instance.tags,
        address: native_address(&instance.address),
        port: port(&instance.address),
        meta: Pairs(Cow::Borrowed(&meta)),
        enable_tag_override: mesh.enable_tag_override,
        weights: native_weights(instance.weights),
        kind: mesh.kind,
        socket_path: mesh.socket_path,
        tagged_addresses: mesh.tagged_addresses,
        proxy: mesh.proxy,
        connect: mesh.connect,
        locality: mesh.locality,
        checks: written.iter().map(CheckBody::of).collect(),
    };
    Ok(serde_json::to_vec(&body).expect("texts, numbers and maps of them are JSON"))
}

/// The body of `catalog/register` for this instance, on a node that nobody's agent looks after. There, no agent
/// lets a TTL run out: whoever writes it renews by writing again, and takes it out.
pub fn catalog_registration(instance: &Instance, on: &OwnNode) -> Result<Vec<u8>, Unfit> {
    let id = ids::service_id(&instance.service, &instance.id);
    let meta = meta(instance)?;
    let mesh = Meshed::of(instance);
    let written = written_checks(instance, &id);
    let service = NodeService {
        kind: mesh.kind,
        id: Cow::Borrowed(&id),
        service: Cow::Borrowed(instance.service.as_str()),
        tags: Texts::from(&instance.tags[..]),
        address: Cow::Borrowed(native_address(&instance.address)),
        tagged_addresses: mesh.tagged_addresses,
        meta: Pairs(Cow::Borrowed(&meta)),
        port: port(&instance.address),
        socket_path: mesh.socket_path,
        weights: native_weights(instance.weights).unwrap_or_default(),
        enable_tag_override: mesh.enable_tag_override,
        proxy: mesh.proxy,
        connect: mesh.connect,
        locality: mesh.locality,
        ..NodeService::default()
    };
    let body = CatalogBody {
        id: &on.id,
        node: &on.name,
        address: &on.address,
        datacenter: &on.datacenter,
        tagged_addresses: NodeAddresses::default(),
        checks: written.iter().map(|check| reported(check, instance, &id, &on.name)).collect(),
        service,
    };
    Ok(serde_json::to_vec(&body).expect("texts, numbers and maps of them are JSON"))
}

/// The pairs that Consul takes, and everything that it has no field for.
fn meta(instance: &Instance) -> Result<larder_registry::model::Metadata, Unfit> {
    if instance.service.as_str().is_empty() {
        return Err(Unfit::NoName);
    }
    let mut rest = instance.clone();
    rest.service = Name::new("");
    rest.tags.clear();
    if native(native_address(&instance.address), port(&instance.address)) == instance.address {
        rest.address = Address::default();
    }
    if native_weights(instance.weights).is_some() {
        rest.weights = None;
    }
    if instance.status_override == Some(Status::OutOfService) {
        // Consul's maintenance mode says it, and can lift it.
        rest.status_override = None;
        if instance.status == Status::OutOfService {
            rest.status = Status::Up;
        }
    }
    carried::pack(&instance.metadata, &rest)
}

/// What stands in `Address`: where to connect to, if Consul takes it.
fn native_address(address: &Address) -> &str {
    let said = address.ip.as_deref().or(address.host.as_deref()).unwrap_or_default();
    let is_refused = matches!(said, "0.0.0.0" | "::" | "[::]" | "." | "..");
    if is_refused { "" } else { said }
}

/// The address that these fields alone say.
pub(super) fn native(address: &str, port: i64) -> Address {
    let number = u16::try_from(port).ok().filter(|number| *number > 0);
    Address {
        ip: Some(address.to_owned()).filter(|address| !address.is_empty()),
        port: number.map(|number| Port { number, enabled: true }),
        ..Address::default()
    }
}

/// None for those that are as when nothing is said, and for those that Consul does not take.
pub(super) fn native_weights(weights: Option<Weights>) -> Option<wire::Weights> {
    let takes = |weight: u32| weight <= u16::MAX.into();
    let weights = weights.filter(|w| w.passing > 0 && takes(w.passing) && takes(w.warning))?;
    let weights =
        wire::Weights { passing: weights.passing.into(), warning: weights.warning.into() };
    (weights != wire::Weights::default()).then_some(weights)
}

/// Every check that is written for the instance, with its id in Consul.
fn written_checks(instance: &Instance, service_id: &str) -> Vec<Check> {
    let own = instance
        .checks
        .iter()
        .map(|check| Check { id: ids::check_id(service_id, &check.id), ..check.clone() });
    own.chain(instance.lease.as_ref().map(|lease| lease_check(lease, service_id)))
        .chain(override_check(instance, service_id))
        .chain(status_check(instance, service_id))
        .collect()
}

fn lease_check(lease: &Lease, service_id: &str) -> Check {
    let ttl = Duration::from_secs(lease.duration_secs.max(1).into());
    Check {
        name: "Lease".to_owned(),
        notes: "Renewed by the instance, through Larder".to_owned(),
        health: Health::Passing,
        deregister_after: Some(larder_registry::model::MIN_DEREGISTER_AFTER),
        ..Check::new(&ids::lease_check_id(service_id), Probe::Ttl(ttl))
    }
}

fn override_check(instance: &Instance, service_id: &str) -> Option<Check> {
    let is_out = instance.status_override == Some(Status::OutOfService);
    is_out.then(|| Check {
        name: "Service Maintenance Mode".to_owned(),
        notes: "Taken out of service by an operator, through Larder".to_owned(),
        ..Check::new(&ids::maintenance_check_id(service_id), Probe::Ttl(MAX_PERIOD))
    })
}

fn status_check(instance: &Instance, service_id: &str) -> Option<Check> {
    let is_unsaid = instance.status != Status::Up && !checks::is_taken_out(instance);
    is_unsaid.then(|| Check {
        name: "Status".to_owned(),
        notes: format!("Its status is {}", instance.status),
        ..Check::new(&ids::status_check_id(service_id), Probe::Ttl(MAX_PERIOD))
    })
}

/// As Consul's catalog prints it.
fn reported<'a>(
    check: &'a Check,
    instance: &'a Instance,
    service_id: &'a str,
    node: &'a str,
) -> HealthCheck<'a> {
    HealthCheck {
        node: node.into(),
        check_id: Cow::Borrowed(&check.id),
        name: Cow::Borrowed(&check.name),
        status: check.health.as_str().into(),
        notes: Cow::Borrowed(&check.notes),
        output: Cow::Borrowed(&check.output),
        service_id: service_id.into(),
        service_name: instance.service.as_str().into(),
        definition: bounded(checks::definition(check)),
        ..HealthCheck::default()
    }
}

/// Times that Larder takes as well, if it is what is written to. What they really are is carried.
fn bounded(definition: CheckDefinition<'_>) -> CheckDefinition<'_> {
    let after = definition.deregister_critical_service_after.min(MAX_PERIOD);
    CheckDefinition {
        interval: definition.interval.min(MAX_PERIOD),
        timeout: definition.timeout.min(MAX_PERIOD),
        deregister_critical_service_after: after,
        ..definition
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceBody<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: &'a [String],
    address: &'a str,
    port: i64,
    meta: Pairs<'a>,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<wire::Weights>,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: Cow<'a, str>,
    #[serde(skip_serializing_if = "ServiceAddresses::is_empty")]
    tagged_addresses: ServiceAddresses<'a>,
    #[serde(skip_serializing_if = "Document::is_none")]
    proxy: Document<'a>,
    #[serde(skip_serializing_if = "Document::is_none")]
    connect: Document<'a>,
    #[serde(skip_serializing_if = "Document::is_none")]
    locality: Document<'a>,
    checks: Vec<CheckBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CatalogBody<'a> {
    #[serde(rename = "ID", skip_serializing_if = "str::is_empty")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    datacenter: &'a str,
    tagged_addresses: NodeAddresses<'a>,
    service: NodeService<'a>,
    checks: Vec<HealthCheck<'a>>,
}

/// A check in the body of `agent/service/register`.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckBody<'a> {
    #[serde(rename = "CheckID")]
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    notes: &'a str,
    status: &'a str,
    #[serde(rename = "TTL", skip_serializing_if = "str::is_empty")]
    ttl: String,
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    tcp: &'a str,
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    http: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: Cow<'a, str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: Cow<'a, str>,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_default")]
    tls_skip_verify: bool,
    #[serde(rename = "TLSServerName", skip_serializing_if = "str::is_empty")]
    tls_server_name: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_default")]
    disable_redirects: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    interval: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    timeout: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    deregister_critical_service_after: String,
}

/// Time between two probes where none is said.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

impl<'a> CheckBody<'a> {
    fn of(check: &'a Check) -> Self {
        let period = |period: Duration| probe::period(period.min(MAX_PERIOD));
        let body = Self {
            id: &check.id,
            name: &check.name,
            notes: &check.notes,
            status: check.health.as_str(),
            deregister_critical_service_after: period(check.deregister_after.unwrap_or_default()),
            ..Self::default()
        };
        let interval = if check.interval.is_zero() { DEFAULT_INTERVAL } else { check.interval };
        match &check.probe {
            Probe::Tcp(target) if !target.is_empty() => Self {
                tcp: target,
                interval: period(interval),
                timeout: period(check.timeout),
                ..body
            },
            Probe::Http { url, .. } if !url.is_empty() => {
                let CheckDefinition {
                    method,
                    header,
                    body: sent,
                    tls_skip_verify,
                    tls_server_name,
                    disable_redirects,
                    ..
                } = checks::definition(check);
                Self {
                    http: url,
                    method,
                    header,
                    body: sent,
                    tls_skip_verify,
                    tls_server_name,
                    disable_redirects,
                    interval: period(interval),
                    timeout: period(check.timeout),
                    ..body
                }
            }
            Probe::Ttl(ttl) if !ttl.is_zero() => {
                Self { ttl: duration::format((*ttl).min(MAX_PERIOD)), ..body }
            }
            _ => Self { ttl: duration::format(MAX_PERIOD), ..body },
        }
    }
}
