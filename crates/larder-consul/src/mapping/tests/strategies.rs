//! Any instance.

use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::{
    Address, Check, DataCenter, Endpoint, Health, Instance, Lease, Mesh, Metadata, Node, Opaque,
    Pages, Port, Probe, Status, TaggedAddress, Value, Vips, Weights,
};
use proptest::option;
use proptest::prelude::*;

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_.:/-]{0,10}", "\\PC{0,10}"]
}

/// As Consul takes them.
pub(super) fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z_-]{1,6}", text(), 0..5)
}

/// As anybody may write them.
fn metadata() -> impl Strategy<Value = Metadata> {
    let key = prop_oneof!["[a-z_-]{1,6}", "larder-[0-9]", "consul-[a-z]", text()];
    let value = prop_oneof![4 => text(), 1 => "[a-zé]{500,600}"];
    let few = prop::collection::vec((key, value), 0..6);
    let many = prop::collection::vec(("[a-z]{1,3}", "[a-z]{0,3}"), 55..80);
    prop_oneof![5 => few, 1 => many].prop_map(|pairs| pairs.into_iter().collect())
}

fn address() -> impl Strategy<Value = Address> {
    let port = || {
        option::of((any::<u16>(), any::<bool>()))
            .prop_map(|port| port.map(|(number, enabled)| Port { number, enabled }))
    };
    let name = || {
        option::of(prop_oneof!["[a-z0-9.]{1,8}", Just("0.0.0.0".to_owned()), Just(String::new())])
    };
    (name(), name(), port(), port()).prop_map(|(host, ip, port, secure_port)| Address {
        host,
        ip,
        port,
        secure_port,
    })
}

fn period() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), (0..1_u64 << 62).prop_map(Duration::from_nanos)]
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        period().prop_map(Probe::Ttl),
        text().prop_map(Probe::Tcp),
        (text(), prop_oneof![Just(String::new()), Just(r#"{"method":"POST"}"#.to_owned()), text()])
            .prop_map(|(url, definition)| Probe::Http { url, definition: Opaque(definition) }),
        (text(), text())
            .prop_map(|(kind, definition)| Probe::Other { kind, definition: Opaque(definition) }),
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let health = prop::sample::select(Health::ALL.to_vec());
    (text(), text(), health, text(), text(), probe(), period(), period(), option::of(period()))
        .prop_map(
            |(id, name, health, notes, output, probe, interval, timeout, deregister_after)| Check {
                id,
                name,
                health,
                notes,
                output,
                probe,
                interval,
                timeout,
                deregister_after,
            },
        )
}

fn mesh() -> impl Strategy<Value = Mesh> {
    let document = || option::of(prop_oneof![Just(r#"{"a":{"b":1}}"#.to_owned()), text()]);
    (text(), text(), any::<bool>(), (text(), any::<u16>()), document(), document(), text())
        .prop_map(
            |(kind, socket_path, enable_tag_override, (address, port), proxy, locality, peer)| {
                Mesh {
                    kind,
                    socket_path,
                    enable_tag_override,
                    tagged_addresses: BTreeMap::from([(
                        "lan".to_owned(),
                        TaggedAddress { address, port },
                    )]),
                    proxy: proxy.map(Opaque),
                    locality: locality.map(Opaque),
                    peer,
                    ..Mesh::default()
                }
            },
        )
}

fn lease() -> impl Strategy<Value = Lease> {
    (any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(duration_secs, renewal_interval_secs, registered_at, renewed_at)| Lease {
            duration_secs,
            renewal_interval_secs,
            registered_at,
            renewed_at,
            ..Lease::default()
        },
    )
}

/// As a registry holds it: an override to out of service is what keeps an instance from being up.
fn statuses() -> impl Strategy<Value = (Status, Option<Status>)> {
    let status = || prop::sample::select(Status::ALL.to_vec());
    (status(), option::of(status())).prop_map(|(status, over)| match (status, over) {
        (Status::Up, Some(Status::OutOfService)) => (Status::OutOfService, over),
        other => other,
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (text(), option::of(text()), metadata()).prop_map(|(name, request, metadata)| {
        let value = |name: String| Value { name, kind: "k".to_owned(), fields: Vec::new() };
        Endpoint { name, request: request.map(value), response: None, metadata }
    })
}

fn plain() -> impl Strategy<Value = Instance> {
    let weights = option::of(
        (any::<u32>(), any::<u32>()).prop_map(|(passing, warning)| Weights { passing, warning }),
    );
    let small = option::of(
        (1..9_u32, 0..9_u32).prop_map(|(passing, warning)| Weights { passing, warning }),
    );
    let tags = prop::collection::vec(text(), 0..3);
    let id = text();
    (
        "[a-zA-Z][a-zA-Z0-9:%._-]{0,8}",
        id,
        address(),
        statuses(),
        metadata(),
        tags,
        option::of(lease()),
        prop_oneof![weights, small],
    )
        .prop_map(
            |(service, id, address, (status, status_override), metadata, tags, lease, weights)| {
                let mut instance = Instance::new(&service, &id);
                instance.address = address;
                (instance.status, instance.status_override) = (status, status_override);
                (instance.metadata, instance.tags) = (metadata, tags);
                (instance.lease, instance.weights) = (lease, weights);
                instance
            },
        )
}

/// With what few have.
pub(super) fn instance() -> impl Strategy<Value = Instance> {
    let checks = prop::collection::vec(check(), 0..4);
    let facts = (text(), option::of(text()), option::of(text()), any::<i32>(), any::<u64>());
    let metadata = prop::collection::vec((text(), text()), 0..3);
    let endpoints = prop::collection::vec(endpoint(), 0..2);
    (plain(), checks, option::of(mesh()), facts, metadata, endpoints, any::<bool>()).prop_map(
        |(mut instance, mut checks, mesh, facts, metadata, endpoints, flag)| {
            checks.sort_by(|a, b| a.id.cmp(&b.id));
            checks.dedup_by(|a, b| a.id == b.id);
            instance.checks = checks;
            instance.mesh = mesh.map(Box::new);
            let (version, group, vip, country_id, dirty_at) = facts;
            instance.vips = Vips { plain: vip, secure: None };
            if flag {
                instance.pages = Some(Box::new(Pages { home: group.clone(), ..Pages::default() }));
                let name = "Amazon".to_owned();
                instance.data_center =
                    Some(Box::new(DataCenter { name, metadata: Some(Metadata::new()) }));
                let node =
                    Node { name: "n".to_owned(), address: version.clone(), ..Node::default() };
                instance.node = Some(Box::new(node));
            }
            (instance.version, instance.group) = (version, group);
            (instance.country_id, instance.dirty_at) = (country_id, dirty_at);
            instance.service_metadata = metadata.into_iter().collect();
            instance.endpoints = endpoints;
            (instance.id_is_derived, instance.is_coordinator) = (flag, flag);
            instance
        },
    )
}
