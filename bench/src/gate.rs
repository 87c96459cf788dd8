//! A gate before a server: it counts who asks for what, and can be shut as if the server were down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request that came through.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its path with what it asks for.
    pub path: String,
    /// When it came.
    pub came: Instant,
    /// When its answer began; none if it waits, or was broken off.
    pub answered: Option<Instant>,
    /// Whether whoever asked, or the server, went before it was answered.
    pub is_broken: bool,
}

impl Query {
    /// Whether it waits for something newer than what is known.
    pub fn blocks(&self) -> bool {
        self.path.split(['?', '&']).any(|part| {
            part.strip_prefix("index=").is_some_and(|index| index != "0" && !index.is_empty())
        })
    }

    /// Whether it is on its way.
    pub fn waits(&self) -> bool {
        self.answered.is_none() && !self.is_broken
    }

    /// Its path alone.
    pub fn resource(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// A gate before a server that speaks HTTP/1.1, without pipelining.
#[derive(Debug)]
pub struct Gate {
    /// Where it listens while it is open.
    pub address: SocketAddr,
    upstream: SocketAddr,
    seen: Arc<Seen>,
    open: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    queries: Mutex<Vec<Query>>,
    connections: AtomicUsize,
}

impl Seen {
    fn queries(&self) -> MutexGuard<'_, Vec<Query>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// An open gate before this server.
    pub async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let open = Some(tokio::spawn(accept(listener, upstream, seen.clone())));
        Self { address, upstream, seen, open }
    }

    /// Closes every connection, and refuses new ones.
    pub async fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            let _ = open.await;
        }
    }

    /// Lets everybody through again.
    pub async fn open(&mut self) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => {
                    assert!(began.elapsed() < Duration::from_secs(5), "{}: {error}", self.address);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        self.open = Some(tokio::spawn(accept(listener, self.upstream, self.seen.clone())));
    }

    /// All requests so far, in the order in which they came.
    pub fn queries(&self) -> Vec<Query> {
        self.seen.queries().clone()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Waits until nothing has come for a second, for five seconds at most.
    pub async fn settle(&self) {
        let mut before = usize::MAX;
        for _ in 0..5 {
            if before == self.seen.queries().len() {
                return;
            }
            before = self.seen.queries().len();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, seen: Arc<Seen>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(relay(client, upstream, seen.clone()));
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, seen: Arc<Seen>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let open = Open::new(seen);
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    // Cancel-safe: when one side has gone, what the other one says is for nobody.
    tokio::select! {
        () = requests(from_client, to_server, &open) => {}
        () = answers(from_server, to_client, &open) => {}
    }
}

/// A connection that is open; the request that was broken off with it is marked.
struct Open {
    seen: Arc<Seen>,
    last: Mutex<Option<usize>>,
}

impl Open {
    fn new(seen: Arc<Seen>) -> Self {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        Self { seen, last: Mutex::default() }
    }

    fn last(&self) -> MutexGuard<'_, Option<usize>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came(&self, head: &str) {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut queries = self.seen.queries();
        *self.last() = Some(queries.len());
        queries.push(Query { path, came: Instant::now(), answered: None, is_broken: false });
    }

    fn answered(&self) {
        let last = self.last().take();
        if let Some(number) = last {
            self.seen.queries()[number].answered = Some(Instant::now());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.seen.connections.fetch_sub(1, Ordering::Relaxed);
        let last = self.last().take();
        if let Some(number) = last {
            self.seen.queries()[number].is_broken = true;
        }
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, open: &Open) {
    let (mut buffer, mut partial) = (vec![0; 16 << 10], Vec::new());
    let mut body = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let in_body = rest.len().min(body);
            body -= in_body;
            rest = &rest[in_body..];
            partial.extend_from_slice(rest);
            let Some(end) = partial.windows(4).position(|four| four == b"\r\n\r\n") else { break };
            let head = String::from_utf8_lossy(&partial[..end]).into_owned();
            open.came(&head);
            body = length(&head);
            // What is behind the head is looked at again.
            let behind = partial.len() - end - 4;
            rest = &rest[rest.len() - behind..];
            partial.clear();
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    found.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, open: &Open) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        open.answered();
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
