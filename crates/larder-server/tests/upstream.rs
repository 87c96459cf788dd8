//! In front of a real etcd, of another Larder through Eureka's protocol, and of multicast DNS: what is
//! shared, and what an outage looks like.

mod support;

#[path = "../../larder-etcd/tests/etcd/support.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod etcd;

use std::time::Duration;

use larder_server::config::Address;
use support::{ONE, PATIENCE, Running};

const ORDERS: &str = "/larder/v1/services/orders";
const BODY: &str = r#"{"ip":"10.0.0.1","port":8080}"#;

async fn in_front_of(etcd: &etcd::Server) -> Running {
    let endpoints = vec![etcd.endpoint()];
    Running::start(|config| {
        config.upstream.url = Some(Address::Etcd { endpoints, prefix: None });
    })
    .await
}

/// Asks until the answer is as wanted.
async fn until(server: &Running, method: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) {
    let asking = async {
        loop {
            let (status, body) = server.call(method, path, BODY).await;
            if wanted(status, &body) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    assert!(asked.is_ok(), "{method} {path} never answered as wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_over_one_etcd_share_what_is_registered_at_either() {
    let etcd = etcd::Server::start().await;
    let (one, other) = (in_front_of(&etcd).await, in_front_of(&etcd).await);
    until(&one, "PUT", ONE, |status, _| status < 300).await;
    let (status, body) = one.call("GET", ORDERS, "").await;
    assert!(status == 200 && body.contains("10.0.0.1"), "its writer sees it at once: {body}");
    until(&other, "GET", ORDERS, |status, body| status == 200 && body.contains("10.0.0.1")).await;
    until(&other, "GET", "/eureka/apps/ORDERS", |status, _| status == 200).await;
    let (status, _) = other.call("DELETE", ONE, "").await;
    assert!(status < 300, "{status}");
    until(&one, "GET", ORDERS, |status, _| status == 404).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_down_reads_go_on_with_their_age_and_writes_are_refused() {
    let mut etcd = etcd::Server::start().await;
    let server = in_front_of(&etcd).await;
    until(&server, "PUT", ONE, |status, _| status < 300).await;
    etcd.kill();
    server.until_measured("larder_upstream_connected 0").await;
    let (head, body) = server.heads("GET", ORDERS).await;
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("10.0.0.1"), "{head}{body}");
    assert!(head.to_lowercase().contains("\r\nage: "), "{head}");
    let (head, body) = server.heads("GET", "/eureka/apps/ORDERS").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("10.0.0.1"), "{head}{body}");
    let other = "/larder/v1/services/orders/instances/2";
    let (status, body) = server.call("PUT", other, BODY).await;
    assert!(status == 503 && body.contains("did not answer"), "{status} {body}");

    etcd.restart().await;
    // Although nothing has happened that a watch could tell.
    server.until_measured("larder_upstream_connected 1").await;
    until(&server, "PUT", other, |status, _| status < 300).await;
    let (head, body) = server.heads("GET", ORDERS).await;
    assert!(!head.to_lowercase().contains("\r\nage: "), "{head}");
    assert!(body.contains("\"1\"") && body.contains("\"2\""), "{body}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_never_reached_etcd_does_not_say_that_there_is_nothing() {
    let mut etcd = etcd::Server::start().await;
    etcd.kill();
    let server = in_front_of(&etcd).await;
    for path in [ORDERS, "/larder/v1/services", "/eureka/apps"] {
        let (head, body) = server.heads("GET", path).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{path}: {head}{body}");
        assert!(head.to_lowercase().contains("retry-after: 1"), "{head}");
    }
    assert_eq!(server.call("GET", "/healthz", "").await.0, 200);
    etcd.restart().await;
    until(&server, "GET", "/larder/v1/services", |status, _| status == 200).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_refused_in_front_of_another_registry() {
    let etcd = etcd::Server::start().await;
    let server = in_front_of(&etcd).await;
    until(&server, "GET", "/larder/v1/services", |status, _| status == 200).await;
    let checked = r#"{"ip":"10.0.0.1","checks":[{"id":"c","ttl_secs":10}]}"#;
    let (status, body) = server.call("PUT", ONE, checked).await;
    assert!(status == 400 && body.contains("health checks"), "{status} {body}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_that_vanishes_is_kept_until_an_operator_confirms_it() {
    let etcd = etcd::Server::start().await;
    let endpoints = vec![etcd.endpoint()];
    let server = Running::start(|config| {
        config.upstream.url = Some(Address::Etcd { endpoints, prefix: None });
        config.upstream.guard = larder_server::config::Guard::On;
    })
    .await;
    for id in 0..12 {
        let path = format!("/larder/v1/services/orders/instances/{id}");
        until(&server, "PUT", &path, |status, _| status < 300).await;
    }
    etcd.control(&["del", "--prefix", "/micro/registry/"]);
    server.until_measured("larder_upstream_held 6").await;
    let (_, listed) = server.call("GET", ORDERS, "").await;
    assert_eq!(listed.matches("\"id\"").count(), 6, "{listed}");
    let (status, body) = server.call("POST", "/larder/v1/upstream/confirm", "").await;
    assert_eq!(status, 204, "{body}");
    until(&server, "GET", ORDERS, |status, _| status == 404).await;
    server.until_measured("larder_upstream_held 0").await;
    server.stop().await;
}

async fn in_front_of_eureka(servers: Vec<String>) -> Running {
    Running::start(|config| {
        config.upstream.url = Some(Address::Eureka { servers, path: None });
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_at_a_eureka_server_or_in_front_of_it_is_seen_at_both() {
    let behind = Running::start(|_| {}).await;
    let front = in_front_of_eureka(vec![behind.address.to_string()]).await;
    until(&front, "PUT", ONE, |status, _| status < 300).await;
    let (status, body) = front.call("GET", ORDERS, "").await;
    assert!(status == 200 && body.contains("10.0.0.1"), "its writer sees it at once: {body}");
    let (status, body) = behind.call("GET", "/eureka/apps/ORDERS", "").await;
    assert!(status == 200 && body.contains("10.0.0.1"), "{status} {body}");

    let two = "/larder/v1/services/orders/instances/2";
    assert!(behind.call("PUT", two, BODY).await.0 < 300);
    let listed = |status, body: &str| status == 200 && body.contains("\"2\"");
    until(&front, "GET", ORDERS, listed).await;
    let eureka = "/eureka/apps/ORDERS/2";
    assert_eq!(front.call("PUT", eureka, "").await.0, 200, "a heartbeat goes through");
    assert_eq!(front.call("DELETE", two, "").await.0 / 100, 2);
    assert_eq!(behind.call("GET", eureka, "").await.0, 404);
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_eureka_server_is_down_reads_go_on_with_their_age_and_it_converges_after() {
    let behind = Running::start(|_| {}).await;
    let address = behind.address;
    assert!(behind.call("PUT", ONE, BODY).await.0 < 300);
    let front = in_front_of_eureka(vec![address.to_string()]).await;
    until(&front, "GET", ORDERS, |status, _| status == 200).await;
    behind.stop().await;
    front.until_measured("larder_upstream_connected 0").await;
    for path in [ORDERS, "/eureka/apps/ORDERS"] {
        let (head, body) = front.heads("GET", path).await;
        assert!(head.starts_with("HTTP/1.1 200") && body.contains("10.0.0.1"), "{head}{body}");
        assert!(head.to_lowercase().contains("\r\nage: "), "{head}");
    }
    let two = "/larder/v1/services/orders/instances/2";
    let (status, body) = front.call("PUT", two, BODY).await;
    assert!(status == 503 && body.contains("did not answer"), "{status} {body}");

    // A registry in memory: it comes back empty, and then has another one.
    let behind = Running::start(|config| config.listen = vec![address]).await;
    assert!(behind.call("PUT", two, BODY).await.0 < 300);
    let is_news = |status, body: &str| status == 200 && body.contains("\"2\"");
    until(&front, "GET", ORDERS, |status, body| is_news(status, body) && !body.contains("\"1\""))
        .await;
    front.until_measured("larder_upstream_connected 1").await;
    let (head, _) = front.heads("GET", ORDERS).await;
    assert!(!head.to_lowercase().contains("\r\nage: "), "{head}");
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_eureka_server_is_read_when_the_first_is_gone() {
    let (one, other) = (Running::start(|_| {}).await, Running::start(|_| {}).await);
    for server in [&one, &other] {
        assert!(server.call("PUT", ONE, BODY).await.0 < 300);
    }
    let servers = vec![one.address.to_string(), other.address.to_string()];
    let front = in_front_of_eureka(servers).await;
    until(&front, "GET", ORDERS, |status, _| status == 200).await;
    one.stop().await;
    until(&front, "PUT", "/larder/v1/services/orders/instances/2", |status, _| status < 300).await;
    let (_, body) = other.call("GET", ORDERS, "").await;
    assert!(body.contains("\"2\""), "{body}");
    front.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_over_multicast_dns_see_what_is_registered_at_the_other() {
    // A port of its own, so that nobody else on this machine is heard.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = port.expect("a free port").port();
    let start = async || {
        Running::start(|config| {
            let interface = Some(std::net::Ipv4Addr::LOCALHOST);
            config.upstream.url = Some(Address::Mdns { interface, port: Some(port) });
        })
        .await
    };
    let (one, other) = (start().await, start().await);
    until(&one, "PUT", ONE, |status, _| status < 300).await;
    until(&other, "GET", ORDERS, |status, body| status == 200 && body.contains("10.0.0.1")).await;
    one.stop().await;
    until(&other, "GET", ORDERS, |status, _| status == 404).await;
    other.stop().await;
}
