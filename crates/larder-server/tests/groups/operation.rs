//! What people and other parts of the server see of groups: metrics, the view, limits.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_peers::wire::TOKEN_HEADER;
use larder_server::config::{Origin as Source, Secret};
use tokio::time::timeout;

use crate::support::http::{Origin, ask, key, write};
use crate::support::{PATIENCE, Running, answer};
use crate::{alone, free, group, members, nth};

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_clients_of_one_cold_key_cost_one_load() {
    let origin = Origin::start(|head, mut stream| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        write(&mut stream, "200 OK", "", key(&head).as_bytes()).await;
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    let address = server.address;
    let clients: Vec<_> = (0..300)
        .map(|_| {
            tokio::spawn(async move { ask(address, "GET", "/cache/values/ada", &[], b"").await })
        })
        .collect();
    for client in clients {
        let got = client.await.expect("it does not panic");
        assert_eq!((got.status, got.text().as_str()), (200, "ada"));
    }
    assert_eq!(origin.loads(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_measured_and_shown_with_their_ring() {
    let origin = Origin::of_values("").await;
    let [first, gone] = free(2)[..] else { panic!("there are two") };
    let group = group("values", &origin.template());
    let server = Running::start(|config| {
        config.listen = vec![first];
        config.groups.membership = members(&[first, gone]);
        config.groups.groups.push(group);
    })
    .await;
    let keys: Vec<_> = (0..40).map(nth).collect();
    for key in &keys {
        for _ in 0..2 {
            let got = ask(first, "GET", &format!("/cache/values/{key}"), &[], b"").await;
            assert_eq!(got.status, 200);
        }
    }
    assert_eq!(
        ask(first, "DELETE", &format!("/cache/values/{}", keys[0]), &[], b"").await.status,
        502
    );
    for line in [
        "larder_group_gets_total{group=\"values\"} 80",
        "larder_group_hits_total{group=\"values\"} 40",
        "larder_group_loads_total{group=\"values\"} 40",
        "larder_group_removals_total{group=\"values\"} 1",
        "larder_group_cache_entries{group=\"values\",cache=\"main\"} 39",
        "larder_group_cache_entries{group=\"values\",cache=\"hot\"} 0",
        "larder_group_ring_members 2",
        "larder_group_ring_resting 1",
        "larder_group_removals_waiting 1",
        "larder_http_requests_total{surface=\"cache\",method=\"GET\",status=\"2xx\"} 80",
    ] {
        server.until_measured(line).await;
    }
    let view: serde_json::Value = server.get("/larder/v1/groups?key=k1").await;
    assert_eq!(view["ring"]["identity"], format!("http://{first}"));
    assert_eq!(view["ring"]["mode"], "mailgun-v2");
    assert_eq!(view["ring"]["removals"]["waiting"], 1);
    let resting: Vec<_> =
        view["ring"]["members"].as_array().expect("a list").iter().map(|m| &m["resting"]).collect();
    assert_eq!(resting, [false, true]);
    let owner = view["ring"]["owner"].as_str().expect("a name");
    assert!([format!("http://{first}"), format!("http://{gone}")].contains(&owner.to_owned()));
    let values = &view["groups"][0];
    assert_eq!((&values["name"], &values["gets"]), (&"values".into(), &80.into()));
    assert_eq!(values["main"]["entries"], 39);
    let (status, _) = server.call("GET", "/larder/v1/groups?keys=k1", "").await;
    assert_eq!(status, 400, "a parameter that there is not");
    server.stop().await;

    let without = Running::start(|_| {}).await;
    let view: serde_json::Value = without.get("/larder/v1/groups").await;
    assert_eq!(view, serde_json::json!({ "groups": [] }));
    let (_, measured) = without.call("GET", "/metrics", "").await;
    assert!(!measured.contains("larder_group_"), "{measured}");
    without.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_waits_for_as_long_as_the_origin_may_take_and_no_body_takes_for_ever() {
    let origin = Origin::start(|_, mut stream| async move {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        write(&mut stream, "200 OK", "", b"slow").await;
    })
    .await;
    let server = alone(&origin, |config| config.limits.request = Duration::from_millis(500)).await;
    let got = ask(server.address, "GET", "/_groupcache/values/ada", &[], b"").await;
    assert_eq!(got.status, 200, "{}", got.text());
    for path in ["/cache/values/ada", "/_groupcache/values/ada"] {
        let mut stream = server.connect();
        let exchange = tokio::task::spawn_blocking(move || {
            let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nslow");
            stream.write_all(head.as_bytes()).expect("it listens");
            // It answers and closes, although the rest never comes.
            answer(&mut stream)
        });
        let (status, says) = timeout(PATIENCE, exchange).await.expect("in time").expect("no panic");
        assert_eq!(status, 408, "{path}: {says}");
        assert!(says.contains("limits.request_secs"), "{says}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_with_a_token_works_and_neither_origins_nor_views_see_it() {
    let origin = Origin::of_values("").await;
    let addresses = free(2);
    let mut servers = Vec::new();
    for address in &addresses {
        let group = group("values", &origin.template());
        let server = Running::start(|config| {
            config.listen = vec![*address];
            config.groups.membership = members(&addresses);
            config.groups.token = Secret("hunter2".to_owned());
            config.groups.groups.push(group);
        });
        servers.push(server.await);
    }
    for key in (0..10).map(nth) {
        for server in &servers {
            let path = format!("/cache/values/{key}");
            assert_eq!(ask(server.address, "GET", &path, &[], b"").await.status, 200);
        }
    }
    assert_eq!(origin.loads(), 10);
    assert!(origin.heads().iter().all(|head| !head.contains(TOKEN_HEADER)), "it is for peers");
    for server in servers {
        let (_, shown) = server.call("GET", "/larder/v1/groups", "").await;
        assert!(!shown.contains("hunter2"), "{shown}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_served_and_what_is_outside_of_it_is_not() {
    let around = tempfile::tempdir().expect("a directory");
    let root = around.path().join("root");
    std::fs::create_dir_all(root.join("users")).expect("it can be made");
    std::fs::write(root.join("users/ada"), "Ada").expect("it can be written");
    std::fs::write(around.path().join("secret"), "secret").expect("it can be written");
    std::os::unix::fs::symlink("../secret", root.join("out")).expect("it can be made");
    let server = Running::start(|config| {
        let group = group("files", "http://127.0.0.1:9/{key}");
        config.groups.groups.push(larder_server::config::Group {
            origin: Source::Directory(root.clone()),
            max_value_bytes: 10,
            ..group
        });
    })
    .await;
    let get = async |key: &str| {
        ask(server.address, "GET", &format!("/cache/files/{key}"), &[], b"").await
    };
    assert_eq!(get("users/ada").await.text(), "Ada");
    for key in ["users", "users/", "../secret", "..%2fsecret", "/etc/passwd", "users/ada%00"] {
        assert_eq!(get(key).await.status, 404, "{key}");
    }
    let out = get("out").await;
    assert_eq!(out.status, 502);
    assert!(out.text().contains("outside of the group's directory"), "{}", out.text());
    std::fs::write(root.join("big"), "more than ten").expect("it can be written");
    assert!(get("big").await.text().contains("longer than 10 bytes"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_down_is_left_alone_but_for_one_look_a_second() {
    let gone = free(1)[0];
    let server = Running::start(|config| {
        config.groups.groups.push(group("values", &format!("http://{gone}/{{key}}")));
    })
    .await;
    let mut statuses = Vec::new();
    for number in 0..10 {
        let path = format!("/cache/values/k{number}");
        let got = ask(server.address, "GET", &path, &[], b"").await;
        statuses.push((got.status, got.header("retry-after").to_owned()));
    }
    let refused = (502, String::new());
    assert_eq!(statuses[..3], [refused.clone(), refused.clone(), refused]);
    assert!(statuses[3..].contains(&(503, "1".to_owned())), "{statuses:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_asked_for_256_keys_at_once_and_the_others_wait() {
    let [now, most] = [0; 2].map(|count| Arc::new(AtomicUsize::new(count)));
    let counted = (now.clone(), most.clone());
    let origin = Origin::start(move |head, mut stream| {
        let (now, most) = counted.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            write(&mut stream, "200 OK", "", key(&head).as_bytes()).await;
        }
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    let address = server.address;
    let clients: Vec<_> = (0..400)
        .map(|number| {
            let path = format!("/cache/values/{number}");
            tokio::spawn(async move { ask(address, "GET", &path, &[], b"").await })
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let got = client.await.expect("it does not panic");
        assert_eq!((got.status, got.text()), (200, number.to_string()));
    }
    let most = most.load(Ordering::SeqCst);
    assert!((100..=256).contains(&most), "{most} at once");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_served_while_the_registry_behind_is_out_of_reach() {
    let origin = Origin::of_values("").await;
    let gone = free(1)[0];
    let server = alone(&origin, |config| {
        let endpoints = vec![gone.to_string()];
        config.upstream.url =
            Some(larder_server::config::Address::Etcd { endpoints, prefix: None });
    })
    .await;
    assert_eq!(ask(server.address, "GET", "/larder/v1/services", &[], b"").await.status, 503);
    for path in ["/cache/values/ada", "/_groupcache/values/ada"] {
        assert_eq!(ask(server.address, "GET", path, &[], b"").await.status, 200, "{path}");
    }
    server.stop().await;
}

/// Only where this machine has an address that others could reach it at; the rule itself has a test of its own.
#[tokio::test(flavor = "multi_thread")]
async fn writes_over_an_address_of_the_network_need_the_token() {
    let Some(address) = outward() else { return };
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |config| {
        config.listen = vec![SocketAddr::new(address, 0)];
        config.groups.write_token = Secret("hunter2".to_owned());
    })
    .await;
    for (method, body) in [("PUT", &b"v"[..]), ("DELETE", b"")] {
        let refused = ask(server.address, method, "/cache/values/k", &[], body).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        let token = ["authorization: Bearer hunter2"];
        let done = ask(server.address, method, "/cache/values/k", &token, body).await;
        assert_eq!(done.status, 204, "{}", done.text());
        // Whoever may write is no peer for that.
        let peer = ask(server.address, method, "/_groupcache/values/k", &token, body).await;
        assert_eq!(peer.status, 403, "{}", peer.text());
    }
    assert_eq!(ask(server.address, "GET", "/cache/values/k", &[], b"").await.status, 200);
    server.stop().await;
}

/// The address that this machine would send from. Nothing is sent: a datagram's socket is only connected.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_origin_is_down_a_value_that_has_expired_is_answered_as_such() {
    let origin = Origin::of_values("").await;
    let template = origin.template();
    let server = Running::start(|config| {
        config.groups.groups.push(larder_server::config::Group {
            ttl: Duration::from_millis(50),
            stale_if_error: Duration::from_secs(3_600),
            ..group("values", &template)
        });
    })
    .await;
    let get = async || ask(server.address, "GET", "/cache/values/k", &[], b"").await;
    let fresh = get().await;
    assert_eq!((fresh.status, fresh.header("larder-stale")), (200, ""));
    drop(origin);
    let stale = async {
        loop {
            let got = get().await;
            assert_eq!((got.status, got.text()), (200, "value of k".to_owned()));
            if !got.header("larder-stale").is_empty() {
                return got;
            }
        }
    };
    let stale = timeout(PATIENCE, stale).await.expect("it expires");
    assert_eq!(stale.header("cache-control"), format!("max-age={}", stale.header("age")));
    let missing = ask(server.address, "GET", "/cache/values/other", &[], b"").await;
    assert_eq!(missing.status, 502, "{}", missing.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_on_this_machine_is_no_peer() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |config| config.groups.mode = larder_peers::Mode::Native).await;
    let set = ask(server.address, "PUT", "/cache/values/k", &[], b"set").await;
    assert_eq!(set.status, 204, "{}", set.text());
    let path = "/_groupcache/values/_remove-keys/";
    let keys = br#"{"keys":["k"]}"#;
    let page = ask(server.address, "POST", path, &["origin: http://page.example"], keys).await;
    assert_eq!(page.status, 403, "{}", page.text());
    assert_eq!(ask(server.address, "GET", "/cache/values/k", &[], b"").await.text(), "set");
    assert_eq!(ask(server.address, "POST", path, &[], keys).await.status, 200);
    let again = ask(server.address, "GET", "/cache/values/k", &[], b"").await;
    assert_eq!(again.text(), "value of k");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_wants_nobody_to_keep_is_not_there_when_it_is_down() {
    let origin = Origin::of_values("cache-control: no-store\r\n").await;
    let template = origin.template();
    let server = Running::start(|config| {
        config.groups.groups.push(larder_server::config::Group {
            stale_if_error: Duration::from_secs(3_600),
            ..group("values", &template)
        });
    })
    .await;
    let get = async || ask(server.address, "GET", "/cache/values/k", &[], b"").await;
    assert_eq!(get().await.text(), "value of k");
    drop(origin);
    let down = get().await;
    assert_eq!((down.status, down.header("cache-control")), (502, "no-store"), "{}", down.text());
    server.stop().await;
}
