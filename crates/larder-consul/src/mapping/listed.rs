//! What a real Consul lists, as instances.

use std::collections::HashMap;

use larder_registry::model::{Check, Health, Instance, Key, Mesh, Node, Opaque, Status, Weights};

use super::{carried, ids, kept, registered, written};
use crate::wire::{self, CheckServiceNode, Document, HealthCheck};

/// An instance, and where a real Consul holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The node's name.
    pub node: String,
    /// The service's id on that node.
    pub service_id: String,
    /// The index at which it last changed.
    pub modify_index: u64,
    /// Whether Larder wrote it.
    pub is_larders: bool,
    /// Whether its lease, which Larder wrote as a check, ran out. Consul takes it out a minute and a half later
    /// at most.
    pub has_lapsed: bool,
    /// The instance.
    pub instance: Instance,
}

/// The instances of a list, each key once.
///
/// Consul's ids are unique on a node only. One that several nodes give to instances of one service gets the
/// node's name, as in `web@node-1`; of two that Larder wrote under one key the younger counts.
pub fn read_all(entries: &[CheckServiceNode<'_>]) -> Vec<Listed> {
    let mut all: Vec<Listed> = entries.iter().map(read).collect();
    let mut told: HashMap<Key, usize> = HashMap::new();
    for listed in &all {
        *told.entry(listed.instance.key()).or_default() += 1;
    }
    for listed in all.iter_mut().filter(|listed| !listed.is_larders) {
        if told.get(&listed.instance.key()).is_some_and(|times| *times > 1) {
            listed.instance.id = format!("{}@{}", listed.service_id, listed.node);
        }
    }
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut distinct: Vec<Listed> = Vec::with_capacity(all.len());
    for listed in all {
        let place = *places.entry(listed.instance.key()).or_insert(distinct.len());
        match distinct.get_mut(place) {
            None => distinct.push(listed),
            Some(held) if held.modify_index < listed.modify_index => *held = listed,
            Some(_) => {}
        }
    }
    distinct
}

/// The instance of one entry. It is up if and only if none of its checks is critical, its node's included.
pub fn read(entry: &CheckServiceNode<'_>) -> Listed {
    let service = &entry.service;
    let name = larder_registry::model::Name::new(&service.service);
    let written = carried::unpack(&service.meta.0)
        .filter(|rest| ids::service_id(&name, &rest.id) == service.id);
    let is_larders = written.is_some();
    let (mut instance, has_lapsed) = match written {
        Some(rest) => larders(entry, rest),
        None => (others(entry), false),
    };
    let checks = || entry.checks.iter();
    if checks().any(|check| ids::is_maintenance(&check.check_id)) {
        instance.status_override = Some(Status::OutOfService);
        if instance.status == Status::Up {
            instance.status = Status::OutOfService;
        }
    }
    if has_lapsed && instance.status == Status::Up {
        instance.status = Status::Down;
    }
    Listed {
        node: entry.node.node.to_string(),
        service_id: service.id.to_string(),
        modify_index: service.modify_index,
        is_larders,
        has_lapsed,
        instance,
    }
}

/// What somebody else registered.
fn others(entry: &CheckServiceNode<'_>) -> Instance {
    let (node, service) = (&entry.node, &entry.service);
    let mut instance = Instance::new(&service.service, &service.id);
    instance.address =
        registered::address(service.address.to_string(), service.port, &node.address);
    instance.tags = service.tags.0.to_vec();
    instance.metadata = service.meta.0.clone().into_owned();
    instance.weights = weights(service.weights);
    instance.mesh = mesh(service);
    instance.node = Some(Box::new(Node {
        id: node.id.to_string(),
        name: node.node.to_string(),
        address: node.address.to_string(),
        datacenter: node.datacenter.to_string(),
        tagged_addresses: node.tagged_addresses.0.clone().into_owned(),
        metadata: node.meta.0.clone().into_owned(),
    }));
    instance.checks = entry.checks.iter().map(kept::keep).collect();
    instance
}

/// What Larder wrote, and whether its lease ran out. `rest` is what was carried.
fn larders(entry: &CheckServiceNode<'_>, rest: Instance) -> (Instance, bool) {
    let service = &entry.service;
    let mut instance = rest;
    instance.service = larder_registry::model::Name::new(&service.service);
    instance.tags = service.tags.0.to_vec();
    if instance.address == larder_registry::model::Address::default() {
        instance.address = written::native(&service.address, service.port);
    }
    instance.weights = instance.weights.or_else(|| weights(service.weights));
    let mut checks = Checks { service_id: &service.id, left: entry.checks.iter().collect() };
    let own = std::mem::take(&mut instance.checks);
    instance.checks = own.into_iter().filter_map(|check| checks.live(check)).collect();
    let lease = checks.take(&ids::lease_check_id(&service.id));
    let is_critical = |check: &HealthCheck<'_>| check.status == Health::Critical.as_str();
    let has_lapsed = instance.lease.is_some() && lease.is_some_and(is_critical);
    checks.take(&ids::status_check_id(&service.id));
    checks.take(&ids::maintenance_check_id(&service.id));
    instance.checks.extend(checks.strangers());
    (instance, has_lapsed)
}

/// The checks of an entry that nobody has asked about yet.
struct Checks<'a> {
    service_id: &'a str,
    left: Vec<&'a HealthCheck<'a>>,
}

impl<'a> Checks<'a> {
    fn take(&mut self, id: &str) -> Option<&'a HealthCheck<'a>> {
        let place = self.left.iter().position(|check| check.check_id == id)?;
        Some(self.left.swap_remove(place))
    }

    /// The check as Consul has it now; none if somebody took it out there.
    fn live(&mut self, check: Check) -> Option<Check> {
        let live = self.take(&ids::check_id(self.service_id, &check.id))?;
        let health = Health::from_name(&live.status).unwrap_or(Health::Critical);
        // An agent is not told what a check said before it was registered there.
        let is_untouched = health == check.health && live.output.is_empty();
        let output = if is_untouched { check.output } else { live.output.to_string() };
        Some(Check { health, output, ..check })
    }

    /// What others put there, but for what says of the node that all is well.
    fn strangers(mut self) -> impl Iterator<Item = Check> {
        self.left.sort_by(|a, b| a.check_id.cmp(&b.check_id));
        let is_news = |check: &&HealthCheck<'_>| {
            !check.service_id.is_empty() || check.status != Health::Passing.as_str()
        };
        self.left.into_iter().filter(is_news).map(kept::keep)
    }
}

/// None for what every service has that says nothing about it.
fn weights(weights: wire::Weights) -> Option<Weights> {
    let number = |weight: i64| u32::try_from(weight.max(0)).unwrap_or(u32::MAX);
    (weights != wire::Weights::default())
        .then(|| Weights { passing: number(weights.passing), warning: number(weights.warning) })
}

fn mesh(service: &wire::NodeService<'_>) -> Option<Box<Mesh>> {
    let document =
        |document: &Document<'_>| (!document.is_none()).then(|| Opaque(document.0.to_string()));
    let mesh = Mesh {
        kind: service.kind.to_string(),
        socket_path: service.socket_path.to_string(),
        enable_tag_override: service.enable_tag_override,
        tagged_addresses: service.tagged_addresses.0.clone().into_owned(),
        proxy: document(&service.proxy),
        connect: document(&service.connect),
        locality: document(&service.locality),
        namespace: service.namespace.to_string(),
        partition: service.partition.to_string(),
        peer: service.peer_name.to_string(),
    };
    (mesh != Mesh::default()).then(|| Box::new(mesh))
}
