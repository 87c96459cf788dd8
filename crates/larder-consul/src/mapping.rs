//! Between Consul's objects and [`Instance`], in every direction.
//!
//! - [`register`], [`register_check`], [`register_in_catalog`]: what a client registers here, as an instance.
//! - [`Shown`]: any instance of the registry, whoever registered it, in Consul's terms.
//! - [`agent_registration`], [`catalog_registration`]: an instance as it is written to a real Consul, so that
//!   nothing is lost.
//! - [`read`], [`read_all`]: what a real Consul lists, as instances.
//!
//! What an instance of one protocol looks like in another is one table in `docs/consul.md`.
//!
//! Pure.

mod carried;
mod checks;
mod hash;
mod ids;
mod kept;
mod listed;
mod probe;
mod registered;
mod shown;
mod written;

use std::borrow::Cow;

use larder_registry::model::{Instance, Node};

use crate::wire;

pub use carried::Unfit;
pub use checks::{AggregatedStatus, aggregate};
pub use hash::{agent_service_hash, node_id};
pub use ids::{
    NODE_MAINTENANCE, SERF_HEALTH, check_id, lease_check_id, maintenance_check_id, service_id,
};
pub use listed::{Listed, read, read_all};
pub use registered::{register, register_check, register_in_catalog};
pub use shown::{Indexes, Shown, node_name, service_address};
pub use written::{agent_registration, catalog_registration};

/// This server as a node of Consul's: what is registered with its agent runs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNode {
    /// Its name.
    pub name: String,
    /// Its id, a UUID; [`node_id`] makes one from the name.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// The datacenter it is in.
    pub datacenter: String,
}

impl OwnNode {
    /// The node of this name at this address, with an id made from its name.
    pub fn new(name: &str, address: &str, datacenter: &str) -> Self {
        let [name, address, datacenter] = [name, address, datacenter].map(str::to_owned);
        Self { id: node_id(&name), name, address, datacenter }
    }

    /// As an instance's node.
    pub fn to_node(&self) -> Node {
        Node {
            id: self.id.clone(),
            name: self.name.clone(),
            address: self.address.clone(),
            datacenter: self.datacenter.clone(),
            ..Node::default()
        }
    }

    /// As in `catalog/nodes`.
    pub fn shown(&self, indexes: Indexes) -> wire::Node<'_> {
        wire::Node {
            id: Cow::Borrowed(&self.id),
            node: Cow::Borrowed(&self.name),
            address: Cow::Borrowed(&self.address),
            datacenter: Cow::Borrowed(&self.datacenter),
            create_index: indexes.create,
            modify_index: indexes.modify,
            ..wire::Node::default()
        }
    }

    /// The check that says it is alive, as in `health/node/:node`.
    pub fn serf_health(&self, indexes: Indexes) -> wire::HealthCheck<'_> {
        wire::HealthCheck {
            create_index: indexes.create,
            modify_index: indexes.modify,
            ..checks::serf(&self.name)
        }
    }

    /// Whether the instance was registered with this agent.
    pub fn runs(&self, instance: &Instance) -> bool {
        instance.node.as_ref().is_some_and(|node| node.name == self.name && node.id == self.id)
    }
}

#[cfg(test)]
mod tests;
