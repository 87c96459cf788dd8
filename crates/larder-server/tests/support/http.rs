//! A client that sees every byte, and an origin that may answer as badly as it likes.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By their names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request, with `headers` as lines without their ends, on a connection of its own.
pub async fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut lines = headers.join("\r\n");
    if !body.is_empty() {
        lines = format!("content-length: {}\r\n{lines}", body.len());
    }
    let end = if lines.is_empty() || lines.ends_with('\n') { "" } else { "\r\n" };
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}{end}\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it listens");
        // Who refuses a body need not read it.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    };
    answer(&timeout(PATIENCE, exchange).await.expect("it answers in time"))
}

fn answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Answer {
        status,
        headers: headers.collect(),
        body: bytes[(end + 4).min(bytes.len())..].to_vec(),
    }
}

/// A server whose every answer is written by the test. It counts who asks for what.
pub struct Origin {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Origin {
    /// Has `write` answer each connection, given the head of its first request.
    pub async fn start<W, F>(write: W) -> Self
    where
        W: Fn(String, TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let write: Arc<dyn Fn(String, TcpStream) -> Writing + Send + Sync> =
            Arc::new(move |head, stream| Box::pin(write(head, stream)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (write, seen) = (write.clone(), seen.clone());
                tokio::spawn(async move {
                    let head = head(&mut stream).await;
                    seen.lock().expect("nobody panics").push(head.clone());
                    write(head, stream).await;
                });
            }
        });
        Self { address, heads, task }
    }

    /// Answers every key with `value of KEY`, with these lines in its head.
    pub async fn of_values(lines: &'static str) -> Self {
        Self::start(move |head, mut stream| async move {
            let body = format!("value of {}", key(&head));
            write(&mut stream, "200 OK", lines, body.as_bytes()).await;
        })
        .await
    }

    /// Where each key is.
    pub fn template(&self) -> String {
        format!("http://{}/v1/{{key}}", self.address)
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panics").clone()
    }

    pub fn loads(&self) -> usize {
        self.heads().len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The last segment of a request's path.
pub fn key(head: &str) -> &str {
    head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

/// Writes a whole answer and closes.
pub async fn write(stream: &mut TcpStream, status: &str, lines: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // Whoever asked may be gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.shutdown().await;
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
