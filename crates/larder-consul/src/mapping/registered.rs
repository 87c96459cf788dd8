//! What a client registers here, as an instance.

use std::time::Duration;

use larder_registry::model::{Address, Check, Health, Instance, Mesh, Node, Opaque, Port};

use super::{OwnNode, kept, probe};
use crate::wire::HealthCheck;
use crate::wire::definition::{CatalogRegistration, CheckRegistration, ServiceRegistration};

/// The instance that a client registers with this agent. It stays until it is deregistered: its checks say how
/// it is.
pub fn register(service: ServiceRegistration, own: &OwnNode) -> Instance {
    on_node(service, own.to_node())
}

/// The check that a client registers with this agent for a service that is there, or for the node.
pub fn register_check(registration: &CheckRegistration) -> Check {
    let id = if registration.id.is_empty() { &registration.name } else { &registration.id };
    check(registration, id, registration.name.clone())
}

/// The instance that somebody outside puts into the catalog; none if it is about a node alone. Its checks are
/// held as they are said to be: nobody here probes them.
pub fn register_in_catalog(entry: CatalogRegistration, own: &OwnNode) -> Option<Instance> {
    let service = entry.service?;
    let own_datacenter = || own.datacenter.clone();
    let node = Node {
        id: entry.node_id,
        name: entry.node,
        address: entry.address,
        datacenter: Some(entry.datacenter)
            .filter(|dc| !dc.is_empty())
            .unwrap_or_else(own_datacenter),
        tagged_addresses: entry.tagged_addresses,
        metadata: entry.node_meta,
    };
    let node_name = node.name.clone();
    let mut instance = on_node(service, node);
    let checks =
        entry.checks.iter().map(|check| kept::keep(&reported(check, &node_name, &instance)));
    instance.checks = distinct(checks.collect());
    Some(instance)
}

fn on_node(service: ServiceRegistration, node: Node) -> Instance {
    let id = if service.id.is_empty() { &service.name } else { &service.id };
    let mut instance = Instance::new(&service.name, id);
    instance.checks = checks(&service, id);
    instance.address = address(service.address, service.port.into(), &node.address);
    instance.tags = service.tags;
    instance.metadata = service.meta;
    instance.weights = service.weights;
    let mesh = Mesh {
        kind: service.kind,
        socket_path: service.socket_path,
        enable_tag_override: service.enable_tag_override,
        tagged_addresses: service.tagged_addresses,
        proxy: service.proxy.map(Opaque),
        connect: service.connect.map(Opaque),
        locality: service.locality.map(Opaque),
        ..Mesh::default()
    };
    instance.mesh = (mesh != Mesh::default()).then(|| Box::new(mesh));
    instance.node = Some(Box::new(node));
    instance
}

/// Where it is reached, as it was said. One that says nothing is reached at its node's address, which then is
/// its host as well: by that [`service_address`](super::service_address) knows that it said nothing.
pub(super) fn address(said: String, port: i64, node_address: &str) -> Address {
    let number = u16::try_from(port).ok().filter(|number| *number > 0);
    let port = number.map(|number| Port { number, enabled: true });
    let (host, ip) = match said.is_empty() {
        false => (None, Some(said)),
        true if node_address.is_empty() => (None, None),
        true => (Some(node_address.to_owned()), Some(node_address.to_owned())),
    };
    Address { host, ip, port, secure_port: None }
}

/// Their ids are those that Consul's agents give.
fn checks(service: &ServiceRegistration, id: &str) -> Vec<Check> {
    let is_one = service.checks.len() == 1;
    let checks = service.checks.iter().enumerate().map(|(place, registration)| {
        let given = |text: &String, default: String| {
            if text.is_empty() { default } else { text.clone() }
        };
        let number = place + 1;
        let derived =
            if is_one { format!("service:{id}") } else { format!("service:{id}:{number}") };
        let name = given(&registration.name, format!("Service '{}' check", service.name));
        check(registration, &given(&registration.id, derived), name)
    });
    distinct(checks.collect())
}

/// Of two checks with one id the later counts, as for Consul.
fn distinct(checks: Vec<Check>) -> Vec<Check> {
    let mut distinct: Vec<Check> = Vec::with_capacity(checks.len());
    for check in checks {
        distinct.retain(|held| held.id != check.id);
        distinct.push(check);
    }
    distinct
}

fn check(registration: &CheckRegistration, id: &str, name: String) -> Check {
    let mut check = Check::new(id, probe::probe(registration));
    check.name = name;
    check.health = registration.status.unwrap_or(Health::Critical);
    check.notes.clone_from(&registration.notes);
    if registration.is_probed() {
        check.interval = registration.interval;
        check.timeout = registration.timeout;
    }
    check.deregister_after = some_time(registration.deregister_after);
    check
}

fn some_time(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

/// The check as the catalog prints it.
fn reported(check: &CheckRegistration, node: &str, instance: &Instance) -> HealthCheck<'static> {
    let is_services = check.service_id == instance.id;
    let id = if check.id.is_empty() { &check.name } else { &check.id };
    let status = check.status.unwrap_or(Health::Critical).as_str();
    HealthCheck {
        node: node.to_owned().into(),
        check_id: id.clone().into(),
        name: check.name.clone().into(),
        status: status.into(),
        notes: check.notes.clone().into(),
        output: check.output.clone().into(),
        service_id: check.service_id.clone().into(),
        service_name: if is_services { instance.service.to_string().into() } else { "".into() },
        kind: catalog_kind(check).into(),
        definition: crate::wire::CheckDefinition {
            interval: check.interval,
            timeout: check.timeout,
            deregister_critical_service_after: check.deregister_after,
            http: check.http.clone().into(),
            tls_server_name: check.tls_server_name.clone().into(),
            tls_skip_verify: check.tls_skip_verify,
            header: check.header.clone(),
            method: check.method.clone().into(),
            body: check.body.clone().into(),
            disable_redirects: check.disable_redirects,
            tcp: check.tcp.clone().into(),
            udp: check.udp.clone().into(),
            grpc: check.grpc.clone().into(),
        },
        ..HealthCheck::default()
    }
}

/// As Consul derives it from the definition.
fn catalog_kind(check: &CheckRegistration) -> &'static str {
    let kinds =
        [("http", &check.http), ("tcp", &check.tcp), ("udp", &check.udp), ("grpc", &check.grpc)];
    kinds.into_iter().find(|(_, target)| !target.is_empty()).map_or("", |(kind, _)| kind)
}
