//! Peers that are down, slow or busy, and what they cost: themselves.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use larder_cache::{Clock, Time};
use larder_eureka::replicate::Contact;

use crate::node::{Node, Setup, port, until};

/// Accepts, and never answers: the system takes connections for it.
fn mute() -> (TcpListener, SocketAddr) {
    let listener = port();
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Nobody listens there.
fn nobody() -> SocketAddr {
    port().local_addr().expect("it was bound")
}

fn always(status: StatusCode) -> SocketAddr {
    let listener = tokio::net::TcpListener::from_std(port()).expect("it does not block");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().fallback(move || async move { status });
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it goes on") });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_in_trouble_costs_the_others_nothing_and_its_line_is_bounded() {
    let (_kept, slow) = mute();
    let busy = always(StatusCode::SERVICE_UNAVAILABLE);
    let listeners = [port(), port()];
    let [one, other] = listeners.each_ref().map(|one| one.local_addr().expect("it is bound"));
    let mut setup = Setup::among(&[slow, nobody(), busy, other, one]);
    setup.peers.queue_len = 100;
    setup.peers.batch_timeout = Duration::from_secs(1);
    let [first, second] = listeners;
    let one = Node::start(first, setup);
    let other = Node::start(second, Setup::among(&[]));
    for id in 0..150 {
        one.register(&id.to_string(), 50).await;
    }
    let clock = Clock::running();
    until("the good peer knows all", || other.registry.snapshot().len() >= 50).await;
    for id in 0..150 {
        assert_eq!(one.heartbeat(&id.to_string()).await, StatusCode::OK);
    }
    until("failures are seen", || {
        let figures = one.peers().figures();
        figures[..3].iter().filter(|peer| peer.contact == Contact::Unavailable).count() == 3
            && figures[3].contact == Contact::Available
    })
    .await;
    assert!(clock.now() < Time::from_millis(15_000), "{:?}", clock.now());
    for peer in &one.peers().figures()[..3] {
        assert!(peer.queued <= 100 && peer.sent == 0, "{peer:?}");
        assert!(peer.overflowed + peer.refused > 0, "{peer:?}");
        assert!(peer.failed_batches < 30, "{peer:?}");
    }
    let (_, page) = one.call(reqwest::Method::GET, "status", "").await;
    assert!(page.contains(&format!(r#""available-replicas":"http://{}/eureka,""#, other.address)));
    assert!(page.contains(&format!("http://{slow}/eureka,")), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_heartbeats_to_a_dead_peer_stays_one_task_for_each_instance() {
    let node = Node::start(port(), Setup::among(&[nobody()]));
    for id in 0..20 {
        node.register(&id.to_string(), 50).await;
    }
    for round in 0..2_000 {
        assert_eq!(node.heartbeat(&(round % 20).to_string()).await, StatusCode::OK);
    }
    let figures = node.figures();
    assert!(figures.queued <= 40, "{figures:?}");
    assert!(figures.failed_batches < 40, "{figures:?}");
    assert!(figures.replaced >= 1_900, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_peers_in_trouble_stops_in_time() {
    let (_kept, slow) = mute();
    let node = Node::start(port(), Setup::among(&[slow, nobody()]));
    node.register("a", 50).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let closing = tokio::time::timeout(Duration::from_secs(5), node.peers().close()).await;
    assert!(closing.is_ok(), "it waits for its peers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_refuses_bodies_of_this_size_is_sent_smaller_ones() {
    let listener = tokio::net::TcpListener::from_std(port()).expect("it does not block");
    let address = listener.local_addr().expect("it is bound");
    let answer = |body: String| async move {
        let items = body.matches(r#""action""#).count();
        if items > 20 {
            return (StatusCode::PAYLOAD_TOO_LARGE, String::new());
        }
        let answers = vec![r#"{"statusCode":200}"#; items].join(",");
        (StatusCode::OK, format!(r#"{{"responseList":[{answers}]}}"#))
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it goes on") });
    let node = Node::start(port(), Setup::among(&[address]));
    for id in 0..100 {
        node.register(&id.to_string(), 50).await;
    }
    until("all are sent", || node.figures().sent == 100).await;
    assert_eq!((node.figures().refused, node.figures().queued), (0, 0));
}
