//! Entries that are put into the catalog and taken out of it from outside.

use std::collections::BTreeMap;

use larder_registry::model::Metadata;

use super::Invalid;
use super::bounds::{MAX_META, MAX_TEXT_BYTES};
use super::check::{self, CheckRegistration};
use super::fields::{Fields, json};
use super::service::{self, ServiceRegistration};

/// The body of `catalog/register`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogRegistration {
    /// The node's UUID; may be empty.
    pub node_id: String,
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub address: String,
    /// The datacenter; empty for the agent's own.
    pub datacenter: String,
    /// The node's other addresses.
    pub tagged_addresses: BTreeMap<String, String>,
    /// What the operator says about the node.
    pub node_meta: Metadata,
    /// Whether the node is left as it is held.
    pub skip_node_update: bool,
    /// What runs on it.
    pub service: Option<ServiceRegistration>,
    /// How it is. Those without a service are the node's.
    pub checks: Vec<CheckRegistration>,
}

/// The body of `catalog/deregister`. Without a service and a check, it is about the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogDeregistration {
    /// The datacenter; empty for the agent's own.
    pub datacenter: String,
    /// The node's name.
    pub node: String,
    /// The service to take out.
    pub service_id: String,
    /// The check to take out.
    pub check_id: String,
}

/// Reads the body of `catalog/register`.
pub fn registration(body: &[u8]) -> Result<CatalogRegistration, Invalid> {
    let body = json(body)?;
    let fields = Fields::of("", &body)?;
    let service = fields
        .get("Service")
        .map(|value| service::read(&Fields::of("Service.", value)?, "Service"));
    let registration = CatalogRegistration {
        node_id: fields.text("ID", MAX_TEXT_BYTES)?,
        node: fields.name("Node")?,
        address: fields.name("Address")?,
        datacenter: fields.name("Datacenter")?,
        tagged_addresses: fields.node_addresses("TaggedAddresses")?,
        node_meta: fields.pairs("NodeMeta")?,
        skip_node_update: fields.flag("SkipNodeUpdate")?,
        service: service.transpose()?,
        checks: check::of_catalog(&fields)?,
    };
    validate(registration)
}

fn validate(registration: CatalogRegistration) -> Result<CatalogRegistration, Invalid> {
    if registration.node.is_empty() {
        return Err(Invalid::Node);
    }
    if registration.address.is_empty() && !registration.skip_node_update {
        return Err(Invalid::Address);
    }
    if !registration.node_id.is_empty() && !is_uuid(&registration.node_id) {
        return Err(Invalid::NodeId);
    }
    let fits = |(key, value): (&str, &str)| key.len().max(value.len()) <= MAX_TEXT_BYTES * 2;
    if registration.node_meta.len() > MAX_META || !registration.node_meta.iter().all(fits) {
        return Err(Invalid::field("NodeMeta", format!("at most {MAX_META} pairs of 512 bytes")));
    }
    Ok(registration)
}

fn is_uuid(text: &str) -> bool {
    let is_dash = |place| matches!(place, 8 | 13 | 18 | 23);
    let fits = |(place, byte): (usize, u8)| {
        if is_dash(place) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// Reads the body of `catalog/deregister`.
pub fn deregistration(body: &[u8]) -> Result<CatalogDeregistration, Invalid> {
    let body = json(body)?;
    let fields = Fields::of("", &body)?;
    let deregistration = CatalogDeregistration {
        datacenter: fields.name("Datacenter")?,
        node: fields.name("Node")?,
        service_id: fields.name("ServiceID")?,
        check_id: fields.name("CheckID")?,
    };
    let has_node = !deregistration.node.is_empty();
    has_node.then_some(deregistration).ok_or(Invalid::Node)
}
