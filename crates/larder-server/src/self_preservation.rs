//! Why leases that ran out are held on to, for people and scripts, and the word that they are gone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use larder_registry::Registry;
use larder_registry::registrar::self_preservation::Explained;
use serde_json::json;

use crate::api::{self, Refusal};

/// `GET /larder/v1/self-preservation`, `POST /larder/v1/self-preservation/confirm`
pub(crate) fn router(registry: Arc<dyn Registry>) -> Router {
    Router::new()
        .route("/larder/v1/self-preservation", get(show))
        .route("/larder/v1/self-preservation/confirm", post(confirm))
        .method_not_allowed_fallback(api::not_that_method)
        .with_state(registry)
}

async fn show(State(registry): State<Arc<dyn Registry>>) -> Response {
    match registry.self_preservation() {
        Some(explained) => Json(document(&explained)).into_response(),
        None => without().into_response(),
    }
}

async fn confirm(State(registry): State<Arc<dyn Registry>>) -> Response {
    if registry.self_preservation().is_none() {
        return without().into_response();
    }
    let confirmed = registry.confirm_expired();
    tracing::warn!(confirmed, "an operator says that the instances whose leases ran out are gone");
    Json(json!({ "confirmed": confirmed })).into_response()
}

fn document(explained: &Explained) -> serde_json::Value {
    json!({
        "on": explained.since.is_some(),
        "since": explained.since,
        "says": explained.to_string(),
        "leases": explained.leases,
        "overdue": explained.overdue,
        "renewals": explained.renewals,
        "due": explained.due,
        "threshold": explained.threshold,
        "at_least": explained.at_least,
    })
}

fn without() -> Refusal {
    let says = "this server has no self-preservation: it is switched off (registry.self_preservation), or \
                the registry is another one (upstream.url), whose guard is upstream.guard";
    Refusal::new(StatusCode::NOT_FOUND, says)
}
