//! Larder in front of Consul's API, which another Larder plays: reads from copies, everything else passed
//! through, an outage and what comes after it.

mod support;

use std::time::Duration;

use larder_server::config::Address;
use support::{PATIENCE, Running};

const WEB: &str = "/v1/health/service/web";

/// One whose end does not wait for the queries that wait.
async fn behind(at: Option<std::net::SocketAddr>) -> Running {
    Running::start(|config| {
        config.limits.shutdown = Duration::from_millis(100);
        if let Some(at) = at {
            config.listen = vec![at];
        }
    })
    .await
}

async fn in_front_of(servers: &[&Running]) -> Running {
    let servers = servers.iter().map(|server| server.address.to_string()).collect();
    Running::start(|config| {
        config.upstream.url = Some(Address::Consul { servers });
        config.limits.shutdown = Duration::from_millis(100);
    })
    .await
}

fn header(head: &str, name: &str) -> Option<String> {
    let name = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&*name)).map(str::to_owned)
}

fn index(head: &str) -> u64 {
    header(head, "x-consul-index").expect("it has one").parse().expect("a number")
}

/// Asks until the answer is as wanted.
async fn until(
    server: &Running,
    path: &str,
    wanted: impl Fn(&str, &str) -> bool,
) -> (String, String) {
    let asking = async {
        loop {
            let (head, body) = server.heads("GET", path).await;
            if wanted(&head, &body) {
                return (head, body);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    let Ok(told) = asked else {
        let (head, body) = server.heads("GET", path).await;
        panic!("{path} never answered as wanted, but {head}\n\n{body}");
    };
    told
}

async fn register(server: &Running, id: u32) {
    let body = format!(
        r#"{{"Name":"web","ID":"web-{id}","Port":80,"Check":{{"TTL":"1h","Status":"passing"}}}}"#
    );
    let (status, says) = server.call("PUT", "/v1/agent/service/register", &body).await;
    assert_eq!((status, says.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_through_it_is_there_and_what_is_read_through_it_is_the_same() {
    let behind = behind(None).await;
    let front = in_front_of(&[&behind]).await;
    register(&front, 1).await;
    let (status, says) = front.call("PUT", "/v1/kv/a//b/../c?flags=7", "value").await;
    assert_eq!((status, says.as_str()), (200, "true"));
    assert_eq!(front.call("PUT", "/v1/agent/check/pass/service:web-1?note=a%20b", "").await.0, 200);
    for path in [
        WEB,
        "/v1/health/service/web?passing&pretty",
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/health/service/none",
        "/v1/health/service/web?filter=Service.Port%20%3D%3D%2080",
        "/v1/kv/a//b/../c",
        "/v1/kv/a//b/../c?raw",
        "/v1/kv/?keys",
        "/v1/kv/none",
        "/v1/agent/service/web-1",
        "/v1/agent/self",
        "/v1/agent/services",
        "/v1/health/service/web?index=x",
        "/v1/health/service/web?filter=%3D%3D",
        "/v1/session/list",
        "/v1/nonsense",
    ] {
        let (head, body) = front.heads("GET", path).await;
        let (direct_head, direct) = behind.heads("GET", path).await;
        let status = |head: &str| head.split(' ').nth(1).map(str::to_owned);
        assert_eq!((status(&head), &body), (status(&direct_head), &direct), "{path}");
        for name in
            ["content-type", "x-consul-index", "x-consul-contenthash", "x-content-type-options"]
        {
            assert_eq!(header(&head, name), header(&direct_head, name), "{path} {name}");
        }
        assert!(header(&head, "x-consul-lastcontact").is_some(), "{path}: {head}");
    }
    assert_eq!(front.call("DELETE", "/v1/kv/a//b/../c", "").await.1, "true");
    assert_eq!(behind.call("GET", "/v1/kv/?keys", "").await.1, "[]");
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_for_the_same_are_one_query_behind_and_all_are_answered() {
    let behind = behind(None).await;
    let front = in_front_of(&[&behind]).await;
    register(&behind, 1).await;
    let (head, _) = until(&front, WEB, |_, body| body.contains("web-1")).await;
    let path = format!("{WEB}?index={}&wait=60s", index(&head));
    let ask = async || front.heads("GET", &path).await;
    let asked = async {
        let all = futures_util::future::join_all((0..60).map(|_| ask()));
        let change = async {
            front.until_measured("larder_consul_parked 60").await;
            // One for each question that copies are kept of, whoever asks it.
            let (_, measured) = behind.call("GET", "/metrics", "").await;
            let line = measured.lines().find(|line| line.starts_with("larder_consul_parked "));
            let parked = line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
            assert!(parked.is_some_and(|parked| parked <= 3), "{parked:?}");
            register(&behind, 2).await;
        };
        futures_util::future::join(all, change).await.0
    };
    for (head, body) in tokio::time::timeout(PATIENCE, asked).await.expect("all are answered") {
        assert!(head.starts_with("HTTP/1.1 200") && body.contains("web-2"), "{head}");
    }
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_read_says_whether_there_was_a_copy() {
    let behind = behind(None).await;
    let front = in_front_of(&[&behind]).await;
    register(&behind, 1).await;
    let cached = format!("{WEB}?cached");
    let (head, body) =
        until(&front, &cached, |head, _| header(head, "x-cache").as_deref() == Some("HIT")).await;
    assert_eq!(header(&head, "age").as_deref(), Some("0"));
    assert!(body.contains("web-1"), "{body}");
    // Kept fresh, without anybody asking.
    register(&behind, 2).await;
    let (head, _) = until(&front, &cached, |_, body| body.contains("web-2")).await;
    assert_eq!(header(&head, "x-cache").as_deref(), Some("HIT"));
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_an_outage_reads_go_on_with_their_age_and_afterwards_they_are_true_again() {
    let first = behind(None).await;
    let at = first.address;
    let front = in_front_of(&[&first]).await;
    register(&first, 1).await;
    first.call("PUT", "/v1/kv/k", "v").await;
    let cached = format!("{WEB}?cached");
    until(&front, &cached, |head, body| body.contains("web-1") && header(head, "age").is_some())
        .await;
    until(&front, "/v1/kv/k?cached", |head, _| header(head, "age").is_some()).await;
    first.stop().await;

    for path in [&*cached, "/v1/kv/k?cached", WEB] {
        let is_lost = |head: &str, _: &str| {
            header(head, "x-consul-knownleader").as_deref() == Some("false")
                && header(head, "age").is_some_and(|age| age != "0")
        };
        let (head, body) = until(&front, path, is_lost).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert!(body.contains("web-1") || path.contains("kv"), "{path}: {body}");
        let contact = header(&head, "x-consul-lastcontact").and_then(|it| it.parse::<u64>().ok());
        assert!(contact.is_some_and(|contact| contact > 0), "{path}: {head}");
    }
    let (status, says) = front.call("PUT", "/v1/kv/k", "w").await;
    assert!(status >= 500 && !says.is_empty(), "what is written is refused: {status} {says}");
    let (status, says) = front.call("GET", &format!("{WEB}?consistent"), "").await;
    assert!(status >= 500 && !says.is_empty(), "{status} {says}");

    // It comes back empty, and with another history.
    let second = behind(Some(at)).await;
    register(&second, 7).await;
    let is_true = |head: &str, body: &str| {
        body.contains("web-7")
            && !body.contains("web-1\"")
            && header(head, "x-consul-knownleader").as_deref() == Some("true")
    };
    let (head, _) = until(&front, &cached, is_true).await;
    assert_eq!(header(&head, "age").as_deref(), Some("0"));
    assert_eq!(front.call("PUT", "/v1/kv/k", "w").await.0, 200);
    let (head, _) = front.heads("GET", WEB).await;
    let path = format!("{WEB}?index={}&wait=60s", index(&head));
    let (waiting, ()) = futures_util::future::join(front.heads("GET", &path), async {
        front.until_measured("larder_consul_parked 1").await;
        register(&second, 8).await;
    })
    .await;
    assert!(waiting.1.contains("web-8"), "{}", waiting.1);
    front.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_agent_is_gone_the_next_one_is_asked() {
    let (one, other) = (behind(None).await, behind(None).await);
    let front = in_front_of(&[&one, &other]).await;
    for server in [&one, &other] {
        register(server, 1).await;
    }
    until(&front, &format!("{WEB}?cached"), |_, body| body.contains("web-1")).await;
    one.stop().await;
    register(&other, 2).await;
    until(&front, &format!("{WEB}?cached"), |_, body| body.contains("web-2")).await;
    let (status, _) = front.call("PUT", "/v1/kv/k", "v").await;
    assert_eq!(status, 200);
    assert_eq!(other.call("GET", "/v1/kv/k?raw", "").await.1, "v");
    front.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_followed_through_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let behind = behind(None).await;
    let front = in_front_of(&[&behind]).await;
    let mut stream = tokio::net::TcpStream::connect(front.address).await.expect("it listens");
    let path = "/larder/v1/watch?query=w=/v1/health/service/web&query=k=/v1/kv/k";
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it listens");
    let mut held = String::new();
    let mut expect = async |words: &[&str]| {
        let reading = async {
            while !held.lines().any(|line| words.iter().all(|word| line.contains(word))) {
                let mut bytes = vec![0; 16_384];
                let count = stream.read(&mut bytes).await.expect("it goes on");
                assert!(count > 0, "it ended: {held}");
                held.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("never {words:?}"));
    };
    expect(&["\"correlation_id\":\"w\"", "\"answer\":[]"]).await;
    expect(&["\"correlation_id\":\"k\"", "\"status\":404"]).await;
    register(&behind, 1).await;
    behind.call("PUT", "/v1/kv/k", "v").await;
    expect(&["\"correlation_id\":\"w\"", "web-1"]).await;
    expect(&["\"correlation_id\":\"k\"", "\"status\":200", "dg=="]).await;
    front.stop().await;
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_consuls_clients_registered_behind_is_seen_by_eurekas_in_front() {
    let behind = behind(None).await;
    let front = in_front_of(&[&behind]).await;
    register(&behind, 1).await;
    until(&front, "/eureka/apps/WEB", |head, body| {
        head.starts_with("HTTP/1.1 200") && body.contains("web-1")
    })
    .await;
    front.until_measured("larder_consul_upstream_down_seconds 0").await;
    front.stop().await;
    behind.stop().await;
}
