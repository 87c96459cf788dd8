//! What is said with every answer.

use super::support::Stand;

const READS: [&str; 10] = [
    "/v1/catalog/nodes",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/node/golden",
    "/v1/catalog/node-services/golden",
    "/v1/health/service/web",
    "/v1/health/checks/web",
    "/v1/health/node/golden",
    "/v1/health/state/any",
    "/v1/health/connect/web",
];

#[tokio::test]
async fn every_answer_says_when_the_leader_was_heard_of() {
    // Without this header, Go's client reads none of the others.
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    for (method, path) in [
        ("GET", "/v1/catalog/datacenters"),
        ("GET", "/v1/agent/self"),
        ("GET", "/v1/agent/services"),
        ("GET", "/v1/agent/service/web"),
        ("GET", "/v1/agent/service/none"),
        ("GET", "/v1/agent/health/service/id/none"),
        ("PUT", "/v1/agent/service/deregister/none"),
        ("GET", "/v1/kv/none"),
        ("PUT", "/v1/kv/some"),
        ("GET", "/v1/kv/some?raw"),
        ("GET", "/v1/event/list"),
        ("PUT", "/v1/event/fire/it"),
        ("GET", "/v1/status/leader"),
        ("GET", "/v1/coordinate/nodes"),
        ("GET", "/v1/health/service/web?index=x"),
        ("GET", "/v1/health/service/web?filter=%3D%3D"),
        ("GET", "/v1/catalog/nodes?dc=elsewhere"),
        ("GET", "/v1/nonsense"),
        ("PUT", "/v1/session/create"),
        ("POST", "/v1/catalog/nodes"),
        ("OPTIONS", "/v1/catalog/nodes"),
    ]
    .into_iter()
    .chain(READS.map(|path| ("GET", path)))
    {
        let told = stand.ask(method, path, "").await;
        assert_eq!(told.header("X-Consul-LastContact"), Some("0"), "{method} {path}");
        assert_eq!(told.header("X-Consul-KnownLeader"), Some("true"), "{method} {path}");
        assert_eq!(told.header("X-Consul-Default-ACL-Policy"), Some("allow"), "{method} {path}");
        let kind = told.header("Content-Type").unwrap_or("application/json");
        let is_json = told.status == 200 && !path.contains("raw");
        let expected = if is_json { "application/json" } else { "text/plain" };
        assert!(
            told.body.is_empty()
                || kind.starts_with(expected)
                || path.contains("health/service/id"),
            "{path}: {kind}"
        );
    }
}

#[tokio::test]
async fn every_read_has_an_index_that_is_never_zero() {
    let stand = Stand::new();
    for path in READS {
        for query in ["", "?index=0", "?cached", "?stale"] {
            let told = stand.get(&format!("{path}{query}")).await;
            assert_eq!(told.status, 200, "{path}");
            assert!(told.index() >= 1, "{path}");
            assert_eq!(told.header("X-Consul-Query-Backend"), Some("blocking-query"), "{path}");
        }
    }
    for path in ["/v1/kv/none", "/v1/kv/?keys", "/v1/event/list", "/v1/coordinate/nodes"] {
        assert!(stand.get(path).await.index() >= 1, "{path}");
    }
}

#[tokio::test]
async fn a_read_says_with_which_consistency_it_was_answered() {
    let stand = Stand::new();
    for path in READS {
        for (query, expected) in [
            ("", "leader"),
            ("?leader", "leader"),
            ("?stale", "stale"),
            ("?stale=false", "stale"),
            ("?max_stale=10s", "stale"),
            ("?max_stale=0s", "leader"),
            ("?consistent", "consistent"),
        ] {
            let told = stand.get(&format!("{path}{query}")).await;
            let said = told.header("X-Consul-Effective-Consistency");
            assert_eq!(said, Some(expected), "{path}{query}");
        }
    }
    // Of keys, Consul does not say it.
    let told = stand.get("/v1/kv/a?stale").await;
    assert_eq!(told.header("X-Consul-Effective-Consistency"), None);
}

#[tokio::test]
async fn what_cannot_be_waited_for_has_no_index() {
    let stand = Stand::new();
    for path in ["/v1/catalog/datacenters", "/v1/agent/services", "/v1/status/leader"] {
        assert_eq!(stand.get(path).await.header("X-Consul-Index"), None, "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_is_and_options_with_what_may_be_done() {
    let stand = Stand::new();
    let told = stand.ask("HEAD", "/v1/catalog/services", "").await;
    assert_eq!((told.status, told.index() > 0), (200, true));
    for (path, allow) in [
        ("/v1/catalog/nodes", "OPTIONS,GET"),
        ("/v1/agent/service/register", "OPTIONS,PUT"),
        ("/v1/kv/x", "OPTIONS,GET,PUT,DELETE"),
        ("/v1/agent/check/pass/a/b", "OPTIONS,PUT"),
    ] {
        let told = stand.ask("OPTIONS", path, "").await;
        assert_eq!((told.status, told.header("Allow")), (200, Some(allow)), "{path}");
        assert!(told.body.is_empty());
    }
}

#[tokio::test]
async fn a_get_may_have_a_body() {
    let stand = Stand::new();
    assert_eq!(stand.ask("GET", "/v1/catalog/services", "{").await.text(), "{}");
}
