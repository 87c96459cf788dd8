//! What is put into the catalog from outside, and what the catalog shows.

use serde_json::{Value, json};

use super::support::{Stand, all};

const OUTSIDE: &str = r#"{"Node":"ext","Address":"10.9.9.9","NodeMeta":{"rack":"r1"},
    "TaggedAddresses":{"lan":"10.9.9.9"},
    "Service":{"Service":"extsvc","ID":"ext-1","Port":1,"Tags":["t"],"Meta":{"k":"v"}},
    "Check":{"Name":"c","CheckID":"ext-c","Status":"passing","ServiceID":"ext-1","Output":"o"}}"#;

#[tokio::test]
async fn a_service_at_a_node_outside_is_shown_with_its_node_and_check() {
    let stand = Stand::new();
    assert_eq!(stand.put("/v1/catalog/register", OUTSIDE).await.text(), "true");
    let told = stand.json("/v1/health/service/extsvc").await;
    let one = &told[0];
    assert_eq!(
        (&one["Node"]["Node"], &one["Node"]["Address"]),
        (&json!("ext"), &json!("10.9.9.9"))
    );
    assert_eq!(one["Node"]["Meta"], json!({"rack": "r1"}));
    assert_eq!(one["Node"]["TaggedAddresses"], json!({"lan": "10.9.9.9"}));
    assert_eq!((&one["Service"]["ID"], &one["Service"]["Address"]), (&json!("ext-1"), &json!("")));
    assert_eq!(
        all(&one["Checks"], "/CheckID"),
        ["ext-c"],
        "no agent of ours vouches for that node"
    );
    assert_eq!(one["Checks"][0]["Output"], "o");
    assert_eq!(all(&stand.json("/v1/catalog/nodes").await, "/Node"), ["ext", "golden"]);
    let node = stand.json("/v1/catalog/node/ext").await;
    assert_eq!(node["Services"]["ext-1"]["Port"], 1);
    let list = stand.json("/v1/catalog/node-services/ext").await;
    assert_eq!(all(&list["Services"], "/ID"), ["ext-1"]);
    assert_eq!(all(&stand.json("/v1/health/node/ext").await, "/CheckID"), ["ext-c"]);
    let listed = stand.json("/v1/catalog/service/extsvc").await;
    assert_eq!(
        (&listed[0]["Node"], &listed[0]["ServiceMeta"]),
        (&json!("ext"), &json!({"k": "v"}))
    );
}

#[tokio::test]
async fn it_is_deregistered_by_its_id_or_with_its_node() {
    let stand = Stand::new();
    stand.put("/v1/catalog/register", OUTSIDE).await;
    stand.put("/v1/catalog/register", OUTSIDE.replace("ext-1", "ext-2")).await;
    let other =
        stand.put("/v1/catalog/deregister", r#"{"Node":"golden","ServiceID":"ext-1"}"#).await;
    assert_eq!(other.text(), "true", "what is not there is no failure");
    let count = async || stand.json("/v1/health/service/extsvc").await.as_array().map(Vec::len);
    assert_eq!(count().await, Some(2));
    stand.put("/v1/catalog/deregister", r#"{"Node":"ext","ServiceID":"ext-1"}"#).await;
    assert_eq!(count().await, Some(1));
    stand.put("/v1/catalog/deregister", r#"{"Node":"ext"}"#).await;
    assert_eq!(count().await, Some(0));
    assert_eq!(all(&stand.json("/v1/catalog/nodes").await, "/Node"), ["golden"]);
}

#[tokio::test]
async fn what_larder_does_not_keep_is_501_and_says_what_to_do() {
    let stand = Stand::new();
    for (path, body) in [
        ("/v1/catalog/register", r#"{"Node":"ext","Address":"10.0.0.1"}"#),
        ("/v1/catalog/deregister", r#"{"Node":"ext","CheckID":"c"}"#),
        ("/v1/session/create", "{}"),
        ("/v1/txn", "[]"),
        ("/v1/kv/lock?acquire=x", "1"),
    ] {
        let told = stand.ask("PUT", path, body).await;
        assert_eq!(told.status, 501, "{path}: {}", told.text());
        assert!(told.text().contains("--upstream"), "{path}: {}", told.text());
    }
    for path in ["/v1/session/list", "/v1/query", "/v1/acl/tokens", "/v1/agent/connect/ca/roots"] {
        assert_eq!(stand.get(path).await.status, 501, "{path}");
    }
    let elsewhere = OUTSIDE.replacen('{', r#"{"Datacenter":"elsewhere","#, 1);
    let told = stand.ask("PUT", "/v1/catalog/register", elsewhere).await;
    assert_eq!((told.status, told.text()), (500, "No path to datacenter"));
}

#[tokio::test]
async fn services_are_listed_with_all_of_their_tags() {
    let stand = Stand::new();
    assert_eq!(stand.json("/v1/catalog/services").await, json!({}));
    stand.register(r#"{"Name":"web","ID":"1","Tags":["a","b"]}"#).await;
    stand.register(r#"{"Name":"web","ID":"2","Tags":["b","c"]}"#).await;
    stand.register(r#"{"Name":"db"}"#).await;
    let told = stand.json("/v1/catalog/services").await;
    assert_eq!(told, json!({"db": [], "web": ["a", "b", "c"]}));
}

#[tokio::test]
async fn what_is_not_there_is_empty_and_never_null_but_for_a_node() {
    let stand = Stand::new();
    for path in [
        "/v1/catalog/service/none",
        "/v1/catalog/connect/none",
        "/v1/health/service/none",
        "/v1/health/checks/none",
        "/v1/health/node/none",
        "/v1/health/ingress/none",
        "/v1/health/state/warning",
    ] {
        assert_eq!(stand.json(path).await, json!([]), "{path}");
    }
    assert_eq!(stand.json("/v1/catalog/node/none").await, Value::Null);
    let nothing = json!({"Node": null, "Services": []});
    assert_eq!(stand.json("/v1/catalog/node-services/none").await, nothing);
    // The own node is there before anything is.
    assert_eq!(stand.json("/v1/catalog/node/golden").await["Services"], json!({}));
}

#[tokio::test]
async fn tags_and_metadata_are_never_null() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"bare","Tags":null,"Meta":null}"#).await;
    let told = stand.json("/v1/health/service/bare").await;
    assert_eq!(
        (&told[0]["Service"]["Tags"], &told[0]["Service"]["Meta"]),
        (&json!([]), &json!({}))
    );
    let listed = stand.json("/v1/catalog/service/bare").await;
    assert_eq!((&listed[0]["ServiceTags"], &listed[0]["ServiceMeta"]), (&json!([]), &json!({})));
    let agent = stand.json("/v1/agent/service/bare").await;
    assert_eq!((&agent["Tags"], &agent["Meta"]), (&json!([]), &json!({})));
    assert_eq!(told[0]["Checks"][0]["ServiceTags"], json!([]));
}

#[tokio::test]
async fn a_service_without_an_address_is_at_its_nodes() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Port":80}"#).await;
    let told = stand.json("/v1/health/service/web").await;
    assert_eq!(told[0]["Service"]["Address"], "");
    assert_eq!(told[0]["Node"]["Address"], "127.0.0.1");
}

#[tokio::test]
async fn checks_are_found_by_what_they_say() {
    let stand = Stand::new();
    for (id, status) in [("1", "passing"), ("2", "warning"), ("3", "critical")] {
        let check = format!(r#"{{"TTL":"1h","Status":"{status}"}}"#);
        stand.register(&format!(r#"{{"Name":"web","ID":"{id}","Check":{check}}}"#)).await;
    }
    for (state, expected) in [
        ("passing", vec!["", "1"]),
        ("warning", vec!["2"]),
        ("critical", vec!["3"]),
        ("any", vec!["", "1", "2", "3"]),
    ] {
        let told = stand.json(&format!("/v1/health/state/{state}")).await;
        let mut ids = all(&told, "/ServiceID");
        ids.sort();
        assert_eq!(ids, expected, "{state}");
    }
}

#[tokio::test]
async fn nobody_is_anywhere() {
    let stand = Stand::new();
    assert_eq!(stand.json("/v1/coordinate/nodes").await, json!([]));
    assert_eq!(stand.get("/v1/coordinate/node/golden").await.status, 404);
    let told = stand.json("/v1/coordinate/datacenters").await;
    assert_eq!(told, json!([{"Datacenter": "dc1", "AreaID": "wan", "Coordinates": []}]));
}
