//! Consul's API on real sockets: many who wait, those who vanish, those who abuse it, HTTP/2, the watch
//! stream, and the end.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_consul::server::MAX_FOLLOWED;
use support::{PATIENCE, Running, answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const WEB: &str = "/v1/health/service/web";

async fn register(server: &Running, body: &str) {
    let (status, says) = server.call("PUT", "/v1/agent/service/register", body).await;
    assert_eq!((status, says.as_str()), (200, ""));
}

/// The index of a read.
async fn index(server: &Running, path: &str) -> u64 {
    let (head, _) = server.heads("GET", path).await;
    let line = head.lines().find_map(|line| line.strip_prefix("x-consul-index: "));
    line.expect("it has an index").parse().expect("a number")
}

/// A client at an address of its own.
async fn from(client: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((client, 0))).expect("all of 127/8 is this machine");
    socket.connect(server).await.expect("it listens")
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it listens");
}

async fn told(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let reading = stream.read_to_string(&mut text);
    tokio::time::timeout(PATIENCE, reading).await.expect("it answers").expect("it is text");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_too_many_queries_is_told_so_and_the_others_are_served() {
    let server = Running::start(|config| config.consul.parked_client = 3).await;
    let path = format!("{WEB}?index={}&wait=60s", index(&server, WEB).await);
    let mut parked = Vec::new();
    for _ in 0..3 {
        let mut stream = from([127, 0, 0, 2], server.address).await;
        ask(&mut stream, &path).await;
        parked.push(stream);
    }
    server.until_measured("larder_consul_parked 3").await;
    for _ in 0..20 {
        let mut stream = from([127, 0, 0, 2], server.address).await;
        ask(&mut stream, &path).await;
        let refused = told(stream).await;
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
        assert!(refused.contains("(consul.parked_client)"), "{refused}");
    }
    // Who does not wait, and whoever else waits, is served.
    let mut stream = from([127, 0, 0, 2], server.address).await;
    ask(&mut stream, WEB).await;
    assert!(told(stream).await.starts_with("HTTP/1.1 200"));
    let mut other = from([127, 0, 0, 3], server.address).await;
    ask(&mut other, &path).await;
    server.until_measured("larder_consul_parked 4").await;
    register(&server, r#"{"Name":"web"}"#).await;
    for stream in parked.into_iter().chain([other]) {
        let told = told(stream).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"Service\":\"web\""), "{told}");
    }
    server.until_measured("larder_consul_parked 0").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_while_waiting_leaves_a_free_seat() {
    let server = Running::start(|config| config.consul.parked = 50).await;
    register(&server, r#"{"Name":"web"}"#).await;
    let seen = index(&server, WEB).await;
    let key = index(&server, "/v1/kv/none").await;
    for path in [
        format!("{WEB}?index={seen}"),
        format!("/v1/kv/none?index={key}"),
        "/v1/event/list?index=1".to_owned(),
    ] {
        for _ in 0..2 {
            let mut streams = Vec::new();
            for _ in 0..50 {
                let mut stream = from([127, 0, 0, 1], server.address).await;
                ask(&mut stream, &path).await;
                streams.push(stream);
            }
            server.until_measured("larder_consul_parked 50").await;
            drop(streams);
            server.until_measured("larder_consul_parked 0").await;
        }
    }
    server.until_measured("larder_consul_keys_waiting 0").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_a_client_may_have_is_answered_429_and_closed() {
    let server = Running::start(|config| config.limits.client_connections = 2).await;
    let first = from([127, 0, 0, 2], server.address).await;
    let second = from([127, 0, 0, 2], server.address).await;
    server.until_measured("larder_connections 3").await;
    let third = from([127, 0, 0, 2], server.address).await;
    let refused = told(third).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("(limits.client_connections)"), "{refused}");
    let mut other = from([127, 0, 0, 3], server.address).await;
    ask(&mut other, WEB).await;
    assert!(told(other).await.starts_with("HTTP/1.1 200"));
    drop((first, second));
    server.until_measured("larder_connections 1").await;
    let mut again = from([127, 0, 0, 2], server.address).await;
    ask(&mut again, WEB).await;
    assert!(told(again).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_cut_and_hold_nobody_up() {
    let server = Running::start(|config| config.limits.idle = Duration::from_secs(1)).await;
    let value = "x".repeat(400_000);
    for key in 0..20 {
        assert_eq!(server.call("PUT", &format!("/v1/kv/big/{key}"), &value).await.0, 200);
    }
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let mut stream = from([127, 0, 0, 2], server.address).await;
        ask(&mut stream, "/v1/kv/big?recurse").await;
        deaf.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(server.call("GET", WEB, "").await.0, 200);
    }
    server.until_measured("larder_connections 1").await;
    drop(deaf);
    server.stop().await;
}

/// A client that speaks HTTP/2 from its first byte.
async fn http2(server: &Running) -> SendRequest<Body> {
    let stream = TcpStream::connect(server.address).await.expect("it listens");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn send(
    mut sender: SendRequest<Body>,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Option<u64>, String) {
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(Body::from(body.to_owned()))
        .expect("a request");
    sender.ready().await.expect("it is open");
    let response = sender.send_request(request).await.expect("it answers");
    let status = response.status().as_u16();
    let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok());
    let index = index.and_then(|index| index.parse().ok());
    let body = Body::new(response.into_body());
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("it arrives");
    (status, index, String::from_utf8(body.to_vec()).expect("it is text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_http2_connection_carries_reads_writes_and_hundreds_who_wait() {
    let server = Running::start(|_| {}).await;
    let (client, at) = (http2(&server).await, server.address);
    let (status, _, says) = send(client.clone(), at, "PUT", "/v1/kv/a", "hello").await;
    assert_eq!((status, says.as_str()), (200, "true"));
    let (status, key, says) = send(client.clone(), at, "GET", "/v1/kv/a?raw", "").await;
    assert_eq!((status, says.as_str()), (200, "hello"));
    let (_, seen, _) = send(client.clone(), at, "GET", WEB, "").await;
    let on_service = format!("{WEB}?index={}", seen.expect("an index"));
    let on_key = format!("/v1/kv/a?raw&index={}", key.expect("an index"));
    let waiting: Vec<_> = (0..600)
        .map(|number| {
            let path = if number % 2 == 0 { on_service.clone() } else { on_key.clone() };
            let client = client.clone();
            tokio::spawn(async move { send(client, at, "GET", &path, "").await })
        })
        .collect();
    server.until_measured("larder_consul_parked 600").await;
    server.until_measured("larder_connections 2").await;
    let (status, ..) =
        send(client.clone(), at, "PUT", "/v1/agent/service/register", r#"{"Name":"web"}"#).await;
    assert_eq!(status, 200);
    server.until_measured("larder_consul_parked 300").await;
    send(client.clone(), at, "PUT", "/v1/kv/a", "bye").await;
    for (number, waiting) in waiting.into_iter().enumerate() {
        let told = tokio::time::timeout(PATIENCE, waiting).await.expect("it is answered");
        let (status, _, body) = told.expect("it does not panic");
        let wanted = if number % 2 == 0 { "\"Service\":\"web\"" } else { "bye" };
        assert!(status == 200 && body.contains(wanted), "{status} {body}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_on_http2_frees_its_seat_and_no_other() {
    let server = Running::start(|_| {}).await;
    let (client, at) = (http2(&server).await, server.address);
    let (_, seen, _) = send(client.clone(), at, "GET", WEB, "").await;
    let path = format!("{WEB}?index={}", seen.expect("an index"));
    let mut waiting: Vec<_> = (0..10)
        .map(|_| {
            let (client, path) = (client.clone(), path.clone());
            tokio::spawn(async move { send(client, at, "GET", &path, "").await })
        })
        .collect();
    server.until_measured("larder_consul_parked 10").await;
    for given_up in waiting.drain(..4) {
        given_up.abort();
    }
    server.until_measured("larder_consul_parked 6").await;
    register(&server, r#"{"Name":"web"}"#).await;
    for waiting in waiting {
        assert_eq!(waiting.await.expect("it does not panic").0, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_those_who_wait() {
    let mut server =
        Running::start(|config| config.limits.shutdown = Duration::from_millis(300)).await;
    let path = format!("{WEB}?index={}&wait=600s", index(&server, WEB).await);
    let mut parked = Vec::new();
    for _ in 0..20 {
        let mut stream = from([127, 0, 0, 1], server.address).await;
        ask(&mut stream, &path).await;
        parked.push(stream);
    }
    let client = http2(&server).await;
    let (at, on_second) = (server.address, path.clone());
    let second = tokio::spawn(async move {
        let request = hyper::Request::get(format!("http://{at}{on_second}")).body(Body::empty());
        let mut client = client;
        client.send_request(request.expect("a request")).await.is_ok()
    });
    server.until_measured("larder_consul_parked 21").await;
    server.tell_to_stop();
    tokio::time::timeout(Duration::from_secs(10), server.stopped())
        .await
        .expect("within the grace");
    for mut stream in parked {
        let mut rest = Vec::new();
        let _ =
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    }
    tokio::time::timeout(PATIENCE, second).await.expect("it ends").expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_too_slow_are_refused() {
    let server = Running::start(|config| {
        config.limits.body_bytes = 10_000;
        config.limits.request = Duration::from_secs(1);
    })
    .await;
    let large = format!(r#"{{"Name":"web","Meta":{{"k":"{}"}}}}"#, "x".repeat(20_000));
    let (status, says) = server.call("PUT", "/v1/agent/service/register", &large).await;
    assert!(status == 413 && says.contains("10000"), "{status} {says}");
    let (status, says) = server.call("PUT", "/v1/kv/k", &"x".repeat((512 << 10) + 1)).await;
    assert!(status == 413 && says.contains("524288"), "{status} {says}");
    // A key's value may be as large as Consul allows it, whatever other bodies may be.
    assert_eq!(server.call("PUT", "/v1/kv/k", &"x".repeat(512 << 10)).await.0, 200);

    for path in ["/v1/kv/slow", "/v1/agent/service/register", "/v1/event/fire/x"] {
        let mut stream = server.connect();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
        let slow = tokio::task::spawn_blocking(move || {
            stream.write_all(head.as_bytes()).expect("it listens");
            let mut first = [0; 4_096];
            let count = stream.read(&mut first).expect("it answers");
            String::from_utf8_lossy(&first[..count]).into_owned()
        });
        let told = slow.await.expect("it does not panic");
        assert!(told.starts_with("HTTP/1.1 408") && told.contains("limits.request_secs"), "{told}");
    }
    assert_eq!(server.call("GET", "/v1/kv/slow", "").await.0, 404);
    server.stop().await;
}

/// The stream's next lines, until one holds all of these.
async fn until_told(stream: &mut TcpStream, held: &mut String, wanted: &[&str]) -> String {
    let reading = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let lines: Vec<&str> = held.lines().collect();
            let found = lines.iter().find(|line| wanted.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                let line = (*line).to_owned();
                held.clear();
                return line;
            }
            let count = stream.read(&mut bytes).await.expect("it goes on");
            assert!(count > 0, "it ended: {held}");
            held.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("never {wanted:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_are_followed_over_one_connection() {
    let mut server = Running::start(|_| {}).await;
    let mut stream = from([127, 0, 0, 1], server.address).await;
    let path = "/larder/v1/watch?query=w=/v1/health/service/web&query=k=/v1/kv/limit&query=n%22=/v1/catalog/nodes";
    ask(&mut stream, path).await;
    let mut held = String::new();
    until_told(&mut stream, &mut held, &["n\\\"", "127.0.0.1"]).await;
    server.until_measured("larder_consul_followed 3").await;
    register(&server, r#"{"Name":"web","Port":80}"#).await;
    let told =
        until_told(&mut stream, &mut held, &["\"correlation_id\":\"w\"", "\"Port\":80"]).await;
    let data: serde_json::Value =
        serde_json::from_str(told.strip_prefix("data: ").expect("data")).expect("JSON");
    assert_eq!(data["status"], 200);
    assert_eq!(data["answer"][0]["Service"]["Service"], "web");
    assert_eq!(server.call("PUT", "/v1/kv/limit", "7").await.0, 200);
    until_told(&mut stream, &mut held, &["\"correlation_id\":\"k\"", "\"status\":200", "Nw=="])
        .await;
    assert_eq!(server.call("DELETE", "/v1/kv/limit", "").await.0, 200);
    until_told(&mut stream, &mut held, &["\"correlation_id\":\"k\"", "\"status\":404", "null"])
        .await;

    for (query, words) in [
        ("query=", "ID=/v1/"),
        ("query=a=/v1/agent/self", "no read"),
        ("query=a=/v1/kv/k%3Fraw", "raw"),
        ("query=a=/v1/kv/k&other=1", "other"),
        ("query=a=/v1/kv/k%3Findex%3Dx", "Invalid index"),
    ] {
        let (status, says) = server.call("GET", &format!("/larder/v1/watch?{query}"), "").await;
        assert!(status == 400 && says.contains(words), "{query}: {status} {says}");
    }
    let many = vec!["query=a=/v1/kv/k"; MAX_FOLLOWED + 1].join("&");
    assert_eq!(server.call("GET", &format!("/larder/v1/watch?{many}"), "").await.0, 400);
    server.until_measured("larder_consul_parked 3").await;

    server.tell_to_stop();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .expect("cleanly");
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_following_leaves_nothing() {
    let server = Running::start(|_| {}).await;
    let queries: Vec<_> = (0..200).map(|n| format!("query={n}=/v1/kv/{n}")).collect();
    let path = format!("/larder/v1/watch?{}", queries.join("&"));
    for _ in 0..2 {
        let mut stream = from([127, 0, 0, 1], server.address).await;
        ask(&mut stream, &path).await;
        server.until_measured("larder_consul_keys_waiting 200").await;
        server.until_measured("larder_consul_followed 200").await;
        drop(stream);
        server.until_measured("larder_consul_parked 0").await;
        server.until_measured("larder_consul_keys_waiting 0").await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_measured() {
    let server = Running::start(|config| config.consul.kv_entries = 2).await;
    server.call("PUT", "/v1/kv/a", "123").await;
    server.call("PUT", "/v1/kv/b", "45").await;
    server.until_measured("larder_consul_keys 2").await;
    server.until_measured("larder_consul_keys_bytes 7").await;
    let (status, says) = server.call("PUT", "/v1/kv/c", "").await;
    assert!(status / 100 == 5 && !says.is_empty(), "{status} {says}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eurekas_paths_below_v1_stay_eurekas() {
    let server = Running::start(|_| {}).await;
    let mut stream = server.connect();
    stream
        .write_all(b"GET /v1/apps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("it listens");
    let apps = tokio::task::spawn_blocking(move || answer(&mut stream)).await.expect("it answers");
    assert!(apps.0 == 200 && apps.1.contains("applications"), "{apps:?}");
    let (status, leader) = server.call("GET", "/v1/status/leader", "").await;
    assert!(status == 200 && leader.contains(":8300"), "{leader}");
    server.stop().await;
}
