//! Whole servers that are each other's peers, as they are configured and measured.

mod support;

use larder_server::config::Address;
use larder_server::{BuildError, Config, Server};
use support::{PATIENCE, Running};

const BODY: &str = r#"{"instance":{"instanceId":"ID","app":"WEB","hostName":"h","ipAddr":"10.0.0.1",
    "status":"UP","dataCenterInfo":{"name":"MyOwn"}}}"#;

async fn register(server: &Running, id: &str) {
    let body = BODY.replace("ID", id);
    let length = body.len();
    let head = "POST /eureka/apps/WEB HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let kind = "content-type: application/json\r\n";
    let request = format!("{head}{kind}content-length: {length}\r\n\r\n{body}");
    assert_eq!(server.raw(request.into_bytes()).await, (204, String::new()));
}

async fn until_held(server: &Running, id: &str) {
    let path = format!("/eureka/apps/WEB/{id}");
    let asking = async {
        while server.call("GET", &path, "").await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "it never hears of {id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_copies_its_peer_before_it_serves_and_tells_it_afterwards() {
    let first = Running::start(|_| {}).await;
    register(&first, "a").await;
    let url = format!("http://{}/eureka", first.address);
    let second = Running::start(|config| config.peers.urls = vec![url.clone()]).await;
    let (status, _) = second.call("GET", "/eureka/apps/WEB/a", "").await;
    assert_eq!(status, 200, "nobody finds it empty");
    register(&second, "b").await;
    until_held(&first, "b").await;
    let sent = format!("larder_eureka_peer_sent_total{{peer=\"{url}\"}} 1");
    second.until_measured(&sent).await;
    second.until_measured(&format!("larder_eureka_peer_available{{peer=\"{url}\"}} 1")).await;
    let operation = "larder_eureka_operations_total{operation=\"register\",origin=";
    first.until_measured(&format!("{operation}\"peer\"}} 1")).await;
    first.until_measured(&format!("{operation}\"client\"}} 1")).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_down_is_measured_and_keeps_nobody_from_stopping() {
    let down = Running::start(|_| {}).await;
    let url = format!("http://{}/eureka", down.address);
    down.stop().await;
    let server = Running::start(|config| config.peers.urls = vec![url.clone()]).await;
    register(&server, "a").await;
    let queued = format!("larder_eureka_peer_queued{{peer=\"{url}\"}} 1");
    server.until_measured(&queued).await;
    server.until_measured(&format!("larder_eureka_peer_available{{peer=\"{url}\"}} 0")).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told_at_the_start() {
    let build = async |change: fn(&mut Config)| {
        let listen = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut config = Config { listen, ..Config::default() };
        config.peers.urls = vec!["http://a:8761/eureka".to_owned()];
        change(&mut config);
        let error = Server::build(config).await.expect_err("it is refused");
        assert!(matches!(error, BuildError::Peers(_)), "{error:?}");
        error.to_string()
    };
    let told = build(|config| config.peers.urls.push("https://b".to_owned())).await;
    assert!(told.contains("eureka.peers: ") && told.contains("TLS"), "{told}");
    let told = build(|config| config.peers.own_url = "http://u:p@a".to_owned()).await;
    assert!(told.contains("credentials"), "{told}");
    let told = build(|config| {
        config.upstream.url = Some(Address::Mdns { interface: None, port: None });
    })
    .await;
    assert!(told.contains("upstream.url"), "{told}");
}
