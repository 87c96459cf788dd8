//! Instances through Consul's JSON and back, and each protocol's in Consul's terms.

mod across;
mod foreign;
mod strategies;
mod through_consul;

use larder_registry::model::Instance;

use super::{Indexes, OwnNode, Shown, node_id};
use crate::wire::CheckServiceNode;

fn own() -> OwnNode {
    OwnNode {
        name: "larder-1".to_owned(),
        id: node_id("larder-1"),
        address: "10.9.9.9".to_owned(),
        datacenter: "dc1".to_owned(),
    }
}

fn shown<'a>(instance: &'a Instance, own: &'a OwnNode) -> Shown<'a> {
    Shown { instance, own, indexes: Indexes { create: 3, modify: 7 } }
}

/// As it is printed and read again.
fn printed(instance: &Instance) -> CheckServiceNode<'static> {
    let own = own();
    let text = serde_json::to_string(&shown(instance, &own).check_service_node()).unwrap();
    serde_json::from_str(&text).unwrap()
}
