//! `PUT` and `DELETE`: setting and removing across the ring.

use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use larder_consul::server::Client;
use larder_peers::{Expiry, HotCopy, Token};
use tokio::time::timeout;

use super::refusals::{self, Refused};
use super::{Groups, Place};
use crate::groups::Rules;

/// What would make a write depend on what is there, or change a part of it.
const CONDITIONS: [axum::http::HeaderName; 5] =
    [CONTENT_ENCODING, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];

/// Sets a value: 204 when its owner has it.
pub(super) async fn put(
    groups: &Groups,
    place: &Place<'_>,
    head: &Parts,
    body: Body,
) -> Result<Response, Refused> {
    may_write(&groups.rules, head)?;
    let ttl = ttl(&head.headers)?;
    let value = read(&groups.rules, body).await?;
    let expiry = ttl.map_or(Expiry::NEVER, |ttl| Expiry::after(groups.clock.wall(), ttl));
    let setting = place.group.set(&place.key, value, expiry, HotCopy::Drop);
    done(groups, setting).await
}

/// Removes a value: 204 when every node has heard of it.
pub(super) async fn delete(
    groups: &Groups,
    place: &Place<'_>,
    head: &Parts,
) -> Result<Response, Refused> {
    may_write(&groups.rules, head)?;
    done(groups, place.group.remove(&place.key)).await
}

async fn done(
    groups: &Groups,
    work: impl Future<Output = Result<(), larder_peers::WriteError>>,
) -> Result<Response, Refused> {
    let Rules { patience, retry, .. } = groups.rules;
    // cancel-safe: it is done by a task of the pool, which goes on.
    match timeout(patience, work).await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Err(error)) => Err(refusals::of_write(error, retry)),
        Err(_) => {
            let within = patience.as_secs();
            let says = format!("not done within {within}s (limits.request_secs); it goes on");
            Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, says))
        }
    }
}

/// This machine may, and whoever has the token.
fn may_write(rules: &Rules, head: &Parts) -> Result<(), Refused> {
    let from = head.extensions.get().map(|Client(ip)| ip.to_canonical());
    let has_token = |token: &Token| shown(&head.headers).is_some_and(|shown| token.is(shown));
    if !from.is_some_and(|from| from.is_loopback())
        && !rules.write_token.as_ref().is_some_and(has_token)
    {
        let says = "only this machine may set and remove here, and who sends the token of \
                    groups.write_token, as Authorization: Bearer TOKEN";
        return Err(Refused::new(StatusCode::FORBIDDEN, says));
    }
    match CONDITIONS.iter().find(|name| head.headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let says = format!(
                "{name} cannot be obeyed: values are set whole, as they are, and under no condition"
            );
            Err(Refused::new(StatusCode::BAD_REQUEST, says))
        }
    }
}

/// The token that a request carries.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// For how long the value is to be kept, if it says so: `Cache-Control: max-age`.
fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Refused> {
    let mut ttl: Option<Duration> = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            let secs = directive.strip_prefix("max-age=").and_then(|secs| secs.parse().ok());
            let Some(secs) = secs.map(Duration::from_secs) else {
                let says = "Cache-Control: only max-age=SECONDS means something here";
                return Err(Refused::new(StatusCode::BAD_REQUEST, says));
            };
            ttl = Some(ttl.map_or(secs, |before| before.min(secs)));
        }
    }
    Ok(ttl)
}

/// The whole body, if it is not longer than it may be; one that says so beforehand is not read.
async fn read(rules: &Rules, body: Body) -> Result<Bytes, Refused> {
    let most = rules.max_body;
    let says = format!(
        "a value may have {most} bytes here: the smaller one of limits.body_bytes and groups.max_value_bytes"
    );
    if body.size_hint().lower() > most as u64 {
        return Err(refusals::too_large(&says));
    }
    match timeout(rules.patience, to_bytes(body, most)).await {
        // With an allocation of its own: what came is a part of what was read from the connection.
        Ok(Ok(value)) => Ok(Bytes::copy_from_slice(&value)),
        Ok(Err(error)) if is_too_long(&error) => Err(refusals::too_large(&says)),
        Ok(Err(error)) => {
            let says = format!("the body broke off: {error}");
            Err(Refused::new(StatusCode::BAD_REQUEST, says))
        }
        Err(_) => {
            let within = rules.patience.as_secs();
            let says = format!("the body was not received within {within}s (limits.request_secs)");
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, says))
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_token_is_shown_as_a_bearers() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(shown(&with(AUTHORIZATION, value)), Some(&b"abc"[..]), "{value}");
        }
        for value in ["", "abc", "Basic abc", "Bearer", "Bearerabc"] {
            assert_eq!(shown(&with(AUTHORIZATION, value)), None, "{value}");
        }
    }

    #[test]
    fn a_value_is_set_for_as_long_as_it_says() {
        let secs = |value| ttl(&with(CACHE_CONTROL, value)).map(|ttl| ttl.map(|ttl| ttl.as_secs()));
        assert_eq!(secs("max-age=60").ok(), Some(Some(60)));
        assert_eq!(secs("max-age=60, max-age=30").ok(), Some(Some(30)));
        assert!(matches!(ttl(&HeaderMap::new()), Ok(None)));
        for value in ["max-age=", "max-age=-1", "max-age=1.5", "no-store", "max-age=60, private"] {
            assert!(secs(value).is_err(), "{value}");
        }
    }
}
