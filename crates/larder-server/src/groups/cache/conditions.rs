//! What a client has already, and what it makes of that.
//!
//! Pure. RFC 9110, section 13.

use axum::http::HeaderMap;
use axum::http::header::{IF_NONE_MATCH, IF_RANGE};

/// Whether the client says that it has this value: `If-None-Match` names it. Compared weakly, as a cache on the
/// way may have weakened it.
pub(super) fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether a part may be sent: there is no `If-Range`, or it names this value. A date names none.
pub(super) fn may_be_part(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_client_may_have_one_of_several() {
        for values in [&["\"a\""][..], &["*"], &["W/\"a\""], &["\"x\", \"a\""], &["\"x\"", "\"a\""]]
        {
            assert!(has_it(&with(&IF_NONE_MATCH, values), "\"a\""), "{values:?}");
        }
        for values in [&[][..], &["\"b\""], &["a"], &[""], &["\"a"]] {
            assert!(!has_it(&with(&IF_NONE_MATCH, values), "\"a\""), "{values:?}");
        }
    }

    #[test]
    fn a_part_is_sent_to_who_has_the_rest_of_the_same_value() {
        assert!(may_be_part(&HeaderMap::new(), "\"a\""));
        assert!(may_be_part(&with(&IF_RANGE, &["\"a\""]), "\"a\""));
        for other in ["\"b\"", "W/\"a\"", "Sat, 21 Nov 2026 20:00:00 GMT"] {
            assert!(!may_be_part(&with(&IF_RANGE, &[other]), "\"a\""), "{other}");
        }
    }
}
