//! Which format a client reads and writes, by its headers.
//!
//! Pure. Eureka's rules, which its clients grew up with, rather than HTTP's.

use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};

use crate::response_cache::Encoding;
use crate::wire::{ApiVersion, Form, Format};

/// What Java's client asks with for lists with less in them.
const EUREKA_ACCEPT: HeaderName = HeaderName::from_static("x-eureka-accept");

/// The form of a list: JSON if and only if `Accept` mentions it, else XML; compact if and only if
/// `X-Eureka-Accept` says just that. Netflix's client of 2025 says `[compact]`, by a mistake of its own, and
/// gets the full form from Netflix's server.
pub(super) fn form(headers: &HeaderMap, version: ApiVersion) -> Form {
    let is_json = joined(headers, &ACCEPT).contains("json");
    let is_compact = matches!(joined(headers, &EUREKA_ACCEPT).trim(), "compact" | "[compact]");
    match (is_json, is_compact) {
        (true, false) => Form::Json,
        (true, true) => Form::CompactJson,
        (false, false) => Form::Xml(version),
        (false, true) => Form::CompactXml,
    }
}

/// The format of a live answer: the first of the two that `Accept` lists, else XML, as JAX-RS picks
/// it.
pub(super) fn live_format(headers: &HeaderMap) -> Format {
    let accept = joined(headers, &ACCEPT);
    match (accept.find("json"), accept.find("xml")) {
        (Some(json), Some(xml)) if xml < json => Format::Xml,
        (Some(_), _) => Format::Json,
        (None, _) => Format::Xml,
    }
}

/// Whether the client asked for gzip. A client that did not ask never gets it: several cannot read
/// it.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let accepted = joined(headers, &ACCEPT_ENCODING);
    let asked = accepted.split(',').any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = quality.trim().trim_start_matches("q=").parse::<f32>();
        name.trim() == "gzip" && quality != Ok(0.0)
    });
    if asked { Encoding::Gzip } else { Encoding::Identity }
}

/// How the body of a registration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyFormat {
    pub(super) format: Format,
    /// ISO-8859-1, the one other charset that Eureka accepts, in place of UTF-8.
    pub(super) latin1: bool,
}

/// How a registration's body is written, or a sentence on what to send instead. `first` is the first
/// byte of the body that is no white space; it decides where no `Content-Type` was sent.
pub(super) fn body_format(headers: &HeaderMap, first: Option<u8>) -> Result<BodyFormat, String> {
    let content_type = joined(headers, &CONTENT_TYPE);
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((&content_type, ""));
    let format = match media_type.trim() {
        "" if first == Some(b'<') => Format::Xml,
        "" => Format::Json,
        media_type if is_kind_of(media_type, "json") => Format::Json,
        media_type if is_kind_of(media_type, "xml") => Format::Xml,
        other => {
            let wanted = "send Content-Type: application/json or application/xml";
            return Err(format!("Content-Type {other} is not supported: {wanted}"));
        }
    };
    Ok(BodyFormat { format, latin1: is_latin1(parameters)? })
}

/// `application/json`, `text/json`, `application/anything+json`.
fn is_kind_of(media_type: &str, kind: &str) -> bool {
    let subtype = media_type.rsplit_once('/').map_or("", |(_, subtype)| subtype);
    subtype.rsplit('+').next() == Some(kind)
}

fn is_latin1(parameters: &str) -> Result<bool, String> {
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == "charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(false),
        Some("iso-8859-1") => Ok(true),
        Some(other) => Err(format!("charset {other} is not supported: send UTF-8")),
    }
}

/// The header's values in lower case, as one list. What is not ASCII text counts as absent.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().flat_map(|value| value.to_str()).collect();
    values.join(",").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_list_is_json_only_if_the_client_mentions_it() {
        let xml = Form::Xml(ApiVersion::V2);
        for (accept, expected) in [
            ("application/json", Form::Json),
            ("application/xml, application/JSON;q=0.1", Form::Json),
            ("application/xml", xml),
            ("*/*", xml),
        ] {
            assert_eq!(form(&headers(ACCEPT, accept), ApiVersion::V2), expected, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new(), ApiVersion::V1), Form::Xml(ApiVersion::V1));
    }

    #[test]
    fn a_list_is_compact_only_if_the_client_says_just_that() {
        for (accept, expected) in [
            ("compact", Form::CompactJson),
            ("COMPACT", Form::CompactJson),
            ("[compact]", Form::CompactJson),
            ("full", Form::Json),
            ("", Form::Json),
            ("compactest", Form::Json),
        ] {
            let mut headers = headers(EUREKA_ACCEPT, accept);
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            assert_eq!(form(&headers, ApiVersion::V2), expected, "{accept}");
        }
        let compact = headers(EUREKA_ACCEPT, "compact");
        assert_eq!(form(&compact, ApiVersion::V1), Form::CompactXml);
    }

    #[test]
    fn a_live_answer_is_in_the_first_format_that_the_client_lists() {
        for (accept, format) in [
            ("application/json", Format::Json),
            ("application/json, application/xml", Format::Json),
            ("application/xml, application/json", Format::Xml),
            ("*/*", Format::Xml),
        ] {
            assert_eq!(live_format(&headers(ACCEPT, accept)), format, "{accept}");
        }
        assert_eq!(live_format(&HeaderMap::new()), Format::Xml);
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_ask() {
        for (accept, expected) in [
            ("gzip", Encoding::Gzip),
            ("deflate, GZIP;q=0.5", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("x-gzipper", Encoding::Identity),
        ] {
            assert_eq!(encoding(&headers(ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
        assert_eq!(encoding(&HeaderMap::new()), Encoding::Identity);
    }

    #[test]
    fn the_body_is_read_as_its_content_type_says() {
        let json = BodyFormat { format: Format::Json, latin1: false };
        let xml = BodyFormat { format: Format::Xml, latin1: false };
        for (content_type, expected) in [
            ("application/json", json),
            ("application/json;charset=UTF-8", json),
            ("application/vnd.netflix+json", json),
            ("text/xml; charset=\"utf-8\"", xml),
            ("application/xml;charset=ISO-8859-1", BodyFormat { latin1: true, ..xml }),
        ] {
            let got = body_format(&headers(CONTENT_TYPE, content_type), None);
            assert_eq!(got, Ok(expected), "{content_type}");
        }
    }

    #[test]
    fn a_body_without_a_content_type_is_read_as_what_it_looks_like() {
        let format = |first| body_format(&HeaderMap::new(), first).map(|body| body.format);
        assert_eq!(format(Some(b'<')), Ok(Format::Xml));
        assert_eq!(format(Some(b'{')), Ok(Format::Json));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_to_send() {
        for (value, says) in [
            ("application/x-www-form-urlencoded", "application/json"),
            ("text/plain", "application/xml"),
            ("application/jsonp", "application/json"),
            ("application/json; charset=utf-16", "UTF-8"),
        ] {
            let refusal = body_format(&headers(CONTENT_TYPE, value), None).expect_err(value);
            assert!(refusal.contains(says), "{value}: {refusal}");
        }
    }
}
