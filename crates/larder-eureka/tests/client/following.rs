//! What is asked of a server, and when: lists, deltas, and what follows a hash that differs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_cache::Clock;
use larder_eureka::Options;
use larder_eureka::response_cache::ReadOnlyTier;
use larder_registry::model::{Instance, Key, Name, Status, Weights};
use larder_registry::{Backend, Error, Event, Guarded, OverrideChange, guard};

use crate::support::{Server, connect, instance, listing, next, until};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_fetched_once_and_then_what_changed() {
    let server = Server::start().await;
    server.registry.register(instance("WEB", "1")).await.expect("there is room");
    let client = connect(server.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    assert_eq!(listing(&mut *watch).await, ["WEB/1"]);
    server.registry.register(instance("WEB", "2")).await.expect("there is room");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(&event, Event::Apply { instance, .. } if instance.id == "2"), "{event:?}");
    server.registry.deregister(&Key::new("WEB", "1")).await.expect("it is there");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(&event, Event::Delete { instance, .. } if instance.id == "1"), "{event:?}");
    assert_eq!(server.gate.lists(), 1);
    assert!(server.gate.deltas() >= 2);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_round_finds_is_one_step_under_guard_as_well() {
    let server = Server::start().await;
    for id in ["1", "2"] {
        server.registry.register(instance("WEB", id)).await.expect("there is room");
    }
    // No round but those that are asked for.
    let client = connect(Options { poll: Duration::from_secs(60), ..server.options() });
    let guarded = Guarded::new(client.clone(), guard::Options::default(), Clock::running());
    let watches = [client.watch(None).await, guarded.watch(None).await];
    for watch in watches {
        let mut watch = watch.expect("it can watch");
        listing(&mut *watch).await;
        assert!(!watch.is_amid_step(), "a listing says itself when it is complete");
        server.registry.deregister(&Key::new("WEB", "1")).await.expect("it is there");
        server.registry.register(instance("API", "3")).await.expect("there is room");
        server.registry.register(instance("WEB", "1")).await.expect("there is room");
        server.registry.deregister(&Key::new("WEB", "2")).await.expect("it is there");
        client.services().await.expect("it answers");
        let mut said = Vec::new();
        loop {
            match next(&mut *watch).await.expect("it is well") {
                Event::Apply { instance, .. } => said.push(format!("+{}", instance.key())),
                Event::Delete { instance, .. } => said.push(format!("-{}", instance.key())),
                other => panic!("no change: {other:?}"),
            }
            if !watch.is_amid_step() {
                break;
            }
        }
        said.sort();
        assert_eq!(said, ["+API/3", "-WEB/2"], "the other is as it was");
        server.registry.deregister(&Key::new("API", "3")).await.expect("it is there");
        server.registry.register(instance("WEB", "2")).await.expect("there is room");
        client.services().await.expect("it answers");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_while_nobody_watches_or_reads() {
    let server = Server::start().await;
    let client = connect(server.options());
    drop(client.watch(None).await.expect("it can watch"));
    client.services().await.expect("it answers");
    let asked = server.gate.requests();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.gate.requests(), asked, "six polls later");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_differs_is_followed_by_a_list_at_once_and_then_no_more_than_two_a_minute() {
    let server = Server::start().await;
    server.registry.register(instance("WEB", "1")).await.expect("there is room");
    let client = connect(server.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    listing(&mut *watch).await;
    server.gate.falsifies.store(true, Ordering::SeqCst);
    until("a list after the mismatch", || server.gate.lists() == 2).await;
    let deltas = server.gate.deltas();
    until("more rounds", || server.gate.deltas() > deltas + 3).await;
    assert_eq!(server.gate.lists(), 2);
    server.registry.register(instance("WEB", "2")).await.expect("there is room");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(&event, Event::Apply { instance, .. } if instance.id == "2"), "{event:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_no_deltas_is_asked_for_everything() {
    for status in [403, 404] {
        let server = Server::start().await;
        server.gate.deltas_with.store(status, Ordering::SeqCst);
        server.registry.register(instance("WEB", "1")).await.expect("there is room");
        let client = connect(server.options());
        client.services().await.expect("it answers");
        server.registry.register(instance("API", "1")).await.expect("there is room");
        let names = client.services().await.expect("it answers");
        assert_eq!(names, [Name::new("api"), Name::new("web")], "{status}");
        assert_eq!(server.gate.lists(), 2, "{status}");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_that_fails_is_followed_by_a_list_in_the_same_round() {
    let server = Server::start().await;
    let client = connect(server.options());
    client.services().await.expect("it answers");
    server.gate.deltas_with.store(500, Ordering::SeqCst);
    server.registry.register(instance("WEB", "1")).await.expect("there is room");
    assert_eq!(client.services().await.expect("it answers"), [Name::new("web")]);
    assert_eq!(server.gate.lists(), 2);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_at_once_share_a_round() {
    let server = Server::start().await;
    let client = connect(server.options());
    client.services().await.expect("it answers");
    let before = server.gate.deltas();
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.services().await.map(drop) })
        })
        .collect();
    for read in reads {
        read.await.expect("it does not panic").expect("it answers");
    }
    let rounds = server.gate.deltas() - before;
    assert!(rounds <= 20, "{rounds} rounds for 100 reads");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_at_once_although_lists_are_late() {
    let server = Server::with_tier(ReadOnlyTier::Timer(Duration::from_secs(60))).await;
    let client = connect(server.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    assert!(listing(&mut *watch).await.is_empty());
    // From here on the server hands out this delta.
    until("a delta", || server.gate.deltas() > 0).await;
    client.register(instance("orders", "1")).await.expect("it is complete");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(&event, Event::Apply { instance, .. } if instance.id == "1"), "{event:?}");
    let change = OverrideChange {
        to: Some(Status::OutOfService),
        fallback: Status::Unknown,
        dirty_at: None,
    };
    client.set_override(&Key::new("orders", "1"), change).await.expect("it is registered");
    let service = client.service(&Name::new("orders")).await.expect("it is registered");
    let statuses: Vec<_> = service.instances().map(|held| held.status).collect();
    assert_eq!(statuses, [Status::OutOfService]);
    client.deregister(&Key::new("orders", "1")).await.expect("it is registered");
    let gone = client.service(&Name::new("orders")).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lists_never_confirm_is_let_go_after_a_while() {
    let server = Server::with_tier(ReadOnlyTier::Timer(Duration::from_secs(600))).await;
    let options = Options { lag: Duration::from_millis(300), ..server.options() };
    let client = connect(options);
    let mut watch = client.watch(None).await.expect("it can watch");
    assert!(listing(&mut *watch).await.is_empty());
    // From here on the server hands out this delta.
    until("a delta", || server.gate.deltas() > 0).await;
    client.register(instance("orders", "1")).await.expect("it is complete");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(event, Event::Apply { .. }), "{event:?}");
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(event, Event::Delete { .. }), "{event:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_of_one_server_see_all_that_eureka_and_the_pair_can_hold() {
    let server = Server::start().await;
    let (one, other) = (connect(server.options()), connect(server.options()));
    let mut sent = Instance { lease: None, ..instance("Orders", "h:orders:80") };
    sent.version = "1.2".to_owned();
    sent.tags = vec!["blue".to_owned()];
    sent.weights = Some(Weights { passing: 3, warning: 1 });
    sent.metadata.insert("zone".to_owned(), "a".to_owned());
    let held = one.register(sent.clone()).await.expect("it is complete");
    let service = other.service(&Name::new("ORDERS")).await.expect("it is registered");
    assert_eq!(service.name().as_str(), "Orders");
    let seen = service.get("h:orders:80").expect("it is registered");
    for instance in [&held, seen] {
        assert_eq!((&instance.version, &instance.tags), (&sent.version, &sent.tags));
        assert_eq!((instance.weights, instance.lease), (sent.weights, None));
        assert_eq!(instance.metadata, sent.metadata);
        assert_eq!(instance.address.ip, sent.address.ip);
    }
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_again_without_a_time_takes_the_place_of_what_is_held() {
    let server = Server::start().await;
    let client = connect(server.options());
    let known = Instance { dirty_at: 5, ..instance("orders", "1") };
    client.register(known).await.expect("it is complete");
    let mut moved = instance("orders", "1");
    moved.address.ip = Some("10.0.0.9".to_owned());
    let held = client.register(moved).await.expect("it is complete");
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.9"));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_instances_than_may_be_held_are_an_error_and_no_cut_list() {
    let server = Server::start().await;
    for id in ["1", "2", "3"] {
        server.registry.register(instance("WEB", id)).await.expect("there is room");
    }
    let client = connect(Options { max_instances: 2, ..server.options() });
    let answer = client.services().await;
    assert!(matches!(answer, Err(Error::Full { limit: 2 })), "{answer:?}");
    client.close().await;
    let client = connect(Options { max_body: 1000, ..server.options() });
    let answer = client.services().await.expect_err("it is longer").to_string();
    assert!(answer.contains("larger than 1000 bytes"), "{answer}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_client_ends_what_waits_and_leaves_nothing_behind() {
    let server = Server::start().await;
    let client = connect(server.options());
    server.gate.hangs.store(true, Ordering::SeqCst);
    let (reader, writer): (Arc<_>, Arc<_>) = (client.clone(), client.clone());
    let read = tokio::spawn(async move { reader.services().await });
    let write = tokio::spawn(async move { writer.register(instance("a", "1")).await });
    until("both are under way", || server.gate.requests() == 2).await;
    client.close().await;
    assert!(matches!(read.await.expect("no panic"), Err(Error::Closed)));
    assert!(matches!(write.await.expect("no panic"), Err(Error::Closed)));
}
