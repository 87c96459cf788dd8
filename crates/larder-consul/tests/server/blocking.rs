//! Blocking queries: who is woken by what, and for how long one waits.

use std::time::Duration;

use larder_consul::blocking::Limits;
use larder_consul::server::crowd;

use super::support::Stand;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every kind of read, and a change that it hears of.
const HEARD: [(&str, &str); 10] = [
    ("/v1/health/service/web", r#"{"Name":"web","ID":"2"}"#),
    ("/v1/health/service/WEB?passing", r#"{"Name":"web","ID":"2"}"#),
    ("/v1/catalog/service/web?tag=x", r#"{"Name":"web","ID":"2"}"#),
    ("/v1/health/checks/web", r#"{"Name":"web","ID":"2"}"#),
    ("/v1/health/connect/web", r#"{"Name":"web","ID":"2"}"#),
    ("/v1/catalog/services", r#"{"Name":"other"}"#),
    ("/v1/catalog/node/golden", r#"{"Name":"other"}"#),
    ("/v1/catalog/node-services/golden", r#"{"Name":"other"}"#),
    ("/v1/health/node/golden", r#"{"Name":"other"}"#),
    ("/v1/health/state/any", r#"{"Name":"other","Check":{"TTL":"1m"}}"#),
];

#[tokio::test(start_paused = true)]
async fn a_change_answers_whoever_waits_for_it_with_a_higher_index() {
    for (path, change) in HEARD {
        let stand = Stand::new();
        stand.register(r#"{"Name":"web","ID":"1"}"#).await;
        let seen = stand.get(path).await.index();
        let separator = if path.contains('?') { '&' } else { '?' };
        let parked = stand.park(&format!("{path}{separator}index={seen}&wait=60s")).await;
        stand.register(change).await;
        let told = parked.told().await;
        assert!(told.status == 200 && told.index() > seen, "{path}: {told:?}");
        assert_eq!(told.took, Duration::ZERO, "{path}");
        assert_eq!(stand.consul.parked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_wakes_nobody() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","ID":"1","Check":{"TTL":"1h"}}"#).await;
    stand.put("/v1/kv/mine", "1").await;
    let mut waiting = Vec::new();
    for path in [
        "/v1/health/service/web",
        "/v1/catalog/service/web",
        "/v1/health/checks/web",
        "/v1/health/service/missing",
        "/v1/catalog/node/missing",
        "/v1/kv/mine",
        "/v1/kv/mine/?keys",
    ] {
        let seen = stand.get(path).await.index();
        let separator = if path.contains('?') { '&' } else { '?' };
        let asked = format!("{path}{separator}index={seen}&wait=60s");
        waiting.push((path, seen, stand.park(&asked).await));
    }
    stand.register(r#"{"Name":"other","Check":{"TTL":"1h"}}"#).await;
    stand.put("/v1/agent/check/pass/service:other", "").await;
    stand.put("/v1/agent/service/deregister/other", "").await;
    stand.put("/v1/kv/yours", "1").await;
    stand.ask("DELETE", "/v1/kv/yours", "").await;
    for (path, _, parked) in &waiting {
        parked.is_still_waiting().await;
        assert!(!path.is_empty());
    }
    for (path, seen, parked) in waiting {
        let told = parked.told().await;
        assert!(told.took >= seconds(60), "{path}: {:?}", told.took);
        // Of keys that are not there, the index is the store's.
        assert!(told.index() == seen || told.status == 404, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_wakes_nobody() {
    let stand = Stand::new();
    let body = r#"{"Name":"web","Check":{"TTL":"1h"}}"#;
    stand.register(body).await;
    stand.put("/v1/agent/check/pass/service:web", "").await;
    let seen = stand.get("/v1/health/service/web").await.index();
    let parked = stand.park(&format!("/v1/health/service/web?index={seen}&wait=60s")).await;
    stand.register(body).await;
    stand.put("/v1/agent/check/pass/service:web?note=again", "").await;
    let told = parked.told().await;
    assert!(told.index() == seen && told.took >= seconds(60), "{told:?}");
    assert_eq!(told.json()[0]["Checks"][1]["Status"], "passing", "registering again keeps it");
}

#[tokio::test(start_paused = true)]
async fn nodes_are_not_woken_by_services_nor_the_list_of_services_by_checks() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    let nodes = stand.get("/v1/catalog/nodes").await.index();
    let services = stand.get("/v1/catalog/services").await.index();
    let on_nodes = stand.park(&format!("/v1/catalog/nodes?index={nodes}&wait=60s")).await;
    let on_services = stand.park(&format!("/v1/catalog/services?index={services}&wait=60s")).await;
    stand.put("/v1/agent/check/pass/service:web", "").await;
    on_services.is_still_waiting().await;
    stand.register(r#"{"Name":"other"}"#).await;
    assert!(on_services.told().await.index() > services);
    on_nodes.is_still_waiting().await;
    let elsewhere = r#"{"Node":"ext","Address":"10.0.0.1","Service":{"Service":"db"}}"#;
    stand.put("/v1/catalog/register", elsewhere).await;
    assert!(on_nodes.told().await.index() > nodes);
}

#[tokio::test(start_paused = true)]
async fn without_a_change_the_same_is_answered_when_the_time_is_over() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    let first = stand.get("/v1/health/service/web").await;
    let seen = first.index();
    let told = stand.get(&format!("/v1/health/service/web?index={seen}&wait=10s")).await;
    assert_eq!((told.status, told.index(), &told.body), (200, seen, &first.body));
    // And up to a sixteenth: clients give up soon after that.
    assert!(told.took >= seconds(10) && told.took <= seconds(10) * 17 / 16, "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_a_default_a_longest_and_some_jitter_cached_or_not() {
    let stand = Stand::with(|options| {
        options.blocking = Limits { default: seconds(40), max: seconds(80) };
    });
    stand.put("/v1/kv/a", "1").await;
    let mut times = Vec::new();
    for path in ["/v1/health/service/web?", "/v1/health/service/web?cached&", "/v1/kv/a?"] {
        let seen = stand.get(path.trim_end_matches(['?', '&'])).await.index();
        for (wait, expected) in
            [("", 40), ("&wait=", 40), ("&wait=0s", 40), ("&wait=16s", 16), ("&wait=3h", 80)]
        {
            let told = stand.get(&format!("{path}index={seen}{wait}")).await;
            let (least, most) = (seconds(expected), seconds(expected) * 17 / 16);
            assert!(told.took >= least && told.took <= most, "{path}{wait}: {:?}", told.took);
            times.push(told.took.as_secs_f64() / least.as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    times.dedup();
    assert!(times.len() > 10, "they are spread: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_index_nobody_waits() {
    let stand = Stand::new();
    for query in ["wait=60s", "index=0&wait=60s", "index=&wait=60s", "wait=60s&cached"] {
        for path in ["/v1/health/service/web", "/v1/kv/none", "/v1/event/list"] {
            let told = stand.get(&format!("{path}?{query}")).await;
            assert_eq!(told.took, Duration::ZERO, "{path}?{query}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_of_another_history_is_answered_at_once_with_the_present_one() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    for path in ["/v1/health/service/web", "/v1/catalog/services", "/v1/kv/none"] {
        let told = stand.get(&format!("{path}?index={}&wait=60s", u64::MAX)).await;
        assert_eq!(told.took, Duration::ZERO, "{path}");
        assert!(told.index() < u64::MAX, "{path}: its client begins anew");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_service_is_waited_for_until_it_appears() {
    let stand = Stand::new();
    let missing = stand.get("/v1/health/service/web").await;
    assert_eq!((missing.status, missing.text()), (200, "[]"));
    let parked = stand.park(&format!("/v1/health/service/web?index={}", missing.index())).await;
    stand.register(r#"{"Name":"other"}"#).await;
    stand.register(r#"{"Name":"webby"}"#).await;
    parked.is_still_waiting().await;
    stand.register(r#"{"Name":"web"}"#).await;
    let told = parked.told().await;
    assert_eq!(told.json().as_array().map(Vec::len), Some(1));
    assert!(told.index() > missing.index());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_leaves_answers_and_can_be_waited_for_again() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web"}"#).await;
    let mut seen = stand.get("/v1/health/service/web").await.index();
    for _ in 0..3 {
        let parked = stand.park(&format!("/v1/health/service/web?index={seen}")).await;
        stand.put("/v1/agent/service/deregister/web", "").await;
        let gone = parked.told().await;
        assert!(gone.text() == "[]" && gone.index() > seen, "{gone:?}");
        let parked = stand.park(&format!("/v1/health/service/web?index={}", gone.index())).await;
        stand.register(r#"{"Name":"other"}"#).await;
        stand.put("/v1/agent/service/deregister/other", "").await;
        parked.is_still_waiting().await;
        stand.register(r#"{"Name":"web"}"#).await;
        let back = parked.told().await;
        assert!(back.index() > gone.index());
        seen = back.index();
    }
}

#[tokio::test(start_paused = true)]
async fn passing_alone_is_told_of_every_change_of_the_service() {
    let stand = Stand::new();
    stand.register(r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    let path = "/v1/health/service/web?passing";
    let empty = stand.get(path).await;
    assert_eq!(empty.text(), "[]");
    let parked = stand.park(&format!("{path}&index={}", empty.index())).await;
    stand.put("/v1/agent/check/pass/service:web", "").await;
    assert_eq!(parked.told().await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_index_never_goes_backwards() {
    let stand = Stand::new();
    let paths = [
        "/v1/health/service/a",
        "/v1/health/service/b",
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/catalog/node/golden",
        "/v1/health/state/any",
        "/v1/kv/k",
        "/v1/kv/?recurse",
    ];
    let mut seen = [0; 8];
    for step in 0..60 {
        let name = if step % 3 == 0 { "a" } else { "b" };
        match step % 7 {
            0 | 3 => {
                stand.register(&format!(r#"{{"Name":"{name}","Check":{{"TTL":"1h"}}}}"#)).await;
            }
            1 => drop(stand.ask("PUT", &format!("/v1/agent/check/pass/service:{name}"), "").await),
            2 => drop(stand.put("/v1/kv/k", step.to_string()).await),
            4 => drop(stand.ask("PUT", &format!("/v1/agent/service/deregister/{name}"), "").await),
            5 => drop(stand.ask("DELETE", "/v1/kv/k", "").await),
            _ => drop(stand.put("/v1/kv/l", step.to_string()).await),
        }
        for (path, seen) in paths.iter().zip(&mut seen) {
            let index = stand.get(path).await.index();
            assert!(index >= *seen, "{path} went from {seen} to {index} in step {step}");
            *seen = index;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_vanishes_leaves_his_seat_and_nothing_else() {
    let stand = Stand::new();
    let seen = stand.get("/v1/health/service/web").await.index();
    let key = stand.get("/v1/kv/a").await.index();
    let first = stand.park(&format!("/v1/health/service/web?index={seen}")).await;
    let second = stand.park(&format!("/v1/kv/a?index={key}")).await;
    assert_eq!(stand.consul.parked(), 2);
    first.vanish().await;
    second.vanish().await;
    assert_eq!(stand.consul.parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_queries_than_may_wait_are_told_so_and_harm_nobody() {
    let stand = Stand::with(|options| {
        options.parked = crowd::Limits { total: 100, of_each: 2 };
    });
    let seen = stand.get("/v1/health/service/web").await.index();
    let path = format!("/v1/health/service/web?index={seen}");
    let (first, second) = (stand.park(&path).await, stand.park(&path).await);
    let refused = stand.get(&path).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("consul.parked_client"), "{}", refused.text());
    let key = stand.get(&format!("/v1/kv/a?index={seen}")).await;
    assert_eq!(key.status, 429, "keys are counted with the others");
    assert_eq!(
        stand.get("/v1/health/service/web").await.status,
        200,
        "who does not wait, may read"
    );
    stand.register(r#"{"Name":"web"}"#).await;
    for parked in [first, second] {
        assert_eq!(parked.told().await.status, 200);
    }
    assert_eq!(stand.get(&path).await.status, 200);
}
