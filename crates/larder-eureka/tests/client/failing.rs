//! Servers that fail: what is tried next, what callers are told, and how it goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_cache::Clock;
use larder_eureka::{Credentials, EurekaClient, Options, OptionsError};
use larder_registry::model::{Key, Name};
use larder_registry::{Backend, Error, Event, Phase};

use crate::support::{Server, connect, instance, listing, next, options};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_asked_when_one_fails() {
    let (one, other) = (Server::start().await, Server::start().await);
    for server in [&one, &other] {
        server.registry.register(instance("WEB", "1")).await.expect("there is room");
    }
    other.registry.register(instance("WEB", "2")).await.expect("there is room");
    let client = connect(options(vec![one.name(), other.name()]));
    let mut watch = client.watch(None).await.expect("it can watch");
    assert_eq!(listing(&mut *watch).await, ["WEB/1"]);
    for status in [500, 503, 307] {
        one.gate.all_with.store(status, Ordering::SeqCst);
        client.renew(&Key::new("web", "1"), None).await.expect("the other answers");
    }
    let event = next(&mut *watch).await.expect("nobody notices");
    assert!(matches!(&event, Event::Apply { instance, .. } if instance.id == "2"), "{event:?}");
    assert_eq!(other.gate.lists(), 1, "deltas of another server continue nothing");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_costs_its_share_of_the_time() {
    let (one, other) = (Server::start().await, Server::start().await);
    one.gate.hangs.store(true, Ordering::SeqCst);
    let call_timeout = Duration::from_millis(400);
    let options = Options { call_timeout, ..options(vec![one.name(), other.name()]) };
    let client = connect(options);
    client.register(instance("a", "1")).await.expect("the other answers");
    other.gate.hangs.store(true, Ordering::SeqCst);
    let late = client.register(instance("a", "1")).await.expect_err("nobody answers");
    assert!(matches!(&late, Error::Unavailable { phase: Phase::Write, .. }), "{late:?}");
    assert!(late.to_string().contains("no answer within 200 ms"), "{late}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_what_happened_meanwhile_follows() {
    let server = Server::start().await;
    for id in ["1", "2"] {
        server.registry.register(instance("WEB", id)).await.expect("there is room");
    }
    let client = connect(server.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    assert_eq!(listing(&mut *watch).await.len(), 2);
    server.gate.all_with.store(503, Ordering::SeqCst);
    let error = next(&mut *watch).await.expect_err("it is down");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let read = client.service(&Name::new("web")).await;
    assert!(matches!(read, Err(Error::Unavailable { phase: Phase::Read, .. })), "{read:?}");
    let write = client.register(instance("WEB", "3")).await;
    assert!(matches!(write, Err(Error::Unavailable { phase: Phase::Write, .. })), "{write:?}");

    server.registry.deregister(&Key::new("web", "1")).await.expect("it is there");
    server.gate.all_with.store(0, Ordering::SeqCst);
    // Each failed round is told, until one is good.
    let event = loop {
        if let Ok(event) = next(&mut *watch).await {
            break event;
        }
    };
    assert_eq!(event, Event::Resumed);
    let event = next(&mut *watch).await.expect("it is well");
    assert!(matches!(&event, Event::Delete { instance, .. } if instance.id == "1"), "{event:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_yet_is_found_when_it_is() {
    let mut server = Server::start().await;
    server.registry.register(instance("WEB", "1")).await.expect("there is room");
    server.stop_listening().await;
    let client = connect(server.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    let error = next(&mut *watch).await.expect_err("nobody listens");
    let said = error.to_string();
    assert!(said.contains(&server.name()) && said.contains("refused"), "{said}");
    server.restart().await;
    let event = loop {
        if let Ok(event) = next(&mut *watch).await {
            break event;
        }
    };
    assert_eq!(event, Event::Init, "it never listed before");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_with_every_call_and_a_wrong_one_is_denied() {
    let server = Server::start().await;
    // "larder:secret"
    let wanted = "Basic bGFyZGVyOnNlY3JldA==".to_owned();
    *server.gate.wants.lock().expect("nobody panicked") = Some(wanted);
    let login = |password: &str| {
        let (user, password) = ("larder".to_owned(), password.to_owned());
        Options { credentials: Some(Credentials { user, password }), ..server.options() }
    };
    let client = connect(login("secret"));
    client.register(instance("a", "1")).await.expect("it may");
    client.services().await.expect("it may");
    client.close().await;
    let client = connect(login("wrong"));
    let write = client.register(instance("a", "1")).await;
    let read = client.services().await;
    assert!(matches!(write, Err(Error::Denied { phase: Phase::Write, .. })), "{write:?}");
    assert!(matches!(read, Err(Error::Denied { phase: Phase::List, .. })), "{read:?}");
    let said = read.expect_err("it is denied").to_string();
    assert!(said.contains("who are you?") && !said.contains("wrong"), "{said}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_read_yet_is_not_an_empty_registry() {
    let server = Server::start().await;
    server.gate.all_with.store(403, Ordering::SeqCst);
    let client = connect(server.options());
    let read = client.services().await.expect_err("it may not");
    assert!(matches!(read, Error::Unavailable { .. }), "{read:?}");
    assert!(read.to_string().contains("does not let anybody read yet"), "{read}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_in_its_words() {
    let server = Server::start().await;
    server.gate.all_with.store(400, Ordering::SeqCst);
    let client = connect(server.options());
    let refused = client.register(instance("a", "1")).await;
    assert!(matches!(&refused, Err(Error::Invalid(says)) if says == "told to"), "{refused:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_is_said_to_be_one() {
    let server = Server::start().await;
    let client = connect(options(vec![format!("{}/wrong/path", server.name())]));
    let said = client.services().await.expect_err("nothing is there").to_string();
    assert!(said.contains("404") && said.contains("is the path of its API right"), "{said}");
    client.close().await;
}

#[tokio::test]
async fn options_that_cannot_be_used_are_refused() {
    let connect = |servers: Vec<String>| {
        EurekaClient::connect(Options { servers, ..Options::default() }, Clock::running()).err()
    };
    assert_eq!(connect(vec![]), Some(OptionsError::NoServer));
    let tls = "https://eureka".to_owned();
    assert_eq!(connect(vec![tls.clone()]), Some(OptionsError::Tls(tls)));
    assert_eq!(connect(vec!["a:b@eureka".to_owned()]), Some(OptionsError::Password));
}
