//! What a real Consul lists and what is put into the catalog from outside, through the model and back.

use larder_registry::model::{Health, Probe, Status};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::strategies::{pairs, text};
use super::{own, printed};
use crate::mapping::{read, read_all, register_in_catalog};
use crate::wire::{CheckServiceNode, definition};

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../../tests/goldens/", $name, ".json"))
    };
}

fn entries(golden: &'static str) -> Vec<CheckServiceNode<'static>> {
    serde_json::from_str(golden).expect("it is read")
}

/// But for indexes, which say when this server heard of it.
fn unindexed(entry: &CheckServiceNode<'_>) -> Value {
    let mut value = serde_json::to_value(entry).unwrap();
    let zero = |object: &mut Value| {
        object["CreateIndex"] = json!(0);
        object["ModifyIndex"] = json!(0);
    };
    zero(&mut value["Node"]);
    zero(&mut value["Service"]);
    value["Checks"].as_array_mut().unwrap().iter_mut().for_each(zero);
    value
}

#[test]
fn what_a_real_agent_lists_loses_nothing_on_its_way() {
    for golden in [
        golden!("health_service_redis"),
        golden!("health_service_web"),
        golden!("health_service_db"),
    ] {
        for entry in entries(golden) {
            let listed = read(&entry);
            assert!(!listed.is_larders && !listed.has_lapsed);
            assert_eq!(unindexed(&printed(&listed.instance)), unindexed(&entry));
        }
    }
}

#[test]
fn it_is_up_if_no_check_is_critical_and_nobody_here_probes_it() {
    let mut entry = entries(golden!("health_service_redis")).remove(0);
    assert_eq!(read(&entry).instance.effective_status(), Status::Down);
    for check in &mut entry.checks {
        check.status = "passing".into();
    }
    entry.checks[1].status = "warning".into();
    let instance = read(&entry).instance;
    assert_eq!((instance.status, instance.effective_status()), (Status::Up, Status::Up));
    assert!(instance.checks.iter().all(|check| !check.is_active()));
    assert_eq!(instance.check("mem").unwrap().health, Health::Warning);
    entry.checks[0].status = "nobody knows".into();
    assert_eq!(read(&entry).instance.effective_status(), Status::Down);
}

#[test]
fn maintenance_of_a_service_or_of_its_node_is_an_override() {
    let web = read(&entries(golden!("health_service_web"))[0]).instance;
    assert_eq!(
        (web.status, web.status_override),
        (Status::OutOfService, Some(Status::OutOfService))
    );
    let mut entry = entries(golden!("health_service_redis")).remove(0);
    entry.checks[0].check_id = "_node_maintenance".into();
    let redis = read(&entry).instance;
    assert_eq!(redis.effective_status(), Status::OutOfService);
    // It stands in the list already, and is not told twice.
    assert_eq!(printed(&redis).checks.len(), entry.checks.len());
}

#[test]
fn a_service_without_an_address_is_reached_at_its_nodes() {
    let db = read(&entries(golden!("health_service_db"))[0]).instance;
    assert_eq!(db.address.ip.as_deref(), Some("10.0.0.9"));
    assert_eq!(db.address.port.map(|port| port.number), Some(5));
    assert_eq!(db.node.unwrap().name, "ext");
}

#[test]
fn an_id_that_several_nodes_give_is_told_with_the_node() {
    let entry = |node: &str, id: &str, index| {
        let mut entry = CheckServiceNode::default();
        entry.node.node = node.to_owned().into();
        entry.service.service = "web".into();
        entry.service.id = id.to_owned().into();
        entry.service.modify_index = index;
        entry
    };
    let ids = |entries: &[CheckServiceNode<'_>]| -> Vec<String> {
        read_all(entries).into_iter().map(|listed| listed.instance.id).collect()
    };
    let all = [entry("n1", "web", 1), entry("n2", "web", 2), entry("n2", "other", 3)];
    assert_eq!(ids(&all), ["web@n1", "web@n2", "other"]);
    assert_eq!(ids(&all[1..]), ["web", "other"]);
    let listed = read_all(&all).remove(0);
    assert_eq!((&*listed.node, &*listed.service_id), ("n1", "web"));
    // The same one twice is told once, as it is now.
    let twice = [entry("n1", "web", 1), entry("n1", "web", 5)];
    let listed = read_all(&twice);
    assert_eq!((listed.len(), listed[0].modify_index), (1, 5));
}

#[test]
fn pairs_that_only_look_like_larders_are_the_users_own() {
    let copied = r#"{"name":"","version":"","metadata":null,"endpoints":null,"nodes":[{"id":"1","address":""}]}"#;
    for text in ["", "x", "{}", copied] {
        let entry = json!({"Node": {"Node": "n", "Address": "h"},
            "Service": {"ID": "web-1", "Service": "web", "Meta": {"larder-0": text, "a": "b"}}});
        let entry: CheckServiceNode<'_> = serde_json::from_value(entry).unwrap();
        let listed = read(&entry);
        assert!(!listed.is_larders);
        assert_eq!(listed.instance.metadata.get("larder-0"), Some(text));
        assert_eq!(listed.instance.id, "web-1");
    }
}

#[test]
fn an_entry_of_the_catalog_is_shown_as_it_was_put_there() {
    let body = json!({"Node": "ext", "Address": "10.0.0.9", "NodeMeta": {"external": "true"},
        "Service": {"ID": "db", "Service": "db", "Port": 5, "Tags": ["t"]},
        "Checks": [{"CheckID": "c", "Name": "db", "Status": "critical", "ServiceID": "db", "Output": "no",
            "Definition": {"TCP": "10.0.0.9:5", "Interval": "5s", "DeregisterCriticalServiceAfter": "30s"}},
            {"Name": "alive", "Status": "passing"}]});
    let entry = definition::registration(body.to_string().as_bytes()).unwrap();
    let instance = register_in_catalog(entry, &own()).unwrap();
    assert!(instance.checks.iter().all(|check| matches!(check.probe, Probe::Other { .. })));
    let shown = printed(&instance);
    assert_eq!((&*shown.node.node, &*shown.node.datacenter), ("ext", "dc1"));
    assert_eq!(shown.node.meta.0.get("external"), Some("true"));
    let [alive, db] = &shown.checks[..] else { panic!("{:?}", shown.checks) };
    assert_eq!((&*alive.check_id, &*alive.service_id, &*alive.node), ("alive", "", "ext"));
    assert_eq!((&*db.kind, &*db.output, &*db.service_name), ("tcp", "no", "db"));
    assert_eq!(
        (&*db.definition.tcp, &db.service_tags.0[..]),
        ("10.0.0.9:5", &["t".to_owned()][..])
    );
    let node_alone = definition::registration(br#"{"Node":"n","Address":"h"}"#).unwrap();
    assert_eq!(register_in_catalog(node_alone, &own()), None);
}

fn check() -> impl Strategy<Value = Value> {
    let status = prop::sample::select(vec!["passing", "warning", "critical"]);
    (0..99_u8, text(), status, text(), any::<bool>(), "[0-9]{1,3}[sm]").prop_map(
        |(id, name, status, output, is_nodes, interval)| {
            let (service, tags) = if is_nodes { ("", json!([])) } else { ("s", json!(["t"])) };
            json!({"Node": "n", "CheckID": format!("c{id:02}"), "Name": name, "Status": status, "Notes": "",
                "Output": output, "ServiceID": service, "ServiceName": service, "ServiceTags": tags,
                "Type": "http", "Interval": interval, "Timeout": "", "ExposedPort": 1,
                "Definition": {"Interval": "5s", "HTTP": "http://h/"}, "CreateIndex": 0, "ModifyIndex": 0})
        },
    )
}

fn entry() -> impl Strategy<Value = Value> {
    let checks = prop::collection::vec(check(), 0..4);
    let node_address = prop_oneof!["10\\.0\\.0\\.[0-9]", "[a-z]{1,5}"];
    let address = prop_oneof![Just(String::new()), "10\\.1\\.0\\.[0-9]", "[A-Z]{1,5}"];
    (pairs(), pairs(), node_address, address, 0..=65_535_u16, 0..9_i64, checks, any::<bool>(), text())
        .prop_map(|(meta, node_meta, node_address, address, port, weight, mut checks, flag, proxy)| {
            checks.sort_by_key(|check| {
                (check["ServiceID"] == "s", check["CheckID"].as_str().unwrap().to_owned())
            });
            checks.dedup_by_key(|check| check["CheckID"].clone());
            json!({
                "Node": {"ID": "i", "Node": "n", "Address": node_address, "Datacenter": "dc9",
                    "TaggedAddresses": {"lan": "l"}, "Meta": node_meta},
                "Service": {"ID": "s-1", "Service": "s", "Tags": ["t"], "Address": address, "Meta": meta,
                    "TaggedAddresses": {"wan": {"Address": "w", "Port": port}}, "Port": port,
                    "Weights": {"Passing": weight, "Warning": 1}, "EnableTagOverride": flag,
                    "Proxy": {"Config": {"a": proxy, "b": 1}}, "Connect": {}, "PeerName": "",
                    "Locality": {"Region": "r"}},
                "Checks": checks,
            })
        })
}

proptest! {
    #[test]
    fn any_entry_loses_nothing_on_its_way(entry in entry()) {
        let entry: CheckServiceNode<'_> = serde_json::from_value(entry).unwrap();
        let listed = read(&entry);
        prop_assert_eq!(unindexed(&printed(&listed.instance)), unindexed(&entry));
        let is_well = entry.checks.iter().all(|check| check.status != "critical");
        prop_assert_eq!(listed.instance.effective_status() == Status::Up, is_well);
    }
}
