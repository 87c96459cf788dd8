//! The model holds what go-micro and Consul know about an instance, and gives it back unchanged.
//!
//! The structs here are those systems' own, field by field; the mappings are the table of
//! `docs/model.md`.

use std::collections::BTreeMap;

use larder_registry::model::{
    Address, Endpoint, Instance, Mesh, Metadata, Node, Opaque, Port, TaggedAddress, Value, Weights,
};
use proptest::prelude::*;

/// go-micro's `registry.Service` with one of its nodes, as its etcd registry stores it.
#[derive(Debug, Clone, PartialEq)]
struct MicroService {
    name: String,
    version: String,
    metadata: Metadata,
    endpoints: Vec<Endpoint>,
    node_id: String,
    node_address: String,
    node_metadata: Metadata,
}

fn from_micro(service: &MicroService) -> Instance {
    let mut instance = Instance::new(&service.name, &service.node_id);
    instance.version.clone_from(&service.version);
    instance.service_metadata.clone_from(&service.metadata);
    instance.metadata.clone_from(&service.node_metadata);
    instance.endpoints.clone_from(&service.endpoints);
    let (ip, port) = split_port(&service.node_address);
    instance.address = Address { ip: Some(ip.to_owned()), port, ..Address::default() };
    instance
}

fn to_micro(instance: Instance) -> MicroService {
    let ip = instance.address.ip.unwrap_or_default();
    MicroService {
        name: instance.service.to_string(),
        version: instance.version,
        metadata: instance.service_metadata,
        endpoints: instance.endpoints,
        node_id: instance.id,
        node_address: match instance.address.port {
            Some(port) => format!("{ip}:{}", port.number),
            None => ip,
        },
        node_metadata: instance.metadata,
    }
}

/// Splits only what joins to the same text again: `host:080` stays whole.
fn split_port(address: &str) -> (&str, Option<Port>) {
    let split = address.rsplit_once(':').and_then(|(host, digits)| {
        let number: u16 = digits.parse().ok()?;
        (number.to_string() == digits).then_some((host, Some(Port { number, enabled: true })))
    });
    split.unwrap_or((address, None))
}

/// Consul's `CatalogService`: a node with one service.
#[derive(Debug, Clone, PartialEq)]
struct CatalogService {
    node: Node,
    id: String,
    service: String,
    tags: Vec<String>,
    address: String,
    port: u16,
    meta: Metadata,
    weights: Weights,
    mesh: Mesh,
}

fn from_consul(service: &CatalogService) -> Instance {
    let mut instance = Instance::new(&service.service, &service.id);
    instance.node = Some(Box::new(service.node.clone()));
    instance.tags.clone_from(&service.tags);
    instance.address.ip = Some(service.address.clone());
    instance.address.port = Some(Port { number: service.port, enabled: true });
    instance.metadata.clone_from(&service.meta);
    instance.weights = Some(service.weights);
    instance.mesh = Some(Box::new(service.mesh.clone()));
    instance
}

fn to_consul(instance: Instance) -> CatalogService {
    CatalogService {
        node: *instance.node.unwrap_or_default(),
        id: instance.id,
        service: instance.service.to_string(),
        tags: instance.tags,
        address: instance.address.ip.unwrap_or_default(),
        port: instance.address.port.map_or(0, |port| port.number),
        meta: instance.metadata,
        weights: instance.weights.unwrap_or(Weights { passing: 1, warning: 1 }),
        mesh: *instance.mesh.unwrap_or_default(),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9._:/-]{0,12}", any::<String>()]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    prop::collection::vec((text(), text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = (text(), text()).prop_map(|(name, kind)| Value { name, kind, fields: vec![] });
    leaf.prop_recursive(3, 8, 3, |fields| {
        (text(), text(), prop::collection::vec(fields, 0..3))
            .prop_map(|(name, kind, fields)| Value { name, kind, fields })
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (text(), prop::option::of(value()), prop::option::of(value()), metadata()).prop_map(
        |(name, request, response, metadata)| Endpoint { name, request, response, metadata },
    )
}

fn micro_service() -> impl Strategy<Value = MicroService> {
    let address = prop_oneof!["[a-z.]{1,8}:[0-9]{1,6}", "\\[::1\\]:[1-9][0-9]{0,3}", text()];
    let endpoints = prop::collection::vec(endpoint(), 0..3);
    (text(), text(), metadata(), endpoints, text(), address, metadata()).prop_map(
        |(name, version, metadata, endpoints, node_id, node_address, node_metadata)| MicroService {
            name,
            version,
            metadata,
            endpoints,
            node_id,
            node_address,
            node_metadata,
        },
    )
}

fn catalog_service() -> impl Strategy<Value = CatalogService> {
    let node = (text(), text(), text(), text(), metadata()).prop_map(
        |(id, name, address, datacenter, metadata)| Node {
            id,
            name,
            tagged_addresses: BTreeMap::from([("lan".to_owned(), address.clone())]),
            address,
            datacenter,
            metadata,
        },
    );
    let mesh = (text(), text(), any::<bool>(), any::<u16>(), text()).prop_map(
        |(kind, socket_path, enable_tag_override, port, proxy)| Mesh {
            kind,
            socket_path,
            enable_tag_override,
            tagged_addresses: BTreeMap::from([(
                "wan".to_owned(),
                TaggedAddress { address: "198.18.0.1".to_owned(), port },
            )]),
            proxy: Some(Opaque(proxy)),
            ..Mesh::default()
        },
    );
    let tags = prop::collection::vec(text(), 0..3);
    (node, text(), text(), tags, text(), any::<u16>(), metadata(), any::<(u32, u32)>(), mesh)
        .prop_map(|(node, id, service, tags, address, port, meta, (passing, warning), mesh)| {
            let weights = Weights { passing, warning };
            CatalogService { node, id, service, tags, address, port, meta, weights, mesh }
        })
}

proptest! {
    #[test]
    fn a_go_micro_node_survives_the_model(service in micro_service()) {
        prop_assert_eq!(to_micro(from_micro(&service)), service);
    }

    #[test]
    fn a_consul_service_survives_the_model(service in catalog_service()) {
        prop_assert_eq!(to_consul(from_consul(&service)), service);
    }
}
