//! One registry, whoever registers: what Eureka's clients registered seen here, and the other way round.

use larder_registry::OverrideChange;
use larder_registry::model::{Check, Health, Instance, Key, Lease, Name, Port, Probe, Status};
use serde_json::json;

use super::support::{Stand, all};

fn eurekas(id: &str, status: Status) -> Instance {
    let mut instance = Instance::new("ORDERS", id);
    instance.status = status;
    instance.address.host = Some("host-7".to_owned());
    instance.address.ip = Some("10.0.0.7".to_owned());
    instance.address.port = Some(Port { number: 8080, enabled: true });
    instance.lease = Some(Lease { duration_secs: 90, ..Lease::default() });
    instance.metadata.insert("zone".into(), "a".into());
    instance
}

#[tokio::test]
async fn what_eurekas_clients_registered_is_found_with_sensible_fields() {
    let stand = Stand::new();
    stand.registry.register(eurekas("host-7:orders:8080", Status::Up)).await.expect("room");
    let services = stand.json("/v1/catalog/services").await;
    assert!(services.get("ORDERS").is_some(), "{services}");
    let told = stand.json("/v1/health/service/orders?passing").await;
    let one = &told[0];
    assert_eq!(one["Service"]["ID"], "host-7:orders:8080");
    assert_eq!(
        (&one["Service"]["Address"], &one["Service"]["Port"]),
        (&json!("10.0.0.7"), &json!(8080))
    );
    assert_eq!(one["Service"]["Meta"]["zone"], "a");
    assert_eq!(one["Node"]["Node"], "host-7");
    assert_eq!(one["Checks"][0]["Status"], "passing");
    assert!(all(&stand.json("/v1/catalog/nodes").await, "/Node").contains(&"host-7".to_owned()));
    assert_eq!(stand.json("/v1/agent/services").await, json!({}), "it is another agent's");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_changes_elsewhere_is_critical_here_and_wakes_who_waits() {
    let stand = Stand::new();
    for status in [Status::Up, Status::Down, Status::Starting, Status::Up] {
        let seen = stand.get("/v1/health/service/orders").await.index();
        let parked = stand.park(&format!("/v1/health/service/orders?index={seen}")).await;
        stand.registry.register(eurekas("1", status)).await.expect("room");
        let told = parked.told().await;
        assert_eq!(told.took.as_secs(), 0, "{status}");
        let told = told.json();
        let is_up = status == Status::Up;
        let worst = if is_up { "passing" } else { "critical" };
        let statuses = all(&told[0]["Checks"], "/Status");
        assert_eq!(statuses.iter().all(|status| status == "passing"), is_up, "{status}: {told}");
        assert!(statuses.contains(&worst.to_owned()), "{status}");
        let passing = stand.json("/v1/health/service/orders?passing").await;
        assert_eq!(passing.as_array().is_some_and(|list| !list.is_empty()), is_up, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_answers_who_waits() {
    let stand = Stand::new();
    stand.registry.register(eurekas("1", Status::Up)).await.expect("room");
    let seen = stand.get("/v1/health/service/orders").await.index();
    let told = stand.get(&format!("/v1/health/service/orders?index={seen}&wait=10m")).await;
    assert_eq!(told.text(), "[]");
    assert!(told.took.as_secs() >= 89 && told.took.as_secs() < 100, "{:?}", told.took);
}

#[tokio::test]
async fn an_override_elsewhere_is_maintenance_here() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1"}"#).await;
    let change = |to| OverrideChange { to, fallback: Status::Up, dirty_at: None };
    let key = Key::new("web", "1");
    stand.registry.set_override(&key, change(Some(Status::OutOfService))).await.expect("there");
    let told = stand.get("/v1/agent/health/service/id/1").await;
    assert_eq!((told.status, told.header("X-Consul-Reason")), (503, Some("maintenance")));
    stand.put("/v1/agent/service/maintenance/1?enable=false", "").await;
    let held = stand.registry.instance(&key).expect("there");
    assert_eq!(held.effective_status(), Status::Up);
}

#[tokio::test]
async fn what_consuls_clients_registered_is_up_for_everybody_while_no_check_is_critical() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1","Address":"10.0.0.1","Port":80,"Tags":["t"],"Meta":{"k":"v"},"Check":{"TTL":"1h"}}"#).await;
    let held = || stand.registry.instance(&Key::new("WEB", "1")).expect("there");
    assert_eq!(held().effective_status(), Status::Down, "checks begin critical");
    for (way, status) in [("pass", Status::Up), ("warn", Status::Up), ("fail", Status::Down)] {
        stand.put(&format!("/v1/agent/check/{way}/service:1"), "").await;
        assert_eq!(held().effective_status(), status, "{way}");
    }
    let held = held();
    assert_eq!(held.service, Name::new("web"));
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(held.address.port, Some(Port { number: 80, enabled: true }));
    assert_eq!(held.tags, ["t"]);
    assert!(held.has_label("k", "v") && held.lease.is_none());
}

#[tokio::test]
async fn checks_that_larders_own_api_registered_are_shown() {
    let stand = Stand::new();
    let mut instance = Instance::new("jobs", "j1");
    let check = Check::new("disk", Probe::Ttl(std::time::Duration::from_secs(60)));
    instance.checks = vec![Check { health: Health::Warning, ..check }];
    stand.registry.register(instance).await.expect("room");
    let told = stand.json("/v1/health/state/warning").await;
    assert_eq!(all(&told, "/CheckID"), ["disk"]);
    assert_eq!(told[0]["ServiceName"], "jobs");
    assert_eq!(
        stand.ask("PUT", "/v1/agent/check/pass/disk", "").await.status,
        404,
        "it is not this agent's"
    );
}
