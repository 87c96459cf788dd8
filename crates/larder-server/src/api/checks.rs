//! Hears what a registrant says about a check of its instance.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use larder_registry::model::{CheckKey, Key};
use larder_registry::{Report, Reporter};

use super::refusal::Refusal;
use super::{Api, CheckReport, validation};

pub(super) async fn report(
    State(api): State<Api>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let Path((service, id, check)) = path?;
    let CheckReport { status, output } = serde_json::from_slice(&body?)
        .map_err(|error| Refusal::invalid(format!("cannot read the report: {error}")))?;
    let health = validation::health(&status).map_err(Refusal::invalid)?;
    let key = CheckKey::new(Key::new(&service, &id), &check);
    let report = Report { from: Reporter::Registrant, health, output };
    api.registry.report(&key, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
