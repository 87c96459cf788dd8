//! Bodies as clients send them, and as they should not.

use std::time::Duration;

use larder_registry::model::{Health, Weights};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(body: &Value) -> Result<ServiceRegistration, Invalid> {
    service(body.to_string().as_bytes())
}

fn refused(body: &Value) -> String {
    read(body).expect_err("it is wrong").to_string()
}

#[test]
fn the_example_of_the_docs_is_read() {
    let body = br#"{"ID":"redis1","Name":"redis","Tags":["primary","v1"],"Address":"127.0.0.1","Port":8000,
        "Meta":{"redis_version":"4.0"},"EnableTagOverride":false,
        "Check":{"TTL":"15s","DeregisterCriticalServiceAfter":"90m"},"Weights":{"Passing":10,"Warning":1}}"#;
    let service = service(body).unwrap();
    assert_eq!((&*service.id, &*service.name, service.port), ("redis1", "redis", 8_000));
    assert_eq!(service.tags, ["primary", "v1"]);
    assert_eq!(service.meta.get("redis_version"), Some("4.0"));
    assert_eq!(service.weights, Some(Weights { passing: 10, warning: 1 }));
    let check = &service.checks[0];
    assert_eq!((check.ttl, check.status), (Duration::from_secs(15), None));
    assert_eq!(check.deregister_after, Duration::from_secs(5_400));
}

#[test]
fn keys_are_read_in_any_case_and_with_underscores() {
    let python = json!({"name": "web", "id": "w1", "tags": [], "enabletagoverride": true,
        "tagged_addresses": {"lan": {"address": "10.0.0.1", "port": 80}}, "socket_path": "/s",
        "checks": [{"http": "http://h/", "interval": "10s", "deregister_critical_service_after": "1m",
            "tls_skip_verify": true, "service_id": "w1", "check_id": "c", "Header": {"A": ["1", "2"]}},
            {"script_args": ["true"], "docker_container_id": "d", "INTERVAL": 5_000_000_000_u64},
            {"grpc": "h:1", "grpc_use_tls": true, "interval": "1s"}]});
    let service = read(&python).unwrap();
    assert!(service.enable_tag_override);
    assert_eq!((service.tagged_addresses["lan"].port, &*service.socket_path), (80, "/s"));
    let [http, script, grpc] = &service.checks[..] else { panic!("{:?}", service.checks) };
    assert_eq!((&*http.id, &*http.service_id, http.tls_skip_verify), ("c", "w1", true));
    assert_eq!(http.deregister_after, Duration::from_secs(60));
    assert_eq!(http.header["A"], ["1", "2"]);
    assert_eq!((&*script.args[0], script.interval), ("true", Duration::from_secs(5)));
    assert!(grpc.grpc_use_tls && grpc.is_probed());
}

#[test]
fn the_one_check_comes_before_the_several_and_empty_ones_are_none() {
    let checks = json!({"Name": "s", "Check": {"Name": "one", "TTL": "1s"},
        "Checks": [{}, null, {"Name": "two", "AliasService": "other"}]});
    let names: Vec<_> = read(&checks).unwrap().checks.into_iter().map(|check| check.name).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(read(&json!({"Name": "s", "Check": null, "Checks": null})).unwrap().checks, []);
}

/// The right-hand side is what Consul 1.20.6 answered, where it refuses.
#[test]
fn what_consul_refuses_is_refused_in_its_words() {
    let says = [
        (json!({"id": "x"}), "Missing service name"),
        (json!({"name": "m", "address": "0.0.0.0"}), "Invalid service address"),
        (
            json!({"name": "m", "meta": {"a b": "x"}}),
            "Invalid Service Meta: Couldn't load metadata pair ('a b', 'x'): Key contains invalid characters",
        ),
        (
            json!({"name": "m", "meta": {"": "x"}}),
            "Invalid Service Meta: Couldn't load metadata pair ('', 'x'): Key cannot be blank",
        ),
        (
            json!({"name": "m", "meta": {"consul-a": "x"}}),
            "Invalid Service Meta: Couldn't load metadata pair ('consul-a', 'x'): \
             Key prefix 'consul-' is reserved for internal use",
        ),
        (
            json!({"name": "m", "check": {"http": "http://x"}}),
            "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
        ),
        (
            json!({"name": "m", "check": {"ttl": "1s", "http": "http://x", "interval": "1s"}}),
            "Invalid check: Interval and TTL cannot both be specified",
        ),
        (
            json!({"name": "m", "check": {"notes": "x"}}),
            "Invalid check: TTL must be > 0 for TTL checks",
        ),
        (
            json!({"name": "m", "check": {"ttl": "1s", "status": "nope"}}),
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            json!({"name": "m", "weights": {"passing": -1, "warning": 0}}),
            "Invalid Weights: Passing must be greater than 0",
        ),
    ];
    for (body, expected) in says {
        assert_eq!(refused(&body), expected, "{body}");
    }
    let check = |body: &str| super::check(body.as_bytes()).expect_err("it is wrong").to_string();
    assert_eq!(check(r#"{"TTL":"15s"}"#), "Missing check name");
    assert_eq!(check(r#"{"Name":"a","TTL":"15s","Status":"x"}"#), "Bad check status");
    assert_eq!(check(r#"{"Name":"a"}"#), "Invalid check: TTL must be > 0 for TTL checks");
}

#[test]
fn what_is_of_the_wrong_kind_or_too_large_is_named() {
    let long = "x".repeat(257);
    let many: Vec<_> = (0..17).map(|_| json!({"TTL": "1s"})).collect();
    let pairs: serde_json::Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    let says = [
        (json!([]), "the body: expected an object"),
        (json!({"Name": 7}), "Name: expected a text"),
        (json!({"Name": long}), "Name: expected at most 256 bytes"),
        (json!({"Name": ".."}), "Name: expected neither dots alone nor control characters"),
        (json!({"Name": "a", "Port": "80"}), "Port: expected a number from 0 to 65535"),
        (json!({"Name": "a", "Port": 70_000}), "Port: expected a number from 0 to 65535"),
        (json!({"Name": "a", "Port": 1.5}), "Port: expected a number from 0 to 65535"),
        (json!({"Name": "a", "Tags": "t"}), "Tags: expected a list of at most 256 texts"),
        (
            json!({"Name": "a", "Tags": vec!["t"; 257]}),
            "Tags: expected a list of at most 256 texts",
        ),
        (json!({"Name": "a", "Meta": {"k": 1}}), "Meta: expected texts as values"),
        (json!({"Name": "a", "EnableTagOverride": 1}), "EnableTagOverride: expected true or false"),
        (json!({"Name": "a", "Check": []}), "Check: expected an object"),
        (json!({"Name": "a", "Checks": many}), "Checks: expected at most 16"),
        (json!({"Name": "a", "Proxy": "x"}), "Proxy: expected an object"),
        (
            json!({"Name": "a", "Check": {"TTL": "-1s"}}),
            "Check.TTL: expected a duration that is not negative",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": -1}}),
            "Check.TTL: expected a duration that is not negative",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "1x"}}),
            "Check.TTL: expected a duration such as 10s, 1m30s or 250ms",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "8761h"}}),
            "Check.TTL: expected a duration of at most a year",
        ),
    ];
    for (body, expected) in says {
        assert_eq!(refused(&body), format!("Request decode failed: {expected}"), "{body}");
    }
    let count = refused(&json!({"Name": "a", "Meta": pairs}));
    assert!(count.ends_with("cannot contain more than 64 key/value pairs"), "{count}");
    let value = refused(&json!({"Name": "a", "Meta": {"k": "v".repeat(513)}}));
    assert!(value.ends_with("Value is too long (limit: 512 characters)"), "{value}");
    let deep =
        format!("{{\"Name\":\"a\",\"Proxy\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(matches!(service(deep.as_bytes()), Err(Invalid::Json(_))));
    let big = json!({"Name": "a", "Proxy": {"Config": "x".repeat(70_000)}});
    assert_eq!(refused(&big), "Request decode failed: Proxy: expected at most 65536 bytes");
}

#[test]
fn a_report_says_one_of_three_words() {
    let update = check_update(br#"{"status":"warning","Output":"slow"}"#).unwrap();
    assert_eq!(update, CheckUpdate { status: Health::Warning, output: "slow".to_owned() });
    for status in ["", "x", "Passing", "maintenance"] {
        let body = json!({ "Status": status }).to_string();
        let error = check_update(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("Invalid check status: '{status}'"));
    }
}

#[test]
fn an_entry_of_the_catalog_is_read_with_its_checks() {
    let body = json!({"Node": "ext", "Address": "10.0.0.9", "NodeMeta": {"external": "true"},
        "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "TaggedAddresses": {"lan": "10.0.0.9"},
        "Service": {"Service": "db", "Port": 5},
        "Check": {"CheckID": "c", "Status": "passing", "ServiceID": "db", "Output": "ok",
            "Definition": {"TCP": "10.0.0.9:5", "Interval": "5s"}},
        "Checks": [{"Name": "node", "Status": "critical"}]});
    let entry = registration(body.to_string().as_bytes()).unwrap();
    assert_eq!(entry.service.unwrap().name, "db");
    assert_eq!(entry.node_meta.get("external"), Some("true"));
    let [tcp, node] = &entry.checks[..] else { panic!("{:?}", entry.checks) };
    assert_eq!(
        (&*tcp.tcp, tcp.interval, &*tcp.output),
        ("10.0.0.9:5", Duration::from_secs(5), "ok")
    );
    assert_eq!((node.status, &*node.service_id), (Some(Health::Critical), ""));
}

#[test]
fn an_entry_without_a_node_or_an_address_is_refused() {
    let refused = |body: &str| registration(body.as_bytes()).expect_err("it is wrong").to_string();
    assert_eq!(refused(r#"{"Address":"h"}"#), "Must provide node");
    assert_eq!(refused(r#"{"Node":"n"}"#), "Must provide address if SkipNodeUpdate is not set");
    assert!(refused(r#"{"Node":"n","Address":"h","ID":"x"}"#).starts_with("Bad node ID"));
    assert_eq!(refused(r#"{"Node":"n","Address":"h","Service":{}}"#), "Missing service name");
    assert!(registration(br#"{"Node":"n","SkipNodeUpdate":true}"#).is_ok());
    let gone = deregistration(br#"{"node":"n","service_id":"s","Datacenter":"dc1"}"#).unwrap();
    assert_eq!((&*gone.node, &*gone.service_id, &*gone.check_id), ("n", "s", ""));
    assert_eq!(deregistration(b"{}"), Err(Invalid::Node));
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "Name",
        "ID",
        "Check",
        "checks",
        "Definition",
        "Service",
        "Node",
        "Address",
        "Port",
        "Meta",
        "Tags",
        "tagged_addresses",
        "Weights",
        "Passing",
        "TTL",
        "interval",
        "HTTP",
        "Header",
        "Args",
        "Status",
        "Proxy",
        "Locality",
        "NodeMeta",
        "lan",
        "SuccessBeforePassing",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "\\PC{0,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[0-9.hms-]{0,6}", "\\PC{0,6}"].prop_map(Value::String);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text,
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn all(body: &[u8]) {
    let _ = service(body);
    let _ = check(body);
    let _ = check_update(body);
    let _ = registration(body);
    let _ = deregistration(body);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>) {
        all(&body);
    }

    #[test]
    fn any_json_is_read_or_refused(fields in prop::collection::vec((key(), value()), 0..8)) {
        let mut body: serde_json::Map<_, _> = fields.into_iter().collect();
        all(Value::Object(body.clone()).to_string().as_bytes());
        // So that more than the name is looked at.
        body.insert("Name".to_owned(), json!("n"));
        body.insert("Node".to_owned(), json!("n"));
        all(Value::Object(body).to_string().as_bytes());
    }
}
