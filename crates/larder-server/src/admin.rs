//! For operators and orchestrators.
//!
//! | path | answers |
//! | --- | --- |
//! | `GET /healthz` | 200 `ok` while it serves; 503 while it stops |
//! | `GET /metrics` | what is measured, as Prometheus' text |

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry as Metrics;

use crate::api;
use crate::shutdown::Stopping;

#[derive(Debug, Clone)]
struct Admin {
    metrics: Arc<Metrics>,
    stopping: Stopping,
}

pub(crate) fn router(metrics: Metrics, stopping: Stopping) -> Router {
    let admin = Admin { metrics: Arc::new(metrics), stopping };
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(measurements))
        .method_not_allowed_fallback(api::not_that_method)
        .with_state(admin)
}

async fn health(State(admin): State<Admin>) -> Response {
    if admin.stopping.is_now() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    "ok".into_response()
}

async fn measurements(State(admin): State<Admin>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match encode(&mut text, &admin.metrics) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
