//! `?cached`: here, the cache is always as fresh as the registry.

use axum::body::Body;
use axum::http::Request;

use super::support::{Stand, Told, all};

async fn with(stand: &Stand, path: &str, cache_control: &str) -> Told {
    let request = Request::get(path).header("Cache-Control", cache_control).body(Body::empty());
    stand.send(request.expect("a request")).await
}

#[tokio::test]
async fn a_cached_read_says_whether_the_cache_had_it_and_how_old_it_is() {
    let stand = Stand::new();
    for path in [
        "/v1/catalog/services?cached",
        "/v1/catalog/service/web?cached",
        "/v1/catalog/nodes?cached",
        "/v1/catalog/datacenters?cached",
        "/v1/health/service/web?cached",
        "/v1/health/state/any?cached",
        "/v1/health/node/golden?cached",
    ] {
        let first = stand.get(path).await;
        assert_eq!((first.header("X-Cache"), first.header("Age")), (Some("MISS"), None), "{path}");
        let second = stand.get(path).await;
        assert_eq!(
            (second.header("X-Cache"), second.header("Age")),
            (Some("HIT"), Some("0")),
            "{path}"
        );
        assert_eq!(first.body, second.body);
    }
    let key = stand.get("/v1/kv/a?cached").await;
    assert_eq!(
        (key.status, key.header("X-Cache"), key.header("Age")),
        (404, Some("HIT"), Some("0"))
    );
}

#[tokio::test]
async fn whoever_does_not_ask_for_the_cache_hears_nothing_of_it() {
    let stand = Stand::new();
    for _ in 0..2 {
        let told = stand.get("/v1/health/service/web").await;
        assert_eq!((told.header("X-Cache"), told.header("Age")), (None, None));
    }
}

#[tokio::test]
async fn a_cached_read_sees_every_write_that_was_answered_before_it() {
    let stand = Stand::new();
    for number in 0..20 {
        stand.register(&format!(r#"{{"Name":"web","ID":"web-{number}"}}"#)).await;
        for query in ["cached", "stale", "", "cached&near=_agent", "cached&passing"] {
            let told = stand.json(&format!("/v1/health/service/web?{query}")).await;
            assert_eq!(told.as_array().map(Vec::len), Some(number + 1), "{query}");
        }
    }
}

#[tokio::test]
async fn cache_control_is_read_with_and_without_commas_and_bad_numbers_are_refused() {
    let stand = Stand::new();
    for good in [
        "max-age=30, stale-if-error=346",
        "max-age=30 stale-if-error=259200",
        "must-revalidate",
        "MAX-AGE=0",
        "no-transform, max-age=1",
    ] {
        let told = with(&stand, "/v1/health/service/web?cached", good).await;
        assert_eq!(told.status, 200, "{good}");
        assert!(told.header("X-Cache").is_some());
    }
    for bad in ["max-age=x", "max-age=-1", "stale-if-error=1.5", "max-age=\"3\""] {
        let told = with(&stand, "/v1/health/service/web?cached", bad).await;
        assert_eq!((told.status, told.text()), (400, "Invalid Cache-Control header."), "{bad}");
    }
}

#[tokio::test]
async fn near_is_heeded_for_each_request_also_from_the_cache() {
    let stand = Stand::new();
    for (node, id) in [("east", "e"), ("west", "w")] {
        let body = format!(
            r#"{{"Node":"{node}","Address":"10.0.0.1","Service":{{"Service":"web","ID":"{id}"}}}}"#
        );
        stand.put("/v1/catalog/register", body).await;
    }
    for _ in 0..2 {
        for (near, expected) in [("east", ["east", "west"]), ("west", ["west", "east"])] {
            let told = stand.json(&format!("/v1/health/service/web?cached&near={near}")).await;
            assert_eq!(all(&told, "/Node/Node"), expected);
        }
    }
}

#[tokio::test]
async fn a_token_changes_nothing_and_costs_no_copy_of_its_own() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    let anonymous = stand.get("/v1/health/service/web?cached").await;
    let named = stand.get("/v1/health/service/web?cached&token=secret").await;
    assert_eq!(anonymous.body, named.body);
    assert_eq!(named.header("X-Cache"), Some("HIT"));
}
