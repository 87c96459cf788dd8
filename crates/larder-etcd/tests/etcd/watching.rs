//! Watches over a real etcd that dies, freezes, forgets and is replaced.

use std::time::Duration;

use crate::support::{Server, connect, instance, leased, listing, next, register, short};
use larder_cache::{Clock, Time};
use larder_etcd::Options;
use larder_registry::model::{Key, Name};
use larder_registry::{Backend, Error, Event, Phase};

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_when_the_server_was_killed() {
    let mut server = Server::start().await;
    let backend = server.backend();
    let mut watch = backend.watch(None).await.expect("it is open");
    register(&backend, instance("web", "1")).await;
    register(&backend, instance("web", "2")).await;
    let listed = listing(&mut *watch).await;
    assert_eq!(listed, ["web/1", "web/2"]);

    server.kill();
    let failed = watch.next().await.expect("it is open");
    assert!(matches!(failed, Err(Error::Unavailable { phase: Phase::Watch, .. })), "{failed:?}");
    server.restart().await;
    // Made while nobody watches, so that only a resumed watch can tell of each.
    let other = server.backend();
    register(&other, instance("web", "3")).await;
    other.deregister(&Key::new("web", "1")).await.expect("it is registered");
    register(&other, instance("web", "1")).await;

    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(short(&next(&mut *watch).await));
    }
    assert_eq!(told, ["+web/3", "-web/1", "+web/1"], "no listing, and nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_lists_anew_when_its_revision_was_compacted() {
    let mut server = Server::start().await;
    let backend = server.backend();
    register(&backend, instance("web", "1")).await;
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    register(&backend, instance("web", "2")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/2");

    server.kill();
    assert!(watch.next().await.expect("it is open").is_err());
    server.restart().await;
    let other = server.backend();
    other.deregister(&Key::new("web", "1")).await.expect("it is registered");
    register(&other, instance("web", "3")).await;
    server.compact();

    assert_eq!(listing(&mut *watch).await, ["web/2", "web/3"]);
    register(&other, instance("web", "4")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_listings_are_compacted_one_after_the_other_lists_again_soon() {
    let server = Server::start().await;
    // A back-off that would be noticed: twenty seconds in all.
    let backoff = Options::default().backoff;
    let backend = connect(Options { backoff, ..server.options() });
    register(&backend, instance("orders", "1")).await;
    let mut watch = backend.watch(None).await.expect("etcd is there");
    listing(&mut *watch).await;
    let asked = Clock::running();
    for round in 0..5 {
        // The stream is not open yet: that is the next step, and nobody has asked for it.
        let mut moved = instance("orders", "1");
        moved.address.ip = Some(format!("10.0.1.{round}"));
        register(&backend, moved).await;
        server.compact();
        assert_eq!(listing(&mut *watch).await, ["orders/1"]);
    }
    let took = asked.now().since(Time::ZERO);
    assert!(took < Duration::from_secs(8), "five times half a second at most: {took:?}");
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_under_a_running_watch_is_not_noticed() {
    let server = Server::start().await;
    let backend = server.backend();
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    register(&backend, instance("web", "1")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/1");
    server.compact();
    // The put that this deletes is forgotten, so that etcd has no earlier value to send along.
    backend.deregister(&Key::new("web", "1")).await.expect("it is registered");
    assert_eq!(short(&next(&mut *watch).await), "-web/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_notices_that_the_registry_was_lost() {
    let mut server = Server::start().await;
    let backend = server.backend();
    for id in ["1", "2", "3"] {
        register(&backend, instance("web", id)).await;
    }
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await.len(), 3);
    server.kill();
    server.forget();
    server.restart().await;
    register(&server.backend(), instance("new", "1")).await;
    assert_eq!(listing(&mut *watch).await, ["new/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_noticed_and_waited_for() {
    let server = Server::start().await;
    let options = Options {
        call_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_millis(900),
        ..server.options()
    };
    let backend = connect(options);
    register(&backend, instance("web", "1")).await;
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);

    server.freeze();
    let read = backend.service(&Name::new("web")).await;
    assert!(matches!(read, Err(Error::Unavailable { phase: Phase::Read, .. })), "{read:?}");
    let written = backend.register(instance("web", "2")).await;
    assert!(matches!(written, Err(Error::Unavailable { .. })), "{written:?}");
    let failed = watch.next().await.expect("it is open");
    assert!(matches!(failed, Err(Error::Unavailable { phase: Phase::Watch, .. })), "{failed:?}");

    server.thaw();
    register(&server.backend(), instance("web", "3")).await;
    let mut told = String::new();
    // The write that was given up may have been done.
    while told != "+web/3" {
        told = short(&next(&mut *watch).await);
        assert!(["+web/2", "+web/3"].contains(&&*told), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_watch_is_no_dead_one() {
    let server = Server::start().await;
    let idle_timeout = Duration::from_millis(300);
    let backend = connect(Options { idle_timeout, ..server.options() });
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    let silence = tokio::time::timeout(5 * idle_timeout, watch.next()).await;
    assert!(silence.is_err(), "the server spoke when asked: {silence:?}");
    register(&backend, instance("web", "1")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_asked_in_tiny_pieces_loses_nothing() {
    let server = Server::start().await;
    let backend = server.backend();
    for id in 0..50 {
        register(&backend, instance("web", &id.to_string())).await;
    }
    let mut watch = backend.watch(None).await.expect("it is open");
    let mut listed = 0;
    loop {
        // Dropped again and again, wherever it is.
        let piece = tokio::time::timeout(Duration::from_micros(50), watch.next()).await;
        match piece {
            Err(_) | Ok(Some(Ok(Event::Init))) => {}
            Ok(Some(Ok(Event::InitApply(_)))) => listed += 1,
            Ok(Some(Ok(Event::InitDone { .. }))) => break,
            Ok(other) => panic!("in a listing: {other:?}"),
        }
    }
    assert_eq!(listed, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_one_transaction_is_told() {
    let server = Server::start().await;
    let backend = server.backend();
    let mut watch = backend.watch(Some(Name::new("web"))).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    // One lease for three keys, as other programs may do: they end in one step.
    let granted = server.control(&["lease", "grant", "60"]);
    let lease = granted.split(' ').nth(1).expect("lease ID granted …");
    for id in ["1", "2", "3"] {
        let value = format!(r#"{{"name":"web","nodes":[{{"id":"{id}"}}]}}"#);
        let key = format!("/micro/registry/web/{id}");
        server.control(&["put", &key, &value, &format!("--lease={lease}")]);
        assert_eq!(short(&next(&mut *watch).await), format!("+web/{id}"));
    }
    server.control(&["lease", "revoke", lease]);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(short(&next(&mut *watch).await));
    }
    told.sort();
    assert_eq!(told, ["-web/1", "-web/2", "-web/3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_is_a_deletion_even_after_the_server_was_away() {
    let mut server = Server::start().await;
    let backend = server.backend();
    register(&backend, leased("web", "1", 2)).await;
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    server.kill();
    server.restart().await;
    assert_eq!(short(&next(&mut *watch).await), "-web/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_beyond_the_bound_is_said_to_be_full() {
    let server = Server::start().await;
    let backend = connect(Options { max_instances: 2, ..server.options() });
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    for id in ["1", "2"] {
        register(&backend, instance("web", id)).await;
        assert_eq!(short(&next(&mut *watch).await), format!("+web/{id}"));
    }
    register(&backend, instance("web", "3")).await;
    let full = watch.next().await.expect("it is open");
    assert!(matches!(full, Err(Error::Full { limit: 2 })), "{full:?}");
    assert!(matches!(backend.services().await, Err(Error::Full { limit: 2 })));
    backend.deregister(&Key::new("web", "1")).await.expect("it is registered");
    assert_eq!(listing(&mut *watch).await, ["web/2", "web/3"], "it heals");
}
