//! The whole server on real sockets: its API, its limits, and its end.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use larder_server::api::{Instance, Service, Services};
use larder_server::{BuildError, Config, Server};
use support::{ONE, PATIENCE, Running, answer};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_registered_listed_renewed_and_deregistered() {
    let server = Running::start(|_| {}).await;
    let body = r#"{"ip":"10.0.0.1","port":80,"ttl_secs":60,"metadata":{"a":"b"},"tags":["t"]}"#;
    let (status, answer) = server.call("PUT", ONE, body).await;
    assert_eq!(status, 200, "{answer}");
    let held: Instance = serde_json::from_str(&answer).expect("it is JSON");
    assert_eq!(
        (held.ip.as_deref(), held.port, held.status.as_str()),
        (Some("10.0.0.1"), Some(80), "UP")
    );
    assert_eq!(held.lease.map(|lease| lease.duration_secs), Some(60));
    let services: Services = server.get("/larder/v1/services").await;
    assert_eq!((services.services[0].name.as_str(), services.services[0].instances), ("orders", 1));
    let service: Service = server.get("/larder/v1/services/ORDERS").await;
    assert_eq!(service.instances[0].tags, ["t"]);
    let lease = service.instances[0].lease.as_ref().expect("it has a ttl");
    assert!(lease.renewed_secs_ago.is_some_and(|ago| ago < 60), "{lease:?}");
    assert_eq!(server.call("POST", &format!("{ONE}/renew"), "").await.0, 204);
    assert_eq!(server.call("DELETE", ONE, "").await.0, 204);
    for (method, path) in [
        ("DELETE", ONE.to_owned()),
        ("POST", format!("{ONE}/renew")),
        ("GET", "/larder/v1/services/orders".to_owned()),
    ] {
        let (status, body) = server.call(method, &path, "").await;
        assert_eq!(status, 404, "{method}");
        assert!(body.contains("is not registered"), "{body}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_protocol_registers_the_other_shows() {
    let server = Running::start(|_| {}).await;
    server.call("PUT", ONE, r#"{"host":"h","port":80}"#).await;
    let (_, apps) = server.call("GET", "/eureka/apps/orders", "").await;
    assert!(apps.contains("<hostName>h</hostName>"), "{apps}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_registrations_are_refused_with_a_reason() {
    let server = Running::start(|_| {}).await;
    let long = format!("/larder/v1/services/{}/instances/1", "x".repeat(257));
    let many: Vec<String> = (0..257).map(|key| format!(r#""{key}":"""#)).collect();
    let many = format!(r#"{{"host":"h","metadata":{{{}}}}}"#, many.join(","));
    let tags = format!(r#"{{"host":"h","tags":[{}"t"]}}"#, r#""t","#.repeat(256));
    for (path, body, says) in [
        (ONE, "", "cannot read the registration: EOF"),
        (ONE, &"[".repeat(100_000), "cannot read the registration: invalid type"),
        (ONE, "{}", "host or ip is needed"),
        (ONE, r#"{"host":""}"#, "host must be 1 to 256 bytes"),
        (ONE, r#"{"host":"\u001b[2J"}"#, "host must be 1 to 256 bytes without control"),
        (ONE, r#"{"ip":"orders.internal"}"#, "a name is for host"),
        (ONE, r#"{"host":"h","port":70000}"#, "expected u16"),
        (ONE, r#"{"host":"h","prot":80}"#, "unknown field `prot`"),
        (ONE, r#"{"host":"h","status":"OUT_OF_SERVICE"}"#, "expected UP, DOWN or STARTING"),
        (ONE, r#"{"host":"h","ttl_secs":0}"#, "ttl_secs: expected 1 to 86400"),
        (ONE, r#"{"host":"h","version":"\n"}"#, "version must be"),
        (ONE, r#"{"host":"h","tags":[""]}"#, "a tag must be"),
        (ONE, r#"{"host":"h","metadata":{"":"v"}}"#, "a key of metadata must be"),
        (ONE, &many, "metadata: at most 256, found 257"),
        (ONE, &tags, "tags: at most 256, found 257"),
        (&long, r#"{"host":"h"}"#, "the service must be 1 to 256 bytes"),
        ("/larder/v1/services/a/instances/%07", r#"{"host":"h"}"#, "without control characters"),
        ("/larder/v1/services/../instances/1", r#"{"host":"h"}"#, "the service cannot be"),
        ("/larder/v1/services/%ff/instances/1", r#"{"host":"h"}"#, "Invalid UTF-8"),
    ] {
        let (status, answer) = server.call("PUT", path, body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.starts_with("{\"error\":") && answer.contains(says), "{body}: {answer}");
    }
    let services: Services = server.get("/larder/v1/services").await;
    assert!(services.services.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_checks_are_refused_with_a_reason() {
    let server = Running::start(|_| {}).await;
    let one = r#"{"id":"c","ttl_secs":9}"#;
    let many = (0..17).map(|id| format!(r#"{{"id":"{id}","ttl_secs":9}}"#)).collect::<Vec<_>>();
    let long_id = format!(r#"{{"id":"{}","ttl_secs":9}}"#, "x".repeat(257));
    let long_url = format!(r#"{{"id":"c","http":"http://h/{}"}}"#, "x".repeat(1_024));
    for (checks, says) in [
        (&*many.join(","), "checks: at most 16, found 17"),
        (&*format!("{one},{one}"), r#"two with the id \"c\""#),
        (r#"{"ttl_secs":9}"#, "missing field `id`"),
        (r#"{"id":"","ttl_secs":9}"#, "the id of a check must be 1 to 256"),
        (&*long_id, "the id of a check must be 1 to 256"),
        (r#"{"id":"c","name":"\n","ttl_secs":9}"#, "the name of a check must be"),
        (r#"{"id":"c"}"#, r#"check \"c\": expected one of http, tcp and ttl_secs"#),
        (r#"{"id":"c","tcp":"h:1","ttl_secs":9}"#, "expected one of http, tcp and ttl_secs"),
        (r#"{"id":"c","http":"h:1"}"#, "http: expected a URL such as"),
        (r#"{"id":"c","http":"https://h"}"#, "TLS is not supported yet"),
        (&*long_url, "http must be at most 1024 bytes"),
        (r#"{"id":"c","tcp":"h"}"#, "tcp: expected HOST:PORT"),
        (r#"{"id":"c","ttl_secs":0}"#, "ttl_secs: expected 1 to 86400, found 0"),
        (r#"{"id":"c","tcp":"h:1","interval_secs":0}"#, "interval_secs: expected 1 to 86400"),
        (r#"{"id":"c","tcp":"h:1","timeout_secs":61}"#, "timeout_secs: expected 1 to 60"),
        (r#"{"id":"c","ttl_secs":9,"interval_secs":9}"#, "are for http and tcp"),
        (r#"{"id":"c","ttl_secs":9,"deregister_after_secs":59}"#, "expected 60 to 604800"),
        (r#"{"id":"c","ttl_secs":9,"status":"UP"}"#, "expected passing, warning or critical"),
        (r#"{"id":"c","ttl_secs":9,"script":"x"}"#, "unknown field `script`"),
    ] {
        let body = format!(r#"{{"host":"h","checks":[{checks}]}}"#);
        let (status, answer) = server.call("PUT", ONE, &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.contains(says), "{body}: {answer}");
    }
    let services: Services = server.get("/larder/v1/services").await;
    assert!(services.services.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_with_a_ttl_is_reported_and_shown() {
    let server = Running::start(|_| {}).await;
    let check = r#"{"id":"self","ttl_secs":60,"deregister_after_secs":3600}"#;
    let body = format!(r#"{{"ip":"10.0.0.1","checks":[{check}]}}"#);
    let (_, answer) = server.call("PUT", ONE, &body).await;
    let held: Instance = serde_json::from_str(&answer).expect("it is JSON");
    let check = &held.checks[0];
    assert_eq!((&*held.status, &*check.name, &*check.status), ("DOWN", "self", "critical"));
    assert_eq!((check.ttl_secs, check.deregister_after_secs), (Some(60), Some(3_600)));
    let path = format!("{ONE}/checks/self");
    for (says, output, status) in
        [("passing", "fine", "UP"), ("passing", "better", "UP"), ("critical", "", "DOWN")]
    {
        let report = format!(r#"{{"status":"{says}","output":"{output}"}}"#);
        assert_eq!(server.call("PUT", &path, &report).await, (204, String::new()));
        let service: Service = server.get("/larder/v1/services/orders").await;
        let held = &service.instances[0];
        let shown = (&*held.status, &*held.checks[0].status, &*held.checks[0].output);
        assert_eq!(shown, (status, says, output));
        let services: Services = server.get("/larder/v1/services").await;
        assert_eq!(services.services[0].status.get(status), Some(&1));
    }
    for (path, report, status, says) in [
        (&*path, r#"{"status":"fine"}"#, 400, "expected passing, warning or critical"),
        (&*path, r#"{"status":"passing","note":""}"#, 400, "unknown field `note`"),
        (&*path, "", 400, "cannot read the report"),
        (&*format!("{ONE}/checks/other"), r#"{"status":"passing"}"#, 404, "is not registered"),
    ] {
        let (answered, answer) = server.call("PUT", path, report).await;
        assert_eq!(answered, status, "{report}: {answer}");
        assert!(answer.contains(says), "{report}: {answer}");
    }
    let probed = r#"{"ip":"10.0.0.1","checks":[{"id":"self","tcp":"127.0.0.1:1"}]}"#;
    server.call("PUT", ONE, probed).await;
    let (status, answer) = server.call("PUT", &path, r#"{"status":"passing"}"#).await;
    assert_eq!(status, 409, "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_sentence_in_one_shape() {
    let server = Running::start(|_| {}).await;
    for (method, path, status, says) in [
        ("GET", "/larder/nothing", 404, "/larder/v1/services"),
        ("GET", "/larder", 404, "/larder/v1/services"),
        ("PATCH", "/larder/v1/services", 405, "PATCH does nothing here"),
        ("POST", "/metrics", 405, "POST does nothing here"),
        ("GET", "/larder/v1/services/%ff", 400, "Invalid UTF-8"),
        ("GET", "/larder/v1/watch?servce=a", 400, "unknown field `servce`"),
        ("GET", "/larder/v1/watch?service=a&service=b", 400, "duplicate field"),
        ("GET", "/larder/v1/watch?service=", 400, "service is empty"),
    ] {
        let (answered, answer) = server.call(method, path, "").await;
        assert_eq!(answered, status, "{method} {path}: {answer}");
        assert!(answer.starts_with("{\"error\":") && answer.contains(says), "{path}: {answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_the_state_and_every_change_and_ends_with_the_server() {
    let mut server = Running::start(|_| {}).await;
    server.call("PUT", ONE, r#"{"ip":"10.0.0.1"}"#).await;
    let mut stream = server.connect();
    let request = "GET /larder/v1/watch?service=ORDERS HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut text = String::new();
    let mut read_until = |what: &str| {
        while !text.contains(what) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).expect("it goes on in time");
            assert!(count > 0, "the stream ended before {what}:\n{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::task::block_in_place(|| read_until("event: init_done"));
    server.call("PUT", "/larder/v1/services/other/instances/1", r#"{"ip":"10.0.0.1"}"#).await;
    server.call("DELETE", ONE, "").await;
    tokio::task::block_in_place(|| read_until("event: delete"));
    server.tell_to_stop();
    // The end of a chunked answer.
    tokio::task::block_in_place(|| read_until("\r\n0\r\n"));
    assert!(!text.contains("other"), "{text}");
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_413_and_changes_nothing() {
    let server = Running::start(|config| config.limits.body_bytes = 1 << 20).await;
    let ten_megabytes =
        format!(r#"{{"ip":"10.0.0.1","metadata":{{"k":"{}"}}}}"#, "x".repeat(10_000_000));
    let (status, answer) = server.call("PUT", ONE, &ten_megabytes).await;
    assert_eq!(status, 413);
    assert!(answer.contains("limits.body_bytes"), "{answer}");
    let eureka = format!(
        "POST /eureka/apps/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{ten_megabytes}",
        ten_megabytes.len()
    );
    assert_eq!(server.raw(eureka.into_bytes()).await.0, 413);
    let services: Services = server.get("/larder/v1/services").await;
    assert!(services.services.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_beyond_the_limits_are_431() {
    let server = Running::start(|config| config.limits.header_bytes = 8 << 10).await;
    let large = format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(server.raw(large.into_bytes()).await.0, 431);
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(server.raw(many.into_bytes()).await.0, 431);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_408() {
    let server = Running::start(|config| config.limits.request = Duration::from_millis(200)).await;
    let request = format!("PUT {ONE} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut bytes = [0; 64];
    let count = tokio::task::block_in_place(|| stream.read(&mut bytes)).expect("an answer");
    assert!(bytes[..count].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&bytes));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Running::start(|config| config.limits.idle = Duration::from_millis(200)).await;
    let mut stream = server.connect();
    let mut bytes = Vec::new();
    let ended = tokio::task::block_in_place(|| stream.read_to_end(&mut bytes));
    assert!(ended.is_ok(), "{ended:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let server = Running::start(|config| config.limits.connections = 1).await;
    let first = server.connect();
    {
        let mut waiting = std::pin::pin!(server.call("GET", "/healthz", ""));
        let early = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
        assert!(early.is_err(), "it was served beside the first");
        drop(first);
        let (status, _) = tokio::time::timeout(PATIENCE, waiting).await.expect("its turn comes");
        assert_eq!(status, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_nobody_connects_to_takes_no_turn_from_another() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut server = Running::start(|config| {
        config.listen = vec![any, any];
        config.limits.connections = 1;
    })
    .await;
    for address in [0, 0, 1, 1, 1, 0].map(|place| server.addresses[place]) {
        server.address = address;
        let answer = tokio::time::timeout(PATIENCE, server.call("GET", "/healthz", "")).await;
        assert_eq!(answer.expect("its turn comes").0, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_much_and_reads_nothing_is_cut() {
    let server = Running::start(|config| {
        config.limits.idle = Duration::from_millis(300);
        config.limits.body_bytes = 2 << 20;
    })
    .await;
    // More than the system buffers for a connection on its own account.
    let body = format!(r#"{{"ip":"10.0.0.1","metadata":{{"k":"{}"}}}}"#, "x".repeat(1 << 20));
    for id in 0..24 {
        let path = format!("/larder/v1/services/orders/instances/{id}");
        assert_eq!(server.call("PUT", &path, &body).await.0, 200);
    }
    let mut stream = server.connect();
    let request = "GET /larder/v1/services/orders HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut begin = [0; 8];
    tokio::task::block_in_place(|| stream.read_exact(&mut begin)).expect("an answer begins");
    // The one that asks.
    server.until_measured("larder_connections 1").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_used_and_then_says_nothing_is_closed() {
    let server = Running::start(|config| config.limits.idle = Duration::from_millis(200)).await;
    let mut stream = server.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("it listens");
    let (status, _) = tokio::task::block_in_place(|| answer(&mut stream));
    assert_eq!(status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_begun_is_finished_after_the_server_was_told_to_stop() {
    let mut server = Running::start(|_| {}).await;
    let mut stream = server.connect();
    let body = r#"{"ip":"10.0.0.1"}"#;
    let length = body.len();
    let head = format!("PUT {ONE} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it listens");
    // The request has begun once the server asks for nothing more than its body.
    server.until_measured("larder_connections 2").await;
    server.tell_to_stop();
    tokio::task::block_in_place(|| while TcpStream::connect(server.address).is_ok() {});
    stream.write_all(body.as_bytes()).expect("the connection is open");
    let (status, answer) = tokio::task::block_in_place(|| answer(&mut stream));
    assert_eq!(status, 200, "{answer}");
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_cut_when_its_time_is_over() {
    let mut server =
        Running::start(|config| config.limits.shutdown = Duration::from_millis(100)).await;
    let mut stream = server.connect();
    let head = format!("PUT {ONE} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it listens");
    server.until_measured("larder_connections 2").await;
    server.tell_to_stop();
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_in_use_is_told() {
    let server = Running::start(|_| {}).await;
    let config = Config { listen: vec![server.address], ..Config::default() };
    let error = Server::build(config).await.expect_err("the port is in use");
    assert!(matches!(error, BuildError::Listen { address, .. } if address == server.address));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_the_registry_are_measured() {
    let server = Running::start(|_| {}).await;
    server.call("PUT", ONE, r#"{"ip":"10.0.0.1"}"#).await;
    server.call("BREW", "/eureka/apps/a", "").await;
    let (_, text) = server.call("GET", "/metrics", "").await;
    for line in [
        r#"larder_registry_instances{status="UP"} 1"#,
        r#"larder_http_requests_total{surface="larder",method="PUT",status="2xx"} 1"#,
        r#"larder_http_requests_total{surface="eureka",method="other",status="4xx"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_ran_out_are_held_on_to_and_explained_until_an_operator_confirms() {
    let server = Running::start(|config| {
        // So that nothing ends by itself.
        config.registry.self_preservation_percent = 100;
        config.registry.self_preservation_at_least = 1;
    })
    .await;
    let (status, body) = server.call("PUT", ONE, r#"{"ip":"10.0.0.1","ttl_secs":1}"#).await;
    assert!(status < 300, "{body}");
    server.until_measured("larder_self_preservation_overdue 1").await;
    let explained: serde_json::Value = server.get("/larder/v1/self-preservation").await;
    assert_eq!(
        (&explained["leases"], &explained["overdue"]),
        (&1.into(), &1.into()),
        "{explained}"
    );
    let (_, page) = server.call("GET", "/eureka/status", "").await;
    assert!(page.contains("1 leases that ran out wait for their turn"), "{page}");
    let own = format!("<instanceId>127.0.0.1:larder:{}</instanceId>", server.address.port());
    assert!(page.contains(&own), "{page}");
    let (status, body) = server.call("POST", "/larder/v1/self-preservation/confirm", "").await;
    assert_eq!((status, body.as_str()), (200, r#"{"confirmed":1}"#));
    server.until_measured("larder_self_preservation_overdue 0").await;
    assert_eq!(server.call("GET", "/larder/v1/services/orders", "").await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_self_preservation_there_is_nothing_to_explain() {
    let server = Running::start(|config| config.registry.self_preservation = false).await;
    for (method, path) in
        [("GET", "/larder/v1/self-preservation"), ("POST", "/larder/v1/self-preservation/confirm")]
    {
        let (status, body) = server.call(method, path, "").await;
        assert!(status == 404 && body.contains("registry.self_preservation"), "{status} {body}");
    }
    server.stop().await;
}
