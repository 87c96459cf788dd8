//! A whole server on real sockets, and a client of few words.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod http;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use larder_server::{Config, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An instance of a service.
pub const ONE: &str = "/larder/v1/services/orders/instances/1";

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Running {
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut config = Config { listen, ..Config::default() };
        change(&mut config);
        let server = Server::build(config).await.expect("a port is free");
        let addresses = server.addresses();
        let (stop, until) = oneshot::channel();
        let server = tokio::spawn(server.run(async { until.await.unwrap_or(()) }));
        Self { address: addresses[0], addresses, stop: Some(stop), server }
    }

    pub fn tell_to_stop(&mut self) {
        self.stop.take().expect("it was not told before").send(()).expect("it runs");
    }

    pub async fn stopped(self) {
        let ended = tokio::time::timeout(PATIENCE, self.server).await;
        ended.expect("it stops in time").expect("it does not panic");
    }

    pub async fn stop(mut self) {
        self.tell_to_stop();
        self.stopped().await;
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        stream
    }

    /// Sends one request on a connection of its own; returns the status and the body.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        self.raw(request.into_bytes()).await
    }

    pub async fn raw(&self, request: Vec<u8>) -> (u16, String) {
        let mut stream = self.connect();
        let exchange = move || {
            // A server that refuses closes before it has read everything.
            let _ = stream.write_all(&request);
            answer(&mut stream)
        };
        tokio::task::spawn_blocking(exchange).await.expect("it does not panic")
    }

    /// Sends one request; returns the whole head of the answer, and its body.
    pub async fn heads(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = self.connect();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let exchange = move || {
            stream.write_all(request.as_bytes()).expect("it listens");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it is UTF-8");
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            (head.to_owned(), body.to_owned())
        };
        tokio::task::spawn_blocking(exchange).await.expect("it does not panic")
    }

    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.call("GET", path, "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("it is JSON")
    }
}

impl Running {
    /// Waits until a line of `/metrics` reads like this. Asking takes a connection, too.
    pub async fn until_measured(&self, line: &str) {
        let asking = async {
            loop {
                let (_, measured) = self.call("GET", "/metrics", "").await;
                if measured.lines().any(|measured| measured == line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        assert!(asked.is_ok(), "it never says {line}");
    }
}

/// Reads until the end of the connection; returns the status and the body.
pub fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    // Whoever refuses a body that is still coming may reset the connection after the answer.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}
