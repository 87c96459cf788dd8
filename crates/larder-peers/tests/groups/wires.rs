//! Nodes in one process, without sockets: so that time can be paused, and a minute takes none.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_cache::{Attempt, Clock, Fetched, Fresh, Source};
use larder_peers::{
    Address, Duplex, Group, GroupOptions, PeerService, Pool, PoolOptions, RemoteAddr, Transport,
};
use tower::Service;

use super::support::{GROUP, identity};

/// Connects nodes by their addresses.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Inside>);

#[derive(Default)]
struct Inside {
    nodes: Mutex<HashMap<String, PeerService>>,
    /// How long the node at this address thinks before it answers the request of this number.
    pause: Mutex<Option<Pause>>,
    requests: AtomicU64,
    connections: AtomicU64,
}

pub(crate) type Pause = Box<dyn Fn(&str, u64) -> Duration + Send>;

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

impl Wires {
    pub(crate) fn pauses(&self, pause: impl Fn(&str, u64) -> Duration + Send + 'static) {
        *self.0.pause.lock().unwrap() = Some(Box::new(pause));
    }

    pub(crate) fn cut(&self, url: &str) {
        self.0.nodes.lock().unwrap().remove(url.trim_start_matches("http://"));
    }

    /// Requests that have arrived anywhere.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    fn node(&self, authority: &str) -> Option<PeerService> {
        self.0.nodes.lock().unwrap().get(authority).cloned()
    }

    async fn serve(self, authority: String, stream: tokio::io::DuplexStream) {
        let service = service_fn(|mut request| {
            let (node, number) =
                (self.node(&authority), self.0.requests.fetch_add(1, Ordering::Relaxed));
            let pause = self.0.pause.lock().unwrap();
            let pause = pause.as_ref().map_or(Duration::ZERO, |pause| pause(&authority, number));
            async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let from = RemoteAddr(SocketAddr::from(([127, 0, 0, 1], 1)));
                request.extensions_mut().insert(from);
                node.unwrap().call(request).await
            }
        });
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }
}

impl Transport for Wires {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            if self.node(to.authority()).is_none() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            self.0.connections.fetch_add(1, Ordering::Relaxed);
            let (here, there) = tokio::io::duplex(1 << 16);
            tokio::spawn(self.clone().serve(to.authority().to_owned(), there));
            Ok(Box::new(here) as Box<dyn Duplex>)
        })
    }
}

/// Takes its time for each load, and says in the value when that was.
#[derive(Clone)]
pub(crate) struct Origin(Arc<OriginState>);

struct OriginState {
    clock: Clock,
    takes: Duration,
    fails: AtomicBool,
    /// So many loads panic.
    panics: AtomicU64,
    /// When each key was loaded, in milliseconds.
    loads: Mutex<HashMap<Bytes, Vec<u64>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the source is down")]
pub(crate) struct Down;

impl Origin {
    pub(crate) fn new(clock: Clock, takes: Duration) -> Self {
        let (fails, loads) = (AtomicBool::new(false), Mutex::default());
        let panics = AtomicU64::new(0);
        Self(Arc::new(OriginState { clock, takes, fails, panics, loads }))
    }

    pub(crate) fn fails(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::Relaxed);
    }

    pub(crate) fn panics(&self, loads: u64) {
        self.0.panics.store(loads, Ordering::Relaxed);
    }

    pub(crate) fn loads(&self, key: &Bytes) -> Vec<u64> {
        self.0.loads.lock().unwrap().get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn all_loads(&self) -> usize {
        self.0.loads.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl Source for Origin {
    type Key = Bytes;
    type Value = Bytes;
    type Error = Down;

    async fn fetch(&self, key: &Bytes, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Down> {
        let state = &self.0;
        let began = state.clock.now().as_millis();
        state.loads.lock().unwrap().entry(key.clone()).or_default().push(began);
        tokio::time::sleep(state.takes).await;
        let panics = state.panics.load(Ordering::Relaxed);
        state.panics.store(panics.saturating_sub(1), Ordering::Relaxed);
        assert_eq!(panics, 0, "it panics, as it was asked to");
        if state.fails.load(Ordering::Relaxed) {
            return Err(Down);
        }
        let landed = state.clock.now().as_millis();
        Ok(Fresh::new(Bytes::from(landed.to_string())).into())
    }
}

pub(crate) struct Wired {
    pub(crate) url: String,
    pub(crate) pool: Pool,
    pub(crate) group: Group<Origin>,
}

impl Wired {
    /// A key of its own.
    pub(crate) fn key(&self, prefix: &str) -> Bytes {
        self.keys(prefix).next().unwrap()
    }

    pub(crate) fn keys(&self, prefix: &str) -> impl Iterator<Item = Bytes> {
        let (pool, prefix) = (self.pool.clone(), prefix.to_owned());
        let keys = (0_u64..).map(move |n| {
            Bytes::from(format!("{prefix}{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        });
        keys.filter(move |key| pool.owner(key) == pool.identity())
    }
}

/// Nodes, the one source that all of them ask, and their clock.
pub(crate) struct World {
    pub(crate) nodes: Vec<Wired>,
    pub(crate) origin: Origin,
    pub(crate) wires: Wires,
    pub(crate) clock: Clock,
}

/// A ring in paused time. Its clock moves along in steps of a millisecond.
pub(crate) fn world(
    nodes: usize,
    takes: Duration,
    pool: PoolOptions,
    group: impl Fn(usize) -> GroupOptions,
) -> World {
    let (clock, hands) = Clock::by_hand(1_700_000_000_000);
    tokio::spawn(async move {
        let step = Duration::from_millis(1);
        let mut ticks = tokio::time::interval(step);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            hands.advance(step);
        }
    });
    let (wires, origin) = (Wires::default(), Origin::new(clock.clone(), takes));
    let options =
        PoolOptions { transport: Arc::new(wires.clone()), clock: Some(clock.clone()), ..pool };
    let nodes: Vec<_> = (1..=nodes)
        .map(|n| {
            let authority = format!("10.0.0.{n}:80");
            let url = format!("http://{authority}");
            let pool = Pool::new(identity(&options, &url).identity(), options.clone()).unwrap();
            wires.0.nodes.lock().unwrap().insert(authority, pool.service());
            let group = pool.group(GROUP, origin.clone(), group(n - 1)).unwrap();
            Wired { url, pool, group }
        })
        .collect();
    for node in &nodes {
        node.pool.set_peers(nodes.iter().map(|node| identity(&options, &node.url))).unwrap();
    }
    World { nodes, origin, wires, clock }
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
