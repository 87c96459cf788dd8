//! Several backends on one machine.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use larder_cache::Clock;
use larder_mdns::{Mdns, Options, StartError};
use larder_registry::model::{Key, Name, Status};
use larder_registry::{Backend, Error, OverrideChange};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use crate::support::{PATIENCE, ids, instance, listing, network, next, register, short, start};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_registers_the_other_finds_until_it_leaves() {
    let network = network();
    let (one, other) = (start(&network), start(&network));
    let mut web = instance("Go.Web", "web-1");
    web.service_metadata.insert("team".to_owned(), "größe".to_owned());
    web.tags = vec!["blue".to_owned()];
    let held = register(&one, web).await;
    for spelling in ["Go.Web", "go.web", "GO.WEB"] {
        let found = other.service(&Name::new(spelling)).await.expect("it is registered");
        assert_eq!(found.name().as_str(), "Go.Web");
        assert_eq!(found.get("web-1"), Some(&held), "nothing is lost on the way");
    }
    let names = other.services().await.expect("it can list");
    assert_eq!(names.iter().map(Name::as_str).collect::<Vec<_>>(), ["Go.Web"]);
    one.deregister(&held.key()).await.expect("it is registered");
    assert!(ids(&other, "go.web").await.is_empty());
    assert!(other.services().await.expect("it can list").is_empty());
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_hears_of_what_others_register_change_and_remove() {
    let network = network();
    let (one, other) = (start(&network), start(&network));
    register(&one, instance("web", "1")).await;
    let mut watch = other.watch(None).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    register(&one, instance("api", "1")).await;
    assert_eq!(short(&next(&mut *watch).await), "+api/1");
    let out =
        OverrideChange { to: Some(Status::OutOfService), fallback: Status::Up, dirty_at: None };
    one.set_override(&Key::new("web", "1"), out).await.expect("it is registered");
    assert_eq!(short(&next(&mut *watch).await), "+web/1", "it moved, and was never missing");
    let service = other.service(&Name::new("web")).await.expect("it is registered");
    assert_eq!(service.get("1").map(|held| held.status), Some(Status::OutOfService));
    one.deregister(&Key::new("api", "1")).await.expect("it is registered");
    assert_eq!(short(&next(&mut *watch).await), "-api/1");
    one.close().await;
    assert_eq!(short(&next(&mut *watch).await), "-web/1", "it says good-bye for all");
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_without_a_word_is_gone_after_its_silence() {
    let network = Options {
        query_interval: Duration::from_millis(200),
        silence_timeout: Duration::from_secs(1),
        ..network()
    };
    let (one, other) = (start(&network), start(&network));
    register(&one, instance("web", "1")).await;
    let mut watch = other.watch(Some(Name::new("WEB"))).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, ["web/1"]);
    // As long as it answers it stays, however long it announces nothing.
    let quiet = tokio::time::timeout(Duration::from_secs(3), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    drop(one);
    assert_eq!(short(&next(&mut *watch).await), "-web/1");
    assert!(ids(&other, "web").await.is_empty());
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_registered_is_theirs() {
    let network = network();
    let (one, other) = (start(&network), start(&network));
    let key = register(&one, instance("web", "1")).await.key();
    let out = OverrideChange { to: Some(Status::Down), fallback: Status::Up, dirty_at: None };
    for answer in [
        other.renew(&key, None).await,
        other.deregister(&key).await,
        other.set_override(&key, out).await,
    ] {
        assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    }
    assert_eq!(ids(&other, "web").await, ["1"]);
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_form_is_refused() {
    let backend = start(&network());
    for (service, id) in [("web", "a..b"), ("_services", "1"), ("", "1")] {
        let answer = backend.register(instance(service, id)).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{service}/{id}: {answer:?}");
    }
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_found_at_once_and_too_many_are_told() {
    let network = network();
    let (one, other) = (start(&network), start(&network));
    for n in 0..300 {
        register(&one, instance("web", &format!("web-{n}"))).await;
    }
    assert_eq!(ids(&other, "web").await.len(), 300);
    let few = start(&Options { max_instances: 100, ..network.clone() });
    let answer = few.service(&Name::new("web")).await;
    assert!(matches!(answer, Err(Error::Full { limit: 100 })), "{answer:?}");
    for backend in [one, other, few] {
        backend.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_not_there_is_told_at_the_start() {
    let start = |options| Mdns::start(options, Clock::running()).expect_err("it is not there");
    // Kept for documentation: no machine has it.
    let interface = Some(Ipv4Addr::new(203, 0, 113, 77));
    let error = start(Options { interface, ..network() });
    assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
    let error = start(Options { domain: "a..b".to_owned(), ..network() });
    assert!(matches!(error, StartError::Domain(_)), "{error:?}");
}

/// A responder asks from the common port, and hears only what is said to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_responder_that_asks_is_answered_by_multicast() {
    let network = network();
    let (backend, port) = (start(&network), network.port);
    register(&backend, instance("web", "1")).await;
    let open = |address: Ipv4Addr| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("there is one");
        socket.set_reuse_address(true).expect("it can be shared");
        socket.set_reuse_port(true).expect("it can be shared");
        socket.set_nonblocking(true).expect("it need not wait");
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("it is there");
        socket.bind(&SocketAddrV4::new(address, port).into()).expect("it is shared");
        socket
    };
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let ear = open(group);
    ear.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("loopback takes multicast");
    let ear = UdpSocket::from_std(ear.into()).expect("it is one");
    let mouth = UdpSocket::from_std(open(Ipv4Addr::LOCALHOST).into()).expect("it is one");
    // The number 7, one question: 1.web.micro., every record.
    let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x011\x03web\x05micro\0\0\xff\0\x01";
    mouth.send_to(question, (group, port)).await.expect("it is sent");
    let mut buffer = [0; 2_000];
    loop {
        let answer = tokio::time::timeout(PATIENCE, ear.recv_from(&mut buffer)).await;
        let (len, _) = answer.expect("an answer in time").expect("it can be read");
        // An answer has four records, an announcement three. It has neither a number nor a question.
        if len > 12 && buffer[2] & 0x80 != 0 && buffer[7] == 4 {
            assert_eq!((&buffer[..2], buffer[5]), (&[0, 0][..], 0));
            break;
        }
    }
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_skipped_and_counted() {
    let network = network();
    let backend = start(&network);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a port");
    let group = ("224.0.0.251", network.port);
    let socket2 = socket2::SockRef::from(&socket);
    socket2.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("it is there");
    for noise in [&b"noise"[..], &[0; 12], &[0xff; 40]] {
        socket.send_to(noise, group).await.expect("it is sent");
    }
    register(&backend, instance("web", "1")).await;
    // Datagrams arrive in order: once this answer is there the noise was read.
    assert_eq!(ids(&start(&network), "web").await, ["1"]);
    assert_eq!(backend.skipped(), 2, "an empty message is none to complain about");
    backend.close().await;
}
