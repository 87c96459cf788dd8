//! A load of few words: connections that are kept open, and requests that are written as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection that is kept open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How many bytes its body had.
    pub bytes: usize,
}

/// What came back, kept.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Its status line and headers, as they came.
    pub head: String,
    /// Its body, without the marks between chunks.
    pub body: Vec<u8>,
}

impl Reply {
    /// The names and values of its headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.lines().skip(1);
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// How often its body has this text.
    pub fn count(&self, text: &str) -> usize {
        self.body.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::with_room(address, 256 << 10).await
    }

    /// Connects, and reads so many bytes at once: little for connections by the thousand.
    pub async fn with_room(address: SocketAddr, bytes: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, buffer: vec![0; bytes].into(), filled: 0 }
    }

    /// Sends a request, and reads its answer to the end.
    pub async fn call(&mut self, request: &[u8]) -> Answer {
        let head = self.head(request).await.to_ascii_lowercase();
        let bytes = self.body(&head, None).await;
        Answer { status: status(&head), bytes }
    }

    /// Sends a request, and keeps its answer.
    pub async fn ask(&mut self, request: &[u8]) -> Reply {
        let head = self.head(request).await;
        let mut body = Vec::new();
        self.body(&head.to_ascii_lowercase(), Some(&mut body)).await;
        Reply { status: status(&head), head, body }
    }

    async fn head(&mut self, request: &[u8]) -> String {
        self.stream.write_all(request).await.expect("it is connected");
        let end = loop {
            if let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.drop_front(end);
        head
    }

    async fn body(&mut self, head: &str, kept: Option<&mut Vec<u8>>) -> usize {
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        match header("content-length:") {
            Some(length) => self.take(length.parse().expect("it is a number"), kept).await,
            None if header("transfer-encoding:").is_some() => self.take_chunks(kept).await,
            None => 0,
        }
    }

    async fn take(&mut self, length: usize, mut kept: Option<&mut Vec<u8>>) -> usize {
        let mut left = length;
        loop {
            let here = left.min(self.filled);
            if let Some(kept) = kept.as_deref_mut() {
                kept.extend_from_slice(&self.buffer[..here]);
            }
            self.drop_front(here);
            left -= here;
            if left == 0 {
                return length;
            }
            self.fill().await;
        }
    }

    async fn take_chunks(&mut self, mut kept: Option<&mut Vec<u8>>) -> usize {
        let mut bytes = 0;
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer[..self.filled], b"\r\n") {
                    break end;
                }
                self.fill().await;
            };
            let size = std::str::from_utf8(&self.buffer[..end]).expect("it is text");
            let size = usize::from_str_radix(size.trim(), 16).expect("it is a number");
            self.drop_front(end + 2);
            self.take(size, kept.as_deref_mut()).await;
            self.take(2, None).await;
            bytes += size;
            if size == 0 {
                return bytes;
            }
        }
    }

    async fn fill(&mut self) {
        let read = self.stream.read(&mut self.buffer[self.filled..]).await;
        let read = read.expect("it is connected");
        assert!(read > 0, "the server closed the connection");
        self.filled += read;
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

fn status(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.expect("an answer has a status")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A request without a body.
pub fn request(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n{headers}\r\n").into()
}

/// A request that posts JSON.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    json("POST", path, body)
}

/// A request that puts JSON.
pub fn put(path: &str, body: &[u8]) -> Vec<u8> {
    json("PUT", path, body)
}

fn json(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         accept: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Requests a second that a server answers, each with this status, over so many connections that each ask
/// as soon as they were answered. Each connection begins at another one of the requests.
pub async fn rate(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    requests: Arc<Vec<Vec<u8>>>,
    status: u16,
) -> f64 {
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..connections {
        let requests = requests.clone();
        asking.spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut next = number * requests.len() / connections;
            let mut answered = 0_u64;
            while began.elapsed() < time {
                let answer = connection.call(&requests[next % requests.len()]).await;
                assert_eq!(answer.status, status, "for request {next}");
                next += 1;
                answered += 1;
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(done) = asking.join_next().await {
        answered += done.expect("no connection fails");
    }
    answered as f64 / began.elapsed().as_secs_f64()
}

/// Sends each request once, over so many connections.
pub async fn once(address: SocketAddr, connections: usize, requests: Vec<Vec<u8>>, status: u16) {
    let requests = Arc::new(requests);
    let mut asking = JoinSet::new();
    for number in 0..connections {
        let requests = requests.clone();
        asking.spawn(async move {
            let mut connection = Connection::open(address).await;
            for request in requests.iter().skip(number).step_by(connections) {
                assert_eq!(connection.call(request).await.status, status);
            }
        });
    }
    while let Some(done) = asking.join_next().await {
        done.expect("no connection fails");
    }
}
