//! Headers that go from one connection to another, and those that do not.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// The index of an answer.
pub(crate) const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
/// How many milliseconds ago the server that answered had heard of its leader.
pub(crate) const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
/// Who asks.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// What belongs to one connection, and is not passed on. `Expect` is met by whoever reads the body first.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What an agent says of one answer at one time: whoever answers from a copy says it anew.
const SAID_ANEW: [HeaderName; 7] = [
    INDEX,
    LAST_CONTACT,
    HeaderName::from_static("x-cache"),
    http::header::AGE,
    http::header::DATE,
    http::header::VARY,
    CONTENT_LENGTH,
];

/// Leaves what may be passed on.
pub(crate) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers
}

/// Leaves what can be said again with a copy.
pub(crate) fn lasting(headers: HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(headers);
    for name in &SAID_ANEW {
        headers.remove(name);
    }
    headers
}

/// The index of an answer; 0 if it has none.
pub(crate) fn index(headers: &HeaderMap) -> u64 {
    number(headers, &INDEX).unwrap_or(0)
}

/// How far behind its leader the server was that answered.
pub(crate) fn last_contact(headers: &HeaderMap) -> Duration {
    Duration::from_millis(number(headers, &LAST_CONTACT).unwrap_or(0))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_belongs_to_a_connection_is_not_passed_on_named_or_not() {
        let passed = end_to_end(headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("x-consul-token", "t"),
        ]));
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-consul-token"]);
    }

    #[test]
    fn what_is_said_anew_is_not_kept_with_a_copy() {
        let kept = lasting(headers(&[
            ("x-consul-index", "7"),
            ("x-consul-lastcontact", "3"),
            ("x-consul-knownleader", "true"),
            ("x-cache", "HIT"),
            ("age", "9"),
            ("content-type", "application/json"),
        ]));
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-consul-knownleader"]);
    }

    #[test]
    fn an_index_that_is_none_is_zero() {
        for (said, index) in [("7", 7), ("-1", 0), ("seven", 0), (" 12 ", 12)] {
            let value = http::HeaderValue::from_static(said);
            assert_eq!(super::index(&HeaderMap::from_iter([(INDEX, value)])), index, "{said}");
        }
        assert_eq!(super::index(&HeaderMap::new()), 0);
    }
}
