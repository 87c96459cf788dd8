//! Against what a real agent prints (`tests/goldens`, Consul 1.20.6) and the examples of its docs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// What a field that is left out or empty is told as by some endpoints and not by others.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(told) => !told,
    }
}

/// Without the fields that say nothing; 0 and 0.0 are one number.
fn said(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(said).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !is_nothing(value));
            Value::Object(fields.map(|(name, value)| (name, said(value))).collect())
        }
        Value::Number(number) => number.as_f64().into(),
        other => other,
    }
}

fn reads_and_prints<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(golden: &str) {
    let printed: Value = serde_json::from_str(golden).expect("it is JSON");
    let read: T = serde_json::from_str(golden).expect("it is read");
    let text = serde_json::to_string(&read).expect("it is printed");
    assert_eq!(said(serde_json::from_str(&text).unwrap()), said(printed));
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), read);
    in_order(golden, &text);
}

/// Names that are printed stand in the order of the golden.
fn in_order(golden: &str, text: &str) {
    let mut rest = golden;
    for name in text.split('"').filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())) {
        let quoted = format!("\"{name}\"");
        if golden.contains(&quoted) {
            let place = rest.find(&quoted);
            let place = place.unwrap_or_else(|| panic!("{name} is out of order in {text}"));
            rest = &rest[place + quoted.len()..];
        }
    }
}

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../tests/goldens/", $name, ".json"))
    };
}

#[test]
fn what_a_real_agent_prints_is_read_and_printed_again() {
    reads_and_prints::<Vec<CheckServiceNode<'_>>>(golden!("health_service_redis"));
    reads_and_prints::<Vec<CheckServiceNode<'_>>>(golden!("health_service_web"));
    reads_and_prints::<Vec<CheckServiceNode<'_>>>(golden!("health_service_db"));
    reads_and_prints::<Vec<ServiceNode<'_>>>(golden!("catalog_service_redis"));
    reads_and_prints::<Vec<ServiceNode<'_>>>(golden!("catalog_service_db"));
    reads_and_prints::<Vec<Node<'_>>>(golden!("catalog_nodes"));
    reads_and_prints::<NodeServices<'_>>(golden!("catalog_node_ext"));
    reads_and_prints::<NodeServiceList<'_>>(golden!("catalog_node_services_ext"));
    reads_and_prints::<CatalogServices<'_>>(golden!("catalog_services"));
    reads_and_prints::<AgentService<'_>>(golden!("agent_service_redis1"));
    reads_and_prints::<AgentSelf<'_>>(golden!("agent_self"));
    reads_and_prints::<Vec<Member<'_>>>(golden!("agent_members"));
    reads_and_prints::<Vec<UserEvent<'_>>>(golden!("event_list"));
    reads_and_prints::<Vec<DirEntry<'_>>>(golden!("kv_recurse"));
    let by_id = golden!("agent_services");
    reads_and_prints::<std::collections::BTreeMap<String, AgentService<'_>>>(by_id);
}

#[test]
fn a_services_health_is_read_as_the_agent_tells_it() {
    let golden = golden!("agent_health_service_id_redis1");
    let health: ServiceHealth<'_> = serde_json::from_str(golden).expect("it is read");
    assert_eq!(health.aggregated_status, "critical");
    assert_eq!(health.service.id, "redis1");
    let ids: Vec<_> = health.checks.iter().map(|check| &*check.check_id).collect();
    assert_eq!(ids, ["mem", "service:redis1"]);
    let text = serde_json::to_string(&health).unwrap();
    assert!(text.starts_with(r#"{"AggregatedStatus":"critical","Service":{"ID":"redis1","#));
}

#[test]
fn null_is_an_empty_list_or_map_and_what_is_missing_has_its_default() {
    let node = json!({"Node": {"Node": "n", "TaggedAddresses": null, "Meta": null},
        "Service": {"Service": "s", "Tags": null, "Meta": {"a": null}, "TaggedAddresses": null,
            "Weights": null, "Proxy": null, "Unknown": [1]},
        "Checks": null});
    let node: CheckServiceNode<'_> = serde_json::from_value(node).unwrap();
    assert!(node.checks.is_empty() && node.service.tags.0.is_empty());
    assert_eq!(node.service.weights, Weights { passing: 1, warning: 1 });
    assert_eq!(node.service.meta.0.get("a"), Some(""));
    let text = serde_json::to_string(&node).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"Node":{"ID":"","Node":"n","Address":"","Datacenter":"","TaggedAddresses":{},"Meta":{},"#,
            r#""CreateIndex":0,"ModifyIndex":0},"#,
            r#""Service":{"ID":"","Service":"s","Tags":[],"Address":"","Meta":{"a":""},"#,
            r#""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{},"Connect":{},"#,
            r#""PeerName":"","CreateIndex":0,"ModifyIndex":0},"Checks":[]}"#
        )
    );
}

#[test]
fn addresses_by_network_are_read_in_either_case() {
    let docs =
        json!({"lan": {"address": "172.17.0.3", "port": 5000}, "wan": {"Address": "h", "Port": 1}});
    let read: ServiceAddresses<'_> = serde_json::from_value(docs).unwrap();
    assert_eq!((read.0["lan"].port, read.0["wan"].port), (5_000, 1));
    let printed = serde_json::to_string(&read).unwrap();
    let expected = r#"{"lan":{"Address":"172.17.0.3","Port":5000},"wan":{"Address":"h","Port":1}}"#;
    assert_eq!(printed, expected);
}

#[test]
fn a_key_without_bytes_has_null_and_one_that_nobody_locks_no_session() {
    let mut entry = DirEntry { key: "zip".into(), ..DirEntry::default() };
    let printed = |entry: &DirEntry<'_>| serde_json::to_string(entry).unwrap();
    assert_eq!(
        printed(&entry),
        r#"{"LockIndex":0,"Key":"zip","Flags":0,"Value":null,"CreateIndex":0,"ModifyIndex":0}"#
    );
    entry.value = b"test".as_slice().into();
    assert!(printed(&entry).contains(r#""Value":"dGVzdA==""#));
}

#[test]
fn a_catalogs_tags_are_sorted_and_told_once() {
    let (one, other) = (["b".to_owned(), "a".to_owned()], ["b".to_owned()]);
    let mut services = CatalogServices::default();
    services.add("web", &one);
    services.add("web", &other);
    services.add("db", &[]);
    assert_eq!(serde_json::to_string(&services).unwrap(), r#"{"db":[],"web":["a","b"]}"#);
}

#[test]
fn pairs_are_printed_in_the_order_of_their_keys() {
    let pairs = [("b".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
    let metadata = larder_registry::model::Metadata::from(pairs);
    assert_eq!(serde_json::to_string(&Pairs::from(&metadata)).unwrap(), r#"{"a":"2","b":"1"}"#);
}
