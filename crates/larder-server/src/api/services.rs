//! Lists of services and of their instances.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use larder_registry::model::{self, Name};

use super::refusal::Refusal;
use super::{Api, Instance, Service, Services};

pub(super) async fn list(State(api): State<Api>) -> Json<Services> {
    Json(Services::from(&api.registry.snapshot()))
}

pub(super) async fn show(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Service>, Refusal> {
    let Path(service) = path?;
    let found = api.registry.service(&Name::new(&service)).await?;
    // Read one by one with its lease as it is now; one that left meanwhile is left out.
    let live = found.instances().filter_map(|held| api.registry.instance(&held.key()));
    Ok(Json(Service {
        revision: found.revision(),
        name: found.name().to_string(),
        instances: live.map(|held| as_of(api.clock.wall(), &held)).collect(),
    }))
}

/// The instance, with the age of its last renewal at `wall`, in milliseconds since 1970.
fn as_of(wall: u64, held: &model::Instance) -> Instance {
    let mut instance = Instance::from(held);
    if let Some(lease) = &mut instance.lease {
        lease.renewed_secs_ago = Some(wall.saturating_sub(lease.renewed_at) / 1_000);
    }
    instance
}
