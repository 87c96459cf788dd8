//! Many of Consul's reads, followed over one connection.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;

use axum::extract::{Request, State};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt};
use larder_consul::server::{CannotFollow, Client, News, Notice};

use super::refusal::Refusal;
use super::watch::KEEP_ALIVE;
use super::{Api, watch};
use crate::shutdown::Stopping;

/// `watch?query=…` follows reads of Consul's API, anything else the registry.
pub(super) async fn stream(State(api): State<Api>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|pair| pair.starts_with("query=")) {
        return watch::stream(api, request.uri()).await.into_response();
    }
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let client = request.extensions().get::<Client>().map_or(unknown, |client| client.0);
    match api.consul.follow(Some(query), request.headers(), client) {
        Err(CannotFollow { status, says }) => Refusal::new(status, says).into_response(),
        Ok(notices) => {
            let events = until_stopping(notices, api.stopping).map(|notice| Ok(told(&notice)));
            let events: Pin<Box<dyn Stream<Item = Result<sse::Event, Infallible>> + Send>> =
                Box::pin(events);
            Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
        }
    }
}

fn until_stopping(
    notices: impl Stream<Item = Notice>,
    mut stopping: Stopping,
) -> impl Stream<Item = Notice> {
    notices.take_until(async move { stopping.wait().await })
}

fn told(notice: &Notice) -> sse::Event {
    let id = serde_json::Value::from(&*notice.correlation_id);
    match &notice.news {
        News::Answer { index, status, age, body } => {
            // The body is JSON already; a key that is not there has none.
            let answer = std::str::from_utf8(body).ok().filter(|body| !body.is_empty());
            let answer = answer.unwrap_or("null");
            let age = age.as_secs();
            let data = format!(
                r#"{{"correlation_id":{id},"index":{index},"status":{status},"age_secs":{age},"answer":{answer}}}"#
            );
            sse::Event::default().event("answer").data(data)
        }
        News::Trouble { says } => {
            let data = serde_json::json!({"correlation_id": id, "error": says});
            sse::Event::default().event("trouble").data(data.to_string())
        }
    }
}
