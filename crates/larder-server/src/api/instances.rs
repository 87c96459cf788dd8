//! Registers, renews and deregisters an instance.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use larder_registry::model::Key;

use super::refusal::Refusal;
use super::{Api, Instance, Registration, validation};

/// The service and the id in a path, or why they cannot be read.
type InstancePath = Result<Path<(String, String)>, PathRejection>;

pub(super) async fn register(
    State(api): State<Api>,
    path: InstancePath,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Instance>, Refusal> {
    let Path((service, id)) = path?;
    let registration: Registration = serde_json::from_slice(&body?)
        .map_err(|error| Refusal::invalid(format!("cannot read the registration: {error}")))?;
    let instance = validation::instance(&service, &id, registration)?;
    let held = api.registry.register(instance).await?;
    Ok(Json(Instance::from(&*held)))
}

pub(super) async fn renew(
    State(api): State<Api>,
    path: InstancePath,
) -> Result<StatusCode, Refusal> {
    let Path((service, id)) = path?;
    api.registry.renew(&Key::new(&service, &id), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn deregister(
    State(api): State<Api>,
    path: InstancePath,
) -> Result<StatusCode, Refusal> {
    let Path((service, id)) = path?;
    api.registry.deregister(&Key::new(&service, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
