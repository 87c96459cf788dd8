//! What an operator takes out of service.

use larder_registry::model::{Key, Status};
use serde_json::json;

use super::support::Stand;

#[tokio::test]
async fn a_service_in_maintenance_is_critical_for_everybody_until_it_is_lifted() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1","Check":{"TTL":"1h","Status":"passing"}}"#).await;
    let path = "/v1/agent/service/maintenance/1";
    assert_eq!(
        stand.put(&format!("{path}?enable=true&reason=moving%20house"), "").await.text(),
        ""
    );
    assert_eq!(stand.json("/v1/health/service/web?passing").await, json!([]));
    let checks = stand.json("/v1/health/checks/web").await;
    assert_eq!(checks[0]["CheckID"], "_service_maintenance:1");
    let fields = ["Name", "Status", "Type"].map(|field| checks[0][field].as_str().unwrap_or("?"));
    assert_eq!(fields, ["Service Maintenance Mode", "critical", "maintenance"]);
    let told = stand.get("/v1/agent/health/service/id/1").await;
    assert_eq!((told.status, told.header("X-Consul-Reason")), (503, Some("maintenance")));

    let held = stand.registry.instance(&Key::new("web", "1")).expect("it is registered");
    assert_eq!(held.effective_status(), Status::OutOfService, "so every protocol says");

    // Registering again does not bring it back, nor does its check.
    stand.register(r#"{"Name":"web","ID":"1","Check":{"TTL":"1h"}}"#).await;
    stand.put("/v1/agent/check/pass/service:1", "").await;
    assert_eq!(stand.json("/v1/health/service/web?passing").await, json!([]));
    stand.put(&format!("{path}?enable=false"), "").await;
    assert_eq!(
        stand.json("/v1/health/service/web?passing").await.as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(stand.json("/v1/health/checks/web").await.as_array().map(Vec::len), Some(1));
    let held = stand.registry.instance(&Key::new("web", "1")).expect("it is registered");
    assert_eq!(held.effective_status(), Status::Up);
}

#[tokio::test]
async fn a_node_in_maintenance_has_all_of_its_services_in_it() {
    let stand = Stand::new();
    for id in ["1", "2"] {
        stand.register(&format!(r#"{{"Name":"web","ID":"{id}"}}"#)).await;
    }
    let outside = r#"{"Node":"ext","Address":"10.0.0.9","Service":{"Service":"web","ID":"c"}}"#;
    stand.put("/v1/catalog/register", outside).await;
    stand.put("/v1/agent/maintenance?enable=True", "").await;
    let passing = stand.json("/v1/health/service/web?passing").await;
    assert_eq!(passing.as_array().map(Vec::len), Some(1), "the other node's");
    stand.put("/v1/agent/maintenance?enable=False", "").await;
    let passing = stand.json("/v1/health/service/web?passing").await;
    assert_eq!(passing.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn whether_it_begins_or_ends_must_be_said() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    for path in ["/v1/agent/service/maintenance/web", "/v1/agent/maintenance"] {
        for (query, says) in
            [("", "Missing value for enable"), ("?enable=", "Missing value for enable")]
        {
            let told = stand.ask("PUT", &format!("{path}{query}"), "").await;
            assert_eq!((told.status, told.text()), (400, says), "{path}{query}");
        }
        let told = stand.ask("PUT", &format!("{path}?enable=maybe"), "").await;
        assert_eq!(told.status, 400);
        assert!(told.text().starts_with("Invalid value for enable"), "{}", told.text());
    }
    let told = stand.ask("PUT", "/v1/agent/service/maintenance/none?enable=true", "").await;
    assert_eq!(told.status, 404);
    assert!(told.text().starts_with("Unknown service ID \"none\""), "{}", told.text());
}
