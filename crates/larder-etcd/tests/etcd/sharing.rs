//! One etcd for several: two backends, go-micro's keys, other people's keys, and users of etcd's.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{PATIENCE, Server, connect, instance, leased, listing, next, register, short};
use larder_etcd::{Credentials, Options};
use larder_registry::model::{Instance, Key, Name, Status};
use larder_registry::{Backend, Error, OverrideChange, Phase};

const fn set(to: Status) -> OverrideChange {
    OverrideChange { to: Some(to), fallback: Status::Up, dirty_at: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_backends_see_each_other() {
    let server = Server::start().await;
    let (one, other) = (server.backend(), server.backend());
    let mut watch = other.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    let registered = register(&one, leased("web", "1", 60)).await;
    let web = other.service(&Name::new("web")).await.expect("it is registered");
    assert_eq!(web.get("1"), Some(&registered), "as it was answered, whoever reads it");
    assert_eq!(short(&next(&mut *watch).await), "+web/1");
    let renewed = other.renew(&Key::new("web", "1"), None).await;
    assert_eq!(renewed.expect("anyone may renew it"), registered);
    other.deregister(&Key::new("web", "1")).await.expect("anyone may deregister it");
    assert!(matches!(one.renew(&Key::new("web", "1"), None).await, Err(Error::NotFound(_))));
    assert_eq!(server.control(&["lease", "list"]).trim(), "found 0 leases");
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_the_same_again_is_a_renewal_and_no_change() {
    let server = Server::start().await;
    let backend = server.backend();
    register(&backend, leased("web", "1", 60)).await;
    let key = "/micro/registry/web/1";
    let before = server.control(&["get", key, "-w", "json"]);
    let value = |json: &str| json.split("\"kvs\"").nth(1).map(str::to_owned);
    register(&backend, leased("web", "1", 60)).await;
    assert_eq!(value(&server.control(&["get", key, "-w", "json"])), value(&before));
    let mut moved = leased("web", "1", 60);
    moved.address.ip = Some("10.0.0.9".to_owned());
    register(&backend, moved).await;
    assert_ne!(value(&server.control(&["get", key, "-w", "json"])), value(&before));
    let leases = server.control(&["lease", "list"]);
    assert!(leases.contains("found 1 leases"), "one lease for an instance: {leases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_makes_the_registrant_register_again() {
    let server = Server::start().await;
    let backend = server.backend();
    register(&backend, leased("web", "1", 60)).await;
    let leases = server.control(&["lease", "list"]);
    server.control(&["lease", "revoke", leases.lines().last().expect("one is listed")]);
    let renewed = backend.renew(&Key::new("web", "1"), None).await;
    assert!(matches!(renewed, Err(Error::NotFound(_))), "{renewed:?}");
    register(&backend, leased("web", "1", 60)).await;
    backend.renew(&Key::new("web", "1"), None).await.expect("it has a lease again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_serve_is_kept_where_go_micro_does_not_look() {
    let server = Server::start().await;
    let backend = server.backend();
    let key = Key::new("web", "1");
    let keys = || server.control(&["get", "/", "--prefix", "--keys-only"]).trim().to_owned();
    let held = register(&backend, leased("web", "1", 60)).await;
    assert_eq!(keys(), "/micro/registry/web/1");
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);

    let out = backend.set_override(&key, set(Status::OutOfService)).await.expect("registered");
    assert_eq!(keys(), "/micro/registry.larder/web/1");
    assert_eq!(short(&next(&mut *watch).await), "+web/1", "one change, not an end");
    let web = backend.service(&key.service).await.expect("Larder's own clients see it");
    assert_eq!(web.get("1"), Some(&out));
    backend.renew(&key, None).await.expect("it keeps its lease");

    let lift = OverrideChange { to: None, ..set(Status::Up) };
    let up = backend.set_override(&key, lift).await.expect("registered");
    assert_eq!(keys(), "/micro/registry/web/1");
    assert_eq!((up.status, up.lease), (Status::Up, held.lease));
    let starting = Instance { status: Status::Starting, ..leased("web", "1", 60) };
    register(&backend, starting).await;
    assert_eq!(keys(), "/micro/registry.larder/web/1");
    backend.deregister(&key).await.expect("registered");
    assert_eq!(keys(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_one_in_whatever_case_its_keys_are_written() {
    let server = Server::start().await;
    let backend = server.backend();
    for (name, id) in [("Go/Orders", "1"), ("go/orders", "2"), ("GO-orders", "3"), ("größe", "1")]
    {
        let value = format!(r#"{{"name":"{name}","nodes":[{{"id":"{id}"}}]}}"#);
        let key = format!("/micro/registry/{}/{id}", name.replace('/', "-"));
        server.control(&["put", &key, &value]);
    }
    let ids = async |name: &str| {
        let service = backend.service(&Name::new(name)).await.expect("it is there");
        let ids: Vec<String> = service.instances().map(|held| held.id.clone()).collect();
        (service.name().to_string(), ids.join(" "))
    };
    assert_eq!(ids("GO/ORDERS").await, ("Go/Orders".to_owned(), "1 2".to_owned()));
    assert_eq!(ids("go-orders").await, ("GO-orders".to_owned(), "3".to_owned()));
    assert_eq!(ids("GRÖSSE".replace("SS", "ß").as_str()).await.1, "1");
    let names = backend.services().await.expect("it can list");
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    assert_eq!(names, ["GO-orders", "Go/Orders", "größe"]);

    // A registration in another spelling takes the place of the one that is there.
    register(&backend, instance("GO/ORDERS", "1")).await;
    let keys = server.control(&["get", "/", "--prefix", "--keys-only"]);
    assert!(keys.contains("/GO-ORDERS/1") && !keys.contains("/Go-Orders/1"), "{keys}");
    backend.deregister(&Key::new("go/orders", "1")).await.expect("whatever the case");
    assert_eq!(ids("go/orders").await.1, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_skipped_and_counted() {
    let server = Server::start().await;
    let backend = server.backend();
    register(&backend, instance("web", "1")).await;
    for (key, value) in [
        ("/micro/registry/web/2", "rubbish"),
        ("/micro/registry/web/3", r#"{"name":"web","nodes":[]}"#),
        ("/micro/registry/web/4", r#"{"name":"other","nodes":[{"id":"4"}]}"#),
    ] {
        server.control(&["put", key, value]);
    }
    for key in ["/micro/registry/web", "/micro/registry/web/5/6", "/micro/registry.zoo/web/7"] {
        server.control(&["put", key, r#"{"name":"web","nodes":[{"id":"7"}]}"#]);
    }
    let web = backend.service(&Name::new("WEB")).await.expect("one is well");
    assert_eq!((web.len(), backend.skipped()), (1, 3));
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    server.control(&["put", "/micro/registry/web/1", "rubbish"]);
    assert_eq!(short(&next(&mut *watch).await), "-web/1", "what it said counts no more");
    register(&backend, instance("web", "1")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/1", "it is written over");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_write_the_same_instance_leave_one_of_them() {
    let server = Server::start().await;
    let backend = server.backend();
    let writers = (0..4_u32).map(|writer| {
        let backend = backend.clone();
        tokio::spawn(async move {
            for turn in 0..5 {
                let mut mine = leased("web", "1", 60);
                mine.address.ip = Some(format!("10.0.{writer}.{turn}"));
                match backend.register(mine).await {
                    Ok(_) | Err(Error::Contended(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it does not panic");
    }
    assert_eq!(backend.service(&Name::new("web")).await.expect("it is there").len(), 1);
    let leases = server.control(&["lease", "list"]);
    assert!(leases.contains("found 1 leases"), "{leases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_form_in_etcd_is_refused_with_a_reason() {
    let server = Server::start().await;
    let backend = server.backend();
    for (service, id) in [("", "1"), ("web", ".."), (".", "1"), ("web", &"x".repeat(2_000))] {
        let answer = backend.register(instance(service, id)).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{service:?} {id:?}: {answer:?}");
        let found = backend.deregister(&Key::new(service, id)).await;
        assert!(matches!(found, Err(Error::NotFound(_))), "{service:?} {id:?}: {found:?}");
    }
    let mut watch = backend.watch(Some(Name::new(""))).await.expect("it is open");
    server.compact();
    assert_eq!(listing(&mut *watch).await, [""; 0], "and nothing ever comes");
    let mut large = instance("web", "1");
    large.metadata.insert("page".to_owned(), "x".repeat(2 << 20));
    assert!(matches!(backend.register(large).await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_gives_way_to_the_next() {
    let (mut dead, server) = (Server::start().await, Server::start().await);
    dead.kill();
    let endpoints = vec![dead.endpoint(), server.endpoint()];
    let backend = connect(Options { endpoints, ..server.options() });
    // A write is not repeated elsewhere, as it may have been done; the next one goes there.
    let mut watch = backend.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    register(&backend, instance("web", "1")).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/1");
    let nobody = connect(Options { endpoints: vec![dead.endpoint()], ..server.options() });
    let answer = nobody.services().await;
    assert!(matches!(answer, Err(Error::Unavailable { phase: Phase::List, .. })), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_etcd_log_in_and_others_are_refused() {
    let server = Server::start().await;
    let with = |password: &str| {
        let credentials = Credentials { user: "root".to_owned(), password: password.to_owned() };
        connect(Options { credentials: Some(credentials), ..server.options() })
    };
    let early = with("secret");
    register(&early, instance("web", "1")).await;
    server.control(&["user", "add", "root:secret"]);
    server.control(&["user", "grant-role", "root", "root"]);
    server.control(&["auth", "enable"]);

    let known = with("secret");
    let mut watch = known.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    register(&known, leased("web", "2", 60)).await;
    assert_eq!(short(&next(&mut *watch).await), "+web/2");
    known.renew(&Key::new("web", "2"), None).await.expect("it may");
    // Logged in before etcd had users: it logs in again.
    register(&early, instance("web", "3")).await;

    for stranger in [with("wrong"), server.backend()] {
        let answer = stranger.services().await;
        let Err(Error::Denied { reason, .. }) = &answer else { panic!("{answer:?}") };
        assert!(!reason.contains("wrong"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_calls_that_are_under_way() {
    let server = Server::start().await;
    let backend = connect(Options { call_timeout: PATIENCE, ..server.options() });
    server.freeze();
    let reading = Arc::clone(&backend);
    let call = tokio::spawn(async move { reading.services().await });
    let mut watch = backend.watch(None).await.expect("it is open");
    let waited = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
    assert!(waited.is_err(), "the server says nothing: {waited:?}");
    backend.close().await;
    let answer = tokio::time::timeout(PATIENCE / 2, call).await.expect("at once");
    assert!(matches!(answer, Ok(Err(Error::Closed))), "{answer:?}");
    assert_eq!(watch.next().await.map(|event| event.is_ok()), None);
    server.thaw();
}
