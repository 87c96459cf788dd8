//! Bodies of requests: as long as they may be, and within their time.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use super::refusal::Refusal;

/// A body of at most `limit` bytes that arrives within `time`.
pub(super) async fn receive(body: Body, limit: usize, time: Duration) -> Result<Bytes, Refusal> {
    // Cancel-safe: what has arrived of a body that comes too late is of no use.
    tokio::time::timeout(time, collect(body, limit)).await.unwrap_or_else(|_| {
        let says = "the body did not arrive in time (limits.request_secs): try again";
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, says))
    })
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut held = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| Refusal::invalid(format!("Request body: {error}")))?;
        // Trailers are no part of it.
        let Ok(data) = frame.into_data() else { continue };
        if held.len() + data.len() > limit {
            let says = format!("Request body too large, max size: {limit} bytes.");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, says));
        }
        held.extend_from_slice(&data);
    }
    Ok(held.freeze())
}
