//! The server against raw requests: what real Go servers answered to the same ones, and what strangers get.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use larder_peers::{GroupOptions, Mode, Pool, PoolOptions, RemoteAddr};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use super::support::*;

struct Heard {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Heard {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

async fn say(node: &Node, request: &[u8]) -> Heard {
    let address = node.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut all = Vec::new();
    // One that was cut off in the middle of a body may be reset.
    let _ = stream.read_to_end(&mut all).await;
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").expect("it has a head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    Heard { status, headers: headers.to_owned(), body: all[end + 4..].to_vec() }
}

async fn ask(node: &Node, line: &str, body: &[u8]) -> Heard {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    say(node, &[head.as_bytes(), body].concat()).await
}

fn goldens(family: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../goldens/groupcache_wire.json")).unwrap();
    all[family]["server"].as_array().unwrap().clone()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

async fn lone(mode: Mode) -> Node {
    node(options(mode), GroupOptions::default()).await
}

fn golden_status(golden: &Value) -> Option<u16> {
    golden["head"].as_str()?.split(' ').nth(1)?.parse().ok()
}

/// The group of the goldens is `s`, with a loader that knows some keys of its own.
fn translated(request: &str) -> String {
    request.replace("/_groupcache/s", "/_groupcache/g")
}

#[tokio::test]
async fn gets_are_answered_as_gos_servers_answer_them() {
    // These need the loader of the goldens, or are Go's mux, or are told elsewhere.
    let own_loader = ["rc", "emptystr", "emptybytes", "nilbytes", "noset", "exp", "big", "b2030"];
    let mut checked = 0;
    for (family, mode) in [("mailgun_v2", Mode::MailgunV2), ("golang", Mode::Golang)] {
        let node = lone(mode).await;
        for golden in goldens(family) {
            let (label, request) = (&golden["label"], golden["request"].as_str().unwrap());
            let key = request.rsplit('/').next().unwrap();
            let is_written = request.starts_with("PUT") || request.starts_with("DELETE");
            let after_put = label.as_str().unwrap().starts_with("GET after PUT");
            let Some(status) = golden_status(&golden) else { continue };
            // A key of a group that is not there (yet) must not look missing to mailgun's clients.
            let is_no_group = mode == Mode::MailgunV2 && request.contains("/zzz/");
            if is_no_group
                || own_loader.contains(&key)
                || *label == "behind ServeMux"
                || is_written
                || after_put
            {
                continue;
            }
            let heard = ask(&node, &translated(request), b"").await;
            assert_eq!(heard.status, status, "{family} {request}");
            let golden_head = golden["head"].as_str().unwrap().to_lowercase();
            for header in ["content-type", "x-content-type-options"] {
                let golden =
                    golden_head.lines().find_map(|line| line.strip_prefix(&format!("{header}: ")));
                assert_eq!(heard.header(header), golden, "{family} {request}");
            }
            let body = bytes(&golden["body_hex"]);
            match key {
                // The words are this loader's own.
                "nf" => assert_eq!(heard.body, b"there is no such key\n"),
                _ => assert_eq!(heard.body, body, "{family} {request}"),
            }
            let length: usize = heard.header("content-length").unwrap().parse().unwrap();
            let is_head = request.starts_with("HEAD");
            assert!(is_head || length == heard.body.len(), "{request}");
            checked += 1;
        }
    }
    assert_eq!(checked, 31);
}

#[tokio::test]
async fn a_value_goes_out_with_its_expiry_and_its_length_however_long_it_is() {
    let node = lone(Mode::MailgunV2).await;
    let golden = b"\x0a\x01e\x18\x95\x9a\x87\xf0\xf5\xf9\xb3\xf7\x38";
    let set = b"\x0a\x01g\x12\x03exp\x1a\x01e\x20\x95\x9a\x87\xf0\xf5\xf9\xb3\xf7\x38";
    assert_eq!(ask(&node, "PUT /_groupcache/g/exp", set).await.status, 200);
    assert_eq!(ask(&node, "GET /_groupcache/g/exp", b"").await.body, golden);
    let big = ask(&node, "GET /_groupcache/g/big", b"").await;
    assert_eq!((big.body.len(), big.header("content-length")), (3_005, Some("3005")));
    assert_eq!(big.header("transfer-encoding"), None);
    for (line, value) in [("PUT /_groupcache/g/e", &b"\x0a\x01g\x12\x01e\x1a\x00"[..])] {
        assert_eq!(ask(&node, line, value).await.status, 200);
        assert_eq!(ask(&node, "GET /_groupcache/g/e", b"").await.body, b"\x0a\x00\x18\x00");
    }
}

#[tokio::test]
async fn a_set_takes_the_group_from_the_path_and_the_key_from_the_body() {
    let node = lone(Mode::MailgunV2).await;
    let body = b"\x0a\x05other\x12\x07bodykey\x1a\x02PV\x20\x00";
    let heard = ask(&node, "PUT /_groupcache/g/urlkey", body).await;
    assert_eq!((heard.status, heard.body.len()), (200, 0));
    assert_eq!(node.has("bodykey").as_deref(), Some("PV"));
    assert_eq!(node.has("urlkey"), None);
    let heard = ask(&node, "DELETE /_groupcache/g/bodykey", b"").await;
    assert_eq!((heard.status, heard.body.len(), node.has("bodykey")), (200, 0, None));
    for bad in [&b"\x0a\x05ab"[..], b"\x0a\x01g", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        assert_eq!(ask(&node, "PUT /_groupcache/g/k", bad).await.status, 400);
    }
    let heard = ask(&node, "PUT /_groupcache/g/k", b"\x0a\x01g").await;
    assert!(String::from_utf8(heard.body).unwrap().contains("required field \"key\" not set"));
}

#[tokio::test]
async fn a_golang_node_does_not_take_a_set_or_a_remove_for_a_get() {
    let node = lone(Mode::Golang).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(ask(&node, &format!("{method} /_groupcache/g/k"), b"").await.status, 405);
    }
    assert_eq!(node.source.all_loads(), 0);
}

#[tokio::test]
async fn methods_that_a_mode_does_not_have_are_refused() {
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let node = lone(mode).await;
        for method in ["PATCH", "OPTIONS", "BREW"] {
            assert_eq!(ask(&node, &format!("{method} /_groupcache/g/k"), b"").await.status, 405);
        }
        assert_eq!(node.source.all_loads(), 0);
    }
}

#[tokio::test]
async fn keys_that_groupcache_go_posts_to_be_removed_are_removed() {
    let node = lone(Mode::GroupcacheGoV3).await;
    for key in ["a", "b", "c"] {
        node.text(key).await;
    }
    let body = br#"{"group":"g","keys":["a","b"]}"#;
    let heard = ask(&node, "POST /_groupcache/g/_remove-keys/", body).await;
    assert_eq!((heard.status, heard.body.len()), (200, 0));
    let left: Vec<_> = ["a", "b", "c"].into_iter().filter_map(|key| node.has(key)).collect();
    assert_eq!(left, ["v:c"]);
    let nothing = br#"{"group":"g","keys":[]}"#;
    assert_eq!(ask(&node, "POST /_groupcache/g/_remove-keys/", nothing).await.status, 200);
    assert_eq!(ask(&node, "POST /_groupcache/g/_remove-keys/", b"{").await.status, 400);
    assert_eq!(ask(&node, "POST /_groupcache/g/c", b"").await.status, 404);
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_told_apart() {
    let node = lone(Mode::MailgunV2).await;
    let heard = ask(&node, "GET /_groupcache/zzz/k", b"").await;
    assert_eq!((heard.status, &heard.body[..]), (500, &b"no such group: zzz\n"[..]));
    assert_eq!(heard.header("larder-group"), Some("unknown"));
    let heard = ask(&node, "GET /_groupcache/g/nf", b"").await;
    assert_eq!((heard.status, heard.header("larder-group")), (404, Some("known")));
    let heard = ask(&node, "GET /other/g/k", b"").await;
    assert_eq!((heard.status, heard.header("larder-group")), (400, None), "no key is missing");
    for bad in ["GET /_groupcache/g", "GET /_groupcache/g/%zz", "GET /_groupcache/g/%"] {
        assert_eq!(ask(&node, bad, b"").await.status, 400, "{bad}");
    }
    let long = format!("GET /_groupcache/g/{}", "k".repeat(70_000));
    assert_eq!(ask(&node, &long, b"").await.status, 414);
}

#[tokio::test]
async fn a_value_beyond_the_bound_is_refused_without_being_taken_in() {
    let small = PoolOptions { max_value: 1_000, ..options(Mode::MailgunV2) };
    let node = node(small, GroupOptions::default()).await;
    // A gigabyte is announced, and a part of it sent.
    let put = "PUT /_groupcache/g/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n";
    let sent = [put.as_bytes(), &vec![0; 400_000]].concat();
    let heard = tokio::time::timeout(Duration::from_secs(4), say(&node, &sent)).await.unwrap();
    assert_eq!(heard.status, 413);
    assert_eq!(node.text("k").await, "v:k", "and it serves on");
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_at_the_bound() {
    let small = PoolOptions { max_value: 1_000, ..options(Mode::MailgunV2) };
    let node = node(small, GroupOptions::default()).await;
    let put = "PUT /_groupcache/g/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"1000\r\n", &[0; 0x1000][..], b"\r\n"].concat();
    let sent = [put.as_bytes(), &chunk.repeat(100)].concat();
    let heard = tokio::time::timeout(Duration::from_secs(4), say(&node, &sent)).await.unwrap();
    assert_eq!((heard.status, node.has("k")), (413, None));
}

#[tokio::test]
async fn a_panicking_loader_is_a_500_so_that_mailguns_client_loads_by_itself() {
    let node = lone(Mode::MailgunV2).await;
    assert_eq!(ask(&node, "GET /_groupcache/g/panic", b"").await.status, 500);
    assert_eq!(ask(&node, "GET /_groupcache/g/err", b"").await.status, 503);
    let golang = lone(Mode::Golang).await;
    assert_eq!(ask(&golang, "GET /_groupcache/g/err", b"").await.status, 500);
}

/// As another server does that has the pool's service in it.
async fn status(pool: &Pool, from: Option<&str>, token: Option<&str>) -> u16 {
    let mut request = http::Request::new(http_body_util::Full::new(Bytes::new()));
    *request.uri_mut() = "/_groupcache/g/k".parse().unwrap();
    if let Some(from) = from {
        let from: SocketAddr = from.parse().unwrap();
        request.extensions_mut().insert(RemoteAddr(from));
    }
    if let Some(token) = token {
        request.headers_mut().insert("larder-token", token.parse().unwrap());
    }
    pool.service().call(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn strangers_are_not_answered() {
    let with = PoolOptions { token: Some("secret".into()), ..options(Mode::MailgunV2) };
    let node = node(with, GroupOptions::default()).await;
    let peers = [node.url.clone(), "http://10.0.0.2:8080".into(), "http://localhost:81".into()];
    node.pool.set_peers(peers).unwrap();
    assert_eq!(status(&node.pool, Some("10.0.0.2:50000"), None).await, 200);
    assert_eq!(status(&node.pool, Some("10.0.0.3:50000"), None).await, 403);
    assert_eq!(status(&node.pool, None, None).await, 403);
    assert_eq!(status(&node.pool, Some("10.0.0.3:50000"), Some("secret")).await, 200);
    assert_eq!(status(&node.pool, Some("10.0.0.3:50000"), Some("guess")).await, 403);
    assert_eq!(status(&node.pool, Some("127.0.0.1:50000"), None).await, 200);
    node.pool.set_peers([node.url.clone()]).unwrap();
    assert_eq!(status(&node.pool, Some("10.0.0.2:50000"), None).await, 403, "not a peer any more");
}

#[tokio::test]
async fn a_node_that_stops_lets_requests_finish_and_its_peers_load_by_themselves() {
    let mut ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "slow");
    let (group, asked) = (ring[0].group.clone(), key_of(&key));
    let asking = tokio::spawn(async move { group.get(&asked).await.map(|got| got.len()) });
    until(async || loads_of(&ring, &key) == 1).await;
    let serving = ring[1].serving.take().unwrap();
    let stopping = tokio::spawn(serving.stop(Duration::from_secs(5)));
    let address = ring[1].url.trim_start_matches("http://").to_owned();
    until(async || TcpStream::connect(&address).await.is_err()).await;
    ring[1].source.open(1);
    assert_eq!(asking.await.unwrap().unwrap(), key.len() + 2);
    stopping.await.unwrap();
    assert!(TcpListener::bind(&address).await.is_ok());
    assert_eq!(ring[0].text("k").await, "v:k");
}
