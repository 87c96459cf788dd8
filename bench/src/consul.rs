//! Consul's API as its clients use it: instances with a TTL check, and reads of those that pass.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::{Connection, Reply, put, request};

/// How long a blocking query waits here: longer than any part of a measurement.
pub const WAIT: &str = "600s";

/// The registration of the `number`th instance of a service, with metadata that differ from round to round.
pub fn register(service: &str, number: usize, round: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"ID":"{service}-{number}","Name":"{service}","Tags":["primary","v1.4.2"],
"Address":"10.1.{}.{}","Port":{},
"Meta":{{"build":"7f3c9e1d2b4a","round":"{}","zone":"eu-central-1a"}},
"Check":{{"TTL":"10h","Status":"passing"}}}}"#,
        number / 250,
        number % 250 + 1,
        8_000 + number,
        mark(round),
    );
    put("/v1/agent/service/register", body.as_bytes())
}

/// What stands in an instance's metadata that was registered in this round, and nowhere else.
pub fn mark(round: usize) -> String {
    format!("round-{round:06}")
}

/// The path of those instances of a service that pass.
pub fn passing(service: &str) -> String {
    format!("/v1/health/service/{service}?passing")
}

/// A read of a path.
pub fn read(path: &str) -> Vec<u8> {
    request("GET", path, "")
}

/// The same, which waits until there is something newer than `index`. The path has a `?`.
pub fn wait(path: &str, index: u64) -> Vec<u8> {
    read(&format!("{path}&index={index}&wait={WAIT}"))
}

/// The index of an answer.
pub fn index(reply: &Reply) -> u64 {
    let index = reply.header("x-consul-index").and_then(|index| index.parse().ok());
    index.unwrap_or_else(|| panic!("an answer has an index: {}", reply.head))
}

/// Waits until it answers that it has a leader.
pub async fn ready(address: SocketAddr) {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "no server came up at {address}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if tokio::net::TcpStream::connect(address).await.is_err() {
            continue;
        }
        let reply = Connection::open(address).await.ask(&read("/v1/status/leader")).await;
        if reply.status == 200 && reply.body.len() > 4 {
            return;
        }
    }
}

/// Registers so many instances of each service, and waits until all are seen and nothing moves any more.
pub async fn fill(address: SocketAddr, services: &[String], instances: usize) {
    let mut connection = Connection::open(address).await;
    for service in services {
        for number in 0..instances {
            let reply = connection.ask(&register(service, number, 0)).await;
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        }
    }
    for service in services {
        all_seen(&mut connection, service, instances).await;
    }
    // Consul's agent tells its server of a service and of its check one after the other.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Waits until all instances of a service are seen and its index has stood for 300 ms; gives it.
pub async fn seen(address: SocketAddr, service: &str, instances: usize) -> u64 {
    let mut connection = Connection::open(address).await;
    let mut last = (0, Instant::now());
    loop {
        let index = all_seen(&mut connection, service, instances).await;
        if index != last.0 {
            last = (index, Instant::now());
        }
        if last.1.elapsed() > Duration::from_millis(300) {
            return index;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all_seen(connection: &mut Connection, service: &str, instances: usize) -> u64 {
    let began = Instant::now();
    loop {
        let reply = connection.ask(&read(&passing(service))).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        if reply.count(r#""Checks":["#) == instances {
            return index(&reply);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{service} has not {instances}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
