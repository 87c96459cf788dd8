//! Which paths are Consul's, which of them are known, and for which methods.

use axum::http::{Method, StatusCode};

use super::refusal::Refusal;
use crate::question::Endpoint;

/// Whether this path is answered by Consul's API: everything below `/v1/`, but for the three that Eureka's
/// servers have there.
pub fn is_consuls(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v1/") else { return path == "/v1" };
    match rest.split_once('/') {
        Some(("apps" | "vips" | "svips" | "instances" | "peerreplication", _)) => false,
        Some(_) => true,
        // `/v1/status` is Eureka's page, `/v1/status/leader` is Consul's.
        None => !matches!(rest, "apps" | "vips" | "svips" | "instances" | "status"),
    }
}

/// There is one server, and it has no gossip.
const CLUSTER: &str = "What agents do to their cluster";

/// What Consul has there, and Larder has not.
const ELSEWHERE: [(&str, &str); 24] = [
    ("agent/connect", "Certificates of the service mesh"),
    ("agent/force-leave", CLUSTER),
    ("agent/host", CLUSTER),
    ("agent/join", CLUSTER),
    ("agent/leave", CLUSTER),
    ("agent/metrics", "Consul's own metrics (Larder's are at /metrics)"),
    ("agent/monitor", CLUSTER),
    ("agent/reload", CLUSTER),
    ("agent/token", "ACLs"),
    ("coordinate/update", "Coordinates of nodes"),
    ("session", "Sessions and locks"),
    ("txn", "Transactions"),
    ("query", "Prepared queries"),
    ("acl", "ACLs"),
    ("config", "Config entries"),
    ("connect", "Intentions and certificates of the service mesh"),
    ("discovery-chain", "Discovery chains"),
    ("exported-services", "Exported services"),
    ("federation-state", "Federation states"),
    ("internal", "Consul's own pages"),
    ("operator", "What operators do to Consul's servers"),
    ("peering", "Peerings"),
    ("peerings", "Peerings"),
    ("snapshot", "Snapshots"),
];

/// As Consul's agent says it, of a path that ends where a name should begin.
pub(super) fn missing(what: &str) -> Refusal {
    Refusal::invalid(format!("Missing {what}"))
}

/// As Consul's agent says it.
pub(super) fn unknown() -> Refusal {
    Refusal::not_found("Invalid URL path: not a recognized HTTP API endpoint")
}

/// Why a path is not served.
pub(super) fn refuse(path: &str) -> Refusal {
    let rest = path.strip_prefix("/v1/").unwrap_or_default();
    if rest == "health/state/" {
        return missing("check state");
    }
    let begins = |known: &str| {
        rest.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = ELSEWHERE.into_iter().find(|(known, _)| begins(known));
    found.map_or_else(unknown, |(_, what)| Refusal::unsupported(what))
}

/// What may be done with a path of Consul's, below `/v1/`, and the read that it stands for; none if it is not
/// served here.
pub(super) fn methods(path: &str, endpoint: Option<&Endpoint>) -> Option<Methods> {
    match endpoint {
        Some(Endpoint::Kv(_)) => return Some(Methods::Key),
        Some(_) => return Some(Methods::Get),
        None => {}
    }
    let rest = path.strip_prefix("/v1/")?;
    let (family, tail) = rest.split_once('/').unwrap_or((rest, ""));
    match (family, tail) {
        ("catalog", "register" | "deregister") => Some(Methods::Put),
        ("status", "leader" | "peers")
        | ("event", "list")
        | ("coordinate", "datacenters" | "nodes") => Some(Methods::Get),
        ("coordinate", tail) if tail.starts_with("node/") => Some(Methods::Get),
        ("event", tail) if tail.starts_with("fire/") => Some(Methods::Put),
        ("agent", tail) => of_agent(tail),
        _ => None,
    }
}

/// What below `agent/` is followed by an id or a name.
const NAMED: [&str; 11] = [
    "health/service/id",
    "health/service/name",
    "service/deregister",
    "service/maintenance",
    "check/deregister",
    "check/update",
    "check/pass",
    "check/warn",
    "check/fail",
    // The shorter ones last: what they begin like is none of theirs.
    "service",
    "check",
];

/// What a path below `agent/` is about, and the id or name that it is about. As with Consul, that is all that
/// follows: its clients do not encode the slashes of an id.
pub(super) fn of_what(tail: &str) -> (&str, &str) {
    let named =
        |family: &'static str| Some((family, tail.strip_prefix(family)?.strip_prefix('/')?));
    NAMED.into_iter().find_map(named).unwrap_or(("", tail))
}

fn of_agent(tail: &str) -> Option<Methods> {
    match of_what(tail) {
        ("service" | "check", "register")
        | ("", "maintenance")
        | (
            "service/deregister"
            | "service/maintenance"
            | "check/deregister"
            | "check/update"
            | "check/pass"
            | "check/warn"
            | "check/fail",
            _,
        ) => Some(Methods::Put),
        ("", "self" | "members" | "services" | "checks" | "version")
        | ("service" | "health/service/id" | "health/service/name", _) => Some(Methods::Get),
        _ => None,
    }
}

/// What may be done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Methods {
    Get,
    Put,
    /// With a key of the store.
    Key,
}

impl Methods {
    /// As the header `Allow` says it.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Get => "OPTIONS,GET",
            Self::Put => "OPTIONS,PUT",
            Self::Key => "OPTIONS,GET,PUT,DELETE",
        }
    }

    pub(super) fn allows(self, method: &Method) -> bool {
        match *method {
            Method::GET | Method::HEAD => self != Self::Put,
            Method::PUT => self != Self::Get,
            Method::DELETE => self == Self::Key,
            _ => false,
        }
    }
}

/// A segment of a path, decoded.
pub(super) fn segment(text: &str) -> Result<String, Refusal> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, "the path is not UTF-8 once it is decoded")
    })?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eureka_keeps_its_own_paths() {
        for path in ["/v1/apps", "/v1/apps/", "/v1/apps/ORDERS/1", "/v1/vips/a", "/v1/status"] {
            assert!(!is_consuls(path), "{path}");
        }
        for path in ["/v1/status/leader", "/v1/kv/apps", "/v1/catalog/services", "/v1/nonsense"] {
            assert!(is_consuls(path), "{path}");
        }
        assert!(!is_consuls("/eureka/apps") && !is_consuls("/larder/v1/watch"));
    }

    #[test]
    fn what_a_path_allows_is_known() {
        for (path, allow) in [
            ("/v1/kv/a/b//c", Some("OPTIONS,GET,PUT,DELETE")),
            ("/v1/agent/self", Some("OPTIONS,GET")),
            ("/v1/agent/service/web", Some("OPTIONS,GET")),
            ("/v1/agent/service/register", Some("OPTIONS,PUT")),
            ("/v1/agent/check/pass/service:web", Some("OPTIONS,PUT")),
            ("/v1/agent/check/pass/disk/dev/sda", Some("OPTIONS,PUT")),
            ("/v1/agent/service/deregister/a/b", Some("OPTIONS,PUT")),
            ("/v1/agent/service/a/b", Some("OPTIONS,GET")),
            ("/v1/agent/check/none", None),
            ("/v1/agent/self/x", None),
            ("/v1/health/state/passing", Some("OPTIONS,GET")),
            ("/v1/health/state/sick", None),
            ("/v1/catalog/register", Some("OPTIONS,PUT")),
            ("/v1/session/list", None),
        ] {
            let methods = methods(path, Endpoint::from_path(path).as_ref());
            assert_eq!(methods.map(Methods::allow), allow, "{path}");
        }
        let get = methods("/v1/agent/self", None).expect("it is there");
        assert!(get.allows(&Method::HEAD) && !get.allows(&Method::PUT));
        assert!(!get.allows(&Method::POST));
    }

    #[test]
    fn what_consul_has_and_larder_has_not_is_501_and_says_what_to_do() {
        for path in ["/v1/session/create", "/v1/txn", "/v1/query", "/v1/agent/join/10.0.0.1"] {
            let refusal = refuse(path);
            assert_eq!(refusal.status(), StatusCode::NOT_IMPLEMENTED, "{path}");
            assert!(refusal.says().contains("--upstream consul+http://"), "{}", refusal.says());
        }
        assert_eq!(refuse("/v1/sessions").status(), StatusCode::NOT_FOUND);
    }
}
