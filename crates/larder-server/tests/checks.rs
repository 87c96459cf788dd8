//! Health checks from end to end: real targets, a real server, and what every protocol shows.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use larder_server::api::{Service, Services};
use support::{ONE, PATIENCE, Running};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a change of a target may take to be seen: less than a default interval, so that the one of
/// the check is what counts.
const SOON: Duration = Duration::from_secs(9);

/// What is checked: a server that can be stopped, and started again at the same address.
struct Target {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Target {
    async fn start(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let routes = Router::new()
            .route("/health", get(|| async { "fine" }))
            .route("/hang", get(std::future::pending::<&str>));
        let serve = async { axum::serve(listener, routes).await.expect("it serves") };
        Self { address, server: tokio::spawn(serve) }
    }

    async fn anywhere() -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn stop(self) -> SocketAddr {
        self.server.abort();
        assert!(self.server.await.expect_err("it was aborted").is_cancelled());
        self.address
    }

    fn http(&self, path: &str, more: &str) -> String {
        format!(r#"{{"id":"c","http":"http://{}{path}"{more}}}"#, self.address)
    }
}

async fn register(server: &Running, checks: &str) {
    let body = format!(r#"{{"ip":"127.0.0.1","checks":[{checks}]}}"#);
    let (status, answer) = server.call("PUT", ONE, &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until the body of `path` says this.
async fn until(server: &Running, path: &str, says: &str) {
    let mut last = String::new();
    let asking = async {
        loop {
            last = server.call("GET", path, "").await.1;
            if last.contains(says) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(SOON, asking).await;
    assert!(asked.is_ok(), "{path} never says {says}: {last}");
}

/// Waits until every protocol shows the one instance in this status.
async fn until_shown(server: &Running, status: &str) {
    let listed = format!(r#""id":"1","status":"{status}""#);
    until(server, "/larder/v1/services/orders", &listed).await;
    let xml = format!("<status>{status}</status>");
    for path in ["/eureka/apps", "/eureka/apps/orders", "/eureka/apps/orders/1"] {
        until(server, path, &xml).await;
    }
    until(server, "/eureka/apps", &format!("<apps__hashcode>{status}_1_</apps__hashcode>")).await;
    let services: Services = server.get("/larder/v1/services").await;
    assert_eq!(services.services[0].status.get(status), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_down_in_every_protocol_while_what_is_checked_is_gone() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    register(&server, &target.http("/health", r#","interval_secs":1,"timeout_secs":1"#)).await;
    until_shown(&server, "UP").await;
    let address = target.stop().await;
    until_shown(&server, "DOWN").await;
    let service: Service = server.get("/larder/v1/services/orders").await;
    assert!(service.instances[0].checks[0].output.contains("refused"), "{service:?}");
    let target = Target::start(address).await;
    until_shown(&server, "UP").await;
    let service: Service = server.get("/larder/v1/services/orders").await;
    let check = &service.instances[0].checks[0];
    assert_eq!((&*check.status, check.output.ends_with("200 OK Output: fine")), ("passing", true));
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_check_of_several_is_enough() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    let tcp = format!(r#"{{"id":"t","tcp":"{}","interval_secs":1}}"#, target.address);
    let missing = target.http("/nowhere", r#","interval_secs":1"#);
    register(&server, &format!("{tcp},{missing}")).await;
    until(&server, "/larder/v1/services/orders", "404 Not Found").await;
    until(&server, "/larder/v1/services/orders", "Success").await;
    until_shown(&server, "DOWN").await;
    register(&server, &tcp).await;
    until_shown(&server, "UP").await;
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_probed_elsewhere_from_now_on_is_probed_there_at_once() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    register(&server, &target.http("/nowhere", r#","interval_secs":3600"#)).await;
    until(&server, "/larder/v1/services/orders", "404 Not Found").await;
    register(&server, &target.http("/health", r#","interval_secs":3600"#)).await;
    until_shown(&server, "UP").await;
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_does_not_hold_up_the_one_that_takes_its_place() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    register(&server, &target.http("/hang", r#","timeout_secs":60"#)).await;
    server.until_measured("larder_check_probes_running 1").await;
    register(&server, &target.http("/health", "")).await;
    until_shown(&server, "UP").await;
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_not_allowed_stays_critical_and_says_so() {
    let server = Running::start(|_| {}).await;
    let check = r#"{"id":"c","http":"http://192.0.2.1/","status":"passing"}"#;
    register(&server, check).await;
    until(&server, "/larder/v1/services/orders", "192.0.2.1 is not allowed").await;
    until_shown(&server, "DOWN").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_beyond_the_limit_is_critical_until_there_is_room() {
    let server = Running::start(|config| config.checks.limit = 1).await;
    let target = Target::anywhere().await;
    let other = "/larder/v1/services/other/instances/1";
    let checks = target.http("/health", "");
    let body = format!(r#"{{"ip":"127.0.0.1","checks":[{checks}]}}"#);
    server.call("PUT", other, &body).await;
    server.until_measured("larder_checks_probed 1").await;
    register(&server, &target.http("/health", r#","status":"passing""#)).await;
    until(&server, "/larder/v1/services/orders", "(checks.limit)").await;
    server.until_measured("larder_checks_waiting 1").await;
    server.call("DELETE", other, "").await;
    until(&server, "/larder/v1/services/orders", "200 OK").await;
    server.until_measured("larder_checks_waiting 0").await;
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_leaves_is_probed_no_more() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    register(&server, &target.http("/health", "")).await;
    server.until_measured("larder_check_probes_total{health=\"passing\"} 1").await;
    server.until_measured("larder_registry_checks{health=\"passing\"} 1").await;
    server.until_measured("larder_check_probe_seconds_count 1").await;
    server.call("DELETE", ONE, "").await;
    server.until_measured("larder_checks_probed 0").await;
    server.until_measured("larder_registry_checks{health=\"passing\"} 0").await;
    target.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_does_not_hold_up_the_end() {
    let server = Running::start(|_| {}).await;
    let target = Target::anywhere().await;
    register(&server, &target.http("/hang", r#","timeout_secs":60"#)).await;
    server.until_measured("larder_check_probes_running 1").await;
    tokio::time::timeout(PATIENCE, server.stop()).await.expect("it ends in time");
    target.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_beyond_its_ttl_takes_an_instance_down() {
    let server = Running::start(|_| {}).await;
    register(&server, r#"{"id":"c","ttl_secs":1,"status":"passing"}"#).await;
    until(&server, "/larder/v1/services/orders", r#""output":"TTL expired""#).await;
    until_shown(&server, "DOWN").await;
    server.until_measured("larder_registry_expired_total{cause=\"ttl\"} 1").await;
    server.call("PUT", &format!("{ONE}/checks/c"), r#"{"status":"passing"}"#).await;
    let service: Service = server.get("/larder/v1/services/orders").await;
    assert_eq!(service.instances[0].status, "UP");
    server.stop().await;
}
