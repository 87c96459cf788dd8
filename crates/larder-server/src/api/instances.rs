//! Registers, renews and deregisters an instance.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use larder_registry::model::{self, Key, Port, Status};

use super::refusal::Refusal;
use super::{Api, Instance, Registration};

/// The longest name and id, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The longest lease: a day. Whoever wants longer wants none.
const MAX_TTL_SECS: u32 = 86_400;

pub(super) async fn register(
    State(api): State<Api>,
    Path((service, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Instance>, Refusal> {
    let body = body.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let registration: Registration = serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid(format!("cannot read the registration: {error}")))?;
    let instance = instance(&service, &id, registration)?;
    let held = api.registry.register(instance).await?;
    Ok(Json(Instance::from(&*held)))
}

pub(super) async fn renew(
    State(api): State<Api>,
    Path((service, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    api.registry.renew(&Key::new(&service, &id), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn deregister(
    State(api): State<Api>,
    Path((service, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    api.registry.deregister(&Key::new(&service, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn instance(
    service: &str,
    id: &str,
    registration: Registration,
) -> Result<model::Instance, Refusal> {
    check_name("service", service)?;
    check_name("id", id)?;
    if registration.host.is_none() && registration.ip.is_none() {
        return Err(Refusal::invalid("host or ip is needed: where is it reached?"));
    }
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
    Ok(instance)
}

fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        let wanted = format!("1 to {MAX_NAME_BYTES} bytes without control characters");
        return Err(Refusal::invalid(format!("the {what} must be {wanted}")));
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
