//! Peers that answer as no Larder does: the fallback table over sockets, and connections that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder_peers::{Error, Expiry, GroupOptions, HotCopy, Mode, Peer, PoolOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::support::*;

/// A server that answers every request with the same bytes, and counts.
struct Canned {
    url: String,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Then {
    KeepsOpen,
    Closes,
    /// After so many answers on a connection, the next request on it gets none.
    HangsUpAfter(usize),
    /// Says nothing more.
    Hangs,
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn canned(answer: impl AsRef<[u8]>, then: Then) -> Canned {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (answer, counts) = (answer.as_ref().to_vec(), (requests.clone(), connections.clone()));
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counts.1.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(converse(stream, answer.clone(), then, counts.0.clone()));
        }
    });
    Canned { url, requests, connections, task }
}

async fn converse(mut stream: TcpStream, answer: Vec<u8>, then: Then, requests: Arc<AtomicUsize>) {
    let (mut buffer, mut held, mut answered) = ([0; 4_096], Vec::new(), 0);
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
        held.extend_from_slice(&buffer[..read]);
        if !held.windows(4).any(|window| window == b"\r\n\r\n") {
            continue;
        }
        held.clear();
        requests.fetch_add(1, Ordering::SeqCst);
        if matches!(then, Then::HangsUpAfter(most) if answered >= most) {
            return;
        }
        stream.write_all(&answer).await.unwrap();
        answered += 1;
        match then {
            Then::Closes => return,
            Then::Hangs => tokio::time::sleep(Duration::from_secs(60)).await,
            Then::KeepsOpen | Then::HangsUpAfter(_) => {}
        }
    }
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A node whose other peer is this one, and a key that the other one owns.
async fn beside(peer: &Canned, options: PoolOptions) -> (Node, String) {
    let node = node(options, GroupOptions::default()).await;
    node.pool.set_peers([Peer::new(&node.url), Peer::new(&peer.url)]).unwrap();
    let keys = (0..).map(|n| format!("10.7.{}.{}", n / 256, n % 256));
    let key = keys.into_iter().find(|key| node.pool.owner(key.as_bytes()) == peer.url).unwrap();
    (node, key)
}

/// `ok`, with an expiry of -1.
const LONG_PAST: &[u8] = b"\x0a\x02ok\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
/// `ok`, with the latest that there is.
const FAR_OFF: &[u8] = b"\x0a\x02ok\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f";

#[tokio::test]
async fn every_answer_is_taken_as_the_fallback_table_says() {
    struct Row {
        name: &'static str,
        answer: Vec<u8>,
        then: Then,
        /// What is got; `local` if it is loaded here.
        gives: &'static str,
        requests: usize,
    }
    let row = |name, answer, then, gives, requests| Row { name, answer, then, gives, requests };
    let ok = |body: &[u8]| response("200 OK", body);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x0a\x02\r\n2\r\nok\r\n0\r\n\r\n";
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x0a\x02ok";
    let half_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x0a\x02ok\r\n";
    let moved = b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
    let (open, closes) = (Then::KeepsOpen, Then::Closes);
    let table = [
        row("value and expire 0", ok(b"\x0a\x02ok\x18\x00"), open, "ok", 1),
        row("value alone", ok(b"\x0a\x02ok"), open, "ok", 1),
        row("chunked", chunked.to_vec(), open, "ok", 1),
        row("minute_qps", ok(b"\x0a\x02ok\x11\0\0\0\0\0\0\x45\x40"), open, "ok", 1),
        row("unknown field", ok(b"\x0a\x02ok\x3a\x01x"), open, "ok", 1),
        row("empty body", ok(b""), open, "", 1),
        row("expired", ok(b"\x0a\x02ok\x18\x01"), open, "local", 1),
        row("expiry long past", ok(LONG_PAST), open, "local", 1),
        row("expiry far off", ok(FAR_OFF), open, "ok", 1),
        row("garbage", ok(b"\xff\xff\xff\xff"), open, "local", 1),
        row("404", response("404 Not Found", b"nope\n"), open, "missing nope", 1),
        row("503", response("503 Unavailable", b"boom\n"), open, "failed boom", 1),
        row("500", response("500 Error", b"boom\n"), open, "local", 1),
        row("400", response("400 Bad", b"bad\n"), open, "local", 1),
        row("301", moved.to_vec(), open, "local", 1),
        row("204", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), open, "local", 1),
        row("closed before a response", Vec::new(), closes, "local", 1),
        row("truncated", cut.to_vec(), closes, "local", 1),
        row("truncated in chunks", half_chunk.to_vec(), closes, "local", 1),
        row("not HTTP", b"SSH-2.0\r\n\r\n".to_vec(), closes, "local", 1),
    ];
    for Row { name, answer, then, gives, requests } in table {
        let peer = canned(answer, then).await;
        let (node, key) = beside(&peer, options(Mode::MailgunV2)).await;
        let given = match node.group.get(&key_of(&key)).await {
            Ok(got) if got.starts_with(b"v:") => "local".to_owned(),
            Ok(got) => String::from_utf8_lossy(&got).into_owned(),
            Err(Error::NotFound { text }) => format!("missing {}", text.unwrap()),
            Err(Error::Owner { text, .. }) => format!("failed {text}"),
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(given, gives, "{name}");
        let local = u64::from(gives == "local");
        let stats = node.group.stats();
        assert_eq!((stats.local_loads, stats.peer_errors), (local, local), "{name}");
        let is_value = local == 0 && !gives.contains(' ');
        assert_eq!(stats.peer_loads, u64::from(is_value), "{name}");
        assert_eq!(peer.requests.load(Ordering::SeqCst), requests, "{name}");
    }
}

#[tokio::test]
async fn what_a_peer_says_to_many_keys_that_cannot_be_read_costs_a_request_for_each() {
    for body in [&b"\xff\xff\xff\xff"[..], b"", b"\x0a\x01", b"\x0a\x00\x0a\x00\x0a\x00"] {
        let peer = canned(response("200 OK", body), Then::KeepsOpen).await;
        let (node, key) = beside(&peer, options(Mode::Native)).await;
        let got = node.group.get_many(&[key_of(&key)]).await.remove(0).unwrap();
        // Alone, what it says is garbage as well, or an empty value.
        let alone = if body.is_empty() { Bytes::new() } else { format!("v:{key}").into() };
        let is_message = body.len() == 6;
        assert!(is_message || *got == alone, "{body:?}: {got:?}");
        assert_eq!(node.group.stats().batches, 1);
    }
}

#[tokio::test]
async fn a_connection_that_died_unused_costs_nobody_a_load() {
    let peer = canned(response("200 OK", b"\x0a\x02ok"), Then::HangsUpAfter(1)).await;
    let (node, _) = beside(&peer, options(Mode::MailgunV2)).await;
    let owned = |key: &String| node.pool.owner(key.as_bytes()) == peer.url;
    let keys: Vec<_> = (0..).map(|n| format!("10.8.{n}.{n}")).filter(owned).take(3).collect();
    for key in &keys {
        assert_eq!(node.text(key).await, "ok");
    }
    assert_eq!((node.source.all_loads(), node.group.stats().peer_errors), (0, 0));
    assert_eq!(peer.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connections_are_used_again() {
    let peer = canned(response("200 OK", b"\x0a\x02ok"), Then::KeepsOpen).await;
    let (node, _) = beside(&peer, options(Mode::MailgunV2)).await;
    let owned = |key: &String| node.pool.owner(key.as_bytes()) == peer.url;
    for key in (0..).map(|n| format!("10.8.{n}.{n}")).filter(owned).take(50) {
        assert_eq!(node.text(&key).await, "ok");
    }
    let seen = (peer.requests.load(Ordering::SeqCst), peer.connections.load(Ordering::SeqCst));
    assert_eq!(seen, (50, 1));
}

#[tokio::test]
async fn no_more_connections_are_opened_than_a_peer_may_have() {
    let options = PoolOptions { connections: 3, ..options(Mode::MailgunV2) };
    let ring = ring_with(2, options, GroupOptions::default()).await;
    let keys: Vec<_> = keys_owned_by(&ring[1], "slow").take(20).collect();
    let asking: Vec<_> = keys
        .iter()
        .map(|key| {
            let (group, key) = (ring[0].group.clone(), key_of(key));
            tokio::spawn(async move { group.get(&key).await.map(drop) })
        })
        .collect();
    until(async || ring[1].source.all_loads() == 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ring[1].source.all_loads(), 3);
    ring[1].source.open(20);
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert_eq!((ring[1].source.all_loads(), ring[0].source.all_loads()), (20, 0));
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_taken_in() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    let peer = canned([&head[..], &vec![0; 100_000]].concat(), Then::Hangs).await;
    let options = PoolOptions { max_value: 10_000, ..options(Mode::MailgunV2) };
    let (node, key) = beside(&peer, options).await;
    assert_eq!(node.text(&key).await, format!("v:{key}"));
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let peer = canned(b"HTTP/1.1 200 OK\r\nContent-Len", Then::Hangs).await;
    let options =
        PoolOptions { peer_timeout: Duration::from_millis(100), ..options(Mode::MailgunV2) };
    let (node, key) = beside(&peer, options).await;
    assert_eq!(node.text(&key).await, format!("v:{key}"));
}

#[tokio::test]
async fn closing_a_pool_ends_a_call_that_waits_for_its_peer() {
    let peer = canned(b"HTTP/1.1 200 OK\r\nContent-Len", Then::Hangs).await;
    let options =
        PoolOptions { peer_timeout: Duration::from_secs(3_600), ..options(Mode::MailgunV2) };
    let (node, key) = beside(&peer, options).await;
    let (group, asked) = (node.group.clone(), key_of(&key));
    let getting = tokio::spawn(async move { group.get(&asked).await.map(|got| got.to_vec()) });
    until(async || peer.requests.load(Ordering::SeqCst) == 1).await;
    node.pool.close().await;
    assert_eq!(getting.await.unwrap().unwrap(), format!("v:{key}").into_bytes());
}

#[tokio::test]
async fn in_a_golang_ring_an_expiry_is_not_looked_at() {
    let peer = canned(response("200 OK", b"\x0a\x02ok\x18\x01"), Then::KeepsOpen).await;
    let (node, key) = beside(&peer, options(Mode::Golang)).await;
    assert_eq!(node.text(&key).await, "ok");
}

/// Answers a set when it is told to.
async fn hesitant() -> (String, Arc<Notify>, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let told = (asked.clone(), go.clone());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4_096];
        while stream.read(&mut buffer).await.unwrap() > 0 {
            told.0.notify_one();
            told.1.notified().await;
            stream.write_all(&response("200 OK", b"")).await.unwrap();
        }
    });
    (url, asked, go)
}

#[tokio::test]
async fn a_copy_of_what_was_set_is_not_kept_if_the_key_is_removed_before_the_owner_has_answered() {
    for is_removed in [false, true] {
        let (peer, asked, go) = hesitant().await;
        let node = node(options(Mode::MailgunV2), GroupOptions::default()).await;
        node.pool.set_peers([Peer::new(&node.url), Peer::new(&peer)]).unwrap();
        let mut keys = (0..).map(|n| format!("10.7.{}.{}", n / 256, n % 256));
        let key = keys.find(|key| node.pool.owner(key.as_bytes()) == peer).unwrap();
        let (group, set) = (node.group.clone(), key_of(&key));
        let setting = tokio::spawn(async move {
            group.set(&set, Bytes::from("mine"), Expiry::NEVER, HotCopy::Keep).await
        });
        asked.notified().await;
        if is_removed {
            let mut stream =
                TcpStream::connect(node.url.trim_start_matches("http://")).await.unwrap();
            let line = format!("DELETE /_groupcache/g/{key} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(line.as_bytes()).await.unwrap();
            until(async || node.group.stats().server_requests == 1).await;
        }
        go.notify_one();
        setting.await.unwrap().unwrap();
        assert_eq!(node.has(&key).is_some(), !is_removed);
    }
}
