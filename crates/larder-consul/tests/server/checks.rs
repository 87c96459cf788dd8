//! Checks: their ids, their kinds, who reports them, and what silence means.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::Stand;

async fn status(stand: &Stand, id: &str) -> String {
    let checks = stand.json("/v1/agent/checks").await;
    checks[id]["Status"].as_str().unwrap_or("gone").to_owned()
}

#[tokio::test]
async fn the_only_check_of_a_service_has_its_id_and_several_are_numbered() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"one","ID":"o","Check":{"TTL":"1h"}}"#).await;
    stand.register(r#"{"Name":"list","ID":"l","Checks":[{"TTL":"1h"}]}"#).await;
    stand
        .register(
            r#"{"Name":"two","ID":"t","Checks":[{"TTL":"1h"},{"TCP":"127.0.0.1:1","Interval":"10s"}]}"#,
        )
        .await;
    stand
        .register(r#"{"Name":"own","ID":"x","Check":{"CheckID":"mine","Name":"n","TTL":"1h"}}"#)
        .await;
    let checks = stand.json("/v1/agent/checks").await;
    let ids: Vec<_> = checks.as_object().expect("a map").keys().collect();
    assert_eq!(ids, ["mine", "service:l", "service:o", "service:t:1", "service:t:2"]);
    assert_eq!(checks["service:o"]["Name"], "Service 'one' check");
    assert_eq!(checks["mine"]["Name"], "n");
    assert_eq!(checks["service:o"]["ServiceID"], "o");
}

#[tokio::test]
async fn every_kind_is_listed_with_its_word_and_times() {
    let stand = Stand::new();
    stand
        .register(
            r#"{"Name":"web","Checks":[
                {"CheckID":"a","TTL":"15s"},
                {"CheckID":"b","HTTP":"http://127.0.0.1:1/health","Interval":"10s","Timeout":"1s"},
                {"CheckID":"c","TCP":"127.0.0.1:1","Interval":"1m"},
                {"CheckID":"d","GRPC":"127.0.0.1:1/x","Interval":"10s"},
                {"CheckID":"e","TTL":"15s","Status":"warning","Notes":"n"}]}"#,
        )
        .await;
    let checks = stand.json("/v1/agent/checks").await;
    for (id, kind, interval, status) in [
        ("a", "ttl", "", "critical"),
        ("b", "http", "10s", "critical"),
        ("c", "tcp", "1m0s", "critical"),
        ("d", "grpc", "10s", "critical"),
        ("e", "ttl", "", "warning"),
    ] {
        let said =
            ["Type", "Interval", "Status"].map(|field| checks[id][field].as_str().unwrap_or("?"));
        assert_eq!(said, [kind, interval, status], "{id}");
    }
    assert_eq!(checks["b"]["Timeout"], "1s");
    assert_eq!(checks["e"]["Notes"], "n");
}

#[tokio::test]
async fn a_report_is_what_a_check_says_from_then_on() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    assert_eq!(status(&stand, "service:web").await, "critical");
    for (path, body, expected, output) in [
        ("pass/service:web?note=all%20is+well", "", "passing", "all is well"),
        ("warn/service:web?note=90%25", "", "warning", "90%"),
        ("fail/service:web", "", "critical", ""),
        ("update/service:web", r#"{"Status":"passing","Output":"ok"}"#, "passing", "ok"),
        ("update/service%3Aweb", r#"{"status":"warning","output":"größe"}"#, "warning", "größe"),
    ] {
        let told = stand.put(&format!("/v1/agent/check/{path}"), body.to_owned()).await;
        assert_eq!(told.text(), "", "{path}");
        let checks = stand.json("/v1/health/checks/web").await;
        assert_eq!(
            (&checks[0]["Status"], &checks[0]["Output"]),
            (&json!(expected), &json!(output))
        );
        assert_eq!(status(&stand, "service:web").await, expected, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_check_is_404_whichever_way_it_is_reported() {
    // Spring's client then registers again.
    let stand = Stand::new();
    let says =
        "Unknown check ID \"service:web\". Ensure that the check ID is passed, not the check name.";
    for way in ["pass", "warn", "fail", "deregister", "update"] {
        let path = format!("/v1/agent/check/{way}/service:web");
        let told = stand.ask("PUT", &path, r#"{"Status":"passing"}"#).await;
        assert_eq!((told.status, told.text()), (404, says), "{way}");
    }
}

#[tokio::test]
async fn a_check_that_somebody_else_probes_cannot_be_reported() {
    let stand = Stand::new();
    let check = r#"{"Name":"web","Check":{"TCP":"127.0.0.1:1","Interval":"1h"}}"#;
    stand.register(check).await;
    let told = stand.ask("PUT", "/v1/agent/check/pass/service:web", "").await;
    let says = "CheckID \"service:web\" does not have associated TTL";
    assert_eq!((told.status, told.text()), (500, says));
}

#[tokio::test]
async fn registered_again_a_service_keeps_what_its_checks_say() {
    let stand = Stand::new();
    let body = r#"{"Name":"web","Check":{"TTL":"1h"}}"#;
    stand.register(body).await;
    stand.put("/v1/agent/check/pass/service:web?note=fine", "").await;
    stand.register(body).await;
    assert_eq!(status(&stand, "service:web").await, "passing");
    stand.register(r#"{"Name":"web","Port":81}"#).await;
    assert_eq!(status(&stand, "service:web").await, "passing", "also without mentioning it");
    stand.put("/v1/agent/service/register?replace-existing-checks", r#"{"Name":"web"}"#).await;
    assert_eq!(status(&stand, "service:web").await, "gone");
}

#[tokio::test]
async fn replacing_checks_leaves_those_that_are_mentioned() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    stand.put("/v1/agent/check/register", r#"{"Name":"mem","TTL":"1h","ServiceID":"web"}"#).await;
    stand.register(r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    assert_eq!(status(&stand, "mem").await, "critical", "what was registered apart stays");
    let path = "/v1/agent/service/register?replace-existing-checks=true";
    stand.put(path, r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    assert_eq!(status(&stand, "mem").await, "gone");
    assert_eq!(status(&stand, "service:web").await, "critical");
}

#[tokio::test]
async fn checks_are_registered_and_deregistered_apart_from_their_service() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    let body = r#"{"ID":"mem","Name":"Memory","TTL":"15s","ServiceID":"web","Status":"passing","Notes":"n"}"#;
    assert_eq!(stand.put("/v1/agent/check/register", body).await.text(), "");
    let checks = stand.json("/v1/health/checks/web").await;
    let expected = json!({
        "Node": "golden", "CheckID": "mem", "Name": "Memory", "Status": "passing", "Notes": "n",
        "Output": "", "ServiceID": "web", "ServiceName": "web", "ServiceTags": [], "Type": "ttl",
        "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {},
    });
    let mut said = checks[0].clone();
    for index in ["CreateIndex", "ModifyIndex"] {
        assert!(said.as_object_mut().and_then(|said| said.remove(index)).is_some());
    }
    assert_eq!(said, expected);
    stand.put("/v1/agent/check/deregister/mem", "").await;
    assert_eq!(stand.json("/v1/health/checks/web").await, json!([]));
    let unknown = r#"{"Name":"c","TTL":"10s","ServiceID":"none"}"#;
    let told = stand.ask("PUT", "/v1/agent/check/register", unknown).await;
    assert_eq!((told.status, told.text()), (404, "ServiceID \"none\" does not exist"));
    let of_node = stand.ask("PUT", "/v1/agent/check/register", r#"{"Name":"c","TTL":"10s"}"#).await;
    assert_eq!(of_node.status, 501);
}

#[tokio::test(start_paused = true)]
async fn silence_beyond_its_ttl_makes_a_check_critical_and_wakes_who_waits() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Check":{"TTL":"15s"}}"#).await;
    stand.put("/v1/agent/check/pass/service:web?note=fine", "").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    stand.put("/v1/agent/check/pass/service:web?note=fine", "").await;
    let seen = stand.get("/v1/health/service/web?passing").await.index();
    let parked = stand.park(&format!("/v1/health/service/web?passing&index={seen}")).await;
    let told = parked.told().await;
    assert_eq!(told.text(), "[]");
    assert!(
        told.took >= Duration::from_secs(15) && told.took < Duration::from_secs(17),
        "{told:?}"
    );
    let checks = stand.json("/v1/agent/checks").await;
    let says = "TTL expired (last output before timeout follows): fine";
    assert_eq!(checks["service:web"]["Output"], says);
    stand.put("/v1/agent/check/pass/service:web", "").await;
    assert_eq!(status(&stand, "service:web").await, "passing");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_critical_for_too_long_is_deregistered() {
    let stand = Stand::new();
    let check = r#"{"TTL":"10s","DeregisterCriticalServiceAfter":"1m"}"#;
    stand.register(&format!(r#"{{"Name":"web","Check":{check}}}"#)).await;
    stand.put("/v1/agent/check/pass/service:web", "").await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(status(&stand, "service:web").await, "critical");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stand.json("/v1/agent/services").await, json!({}));
}

#[tokio::test]
async fn load_balancers_are_told_how_a_service_is_by_the_status() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1","Check":{"TTL":"1h"}}"#).await;
    stand.register(r#"{"Name":"web","ID":"2","Check":{"TTL":"1h","Status":"passing"}}"#).await;
    stand.register(r#"{"Name":"bare"}"#).await;
    let about = |told: &Value| told["AggregatedStatus"].as_str().map(str::to_owned);
    for (way, of_one, of_both) in [
        ("pass", "passing", "passing"),
        ("warn", "warning", "warning"),
        ("fail", "critical", "critical"),
    ] {
        stand.put(&format!("/v1/agent/check/{way}/service:1"), "").await;
        let code = |word| match word {
            "passing" => 200,
            "warning" => 429,
            _ => 503,
        };
        let by_id = stand.get("/v1/agent/health/service/id/1").await;
        assert_eq!((by_id.status, by_id.header("X-Consul-Reason")), (code(of_one), Some(of_one)));
        assert_eq!(about(&by_id.json()), Some(of_one.to_owned()));
        assert_eq!(by_id.json()["Service"]["ID"], "1");
        assert_eq!(by_id.json()["Checks"][0]["CheckID"], "service:1");
        let by_name = stand.get("/v1/agent/health/service/name/WEB").await;
        assert_eq!(by_name.status, code(of_both));
        assert_eq!(by_name.json().as_array().map(Vec::len), Some(2));
        for path in ["id/1", "name/web"] {
            let text = stand.get(&format!("/v1/agent/health/service/{path}?format=text")).await;
            assert_eq!((text.status, text.text()), (code(of_one), of_one));
            assert!(text.header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")));
        }
    }
    assert_eq!(stand.get("/v1/agent/health/service/id/bare").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_has_no_health_and_says_so_as_consul_does() {
    let stand = Stand::new();
    let by_id = stand.get("/v1/agent/health/service/id/none").await;
    assert_eq!(by_id.status, 404);
    let nothing = json!({"AggregatedStatus": "critical", "Service": null, "Checks": null});
    assert_eq!(by_id.json(), nothing);
    assert_eq!(by_id.header("X-Consul-Reason"), Some("ServiceId none not found"));
    let by_name = stand.get("/v1/agent/health/service/name/none").await;
    assert_eq!((by_name.status, by_name.text()), (404, "[]"));
    let text = stand.get("/v1/agent/health/service/name/none?format=text").await;
    assert_eq!((text.status, text.text()), (404, "ServiceName none Not Found"));
}
