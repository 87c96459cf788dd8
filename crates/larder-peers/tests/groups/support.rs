//! Nodes with a listener each, and a source that counts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Attempt, Fetched, Fresh, Source};
use larder_peers::{Group, GroupOptions, Mode, Peer, Pool, PoolOptions, Serving};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Brings `v:<key>`, or what it was told to, and counts.
#[derive(Clone, Default)]
pub(crate) struct Counting(Arc<State>);

#[derive(Default)]
struct State {
    loads: Mutex<HashMap<Bytes, usize>>,
    values: Mutex<HashMap<Bytes, Bytes>>,
    ttl: Mutex<Option<Duration>>,
    /// Loads of keys that begin with `slow` wait for a permit.
    gate: Gate,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain err")
    }
}

impl std::error::Error for Broken {}

impl Counting {
    pub(crate) fn loads(&self, key: &[u8]) -> usize {
        self.0.loads.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    pub(crate) fn all_loads(&self) -> usize {
        self.0.loads.lock().unwrap().values().sum()
    }

    pub(crate) fn becomes(&self, key: &'static str, value: &'static str) {
        self.0.values.lock().unwrap().insert(Bytes::from(key), Bytes::from(value));
    }

    pub(crate) fn lasts(&self, ttl: Duration) {
        *self.0.ttl.lock().unwrap() = Some(ttl);
    }

    /// Lets so many slow loads go on.
    pub(crate) fn open(&self, loads: usize) {
        self.0.gate.0.add_permits(loads);
    }
}

impl Source for Counting {
    type Key = Bytes;
    type Value = Bytes;
    type Error = Broken;

    async fn fetch(&self, key: &Bytes, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Broken> {
        let state = &self.0;
        *state.loads.lock().unwrap().entry(key.clone()).or_default() += 1;
        let value = state.values.lock().unwrap().get(key).cloned();
        let value = value.unwrap_or_else(|| [b"v:", &key[..]].concat().into());
        if key.starts_with(b"slow") {
            state.gate.0.acquire().await.unwrap().forget();
        }
        match &key[..] {
            b"nf" => return Ok(Fetched::Absent { remember_for: None }),
            b"err" => return Err(Broken),
            b"panic" => panic!("as it was asked to"),
            _ => {}
        }
        let value = if key.starts_with(b"big") { Bytes::from(vec![b'x'; 3_000]) } else { value };
        let fresh = Fresh::new(value);
        let ttl = *state.ttl.lock().unwrap();
        Ok(ttl.map_or(fresh.clone(), |ttl| fresh.ttl(ttl)).into())
    }
}

/// A node of a ring.
pub(crate) struct Node {
    pub(crate) url: String,
    pub(crate) pool: Pool,
    pub(crate) group: Group<Counting>,
    pub(crate) source: Counting,
    pub(crate) serving: Option<Serving>,
}

impl Node {
    pub(crate) async fn text(&self, key: &str) -> String {
        match self.group.get(&key_of(key)).await {
            Ok(got) => String::from_utf8_lossy(&got).into_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    pub(crate) fn has(&self, key: &str) -> Option<String> {
        let got = self.group.peek(&key_of(key))?;
        Some(String::from_utf8_lossy(&got).into_owned())
    }

    /// Stops answering: connections to it are refused from then on.
    pub(crate) async fn goes_away(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.stop(Duration::ZERO).await;
        }
    }

    /// Answers again, at the same address.
    pub(crate) async fn comes_back(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let listener = eventually(|| TcpListener::bind(address.clone())).await;
        self.serving = Some(self.pool.serve(listener).unwrap());
    }
}

async fn eventually<T, E: fmt::Debug, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    for _ in 0..200 {
        if let Ok(done) = attempt().await {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not happen within four seconds")
}

/// Waits until it holds, for ten seconds at most.
pub(crate) async fn until(holds: impl AsyncFnMut() -> bool) {
    until_within(Duration::from_secs(10), holds).await;
}

pub(crate) async fn until_within(patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let clock = larder_cache::Clock::running();
    while !holds().await {
        assert!(clock.uptime() < patience, "it did not come to hold within {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn key_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn options(mode: Mode) -> PoolOptions {
    PoolOptions { mode, peer_timeout: Duration::from_secs(5), ..PoolOptions::default() }
}

pub(crate) const GROUP: &str = "g";

/// A ring of so many nodes that know each other.
pub(crate) async fn ring(mode: Mode, nodes: usize) -> Vec<Node> {
    ring_with(nodes, options(mode), GroupOptions::default()).await
}

pub(crate) async fn ring_with(
    nodes: usize,
    options: PoolOptions,
    group_options: GroupOptions,
) -> Vec<Node> {
    let mut ring = Vec::new();
    for _ in 0..nodes {
        ring.push(node(options.clone(), group_options.clone()).await);
    }
    let peers: Vec<_> = ring.iter().map(|node| identity(&options, &node.url)).collect();
    for node in &ring {
        node.pool.set_peers(peers.clone()).unwrap();
    }
    ring
}

/// What a node at this URL is called.
pub(crate) fn identity(options: &PoolOptions, url: &str) -> Peer {
    match options.mode {
        Mode::GroupcacheGoV3 => Peer::new(url.trim_start_matches("http://")),
        _ => Peer::new(url),
    }
}

/// A node that is alone for now.
pub(crate) async fn node(options: PoolOptions, group_options: GroupOptions) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pool = Pool::new(identity(&options, &url).identity(), options).unwrap();
    let source = Counting::default();
    let group = pool.group(GROUP, source.clone(), group_options).unwrap();
    let serving = Some(pool.serve(listener).unwrap());
    Node { url, pool, group, source, serving }
}

/// A key that `owner` owns, one of `<prefix>0`, `<prefix>1`, …
pub(crate) fn key_owned_by(owner: &Node, prefix: &str) -> String {
    keys_owned_by(owner, prefix).next().unwrap()
}

pub(crate) fn keys_owned_by(owner: &Node, prefix: &str) -> impl Iterator<Item = String> {
    let (pool, prefix) = (owner.pool.clone(), prefix.to_owned());
    // Mailgun's ring has long runs of one owner: take keys that are far from each other.
    let keys =
        (0_u64..).map(move |n| format!("{prefix}{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    keys.filter(move |key| pool.owner(key.as_bytes()) == pool.identity())
}

pub(crate) fn loads_of(ring: &[Node], key: &str) -> usize {
    ring.iter().map(|node| node.source.loads(key.as_bytes())).sum()
}
