//! Several servers in one ring.

use std::time::Duration;

use larder_peers::Mode;
use larder_server::{BuildError, GroupsError, Server};

use crate::support::http::{Answer, Origin, ask};
use crate::support::{PATIENCE, Running};
use crate::{alone, free, group, members, nth};

/// Servers in one ring that all ask this origin.
async fn ring(origin: &Origin, count: usize, mode: Mode) -> Vec<Running> {
    let addresses = free(count);
    let mut servers = Vec::new();
    for address in &addresses {
        let group = group("values", &origin.template());
        let server = Running::start(|config| {
            config.listen = vec![*address];
            config.groups.mode = mode;
            config.groups.membership = members(&addresses);
            config.groups.peer_timeout = Duration::from_secs(5);
            config.groups.groups.push(group);
        });
        servers.push(server.await);
    }
    servers
}

async fn get(server: &Running, key: u64) -> Answer {
    ask(server.address, "GET", &format!("/cache/values/{}", nth(key)), &[], b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_ring_each_key_is_loaded_once_and_everybody_serves_it() {
    for mode in [Mode::MailgunV2, Mode::Native, Mode::Golang] {
        let origin = Origin::of_values("").await;
        let servers = ring(&origin, 3, mode).await;
        for key in 0..30 {
            for server in &servers {
                let got = get(server, key).await;
                assert_eq!(
                    (got.status, got.text()),
                    (200, format!("value of {}", nth(key))),
                    "{mode:?}"
                );
            }
        }
        assert_eq!(origin.loads(), 30, "{mode:?}");
        for server in servers {
            server.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_sets_or_removes_the_others_hear_of() {
    let origin = Origin::of_values("").await;
    let servers = ring(&origin, 3, Mode::MailgunV2).await;
    for (turn, key) in (0..10).enumerate() {
        for server in &servers {
            assert_eq!(get(server, key).await.text(), format!("value of {}", nth(key)));
        }
        let path = format!("/cache/values/{}", nth(key));
        let set = ask(servers[turn % 3].address, "PUT", &path, &[], b"set").await;
        assert_eq!(set.status, 204, "{}", set.text());
        for server in &servers {
            assert_eq!(get(server, key).await.text(), "set");
        }
        let removed = ask(servers[(turn + 1) % 3].address, "DELETE", &path, &[], b"").await;
        assert_eq!(removed.status, 204, "{}", removed.text());
        for server in &servers {
            assert_eq!(get(server, key).await.text(), format!("value of {}", nth(key)));
        }
    }
    assert_eq!(origin.loads(), 20);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_dies_the_others_load_its_keys_and_name_it_when_they_remove() {
    let origin = Origin::of_values("").await;
    let mut servers = ring(&origin, 2, Mode::MailgunV2).await;
    let dead = servers.pop().expect("there are two");
    let address = dead.address;
    dead.stop().await;
    for key in 0..20 {
        assert_eq!(get(&servers[0], key).await.text(), format!("value of {}", nth(key)));
    }
    let mut statuses = std::collections::BTreeMap::new();
    for key in 0..20 {
        let path = format!("/cache/values/{}", nth(key));
        let set = ask(servers[0].address, "PUT", &path, &[], b"v").await;
        *statuses.entry(set.status).or_insert(0) += 1;
        let is_told = set.text().contains(&format!("the owner http://{address}: "));
        assert_eq!(is_told, set.status == 502, "{}", set.text());
    }
    // Its own keys, and the other one's.
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [204, 502], "{statuses:?}");
    let removed = ask(servers[0].address, "DELETE", "/cache/values/k1", &[], b"").await;
    assert_eq!(removed.status, 502);
    let says = removed.text();
    let parts = [
        &*format!("http://{address}: "),
        "have not heard of it yet",
        "in the background, for 300s",
    ];
    assert!(parts.iter().all(|part| says.contains(part)), "{says}");
    servers.pop().expect("there is one").stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_golang_ring_nothing_is_set_or_removed() {
    let origin = Origin::of_values("").await;
    let servers = ring(&origin, 2, Mode::Golang).await;
    for (method, body) in [("PUT", &b"v"[..]), ("DELETE", b"")] {
        let got = ask(servers[0].address, method, "/cache/values/k1", &[], body).await;
        assert_eq!((got.status, got.header("allow")), (405, "GET, HEAD"));
        assert!(got.text().contains("no set and no remove in a golang ring"), "{}", got.text());
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_served_on_the_main_listeners_or_on_their_own_alone() {
    let origin = Origin::of_values("").await;
    let together = alone(&origin, |_| {}).await;
    let got = ask(together.address, "GET", "/_groupcache/values/ada", &[], b"").await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/x-protobuf"));
    assert!(got.text().contains("value of ada"), "{}", got.text());
    together.stop().await;

    let own = free(1)[0];
    let apart = alone(&origin, |config| config.groups.listen = vec![own]).await;
    assert_eq!(ask(own, "GET", "/_groupcache/values/ada", &[], b"").await.status, 200);
    let got = ask(apart.address, "GET", "/_groupcache/values/ada", &[], b"").await;
    assert_eq!(got.status, 404);
    assert!(got.text().contains("groups.listen"), "{}", got.text());
    for path in ["/cache/values/ada", "/metrics", "/healthz", "/eureka/apps", "/v1/agent/self"] {
        let got = ask(own, "GET", path, &[], b"").await;
        assert_eq!(got.status, 400, "{path}: {}", got.text());
    }
    assert_eq!(ask(apart.address, "GET", "/cache/values/ada", &[], b"").await.status, 200);
    apart.stop().await;
    assert!(tokio::net::TcpStream::connect(own).await.is_err(), "it is closed with the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_this_process_is_told_with_what_to_write() {
    let address = free(1)[0];
    let mut config = larder_server::Config { listen: vec![address], ..Default::default() };
    config.groups.groups.push(group("values", "http://127.0.0.1:9/{key}"));
    config.groups.membership = members(&["127.0.0.9:9".parse().expect("an address")]);
    let error = Server::build(config).await.expect_err("it is not in the list");
    assert!(matches!(error, BuildError::Groups(GroupsError::NotAmongPeers(_))), "{error:?}");
    let told = error.to_string();
    let parts = [&*format!("groups.peers has no http://{address},"), "add it", "groups.identity"];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_in_time_while_a_load_hangs() {
    let origin = Origin::start(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let server = alone(&origin, |config| config.limits.shutdown = Duration::from_millis(100)).await;
    let address = server.address;
    let asking =
        tokio::spawn(async move { ask(address, "GET", "/cache/values/ada", &[], b"").await });
    let asked = async {
        while origin.loads() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it asks");
    server.stop().await;
    asking.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_wants_nobody_to_keep_is_loaded_anew_for_who_asks() {
    let origin = Origin::of_values("cache-control: no-store\r\n").await;
    let servers = ring(&origin, 2, Mode::MailgunV2).await;
    let mut before = 0;
    for key in 0..10 {
        for server in &servers {
            assert_eq!(get(server, key).await.text(), format!("value of {}", nth(key)));
            let loads = origin.loads() - before;
            // One by the owner, and one by who asked it, to whom the owner's has expired.
            assert!((1..=2).contains(&loads), "{loads} loads for one get");
            before += loads;
        }
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_owner_cannot_load_is_told_with_the_owners_words_and_asked_once() {
    let origin = Origin::start(|_, mut stream| async move {
        crate::support::http::write(&mut stream, "500 Oh", "", b"").await;
    })
    .await;
    let servers = ring(&origin, 2, Mode::MailgunV2).await;
    let mut by_owner = 0;
    for key in 0..20 {
        let before = origin.loads();
        let got = get(&servers[0], key).await;
        assert_eq!(got.status, 502);
        assert!(got.text().contains("the origin answered 500"), "{}", got.text());
        by_owner += usize::from(got.text().contains("its owner http://127.0.0.1"));
        assert_eq!(origin.loads(), before + 1, "nobody else tries");
    }
    assert!((1..20).contains(&by_owner), "{by_owner} of 20 keys are the other one's");
    for server in servers {
        server.stop().await;
    }
}
