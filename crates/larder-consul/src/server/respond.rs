//! The headers that Consul's answers carry.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AGE, ALLOW, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::read::Contact;
use crate::client::headers::{INDEX, LAST_CONTACT};
use crate::terms::Consistency;

pub(crate) const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
pub(crate) const CONSISTENCY: HeaderName =
    HeaderName::from_static("x-consul-effective-consistency");
const QUERY_BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
const DEFAULT_ACL_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
pub(crate) const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
pub(crate) const CACHE: HeaderName = HeaderName::from_static("x-cache");

const TRUE: HeaderValue = HeaderValue::from_static("true");
const FALSE: HeaderValue = HeaderValue::from_static("false");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is said about an answer of the catalog, beside the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    /// As of which change; none for what cannot be waited for.
    pub(super) index: Option<u64>,
    /// When whoever knows was last heard of.
    pub(super) contact: Contact,
    /// Which copy answered; none where Consul does not say it.
    pub(super) consistency: Option<Consistency>,
    /// Whether the agent's cache answered, where it was asked to.
    pub(super) cached: Option<Cached>,
}

/// What the cache had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cached {
    /// The answer, this old.
    Hit(Duration),
    /// Nothing that would do.
    Miss,
}

impl About {
    /// What there is to say of something that does not change with the catalog.
    pub(super) const NOTHING: Self =
        Self { index: None, contact: Contact::Now, consistency: None, cached: None };

    /// Puts it into the headers of an answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if let Some(index) = self.index {
            headers.insert(INDEX, HeaderValue::from(index.max(1)));
        }
        // Without this one, Go's client reads none of the others.
        headers.insert(LAST_CONTACT, HeaderValue::from(self.contact.millis()));
        if let Some(cached) = self.cached {
            cached.tell(headers);
        }
        match self.contact {
            // What else there is to say, the agent has said.
            Contact::Consul(_) => self.tell_consistency(headers),
            Contact::ConsulLost(_) => {
                headers.insert(KNOWN_LEADER, FALSE);
                self.tell_consistency(headers);
            }
            Contact::Now | Contact::Lost(_) => self.tell_as_agent(headers),
        }
    }

    fn tell_consistency(self, headers: &mut HeaderMap) {
        if let Some(consistency) = self.consistency {
            headers.insert(CONSISTENCY, HeaderValue::from_static(consistency_name(consistency)));
        }
    }

    /// What Consul's agents say of every answer of their own.
    fn tell_as_agent(self, headers: &mut HeaderMap) {
        let known = if self.contact == Contact::Now { TRUE } else { FALSE };
        headers.insert(KNOWN_LEADER, known);
        self.tell_consistency(headers);
        headers.insert(QUERY_BACKEND, HeaderValue::from_static("blocking-query"));
        headers.insert(DEFAULT_ACL_POLICY, HeaderValue::from_static("allow"));
    }
}

impl Contact {
    /// How long ago, in whole milliseconds.
    fn millis(self) -> u64 {
        let since = match self {
            Self::Now => return 0,
            Self::Lost(since) | Self::Consul(since) | Self::ConsulLost(since) => since,
        };
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Cached {
    /// Puts it into the headers of an answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let (word, age) = match self {
            Self::Hit(age) => ("HIT", Some(age)),
            Self::Miss => ("MISS", None),
        };
        headers.insert(CACHE, HeaderValue::from_static(word));
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from(rounded_secs(age)));
        }
    }
}

/// As Consul prints an age.
pub(super) fn rounded_secs(age: Duration) -> u64 {
    age.saturating_add(Duration::from_millis(500)).as_secs()
}

fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Leader => "leader",
        Consistency::Stale => "stale",
        Consistency::Consistent => "consistent",
    }
}

/// 200 with JSON.
pub(super) fn json(body: impl Into<Bytes>, about: About) -> Response {
    with_status(StatusCode::OK, body, about)
}

/// JSON with any status.
pub(super) fn with_status(status: StatusCode, body: impl Into<Bytes>, about: About) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(9);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    about.tell(headers);
    response
}

/// The body is text after all.
pub(super) fn be_text(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
}

/// What may be done with a path.
pub(super) fn options(allow: &'static str) -> Response {
    let mut response = done();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 200 without a body, as the agent answers what it was told to do.
pub(super) fn done() -> Response {
    json(Bytes::new(), About::NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_says_when_the_leader_was_heard_of() {
        let headers = json("[]", About::NOTHING).headers().clone();
        assert_eq!(headers[LAST_CONTACT], "0");
        assert_eq!(headers[KNOWN_LEADER], "true");
        assert!(!headers.contains_key(INDEX) && !headers.contains_key(CACHE));
    }

    #[test]
    fn an_index_is_never_zero_and_an_age_is_rounded_and_only_of_a_hit() {
        let about = About { index: Some(0), ..About::NOTHING };
        let hit = About { cached: Some(Cached::Hit(Duration::from_millis(1_500))), ..about };
        let headers = json("[]", hit).headers().clone();
        assert_eq!(
            (&headers[INDEX], &headers[CACHE], &headers[AGE]),
            (
                &HeaderValue::from_static("1"),
                &HeaderValue::from_static("HIT"),
                &HeaderValue::from_static("2"),
            )
        );
        let miss = json("[]", About { cached: Some(Cached::Miss), ..about });
        assert_eq!(miss.headers()[CACHE], "MISS");
        assert!(!miss.headers().contains_key(AGE));
    }

    #[test]
    fn who_is_out_of_reach_knows_no_leader() {
        let about =
            About { contact: Contact::Lost(Duration::from_millis(1_234)), ..About::NOTHING };
        let headers = json("[]", about).headers().clone();
        assert_eq!(
            (&headers[LAST_CONTACT], &headers[KNOWN_LEADER]),
            (&HeaderValue::from_static("1234"), &HeaderValue::from_static("false"),)
        );
    }
}
