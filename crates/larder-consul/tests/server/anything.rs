//! Whatever is sent, there is one answer, and the server is none the worse for it.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;

use super::support::Stand;

const PATHS: &str = "(agent/(self|members|services|checks|maintenance|service/(register|deregister/[a-z%]{0,4}|\
    maintenance/[a-z]{0,3}|[a-z/%.]{0,6})|check/(register|(pass|warn|fail|update|deregister)/[a-z:/%]{0,6})|\
    health/service/(id|name)/[a-z%]{0,4})|catalog/(nodes|services|datacenters|register|deregister|\
    (service|connect|node|node-services)/[a-z%/]{0,5})|health/((service|checks|node|connect|ingress)/[a-z%]{0,4}|\
    state/(any|passing|critical|[a-z]{0,3}))|kv/[a-z/.%A-F0-9]{0,10}|event/(list|fire/[a-z%]{0,4})|\
    status/(leader|peers)|coordinate/(nodes|node/[a-z]{0,3})|session/[a-z]{0,5}|[a-z/%]{0,12})";

const QUERIES: &str = "((index|wait|stale|consistent|cached|passing|tag|near|node-meta|filter|dc|recurse|keys|\
    raw|separator|cas|flags|acquire|pretty|hash|enable|note|format|name|max_stale|peer|ns|token|[a-z%]{0,4})\
    (=([0-9]{0,21}|[a-z]{0,4}|1ms|%[0-9A-F]{2}|[a-zA-Z ]{0,3}==[a-z]|[!-~&&[^ \"<>`#{}|^\\\\]]{0,8}))?&){0,4}";

const BODIES: &str = r#"(|\{\}|\[\]|null|\{"Name":"[a-z]{0,3}"(,"ID":"[a-z/]{0,3}")?(,"Check":\{"TTL":"[0-9]{0,3}[smh]?"\})?\}|\{"Status":"[a-z]{0,8}"\}|\{"Node":"[a-z]{0,2}","Address":"[a-z]{0,2}","Service":\{"Service":"[a-z]{0,2}"\}\}|\PC{0,30})"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_and_says_why_if_it_is_refused(
        requests in proptest::collection::vec(
            ("(GET|PUT|DELETE|POST|HEAD|OPTIONS)", PATHS, QUERIES, BODIES),
            1..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let stand = Stand::new();
            for (method, path, query, body) in requests {
                let query = query.replace(' ', "%20");
                let uri = format!("/v1/{path}?{query}");
                let Ok(request) = Request::builder().method(&*method).uri(&uri).body(Body::from(body)) else {
                    // No client could send it.
                    continue;
                };
                let told = stand.send(request).await;
                prop_assert!(told.took.as_secs() < 640, "{method} {uri}: {:?}", told.took);
                prop_assert_eq!(told.header("X-Consul-LastContact"), Some("0"), "{} {}", method, uri);
                let is_answer = [200, 400, 404, 405, 413, 429, 500, 501, 503, 409].contains(&told.status);
                prop_assert!(is_answer, "{method} {uri}: {}", told.status);
                let is_key = path.starts_with("kv/") && told.status == 404;
                prop_assert!(told.status < 400 || is_key || !told.body.is_empty(), "{method} {uri}");
                if told.header("Content-Type") == Some("application/json") && !told.body.is_empty() {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&told.body).is_ok(), "{method} {uri}");
                }
            }
            prop_assert_eq!(stand.consul.parked(), 0);
            Ok(())
        })?;
    }
}
