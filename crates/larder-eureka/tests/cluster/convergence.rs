//! What is done at either is seen at both.

use larder_eureka::server::Origin;
use larder_eureka::wire::replication::Action;
use larder_registry::model::Status;
use reqwest::{Method, StatusCode};

use crate::node::{Node, Setup, port, two, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_at_either_is_seen_at_both() {
    let (one, other) = two();
    one.register("a", 50).await;
    other.register("b", 50).await;
    until("both know both", || {
        [&one, &other].iter().all(|node| node.held("a").is_some() && node.held("b").is_some())
    })
    .await;
    let (_, listed) = other.call(Method::GET, "apps", "").await;
    assert!(listed.contains(r#""instanceId":"a""#) && listed.contains(r#""UP_2_""#), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_reaches_the_peer_and_comes_from_there_to_nobody() {
    let (one, other) = two();
    one.register("a", 50).await;
    until("registered", || other.held("a").is_some()).await;
    one.call(Method::PUT, "apps/WEB/a/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=60", "").await;
    let out = |node: &Node| {
        let held = node.held("a");
        held.is_some_and(|held| held.status_override == Some(Status::OutOfService))
    };
    until("overridden", || out(&other)).await;
    assert_eq!(other.held("a").expect("it is held").dirty_at, 60);
    one.call(Method::DELETE, "apps/WEB/a/status?value=UP&lastDirtyTimestamp=70", "").await;
    let up = |node: &Node| node.held("a").is_some_and(|held| held.status == Status::Up);
    until("lifted", || up(&other)).await;
    one.call(Method::PUT, "apps/WEB/a/metadata?zone=x", "").await;
    let zone = |node: &Node| node.held("a").is_some_and(|held| held.has_label("zone", "x"));
    until("described", || zone(&other)).await;
    assert_eq!(one.heartbeat("a").await, StatusCode::OK);
    until("renewed", || other.operations.of(Action::Heartbeat, Origin::Peer) == 1).await;
    one.call(Method::DELETE, "apps/WEB/a", "").await;
    until("gone", || other.held("a").is_none()).await;
    for action in Action::ALL {
        assert!(other.operations.of(action, Origin::Peer) > 0, "{action:?}");
        assert_eq!(other.operations.of(action, Origin::Client), 0, "{action:?}");
        assert_eq!(one.operations.of(action, Origin::Peer), 0, "{action:?} came back");
    }
    assert_eq!(other.figures().sent + other.figures().queued as u64, 0);
}

/// Its own lease of two seconds would end at the other, which hears nothing but what it is told.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_at_one_keep_it_alive_at_both_and_their_end_ends_it_at_both() {
    let (one, other) = two();
    let lease = r#""leaseInfo":{"renewalIntervalInSecs":1,"durationInSecs":2}"#;
    let body =
        crate::node::registration("a", 50).replacen(r#""app""#, &format!(r#"{lease},"app""#), 1);
    one.call(Method::POST, "apps/WEB", &body).await;
    until("registered", || other.held("a").is_some()).await;
    for _ in 0..8 {
        assert_eq!(one.heartbeat("a").await, StatusCode::OK);
        assert!(other.held("a").is_some(), "it ended although it was renewed");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    until("ended at both", || one.held("a").is_none() && other.held("a").is_none()).await;
    assert_eq!(other.operations.of(Action::Cancel, Origin::Peer), 0, "what expires is not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_knows_a_newer_instance_gives_it_to_whoever_renews_the_older() {
    let (one, other) = two();
    one.register("a", 50).await;
    until("registered", || other.held("a").is_some()).await;
    // As another peer, of which the first one has not heard.
    let newer = crate::node::registration("a", 90);
    let url = format!("http://{}/eureka/apps/WEB", other.address);
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let request = request.header("x-netflix-discovery-replication", "true").body(newer);
    assert_eq!(request.send().await.expect("it answers").status(), StatusCode::NO_CONTENT);
    assert_eq!(one.heartbeat("a").await, StatusCode::OK);
    until("taken", || one.held("a").is_some_and(|held| held.dirty_at == 90)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_hear_of_everything_once() {
    let listeners = [port(), port(), port()];
    let addresses = listeners.each_ref().map(|one| one.local_addr().expect("it is bound"));
    let nodes = listeners.map(|listener| {
        let mut setup = Setup::among(&addresses);
        // What is copied at the start is no operation.
        setup.peers.sync_rounds = 0;
        Node::start(listener, setup)
    });
    let heard = |node: &Node| node.operations.of(Action::Register, Origin::Peer);
    for (node, id) in nodes.iter().zip(["a", "b", "c"]) {
        node.register(id, 50).await;
    }
    until("all heard of all", || nodes.iter().all(|node| heard(node) >= 2)).await;
    nodes[0].register("d", 50).await;
    until("the others heard", || nodes[1..].iter().all(|node| node.held("d").is_some())).await;
    assert_eq!(nodes.each_ref().map(heard), [2, 3, 3]);
    for node in &nodes {
        assert_eq!((node.registry.snapshot().len(), node.peers().figures().len()), (4, 2));
    }
}
