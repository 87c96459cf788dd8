//! What stands around every request: limits on its body and its time, and a net under panics.

use std::any::Any;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use larder_consul::server::is_consuls;
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::Refusal;
use crate::config::Limits;
use crate::groups;

/// Puts the limits around every route of `router`, its fallback included.
pub(crate) fn around(router: Router, limits: &Limits) -> Router {
    let allowed = limits.request;
    router
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(move |request, next| in_time(allowed, request, next)))
}

/// Only until the answer begins: a watch may go on for ever. Consul's API keeps its own time: there, whoever
/// asks says how long to wait; and so do groups.
async fn in_time(allowed: Duration, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_consuls(path) || groups::keeps_own_time(request.method(), path) {
        return next.run(request).await;
    }
    if let Ok(response) = tokio::time::timeout(allowed, next.run(request)).await {
        return response;
    }
    let within = format!("within {}s (limits.request_secs)", allowed.as_secs_f32());
    let says = format!("the request was not received and answered {within}: try again");
    Refusal::new(StatusCode::REQUEST_TIMEOUT, says).into_response()
}

/// The panic's own words are for the log: they may tell more than a client should know.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("without a text"), "a request was given up");
    let says = "the server failed on this request; its log says more";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, says).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::config::Config;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("it always answers");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("it is short");
        (status, String::from_utf8(body.to_vec()).expect("it is UTF-8"))
    }

    fn guarded() -> Router {
        async fn panics() {
            panic!("a secret of the server");
        }
        let router = Router::new()
            .route("/panics", get(panics))
            .route("/hangs", get(std::future::pending::<()>))
            .route("/works", get(async || "well"));
        around(router, &Config::default().limits)
    }

    #[tokio::test]
    async fn a_panic_is_500_without_its_text_and_the_next_request_is_served() {
        let router = guarded();
        let (status, body) = ask(&router, "/panics").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body, r#"{"error":"the server failed on this request; its log says more"}"#);
        assert_eq!(ask(&router, "/works").await, (StatusCode::OK, "well".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_408_and_says_how_long_it_may() {
        let (status, body) = ask(&guarded(), "/hangs").await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert!(body.contains("within 30s (limits.request_secs)"), "{body}");
    }
}
