//! Services as they are registered: with an agent, or in the catalog.

use std::collections::BTreeMap;

use larder_registry::model::{Metadata, TaggedAddress, Weights};

use super::bounds::{MAX_META, MAX_TAGS, MAX_TEXT_BYTES};
use super::check::{self, CheckRegistration};
use super::fields::{Fields, json};
use super::{Invalid, meta_fault};

/// A service, as it is registered. What was not said is empty, zero or false.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceRegistration {
    /// Its id; empty for its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it is reached; empty for the node's address.
    pub address: String,
    /// Where it is reached; 0 for nowhere.
    pub port: u16,
    /// What its registrant says about it, as Consul takes it.
    pub meta: Metadata,
    /// Share of traffic.
    pub weights: Option<Weights>,
    /// Whether others may change the tags.
    pub enable_tag_override: bool,
    /// Its other addresses.
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// `connect-proxy`, `mesh-gateway`, …; empty for a plain service.
    pub kind: String,
    /// A Unix socket in place of a port.
    pub socket_path: String,
    /// What a proxy is configured with, as JSON.
    pub proxy: Option<String>,
    /// What the mesh is configured with, as JSON.
    pub connect: Option<String>,
    /// Region and zone, as JSON.
    pub locality: Option<String>,
    /// Its checks: that of `Check`, then those of `Checks`.
    pub checks: Vec<CheckRegistration>,
}

/// Reads the body of `agent/service/register`.
pub fn service(body: &[u8]) -> Result<ServiceRegistration, Invalid> {
    let body = json(body)?;
    let fields = Fields::of("", &body)?;
    let mut service = read(&fields, "Name")?;
    service.checks = check::of_service(&fields)?;
    Ok(service)
}

/// Everything but the checks. The catalog calls the name `Service`.
pub(super) fn read(fields: &Fields<'_>, name: &str) -> Result<ServiceRegistration, Invalid> {
    let service = ServiceRegistration {
        id: fields.name("ID")?,
        name: fields.name(name)?,
        tags: fields.texts("Tags", MAX_TAGS, MAX_TEXT_BYTES)?,
        address: fields.name("Address")?,
        port: fields.number("Port", "a number from 0 to 65535")?,
        meta: meta(fields)?,
        weights: weights(fields)?,
        enable_tag_override: fields.flag("EnableTagOverride")?,
        tagged_addresses: fields.service_addresses("TaggedAddresses")?,
        kind: fields.text("Kind", MAX_TEXT_BYTES)?,
        socket_path: fields.text("SocketPath", MAX_TEXT_BYTES)?,
        proxy: fields.document("Proxy")?,
        connect: fields.document("Connect")?,
        locality: fields.document("Locality")?,
        checks: Vec::new(),
    };
    if service.name.is_empty() {
        return Err(Invalid::ServiceName);
    }
    if matches!(&*service.address, "0.0.0.0" | "::" | "[::]") {
        return Err(Invalid::ServiceAddress);
    }
    Ok(service)
}

fn meta(fields: &Fields<'_>) -> Result<Metadata, Invalid> {
    let meta = fields.pairs("Meta")?;
    if meta.len() > MAX_META {
        return Err(Invalid::MetaCount);
    }
    let fault = meta.iter().find_map(|(key, value)| Some((key, value, meta_fault(key, value)?)));
    if let Some((key, value, why)) = fault {
        let cut = |text: &str| text.chars().take(MAX_TEXT_BYTES).collect();
        return Err(Invalid::MetaPair { key: cut(key), value: cut(value), why });
    }
    Ok(meta)
}

fn weights(fields: &Fields<'_>) -> Result<Option<Weights>, Invalid> {
    let Some(value) = fields.get("Weights") else { return Ok(None) };
    let fields = Fields::of("Weights.", value)?;
    let number = |name| fields.number::<i64>(name, "a number").map(|n| n.clamp(-1, 65_535));
    let passing = u32::try_from(number("Passing")?).unwrap_or(0);
    if passing < 1 {
        return Err(Invalid::Weights("Passing", 0));
    }
    let warning = number("Warning")?;
    let warning = u32::try_from(warning).map_err(|_| Invalid::Weights("Warning", -1))?;
    Ok(Some(Weights { passing, warning }))
}
