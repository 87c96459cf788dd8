//! Lists of services and of their instances.

use axum::Json;
use axum::extract::{Path, State};
use larder_registry::model::Name;

use super::refusal::Refusal;
use super::{Api, Instance, Service, Services};

pub(super) async fn list(State(api): State<Api>) -> Json<Services> {
    Json(Services::from(&api.registry.snapshot()))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(service): Path<String>,
) -> Result<Json<Service>, Refusal> {
    let found = api.registry.service(&Name::new(&service)).await?;
    // Read one by one with its lease as it is now; one that left meanwhile is left out.
    let live = found.instances().filter_map(|held| api.registry.instance(&held.key()));
    Ok(Json(Service {
        revision: found.revision(),
        name: found.name().to_string(),
        instances: live.map(|held| Instance::from(&*held)).collect(),
    }))
}
