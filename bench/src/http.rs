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

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, buffer: vec![0; 256 << 10].into(), filled: 0 }
    }

    /// Sends a request, and reads its answer to the end.
    pub async fn call(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.expect("it is connected");
        let end = loop {
            if let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.drop_front(end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.expect("an answer has a status");
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let bytes = match header("content-length:") {
            Some(length) => self.skip(length.parse().expect("it is a number")).await,
            None if header("transfer-encoding:").is_some() => self.skip_chunks().await,
            None => 0,
        };
        Answer { status, bytes }
    }

    async fn skip(&mut self, length: usize) -> usize {
        let mut left = length;
        loop {
            let here = left.min(self.filled);
            self.drop_front(here);
            left -= here;
            if left == 0 {
                return length;
            }
            self.fill().await;
        }
    }

    async fn skip_chunks(&mut self) -> usize {
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
            self.skip(size + 2).await;
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

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A request without a body.
pub fn request(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n{headers}\r\n").into()
}

/// A request that posts JSON.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
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
