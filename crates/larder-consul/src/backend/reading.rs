//! Consul's answers as what the registry speaks of.
//!
//! Pure.

use std::collections::BTreeSet;

use larder_registry::model::{Instance, Name};
use larder_registry::{Error, Phase};

use crate::client::Fault;
use crate::mapping;
use crate::wire::{AgentService, CatalogServices, CheckServiceNode, NodeService, ServiceHealth};

/// What an answer says.
#[derive(Debug)]
pub(super) enum Reading {
    /// Which services there are.
    Names(BTreeSet<Name>),
    /// The instances of one.
    Instances(Vec<Instance>),
}

/// Reads the names of all services, or a service's instances.
pub(super) fn read(body: &[u8], is_names: bool) -> Result<Reading, String> {
    if is_names { names(body).map(Reading::Names) } else { instances(body).map(Reading::Instances) }
}

/// Reads `catalog/services`. Of names that differ by case alone, one is held.
pub(super) fn names(body: &[u8]) -> Result<BTreeSet<Name>, String> {
    let services: CatalogServices<'_> = parse(body)?;
    Ok(services.0.keys().map(|name| Name::new(name)).collect())
}

/// Reads `health/service/:service`: the instances whose leases have not run out.
pub(super) fn instances(body: &[u8]) -> Result<Vec<Instance>, String> {
    let entries: Vec<CheckServiceNode<'_>> = parse(body)?;
    let alive = |listed: &mapping::Listed| !listed.has_lapsed;
    Ok(mapping::read_all(&entries).into_iter().filter(alive).map(|it| it.instance).collect())
}

/// Reads `agent/health/service/id/:id`: the instance as its agent holds it, whether others know it or not.
pub(super) fn held(body: &[u8]) -> Result<mapping::Listed, String> {
    let ServiceHealth { service, checks, .. } = parse(body)?;
    let node = crate::wire::Node {
        node: checks.first().map(|check| check.node.clone()).unwrap_or_default(),
        datacenter: service.datacenter.clone(),
        ..crate::wire::Node::default()
    };
    Ok(mapping::read(&CheckServiceNode { node, service: as_listed(service), checks }))
}

fn as_listed(service: AgentService<'_>) -> NodeService<'_> {
    NodeService {
        kind: service.kind,
        id: service.id,
        service: service.service,
        tags: service.tags,
        address: service.address,
        tagged_addresses: service.tagged_addresses,
        meta: service.meta,
        port: service.port,
        socket_path: service.socket_path,
        weights: service.weights,
        enable_tag_override: service.enable_tag_override,
        proxy: service.proxy,
        connect: service.connect,
        locality: service.locality,
        peer_name: service.peer_name,
        ..NodeService::default()
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("its answer is none of a Consul agent: {error}"))
}

/// What a cache's error means to the registry.
pub(super) fn error(error: &larder_cache::Error<Fault>) -> Error {
    match error {
        larder_cache::Error::Source(fault) => Error::from(&**fault),
        larder_cache::Error::Closed => Error::Closed,
        error => Error::Unavailable { phase: Phase::Watch, reason: error.to_string() },
    }
}
