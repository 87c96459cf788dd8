//! What may be registered: strict, because whoever reads it later cannot ask back.

mod check;

use std::collections::BTreeMap;
use std::net::IpAddr;

use larder_registry::model::{self, Port, Status};

use super::Registration;
use super::refusal::Refusal;

pub(super) use check::health;

/// The longest name, id, host, version, tag and key of metadata, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The most pairs of metadata, and the most tags.
const MAX_ITEMS: usize = 256;

/// The longest lease: a day. Whoever wants longer wants none.
const MAX_TTL_SECS: u32 = 86_400;

/// The instance that the registration describes, or the first thing that is wrong with it.
pub(super) fn instance(
    service: &str,
    id: &str,
    registration: Registration,
) -> Result<model::Instance, Refusal> {
    check_name("service", service)?;
    check_name("id", id)?;
    check(&registration)?;
    let port = |number| Port { number, enabled: true };
    let mut instance = model::Instance::new(service, id);
    instance.status = status(registration.status.as_deref())?;
    instance.address.host = registration.host;
    instance.address.ip = registration.ip;
    instance.address.port = registration.port.map(port);
    instance.address.secure_port = registration.secure_port.map(port);
    instance.version = registration.version;
    instance.tags = registration.tags;
    instance.metadata = registration.metadata.into_iter().collect();
    instance.lease = registration.ttl_secs.map(lease).transpose()?;
    instance.checks = check::checks(registration.checks)?;
    Ok(instance)
}

fn check(registration: &Registration) -> Result<(), Refusal> {
    let Registration { host, ip, version, tags, metadata, .. } = registration;
    if host.is_none() && ip.is_none() {
        return Err(Refusal::invalid("host or ip is needed: where is it reached?"));
    }
    if let Some(host) = host {
        check_text("host", host)?;
    }
    if let Some(ip) = ip
        && ip.parse::<IpAddr>().is_err()
    {
        let wanted = "ip: expected an address such as 10.0.0.1 or ::1";
        return Err(Refusal::invalid(format!("{wanted}, found {ip:?}; a name is for host")));
    }
    if !version.is_empty() {
        check_text("version", version)?;
    }
    check_count("tags", tags.len())?;
    tags.iter().try_for_each(|tag| check_text("a tag", tag))?;
    check_metadata(metadata)
}

/// Values may be anything, over several lines too; the limit on bodies bounds them.
fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Refusal> {
    check_count("metadata", metadata.len())?;
    metadata.keys().try_for_each(|key| check_text("a key of metadata", key))
}

/// A name stands in paths, where one or two dots mean something else.
fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if matches!(name, "." | "..") {
        return Err(Refusal::invalid(format!("the {what} cannot be {name:?}")));
    }
    check_text(&format!("the {what}"), name)
}

fn check_text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        let wanted = format!("1 to {MAX_TEXT_BYTES} bytes without control characters");
        return Err(Refusal::invalid(format!("{what} must be {wanted}")));
    }
    Ok(())
}

fn check_count(what: &str, count: usize) -> Result<(), Refusal> {
    if count > MAX_ITEMS {
        return Err(Refusal::invalid(format!("{what}: at most {MAX_ITEMS}, found {count}")));
    }
    Ok(())
}

/// An instance cannot take itself out of service: that is an operator's to say.
fn status(name: Option<&str>) -> Result<Status, Refusal> {
    let Some(name) = name else { return Ok(Status::Up) };
    let known = [Status::Up, Status::Down, Status::Starting];
    known.into_iter().find(|status| status.as_str() == name).ok_or_else(|| {
        Refusal::invalid(format!("status: expected UP, DOWN or STARTING, found {name:?}"))
    })
}

fn lease(ttl_secs: u32) -> Result<model::Lease, Refusal> {
    if !(1..=MAX_TTL_SECS).contains(&ttl_secs) {
        let says = format!("ttl_secs: expected 1 to {MAX_TTL_SECS}, found {ttl_secs}");
        return Err(Refusal::invalid(says));
    }
    let renewal_interval_secs = (ttl_secs / 3).max(1);
    Ok(model::Lease { duration_secs: ttl_secs, renewal_interval_secs, ..model::Lease::default() })
}
