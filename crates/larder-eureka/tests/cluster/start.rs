//! A server that starts: what it copies, and what it lets read meanwhile.

use std::net::TcpListener;
use std::time::Duration;

use reqwest::{Method, StatusCode};

use crate::node::{Node, Setup, port, registration, two, until};

/// The port of a server that was killed is free once its runtime has gone.
async fn take_again(address: std::net::SocketAddr) -> TcpListener {
    for _ in 0..1_000 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("it can be");
        if socket.bind(address).is_ok()
            && let Ok(listener) = socket.listen(128)
        {
            return listener.into_std().expect("it is one");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{address} is never free");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_killed_and_starts_again_catches_up_and_is_told_further() {
    let (one, other) = two();
    let addresses = [one.address, other.address];
    one.register("before", 50).await;
    until("told", || other.held("before").is_some()).await;
    let address = other.kill();
    one.register("meanwhile", 50).await;
    one.call(Method::PUT, "apps/WEB/meanwhile/status?value=OUT_OF_SERVICE", "").await;
    let other = Node::start(take_again(address).await, Setup::among(&addresses));
    other.peers().asked_once(Duration::from_secs(10)).await;
    assert!(other.held("before").is_some(), "it was copied before anybody reads");
    let out = other.held("meanwhile").and_then(|held| held.status_override);
    assert_eq!(out, Some(larder_registry::model::Status::OutOfService));
    one.register("after", 50).await;
    until("told again", || other.held("after").is_some()).await;
}

/// Without a copy at the start, heartbeats alone bring everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_forgot_comes_back_with_the_next_heartbeat() {
    let (one, other) = two();
    one.register("a", 50).await;
    until("told", || other.held("a").is_some()).await;
    let address = other.kill();
    let mut setup = Setup::among(&[one.address]);
    setup.peers.sync_rounds = 0;
    let other = Node::start(take_again(address).await, setup);
    assert_eq!(one.heartbeat("a").await, StatusCode::OK);
    until("whole", || other.held("a").is_some_and(|held| held.dirty_at == 50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_down_are_passed_over() {
    let full = Node::start(port(), Setup::among(&[]));
    full.register("a", 50).await;
    let nobody = port().local_addr().expect("it was bound");
    let node = Node::start(port(), Setup::among(&[nobody, full.address]));
    until("copied", || node.held("a").is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_peer_is_asked_again_until_it_has_something() {
    let empty = Node::start(port(), Setup::among(&[]));
    let mut setup = Setup::among(&[empty.address]);
    setup.peers.sync_rounds = 100;
    let node = Node::start(port(), setup);
    node.peers().asked_once(Duration::from_secs(10)).await;
    empty.register("a", 50).await;
    until("copied", || node.held("a").is_some()).await;
}

const LISTS: [&str; 5] = ["apps", "apps/delta", "apps/WEB", "vips/v", "svips/v"];

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gate_is_shut_lists_are_refused_and_nothing_else() {
    let mut setup = Setup::among(&[]);
    setup.gate = Duration::from_secs(3_600);
    let node = Node::start(port(), setup);
    node.register("a", 50).await;
    assert_eq!(node.heartbeat("a").await, StatusCode::OK);
    for list in LISTS {
        let (status, body) = node.call(Method::GET, list, "").await;
        assert_eq!((status, body.as_str()), (StatusCode::FORBIDDEN, ""), "{list}");
    }
    for open in ["apps/WEB/a", "instances/a", "status"] {
        assert_eq!(node.call(Method::GET, open, "").await.0, StatusCode::OK, "{open}");
    }
    let (status, _) = node.call(Method::POST, "apps/WEB", &registration("b", 50)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_opens_with_the_copy_or_at_the_end_of_its_time() {
    let full = Node::start(port(), Setup::among(&[]));
    full.register("a", 50).await;
    let mut setup = Setup::among(&[full.address]);
    setup.gate = Duration::from_secs(3_600);
    let node = Node::start(port(), setup);
    node.peers().asked_once(Duration::from_secs(10)).await;
    let (status, body) = node.call(Method::GET, "apps", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""instanceId":"a""#), "{body}");

    let mut setup = Setup::among(&[]);
    setup.gate = Duration::from_millis(1);
    let node = Node::start(port(), setup);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(node.call(Method::GET, "apps", "").await.0, StatusCode::OK);
}

/// Two that start together may both be shut: neither lets the other read an empty registry.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_together_behind_gates_wait_for_neither() {
    let listeners = [port(), port()];
    let addresses = listeners.each_ref().map(|one| one.local_addr().expect("it is bound"));
    let nodes = listeners.map(|listener| {
        let mut setup = Setup::among(&addresses);
        setup.gate = Duration::from_secs(3_600);
        Node::start(listener, setup)
    });
    for node in &nodes {
        node.peers().asked_once(Duration::from_secs(10)).await;
        assert_eq!(node.call(Method::GET, "apps", "").await.0, StatusCode::FORBIDDEN);
    }
    nodes[0].register("a", 50).await;
    until("told", || nodes[1].held("a").is_some()).await;
}
