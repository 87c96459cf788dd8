//! How instances look across protocols: the table of `docs/consul.md`, line by line.

use std::time::Duration;

use larder_registry::model::{
    Address, Check, Health, Instance, Lease, Metadata, Port, Probe, Status,
};
use serde_json::{Value, json};

use super::{own, printed, shown};
use crate::mapping::{
    AggregatedStatus, aggregate, node_id, register, register_check, service_address,
};
use crate::wire::definition;

fn eurekas() -> Instance {
    let mut instance = Instance::new("ORDERS", "orders-1:orders:8080");
    instance.address = Address {
        host: Some("orders-1".to_owned()),
        ip: Some("10.0.0.1".to_owned()),
        port: Some(Port { number: 8_080, enabled: true }),
        secure_port: Some(Port { number: 8_443, enabled: false }),
    };
    instance.metadata = Metadata::from([("zone".to_owned(), "a b".to_owned())]);
    instance.lease = Some(Lease::default());
    instance
}

fn says(instance: &Instance) -> Vec<(String, String, String)> {
    let checks = printed(instance).checks;
    let say = |check: &crate::wire::HealthCheck<'_>| {
        (check.check_id.to_string(), check.status.to_string(), check.output.to_string())
    };
    checks.iter().map(say).collect()
}

fn triple(id: &str, status: &str, output: &str) -> (String, String, String) {
    (id.to_owned(), status.to_owned(), output.to_owned())
}

#[test]
fn an_instance_of_eurekas_is_a_service_on_a_node_of_the_name_of_its_host() {
    let instance = eurekas();
    let node = printed(&instance);
    let expected = json!({
        "Node": {"ID": node_id("orders-1"), "Node": "orders-1", "Address": "10.0.0.1", "Datacenter": "dc1",
            "TaggedAddresses": {}, "Meta": {}, "CreateIndex": 3, "ModifyIndex": 7},
        "Service": {"ID": "orders-1:orders:8080", "Service": "ORDERS", "Tags": [], "Address": "10.0.0.1",
            "Meta": {"zone": "a b"}, "Port": 8080, "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": false, "Proxy": {}, "Connect": {}, "PeerName": "",
            "CreateIndex": 3, "ModifyIndex": 7},
        "Checks": [{"Node": "orders-1", "CheckID": "service:orders-1:orders:8080",
            "Name": "Service 'ORDERS' check", "Status": "passing", "Notes": "", "Output": "",
            "ServiceID": "orders-1:orders:8080", "ServiceName": "ORDERS", "ServiceTags": [], "Type": "ttl",
            "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {},
            "CreateIndex": 3, "ModifyIndex": 7}],
    });
    assert_eq!(serde_json::to_value(&node).unwrap(), expected);
}

#[test]
fn a_node_is_named_by_the_host_else_by_the_ip_else_by_the_id() {
    let own = own();
    let mut instance = eurekas();
    instance.address.host = None;
    assert_eq!(shown(&instance, &own).node_name(), "10.0.0.1");
    instance.address.ip = None;
    assert_eq!(shown(&instance, &own).node_name(), "orders-1:orders:8080");
    let node = shown(&instance, &own).node();
    assert_eq!((&*node.address, service_address(&instance)), ("", ""));
    instance.address.host = Some("h".to_owned());
    assert_eq!(shown(&instance, &own).node().address, "h");
}

#[test]
fn the_port_is_the_one_that_is_on() {
    let own = own();
    let mut instance = eurekas();
    let mut port = |plain, secure| {
        let port = |number, enabled| Some(Port { number, enabled });
        instance.address.port = port(8_080, plain);
        instance.address.secure_port = port(8_443, secure);
        shown(&instance, &own).service().port
    };
    assert_eq!(
        [port(true, true), port(true, false), port(false, true), port(false, false)],
        [8_080, 8_080, 8_443, 0]
    );
}

#[test]
fn a_status_other_than_up_is_a_critical_check_that_says_so() {
    let id = "service:orders-1:orders:8080";
    for status in Status::ALL {
        let instance = Instance { status, ..eurekas() };
        let expected = match status {
            Status::Up => triple(id, "passing", ""),
            other => triple(id, "critical", &format!("Its status is {other}")),
        };
        assert_eq!(says(&instance), std::slice::from_ref(&expected));
        // Without a lease, there is a check only if there is something to say.
        let unleased = Instance { lease: None, ..instance };
        let expected = Some(expected).filter(|_| status != Status::Up);
        assert_eq!(says(&unleased), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn an_operators_override_is_consuls_maintenance_mode() {
    let mut instance = eurekas();
    instance.status = Status::OutOfService;
    instance.status_override = Some(Status::OutOfService);
    let checks = printed(&instance).checks;
    assert_eq!(checks[0].check_id, "_service_maintenance:orders-1:orders:8080");
    assert_eq!((&*checks[0].name, &*checks[0].status), ("Service Maintenance Mode", "critical"));
    assert_eq!((&*checks[1].kind, &*checks[1].status), ("ttl", "passing"));
    assert_eq!(aggregate(&checks), AggregatedStatus::Maintenance);
    instance.lease = None;
    assert_eq!(says(&instance).len(), 1);
}

#[test]
fn checks_that_pass_do_not_hide_a_status() {
    let mut instance = eurekas();
    let check = |health| Check { health, ..Check::new("http", Probe::Tcp("h:1".to_owned())) };
    instance.checks = vec![check(Health::Passing)];
    assert_eq!(says(&instance), [triple("http", "passing", "")]);
    instance.status = Status::Starting;
    let status = "larder-status:orders-1:orders:8080";
    let critical = triple(status, "critical", "Its status is STARTING");
    assert_eq!(says(&instance), [triple("http", "passing", ""), critical]);
    instance.checks = vec![check(Health::Critical)];
    assert_eq!(says(&instance), [triple("http", "critical", "")]);
}

#[test]
fn all_checks_pass_or_warn_if_and_only_if_it_is_up() {
    let healths = [None, Some(Health::Passing), Some(Health::Warning), Some(Health::Critical)];
    let overrides = [None, Some(Status::Up), Some(Status::Down), Some(Status::OutOfService)];
    for (status, status_override) in
        Status::ALL.into_iter().flat_map(|status| overrides.map(|over| (status, over)))
    {
        for (health, lease) in
            healths.into_iter().flat_map(|h| [(h, None), (h, Some(Lease::default()))])
        {
            let check = |health| Check { health, ..Check::new("c", Probe::Tcp("h:1".to_owned())) };
            let checks = health.map(check).into_iter().collect();
            let instance = Instance { status, status_override, lease, checks, ..eurekas() };
            let serves = aggregate(&printed(&instance).checks) < AggregatedStatus::Critical;
            assert_eq!(serves, instance.effective_status() == Status::Up, "{instance:?}");
        }
    }
}

#[test]
fn what_checks_come_to_is_the_worst() {
    let check = |status: &str| crate::wire::HealthCheck {
        status: status.to_owned().into(),
        ..Default::default()
    };
    let come_to = |words: &[&str]| {
        let checks: Vec<_> = words.iter().map(|word| check(word)).collect();
        aggregate(&checks).as_str()
    };
    assert_eq!(come_to(&[]), "passing");
    assert_eq!(come_to(&["passing", "warning", "passing"]), "warning");
    assert_eq!(come_to(&["critical", "warning"]), "critical");
    let mut node = check("critical");
    node.check_id = "_node_maintenance".into();
    assert_eq!(aggregate(&[node, check("critical")]).as_str(), "maintenance");
}

fn registered(body: &Value) -> Instance {
    register(definition::service(body.to_string().as_bytes()).expect("it is right"), &own())
}

#[test]
fn what_consuls_client_registers_is_an_instance_for_everybody() {
    let instance = registered(&json!({"ID": "redis1", "Name": "redis", "Tags": ["primary"],
        "Address": "127.0.0.1", "Port": 8000, "Meta": {"redis_version": "4.0"},
        "Check": {"TTL": "15s", "DeregisterCriticalServiceAfter": "90m"},
        "Weights": {"Passing": 10, "Warning": 1}}));
    assert_eq!((instance.service.as_str(), &*instance.id), ("redis", "redis1"));
    assert_eq!(instance.address.ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(instance.address.port, Some(Port { number: 8_000, enabled: true }));
    assert_eq!((instance.lease, instance.mesh.as_ref()), (None, None));
    assert_eq!(instance.metadata.get("redis_version"), Some("4.0"));
    let check = &instance.checks[0];
    assert_eq!((&*check.id, &*check.name), ("service:redis1", "Service 'redis' check"));
    assert_eq!(check.probe, Probe::Ttl(Duration::from_secs(15)));
    assert_eq!(check.deregister_after, Some(Duration::from_secs(5_400)));
    assert_eq!(instance.effective_status(), Status::Down);
    assert!(own().runs(&instance));
}

#[test]
fn checks_get_the_ids_and_kinds_that_consuls_agents_give() {
    let instance = registered(&json!({"Name": "web", "Checks": [
        {"HTTP": "http://h/", "Interval": "10s", "Method": "get", "Status": "passing"},
        {"HTTP": "http://h/", "Interval": "10s", "Method": "POST", "Header": {"A": ["b"]}},
        {"CheckID": "mine", "TCP": "h:1", "Interval": "10s", "Timeout": "1s", "Name": "n", "Notes": "why"},
        {"GRPC": "h:1", "GRPCUseTLS": true, "Interval": "10s"},
        {"AliasService": "db"}, {"Args": ["true"], "Interval": "1s"}, {"UDP": "h:1", "Interval": "1s"}]}));
    let ids: Vec<_> = instance.checks.iter().map(|check| &*check.id).collect();
    let expected = [
        "service:web:1",
        "service:web:2",
        "mine",
        "service:web:4",
        "service:web:5",
        "service:web:6",
        "service:web:7",
    ];
    assert_eq!(ids, expected);
    assert_eq!(instance.id, "web");
    let kinds: Vec<_> =
        printed(&instance).checks.iter().map(|check| check.kind.to_string()).collect();
    assert_eq!(kinds, ["", "tcp", "http", "http", "grpc", "alias", "script", "udp"]);
    let Probe::Http { definition, .. } = &instance.checks[0].probe else { panic!() };
    assert_eq!(definition.0, "", "a plain GET can be probed here");
    let Probe::Http { definition, .. } = &instance.checks[1].probe else { panic!() };
    assert_eq!(definition.0, r#"{"method":"POST","header":{"A":["b"]}}"#);
    let Probe::Other { definition, .. } = &instance.checks[3].probe else { panic!() };
    assert_eq!(definition.0, r#"{"GRPC":"h:1","GRPCUseTLS":true}"#);
    assert_eq!(instance.checks[0].health, Health::Passing);
    assert_eq!((&*instance.checks[2].name, &*instance.checks[2].notes), ("n", "why"));
}

#[test]
fn of_two_checks_with_one_id_the_later_counts() {
    let instance = registered(&json!({"Name": "web", "Checks": [
        {"CheckID": "c", "TTL": "1s"}, {"CheckID": "c", "TTL": "2s"}]}));
    assert_eq!(instance.checks.len(), 1);
    assert_eq!(instance.checks[0].probe, Probe::Ttl(Duration::from_secs(2)));
}

#[test]
fn a_check_of_its_own_has_its_name_for_an_id() {
    let read = |body: &str| definition::check(body.as_bytes()).expect("it is right");
    let check = register_check(&read(r#"{"Name":"mem","TTL":"15s","Status":"warning"}"#));
    assert_eq!((&*check.id, check.health), ("mem", Health::Warning));
    let check = register_check(&read(r#"{"ID":"m","Name":"mem","TTL":"15s"}"#));
    assert_eq!((&*check.id, &*check.name), ("m", "mem"));
}

#[test]
fn a_service_without_an_address_is_reached_at_its_nodes() {
    let instance = registered(&json!({"Name": "web", "Port": 80}));
    assert_eq!(instance.address.ip.as_deref(), Some("10.9.9.9"));
    assert_eq!(instance.address.host.as_deref(), Some("10.9.9.9"));
    let shown = printed(&instance);
    assert_eq!((&*shown.service.address, &*shown.node.address), ("", "10.9.9.9"));
    let same = registered(&json!({"Name": "web", "Address": "10.9.9.9"}));
    assert_eq!(printed(&same).service.address, "10.9.9.9");
}

#[test]
fn what_was_registered_here_is_on_a_node_that_is_alive() {
    let checks = printed(&registered(&json!({"Name": "web"}))).checks;
    assert_eq!(checks.len(), 1);
    assert_eq!((&*checks[0].check_id, &*checks[0].name), ("serfHealth", "Serf Health Status"));
    assert_eq!((&*checks[0].status, &*checks[0].output), ("passing", "Agent alive and reachable"));
    assert_eq!(checks[0].service_id, "");
    let (own, indexes) = (own(), crate::mapping::Indexes { create: 3, modify: 7 });
    assert_eq!(own.serf_health(indexes), checks[0]);
    assert_eq!(own.shown(indexes), printed(&registered(&json!({"Name": "web"}))).node);
}
