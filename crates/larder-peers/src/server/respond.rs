//! Responses as Go's servers write them. A body always goes out with its length.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::wire::answer::GroupMark;
use crate::wire::{ASKS_HEADER, GROUP_HEADER, PROTOBUF};

const NO_SNIFFING: HeaderName = HeaderName::from_static("x-content-type-options");

/// A value.
pub(super) fn value(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    response
}

/// That a key is forgotten, and whom this node asks for it.
pub(super) fn forgotten(asks: u64) -> Response<Full<Bytes>> {
    let mut response = done();
    response.headers_mut().insert(ASKS_HEADER, HeaderValue::from(asks));
    response
}

/// That something is done.
pub(super) fn done() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::new()))
}

/// Why something is not done, on one line.
pub(super) fn refusal(status: u16, text: &str, group: Option<GroupMark>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(format!("{text}\n").into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(NO_SNIFFING, HeaderValue::from_static("nosniff"));
    if let Some(mark) = group {
        let mark = match mark {
            GroupMark::Known => "known",
            GroupMark::Unknown => "unknown",
        };
        headers.insert(GROUP_HEADER, HeaderValue::from_static(mark));
    }
    response
}
