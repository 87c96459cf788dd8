//! Rings whose members are known from a file, a name or a registry.

use std::net::SocketAddr;
use std::time::Duration;

use larder_server::config::{Address, Membership};
use larder_server::{BuildError, GroupsError, Server};

use crate::support::http::{Origin, ask};
use crate::support::{PATIENCE, Running};
use crate::{free, group};

/// A member, known to others by this membership.
async fn member(
    origin: &Origin,
    address: SocketAddr,
    membership: Membership,
    change: impl FnOnce(&mut larder_server::Config),
) -> Running {
    let group = group("values", &origin.template());
    Running::start(|config| {
        config.listen = vec![address];
        config.groups.membership = membership;
        config.groups.groups.push(group);
        config.limits.shutdown = Duration::from_millis(100);
        change(config);
    })
    .await
}

/// Asks every server for fresh keys until each is loaded once, which is when all of them agree.
async fn agree(origin: &Origin, servers: &[&Running], prefix: &str) {
    let agreeing = async {
        for round in 0.. {
            let before = origin.loads();
            for key in 0..20 {
                for server in servers {
                    let path = format!("/cache/values/{prefix}-{round}-{key}");
                    assert_eq!(ask(server.address, "GET", &path, &[], b"").await.status, 200);
                }
            }
            if origin.loads() == before + 20 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, agreeing).await.expect("they come to agree");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_find_each_other_by_a_service_of_the_registry_behind_them() {
    let hub = Running::start(|config| config.limits.shutdown = Duration::from_millis(100)).await;
    let origin = Origin::of_values("").await;
    let addresses = free(3);
    let service = || Membership::Service("ring".to_owned());
    let mut members = Vec::new();
    for address in &addresses {
        let servers = vec![hub.address.to_string()];
        let behind = |config: &mut larder_server::Config| {
            config.upstream.url = Some(Address::Consul { servers });
        };
        members.push(member(&origin, *address, service(), behind).await);
    }
    agree(&origin, &members.iter().collect::<Vec<_>>(), "all").await;

    // Who is told to stop says so before, and the others take its keys.
    let gone = members.pop().expect("there are three");
    gone.stop().await;
    let (status, body) = hub.call("GET", "/v1/catalog/service/ring", "").await;
    assert_eq!((status, body.matches("ServiceID").count()), (200, 2), "{body}");
    agree(&origin, &members.iter().collect::<Vec<_>>(), "two").await;

    // The registry is not needed for a ring to go on.
    hub.stop().await;
    agree(&origin, &members.iter().collect::<Vec<_>>(), "alone").await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_follow_a_file_of_peers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("peers");
    let origin = Origin::of_values("").await;
    let addresses = free(2);
    let line = |address: &SocketAddr| format!("http://{address}\n");
    std::fs::write(&path, line(&addresses[0])).expect("it is written");
    let file = || Membership::File(path.clone());
    let first = member(&origin, addresses[0], file(), |_| ()).await;
    // It is not in the file yet, and serves what it is asked for by itself.
    let second = member(&origin, addresses[1], file(), |_| ()).await;
    let got = ask(second.address, "GET", "/cache/values/k", &[], b"").await;
    assert_eq!((got.status, got.text()), (200, "value of k".to_owned()));

    let both: String = addresses.iter().map(line).collect();
    std::fs::write(&path, both).expect("it is written");
    agree(&origin, &[&first, &second], "both").await;
    for server in [first, second] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_a_peer_by_an_address_of_a_name() {
    let origin = Origin::of_values("").await;
    let address = free(1)[0];
    let dns = Membership::Dns("localhost".to_owned(), address.port());
    let server = member(&origin, address, dns, |_| ()).await;
    agree(&origin, &[&server], "own").await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_of_peers_that_is_not_there_is_said_at_the_start() {
    let config = larder_server::Config {
        listen: free(1),
        groups: larder_server::config::Groups {
            membership: Membership::File("/no/such/peers".into()),
            groups: vec![group("values", "http://127.0.0.1:1/{key}")],
            ..larder_server::config::Groups::default()
        },
        ..larder_server::Config::default()
    };
    let refused = Server::build(config).await.expect_err("the file is missing");
    assert!(matches!(&refused, BuildError::Groups(GroupsError::PeersFile { .. })), "{refused}");
    assert!(refused.to_string().contains("groups.peers_file: /no/such/peers"), "{refused}");
}
