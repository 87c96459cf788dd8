//! What is registered with this agent: listed, replaced, deregistered, and waited for by its hash.

use std::time::Duration;

use serde_json::json;

use super::support::{Stand, all};

#[tokio::test]
async fn a_service_is_listed_as_consul_lists_it() {
    let stand = Stand::new();
    stand
        .register(
            r#"{"ID":"redis1","Name":"redis","Tags":["primary","v1"],"Address":"10.1.2.3","Port":8000,
                "Meta":{"redis_version":"4.0"},
                "TaggedAddresses":{"lan":{"Address":"10.1.2.3","Port":8000},
                                   "wan":{"Address":"198.18.0.1","Port":80}},
                "Check":{"TTL":"90s","Status":"passing","DeregisterCriticalServiceAfter":"90m"},
                "Weights":{"Passing":10,"Warning":1}}"#,
        )
        .await;
    // As a real agent says it, but for the addresses that it adds by itself.
    let expected = json!({
        "ID": "redis1", "Service": "redis", "Tags": ["primary", "v1"],
        "Meta": {"redis_version": "4.0"}, "Port": 8000, "Address": "10.1.2.3",
        "TaggedAddresses": {"lan": {"Address": "10.1.2.3", "Port": 8000},
                            "wan": {"Address": "198.18.0.1", "Port": 80}},
        "Weights": {"Passing": 10, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1",
    });
    assert_eq!(stand.json("/v1/agent/services").await, json!({"redis1": expected}));
    let told = stand.get("/v1/agent/service/redis1").await;
    let mut with_hash = expected.clone();
    let hash = told.header("X-Consul-ContentHash").expect("it has one").to_owned();
    with_hash["ContentHash"] = json!(hash);
    assert_eq!(told.json(), with_hash);
}

#[tokio::test]
async fn py_consuls_keys_in_lower_case_and_with_underscores_are_understood() {
    let stand = Stand::new();
    stand
        .register(
            r#"{"name":"snake","id":"snake-1","port":9,"enable_tag_override":true,
                "tagged_addresses":{"lan":{"address":"1.2.3.4","port":5}},
                "checks":[{"tcp":"127.0.0.1:1","interval":"10s","deregister_critical_service_after":"60m"},
                          {"checkid":"own","name":"own name","ttl":"30s","notes":"a note"}]}"#,
        )
        .await;
    let told = stand.json("/v1/agent/service/snake-1").await;
    assert_eq!(told["TaggedAddresses"]["lan"], json!({"Address": "1.2.3.4", "Port": 5}));
    assert_eq!(told["EnableTagOverride"], true);
    let checks = stand.json("/v1/agent/checks").await;
    assert_eq!(checks["own"]["Notes"], "a note");
    assert_eq!(checks["service:snake-1:1"]["Type"], "tcp");
}

#[tokio::test]
async fn registered_again_it_is_what_was_said_last_and_once() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"w","Port":80,"Tags":["a"],"Meta":{"k":"v"}}"#).await;
    stand.register(r#"{"Name":"web","ID":"w","Port":81}"#).await;
    let told = stand.json("/v1/health/service/web").await;
    assert_eq!(told.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&told[0]["Service"]["Port"], &told[0]["Service"]["Tags"], &told[0]["Service"]["Meta"]),
        (&json!(81), &json!([]), &json!({}))
    );
}

#[tokio::test]
async fn registered_under_another_name_it_is_no_longer_what_it_was() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"old","ID":"1","Check":{"TTL":"1h"}}"#).await;
    stand.register(r#"{"Name":"new","ID":"1","Check":{"TTL":"1h"}}"#).await;
    assert_eq!(stand.json("/v1/health/service/old").await, json!([]));
    assert_eq!(all(&stand.json("/v1/health/service/new").await, "/Service/ID"), ["1"]);
    assert_eq!(stand.json("/v1/catalog/services").await, json!({"new": []}));
    stand.put("/v1/agent/check/pass/service:1", "").await;
    let passing = stand.json("/v1/health/service/new?passing").await;
    assert_eq!(passing.as_array().map(Vec::len), Some(1), "its check is the new one's");
    stand.put("/v1/agent/service/deregister/1", "").await;
    assert_eq!(stand.json("/v1/agent/checks").await, json!({}));
}

#[tokio::test]
async fn what_is_deregistered_is_gone_with_its_checks() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"a/b","Check":{"TTL":"1h"}}"#).await;
    assert_eq!(
        stand.json("/v1/agent/service/a/b").await["ID"],
        "a/b",
        "Go's client leaves slashes"
    );
    assert_eq!(stand.json("/v1/agent/service/a%2Fb").await["ID"], "a/b");
    stand.put("/v1/agent/check/pass/service:a/b", "").await;
    assert_eq!(stand.put("/v1/agent/service/deregister/a/b", "").await.text(), "");
    for path in ["/v1/agent/services", "/v1/agent/checks", "/v1/catalog/services"] {
        assert_eq!(stand.json(path).await, json!({}), "{path}");
    }
    let again = stand.ask("PUT", "/v1/agent/service/deregister/a%2Fb", "").await;
    let says =
        "Unknown service ID \"a/b\". Ensure that the service ID is passed, not the service name.";
    assert_eq!((again.status, again.text()), (404, says));
}

#[tokio::test]
async fn an_id_may_hold_any_letters() {
    let stand = Stand::new();
    for (id, encoded) in [
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("a b", "a%20b"),
        ("a:b.c..d", "a:b.c..d"),
        ("100%", "100%25"),
    ] {
        stand.register(&json!({"Name": "web", "ID": id, "Check": {"TTL": "1h"}}).to_string()).await;
        assert_eq!(stand.json(&format!("/v1/agent/service/{encoded}")).await["ID"], id);
        stand.put(&format!("/v1/agent/check/pass/service:{encoded}"), "").await;
        stand.put(&format!("/v1/agent/service/deregister/{encoded}"), "").await;
    }
    let told = stand.get("/v1/agent/service/%FF").await;
    assert_eq!(told.status, 400);
}

#[tokio::test]
async fn what_others_registered_is_in_the_catalog_and_not_at_this_agent() {
    let stand = Stand::new();
    let outside = r#"{"Node":"ext","Address":"10.0.0.9","Service":{"Service":"web","ID":"c"}}"#;
    stand.put("/v1/catalog/register", outside).await;
    assert_eq!(stand.json("/v1/agent/services").await, json!({}));
    assert_eq!(stand.get("/v1/agent/service/c").await.status, 404);
    assert_eq!(stand.ask("PUT", "/v1/agent/service/deregister/c", "").await.status, 404);
    assert_eq!(all(&stand.json("/v1/health/service/web").await, "/Service/ID"), ["c"]);
}

#[tokio::test]
async fn this_server_is_a_member_alive_and_alone() {
    let stand = Stand::new();
    let about = stand.json("/v1/agent/self").await;
    let config = &about["Config"];
    assert_eq!((&config["Datacenter"], &config["NodeName"]), (&json!("dc1"), &json!("golden")));
    assert_eq!((&config["Server"], &about["Member"]["Status"]), (&json!(true), &json!(1)));
    let members = stand.json("/v1/agent/members").await;
    assert_eq!(members, json!([about["Member"]]));
    assert_eq!(members[0]["Tags"]["role"], "consul");
    assert_eq!(stand.json("/v1/status/leader").await, "127.0.0.1:8300");
    assert_eq!(stand.json("/v1/status/peers").await, json!(["127.0.0.1:8300"]));
    let version = stand.json("/v1/agent/version").await;
    assert_eq!(version["HumanVersion"], config["Version"]);
    let nodes = stand.json("/v1/catalog/nodes").await;
    assert_eq!((&nodes[0]["Node"], &nodes[0]["ID"]), (&json!("golden"), &config["NodeID"]));
}

#[tokio::test(start_paused = true)]
async fn another_hash_is_waited_for() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Port":80}"#).await;
    let first = stand.get("/v1/agent/service/web?hash=&wait=60s").await;
    assert_eq!(first.took, Duration::ZERO, "who has none yet does not wait");
    let hash = first.header("X-Consul-ContentHash").expect("it has one").to_owned();
    let path = format!("/v1/agent/service/web?hash={hash}");
    let other = stand.get("/v1/agent/service/web?hash=other&wait=60s").await;
    assert_eq!(other.took, Duration::ZERO);

    let same = stand.get(&format!("{path}&wait=16s")).await;
    assert!(
        same.took >= Duration::from_secs(16) && same.took <= Duration::from_secs(17),
        "{same:?}"
    );
    assert_eq!(same.header("X-Consul-ContentHash"), Some(&*hash));
    let long = stand.get(&path).await.took;
    assert!(long >= Duration::from_secs(300) && long <= Duration::from_secs(319), "{long:?}");

    let parked = stand.park(&path).await;
    assert_eq!(stand.consul.parked(), 1);
    stand.register(r#"{"Name":"web","ID":"other"}"#).await;
    parked.is_still_waiting().await;
    stand.register(r#"{"Name":"web","Port":81}"#).await;
    let told = parked.told().await;
    assert_ne!(told.header("X-Consul-ContentHash"), Some(&*hash));
    assert_eq!(told.json()["Port"], 81);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_hash_is_told_when_the_service_leaves_or_is_another_one() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1"}"#).await;
    let hash = stand.json("/v1/agent/service/1").await["ContentHash"].as_str().map(str::to_owned);
    let path = format!("/v1/agent/service/1?hash={}", hash.expect("it has one"));
    let parked = stand.park(&path).await;
    stand.register(r#"{"Name":"shop","ID":"1"}"#).await;
    assert_eq!(parked.told().await.json()["Service"], "shop");

    let hash = stand.json("/v1/agent/service/1").await["ContentHash"].as_str().map(str::to_owned);
    let parked = stand.park(&format!("/v1/agent/service/1?hash={}", hash.expect("one"))).await;
    stand.put("/v1/agent/service/deregister/1", "").await;
    let told = parked.told().await;
    assert_eq!((told.status, told.text()), (404, "unknown service ID: 1"));
}
