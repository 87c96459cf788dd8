//! Why a client of `/cache/` gets no value, or may not change one: which status, and in which words.

use std::time::Duration;

use axum::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_peers::wire::GROUP_HEADER;
use larder_peers::{CallError, Error, Missed, TellError, WriteError};

use crate::api::Refusal;
use crate::groups::origin::OriginError;

/// The methods of a ring in which there is set and remove, and of one in which there is not.
const ALL: &str = "GET, HEAD, PUT, DELETE";
const READS: &str = "GET, HEAD";

/// How many groups are named to who asks for another one.
const NAMES: usize = 20;

/// A refusal, and a header that belongs to it.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    says: String,
    header: Option<(HeaderName, &'static str)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, says: impl Into<String>) -> Self {
        Self { status, says: says.into(), header: None }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Refusal::new(self.status, self.says).into_response();
        // A cache between may keep a 404 that says nothing, and a PUT elsewhere would not reach it.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) fn escape() -> Refused {
    let says = "the path has a % without two hexadecimal digits behind it";
    Refused::new(StatusCode::BAD_REQUEST, says)
}

pub(super) fn no_key() -> Refused {
    let says = "there is no key in the path: it is /cache/<group>/<key>";
    Refused::new(StatusCode::BAD_REQUEST, says)
}

/// A header tells it from a missing key, for programs.
pub(super) fn no_group<'a>(mut known: impl Iterator<Item = &'a String>) -> Refused {
    let mut names: Vec<_> = known.by_ref().take(NAMES).map(String::as_str).collect();
    names.extend(known.next().map(|_| "others"));
    let says = format!("there is no such group; there are {}", names.join(", "));
    Refused::new(StatusCode::NOT_FOUND, says).with(mark(), "unknown")
}

pub(super) fn method(method: &Method) -> Refused {
    let says = format!("{method} does nothing here; the header Allow says what does");
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, says).with(ALLOW, ALL)
}

/// Why there is no value.
pub(super) fn of_get(group: &str, error: Error<OriginError>) -> Refused {
    use larder_cache::Error as Load;
    let new = |status, why: &dyn std::fmt::Display| {
        Refused::new(status, format!("no value of group {group:?}: {why}"))
    };
    match error {
        Error::NotFound { .. } => {
            let says = format!("there is no such key in group {group:?}");
            Refused::new(StatusCode::NOT_FOUND, says).with(mark(), "known")
        }
        Error::Owner { peer, text } => {
            let why = format!("its owner {peer} could not load it: {}", text.trim_end());
            new(StatusCode::BAD_GATEWAY, &why)
        }
        Error::Load(Load::TimedOut(_)) => {
            let why = format!("{error} (load_timeout_ms)");
            new(StatusCode::GATEWAY_TIMEOUT, &why)
        }
        Error::Impatient(_) => {
            let why = format!("{error} (limits.request_secs); the load goes on, try again");
            new(StatusCode::GATEWAY_TIMEOUT, &why)
        }
        Error::Load(Load::Down | Load::Overloaded(_)) | Error::Overloaded(_) => {
            new(StatusCode::SERVICE_UNAVAILABLE, &error).with(RETRY_AFTER, "1")
        }
        Error::Closed | Error::Load(Load::Closed) => {
            new(StatusCode::SERVICE_UNAVAILABLE, &"this server is stopping")
        }
        Error::Load(error) => new(StatusCode::BAD_GATEWAY, &error),
    }
}

/// Why nobody was told, or not everybody.
pub(super) fn of_write(error: WriteError, retry: Duration) -> Refused {
    match error {
        WriteError::NotInThisMode(_) => {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, error.to_string()).with(ALLOW, READS)
        }
        WriteError::EmptyKey => {
            Refused::new(StatusCode::BAD_REQUEST, "the empty key can be loaded, and not set")
        }
        WriteError::TooLarge => too_large(
            "the value does not fit into the group (max_bytes), or into what \
             peers send each other (groups.max_value_bytes)",
        ),
        WriteError::Owner(missed) => {
            let status = status(std::slice::from_ref(&missed));
            let says = format!("the owner {missed}. If only its answer was lost, it has the value");
            Refused::new(status, says)
        }
        WriteError::Missed(missed) => {
            let names: Vec<_> = missed.iter().map(ToString::to_string).collect();
            let then = if retry.is_zero() {
                "they are not told again (groups.retry_secs is 0)".to_owned()
            } else {
                format!("they are told again in the background, for {}s", retry.as_secs())
            };
            let says = format!(
                "removed, but these have not heard of it yet: {}; {then}",
                names.join("; ")
            );
            Refused::new(status(&missed), says)
        }
        WriteError::Closed => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "this server is stopping")
        }
    }
}

pub(super) fn too_large(says: &str) -> Refused {
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, says)
}

/// Too late if that is all that is wrong.
fn status(missed: &[Missed]) -> StatusCode {
    let is_late = |missed: &Missed| matches!(missed.error, TellError::Call(CallError::TimedOut(_)));
    if missed.iter().all(is_late) { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
}

fn mark() -> HeaderName {
    HeaderName::from_static(GROUP_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_an_unknown_group_is_told_of_some() {
        let names: Vec<_> = (10..40).map(|number| number.to_string()).collect();
        assert!(no_group(names[..20].iter()).says.ends_with(" 28, 29"));
        assert!(no_group(names.iter()).says.ends_with(" 28, 29, others"));
    }
}
