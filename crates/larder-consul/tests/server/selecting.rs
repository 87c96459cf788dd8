//! Parameters that choose among what there is.

use serde_json::json;

use super::support::{Stand, all};

/// Three instances: two here, of which one passes, and one at a node outside.
async fn furnished() -> Stand {
    let stand = Stand::new();
    stand
        .register(
            r#"{"Name":"web","ID":"a","Tags":["x","y"],"Port":80,"Meta":{"zone":"one"},
                "Check":{"TTL":"1h","Status":"passing"}}"#,
        )
        .await;
    stand.register(r#"{"Name":"web","ID":"b","Tags":["y"],"Port":81,"Check":{"TTL":"1h"}}"#).await;
    let outside = r#"{"Node":"ext","Address":"10.0.0.9","NodeMeta":{"rack":"r1","empty":""},
        "Service":{"Service":"web","ID":"c","Tags":["x"],"Port":82},
        "Check":{"Name":"c","Status":"passing","ServiceID":"c"}}"#;
    stand.put("/v1/catalog/register", outside).await;
    stand
}

async fn health(stand: &Stand, query: &str) -> Vec<String> {
    all(&stand.json(&format!("/v1/health/service/web?{query}")).await, "/Service/ID")
}

#[tokio::test]
async fn every_tag_must_be_there() {
    let stand = furnished().await;
    for (query, expected) in [
        ("tag=x", vec!["a", "c"]),
        ("tag=y", vec!["a", "b"]),
        ("tag=x&tag=y", vec!["a"]),
        ("tag=X", vec!["a", "c"]),
        ("tag=x&tag=none", vec![]),
    ] {
        assert_eq!(health(&stand, query).await, expected, "{query}");
        let listed = stand.json(&format!("/v1/catalog/service/web?{query}")).await;
        assert_eq!(all(&listed, "/ServiceID"), expected, "{query}");
    }
}

#[tokio::test]
async fn passing_is_any_of_gos_words_for_true() {
    let stand = furnished().await;
    for query in ["passing", "passing=", "passing=1", "passing=t", "passing=true", "passing=TRUE"] {
        assert_eq!(health(&stand, query).await, ["a", "c"], "{query}");
    }
    for query in ["passing=0", "passing=false", "passing=F", ""] {
        assert_eq!(health(&stand, query).await, ["a", "b", "c"], "{query}");
    }
    let told = stand.get("/v1/health/service/web?passing=x").await;
    assert_eq!((told.status, told.text()), (400, "Invalid value for ?passing"));
}

#[tokio::test]
async fn nodes_must_have_every_pair_of_metadata() {
    let stand = furnished().await;
    for (query, expected) in [
        ("node-meta=rack:r1", vec!["c"]),
        ("node-meta=rack%3Ar1&node-meta=empty", vec!["c"]),
        ("node-meta=rack:r2", vec![]),
        ("node-meta=rack:r1&node-meta=none:x", vec![]),
    ] {
        assert_eq!(health(&stand, query).await, expected, "{query}");
        let nodes = stand.json(&format!("/v1/catalog/nodes?{query}")).await;
        assert_eq!(nodes.as_array().map(Vec::len), Some(expected.len()), "{query}");
        let services = stand.json(&format!("/v1/catalog/services?{query}")).await;
        assert_eq!(services.get("web").is_some(), !expected.is_empty(), "{query}");
    }
}

#[tokio::test]
async fn who_is_near_comes_first() {
    let stand = furnished().await;
    for (near, expected) in
        [("ext", ["c", "a", "b"]), ("_agent", ["a", "b", "c"]), ("golden", ["a", "b", "c"])]
    {
        assert_eq!(health(&stand, &format!("near={near}")).await, expected);
    }
    assert_eq!(health(&stand, "near=nobody").await.len(), 3);
}

#[tokio::test]
async fn filters_choose_on_every_endpoint_that_lists() {
    let stand = furnished().await;
    for (path, filter, pointer, expected) in [
        ("/v1/health/service/web", "Service.ID == \"a\"", "/Service/ID", vec!["a"]),
        ("/v1/health/service/web", "Service.Port == 81", "/Service/ID", vec!["b"]),
        ("/v1/health/service/web", "\"y\" in Service.Tags", "/Service/ID", vec!["a", "b"]),
        ("/v1/health/service/web", "Service.Meta.zone == one", "/Service/ID", vec!["a"]),
        ("/v1/health/service/web", "Node.Node != golden", "/Service/ID", vec!["c"]),
        ("/v1/health/service/web", "not Service.Tags is empty", "/Service/ID", vec!["a", "b", "c"]),
        ("/v1/catalog/service/web", "ServiceID matches \"[ab]\"", "/ServiceID", vec!["a", "b"]),
        ("/v1/catalog/nodes", "Node == ext", "/Node", vec!["ext"]),
        ("/v1/catalog/nodes", "Meta.rack == r1", "/Node", vec!["ext"]),
        ("/v1/health/checks/web", "Status == critical", "/ServiceID", vec!["b"]),
        (
            "/v1/health/state/any",
            "ServiceName == web and Status != passing",
            "/ServiceID",
            vec!["b"],
        ),
        ("/v1/health/node/golden", "CheckID == serfHealth", "/CheckID", vec!["serfHealth"]),
    ] {
        let query = filter.replace(' ', "%20").replace('"', "%22").replace('=', "%3D");
        let told = stand.json(&format!("{path}?filter={query}")).await;
        assert_eq!(all(&told, pointer), expected, "{path} {filter}");
        let refused = stand.get(&format!("{path}?filter=Nope%20%3D%3D%20x")).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.text().contains("Nope"), "{}", refused.text());
    }
}

#[tokio::test]
async fn filters_choose_on_maps_too() {
    let stand = furnished().await;
    let services =
        stand.json("/v1/catalog/services?filter=ServiceName%20matches%20%22w.*%22").await;
    assert!(services.get("web").is_some());
    let none = stand.json("/v1/catalog/services?filter=ServiceName%20%3D%3D%20none").await;
    assert_eq!(none, json!({}));
    let agent = stand.json("/v1/agent/services?filter=Port%20%3D%3D%2080").await;
    assert_eq!(
        agent.as_object().map(|services| services.keys().collect::<Vec<_>>()),
        Some(vec![&"a".to_owned()])
    );
    let checks = stand.json("/v1/agent/checks?filter=Status%20%3D%3D%20critical").await;
    assert_eq!(checks.as_object().map(serde_json::Map::len), Some(1));
    let golden = stand.json("/v1/catalog/node/golden?filter=ID%20%3D%3D%20b").await;
    assert!(golden["Services"].get("b").is_some() && golden["Services"].get("a").is_none());
    let list = stand.json("/v1/catalog/node-services/golden?filter=ID%20%3D%3D%20b").await;
    assert_eq!(all(&list["Services"], "/ID"), ["b"]);
    for path in [
        "/v1/agent/services",
        "/v1/agent/checks",
        "/v1/catalog/services",
        "/v1/catalog/node/golden",
    ] {
        let refused = stand.get(&format!("{path}?filter=%3D%3D")).await;
        assert_eq!(refused.status, 400, "{path}");
    }
}

#[tokio::test]
async fn another_datacenter_cannot_be_reached_and_the_last_word_on_it_is_datacenter() {
    let stand = furnished().await;
    for path in ["/v1/health/service/web", "/v1/catalog/nodes", "/v1/catalog/services"] {
        for query in ["dc=dc1", "dc=DC1", "datacenter=dc1", "dc=elsewhere&datacenter=dc1", "dc="] {
            assert_eq!(stand.get(&format!("{path}?{query}")).await.status, 200, "{path}?{query}");
        }
        for query in ["dc=elsewhere", "datacenter=elsewhere&dc=dc1", "dc=elsewhere&cached"] {
            let told = stand.get(&format!("{path}?{query}")).await;
            assert_eq!((told.status, told.text()), (500, "No path to datacenter"), "{query}");
        }
    }
    assert_eq!(stand.json("/v1/catalog/datacenters").await, json!(["dc1"]));
}

#[tokio::test]
async fn no_other_cluster_exports_anything_to_this_one() {
    let stand = furnished().await;
    for path in ["/v1/health/service/web", "/v1/catalog/service/web", "/v1/health/checks/web"] {
        assert_eq!(stand.json(&format!("{path}?peer=other")).await, json!([]), "{path}");
        assert_ne!(stand.json(&format!("{path}?peer=")).await, json!([]), "{path}");
    }
}

#[tokio::test]
async fn pretty_is_four_spaces_and_a_line_end() {
    let stand = furnished().await;
    stand.put("/v1/kv/a", "1").await;
    let told = stand.get("/v1/catalog/services?pretty").await;
    assert_eq!(told.text(), "{\n    \"web\": [\n        \"x\",\n        \"y\"\n    ]\n}\n");
    for path in ["/v1/health/service/web", "/v1/catalog/nodes", "/v1/kv/a", "/v1/catalog/node/none"]
    {
        let (plain, pretty) = (stand.get(path).await, stand.get(&format!("{path}?pretty")).await);
        assert_eq!(plain.json(), pretty.json(), "{path}");
        assert!(!plain.text().contains('\n') && pretty.text().ends_with('\n'), "{path}");
    }
}

#[tokio::test]
async fn names_of_services_are_compared_without_their_case() {
    let stand = furnished().await;
    for path in ["/v1/health/service/WEB", "/v1/catalog/service/Web", "/v1/health/checks/wEb"] {
        assert_ne!(stand.json(path).await, json!([]), "{path}");
    }
}
