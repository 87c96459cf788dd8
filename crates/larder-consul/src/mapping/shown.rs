//! An instance of the registry in Consul's terms, whoever registered it.

use std::borrow::Cow;

use larder_registry::model::{Address, Instance, Mesh, Opaque};

use super::{OwnNode, checks, hash};
use crate::wire::{
    AgentService, CheckServiceNode, Document, HealthCheck, Node, NodeAddresses, NodeService, Pairs,
    ServiceAddresses, ServiceNode, Texts, Weights,
};

/// The indexes that are printed with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indexes {
    /// At which it came.
    pub create: u64,
    /// At which it last changed.
    pub modify: u64,
}

/// An instance, as this agent shows it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// This agent.
    pub own: &'a OwnNode,
    /// What is printed as its indexes.
    pub indexes: Indexes,
}

impl<'a> Shown<'a> {
    /// Where it runs: the node that it was registered on. One that never heard of Consul runs on a node of the
    /// name of its host, else of its IP address, else of its id.
    pub fn node(&self) -> Node<'a> {
        let Indexes { create, modify } = self.indexes;
        let indexed = Node { create_index: create, modify_index: modify, ..Node::default() };
        let Some(node) = self.instance.node.as_deref() else {
            let name = self.node_name();
            let Address { host, ip, .. } = &self.instance.address;
            let address = ip.as_deref().or(host.as_deref()).unwrap_or_default();
            return Node {
                id: Cow::Owned(hash::node_id(name)),
                node: Cow::Borrowed(name),
                address: Cow::Borrowed(address),
                datacenter: Cow::Borrowed(&self.own.datacenter),
                ..indexed
            };
        };
        let told = Some(&*node.datacenter).filter(|datacenter| !datacenter.is_empty());
        let mesh = self.instance.mesh.as_deref();
        Node {
            id: Cow::Borrowed(&node.id),
            node: Cow::Borrowed(&node.name),
            address: Cow::Borrowed(&node.address),
            datacenter: Cow::Borrowed(told.unwrap_or(&self.own.datacenter)),
            tagged_addresses: NodeAddresses::from(&node.tagged_addresses),
            meta: Pairs::from(&node.metadata),
            peer_name: Cow::Borrowed(mesh.map_or("", |mesh| &mesh.peer)),
            ..indexed
        }
    }

    /// The name of the node that it runs on.
    pub fn node_name(&self) -> &'a str {
        node_name(self.instance)
    }

    /// As in `health/service/:service` and `catalog/node/:node`.
    pub fn service(&self) -> NodeService<'a> {
        let Self { instance, indexes, .. } = *self;
        let mesh = Meshed::of(instance);
        NodeService {
            kind: mesh.kind,
            id: Cow::Borrowed(&instance.id),
            service: Cow::Borrowed(instance.service.as_str()),
            tags: Texts::from(&instance.tags[..]),
            address: Cow::Borrowed(service_address(instance)),
            tagged_addresses: mesh.tagged_addresses,
            meta: Pairs::from(&instance.metadata),
            port: port(&instance.address),
            socket_path: mesh.socket_path,
            weights: weights(instance),
            enable_tag_override: mesh.enable_tag_override,
            proxy: mesh.proxy,
            connect: mesh.connect,
            locality: mesh.locality,
            namespace: mesh.namespace,
            partition: mesh.partition,
            peer_name: mesh.peer,
            create_index: indexes.create,
            modify_index: indexes.modify,
        }
    }

    /// As in `agent/services` and, with its hash, in `agent/service/:id`.
    pub fn agent_service(&self) -> AgentService<'a> {
        let instance = self.instance;
        let mesh = Meshed::of(instance);
        AgentService {
            kind: mesh.kind,
            id: Cow::Borrowed(&instance.id),
            service: Cow::Borrowed(instance.service.as_str()),
            tags: Texts::from(&instance.tags[..]),
            meta: Pairs::from(&instance.metadata),
            port: port(&instance.address),
            address: Cow::Borrowed(service_address(instance)),
            socket_path: mesh.socket_path,
            tagged_addresses: mesh.tagged_addresses,
            weights: weights(instance),
            enable_tag_override: mesh.enable_tag_override,
            content_hash: Cow::Borrowed(""),
            proxy: mesh.proxy,
            connect: mesh.connect,
            peer_name: mesh.peer,
            datacenter: Cow::Borrowed(&self.own.datacenter),
            locality: mesh.locality,
        }
    }

    /// As in `catalog/service/:service`.
    pub fn service_node(&self) -> ServiceNode<'a> {
        let (node, service) = (self.node(), self.service());
        ServiceNode {
            id: node.id,
            node: node.node,
            address: node.address,
            datacenter: node.datacenter,
            tagged_addresses: node.tagged_addresses,
            node_meta: node.meta,
            service_kind: service.kind,
            service_id: service.id,
            service_name: service.service,
            service_tags: service.tags,
            service_address: service.address,
            service_tagged_addresses: service.tagged_addresses,
            service_weights: service.weights,
            service_meta: service.meta,
            service_port: service.port,
            service_socket_path: service.socket_path,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: service.proxy,
            service_connect: service.connect,
            service_locality: service.locality,
            peer_name: service.peer_name,
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }

    /// Its checks and its node's, in the order in which Consul prints them.
    pub fn checks(&self) -> Vec<HealthCheck<'a>> {
        let mut checks = checks::of(self.instance, self.node_name(), self.own);
        for check in &mut checks {
            check.create_index = self.indexes.create;
            check.modify_index = self.indexes.modify;
        }
        checks
    }

    /// As in `health/service/:service`.
    pub fn check_service_node(&self) -> CheckServiceNode<'a> {
        CheckServiceNode { node: self.node(), service: self.service(), checks: self.checks() }
    }
}

/// The name of the node that an instance runs on.
pub fn node_name(instance: &Instance) -> &str {
    let Address { host, ip, .. } = &instance.address;
    let said = || host.as_deref().or(ip.as_deref()).filter(|name| !name.is_empty());
    match instance.node.as_deref() {
        Some(node) => &node.name,
        None => said().unwrap_or(&instance.id),
    }
}

/// What Consul prints as a service's address: what it said about itself; empty if it is reached at its node's.
pub fn service_address(instance: &Instance) -> &str {
    let Address { host, ip, .. } = &instance.address;
    match instance.node.as_deref() {
        Some(node) if host.as_deref() == Some(&*node.address) => "",
        _ => ip.as_deref().or(host.as_deref()).unwrap_or_default(),
    }
}

/// The port for plain traffic if it is on, else the one for TLS if that is; 0 for none.
pub(super) fn port(address: &Address) -> i64 {
    let ports = [address.port, address.secure_port].into_iter().flatten();
    ports.into_iter().find(|port| port.enabled).map_or(0, |port| port.number.into())
}

fn weights(instance: &Instance) -> Weights {
    instance.weights.map_or_else(Weights::default, |weights| Weights {
        passing: weights.passing.into(),
        warning: weights.warning.into(),
    })
}

/// What the service mesh knows of an instance, on the wire.
#[derive(Default)]
pub(super) struct Meshed<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) socket_path: Cow<'a, str>,
    pub(super) enable_tag_override: bool,
    pub(super) tagged_addresses: ServiceAddresses<'a>,
    pub(super) proxy: Document<'a>,
    pub(super) connect: Document<'a>,
    pub(super) locality: Document<'a>,
    namespace: Cow<'a, str>,
    partition: Cow<'a, str>,
    peer: Cow<'a, str>,
}

impl<'a> Meshed<'a> {
    pub(super) fn of(instance: &'a Instance) -> Self {
        let Some(mesh) = instance.mesh.as_deref() else { return Self::default() };
        let Mesh { proxy, connect, locality, .. } = mesh;
        let document = |held: &'a Option<Opaque>| {
            Document(Cow::Borrowed(held.as_ref().map_or("", |document| &document.0)))
        };
        Self {
            kind: Cow::Borrowed(&mesh.kind),
            socket_path: Cow::Borrowed(&mesh.socket_path),
            enable_tag_override: mesh.enable_tag_override,
            tagged_addresses: ServiceAddresses::from(&mesh.tagged_addresses),
            proxy: document(proxy),
            connect: document(connect),
            locality: document(locality),
            namespace: Cow::Borrowed(&mesh.namespace),
            partition: Cow::Borrowed(&mesh.partition),
            peer: Cow::Borrowed(&mesh.peer),
        }
    }
}
