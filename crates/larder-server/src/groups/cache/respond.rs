//! A value as an answer: whole, in part, or not at all because the client has it.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use larder_peers::Got;

use super::conditions::{has_it, may_be_part};
use super::etag::ETag;
use super::range::{self, Asked};

/// Of a value that has expired, and is answered because there is no better one: why there is none.
const STALE: HeaderName = HeaderName::from_static("larder-stale");

/// Answers `GET` or `HEAD`; `now` in milliseconds since 1970.
pub(super) fn value(got: &Got<Bytes>, now: u64, method: &Method, asked: &HeaderMap) -> Response {
    let etag = ETag::of(got).to_string();
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(AGE, HeaderValue::from(got.age().as_secs()));
    headers.insert(CACHE_CONTROL, cache_control(got.age(), got.expiry().left(now)));
    if let Some(error) = got.error() {
        headers.insert(STALE, stale(&error.to_string()));
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // What an origin sends is not for a browser to guess about.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_known = has_it(asked, &etag);
    let part = part(method, asked, &etag, got.len());
    headers.insert(ETAG, HeaderValue::try_from(etag).expect("it is made of digits"));
    if is_known {
        headers.remove(CONTENT_TYPE);
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let (status, body) = match part {
        Asked::Whole => (StatusCode::OK, Bytes::clone(got)),
        Asked::Part(part) => {
            let last = part.end - 1;
            let range = format!("bytes {}-{last}/{}", part.start, got.len());
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).expect("it is plain"));
            (StatusCode::PARTIAL_CONTENT, got.slice(part))
        }
        Asked::Unsatisfiable => return unsatisfiable(headers, got.len()),
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let body = if *method == Method::HEAD { Body::empty() } else { Body::from(body) };
    (status, headers, body).into_response()
}

/// The first of it that can stand in a header.
fn stale(error: &str) -> HeaderValue {
    let plain = error.chars().take(200).map(|c| if c.is_ascii_graphic() { c } else { ' ' });
    HeaderValue::try_from(plain.collect::<String>()).expect("it is plain")
}

/// Only a `GET` has parts.
fn part(method: &Method, asked: &HeaderMap, etag: &str, len: usize) -> Asked {
    match asked.get(RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if *method == Method::GET && may_be_part(asked, etag) => {
            range::asked(range, len)
        }
        _ => Asked::Whole,
    }
}

fn unsatisfiable(mut headers: HeaderMap, len: usize) -> Response {
    let range = HeaderValue::try_from(format!("bytes */{len}")).expect("it is plain");
    headers.insert(CONTENT_RANGE, range);
    headers.remove(CONTENT_TYPE);
    (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
}

/// A cache counts what is left from `max-age` less `Age`, so that both are rounded down and added up. A value
/// without an expiry may be set or removed at any time: it is asked about each time.
fn cache_control(age: Duration, left: Duration) -> HeaderValue {
    if left == Duration::MAX {
        return HeaderValue::from_static("no-cache");
    }
    let lifetime = age.as_secs().saturating_add(left.as_secs());
    HeaderValue::try_from(format!("max-age={lifetime}")).expect("it is plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_makes_of_it_is_never_more_than_what_is_left() {
        let (age, left) = (Duration::from_millis(2_900), Duration::from_millis(7_900));
        assert_eq!(cache_control(age, left), "max-age=9", "2 of them are over");
        assert_eq!(cache_control(age, Duration::MAX), "no-cache");
    }
}
