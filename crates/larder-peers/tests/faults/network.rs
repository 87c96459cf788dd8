//! A network on tokio's paused time. Between each two nodes there is a link in each direction, which can be
//! closed, slow, or lossy. The bytes are those that would go over TCP, and both ends are the crate's own.
//!
//! What was sent into a closed link arrives when it opens, late, as TCP would repeat it, even if the sender
//! has hung up; after [`PATIENCE`] the connection breaks.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_peers::{Address, Duplex, PeerService, RemoteAddr, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tower::Service;

use super::dice::fate;
use super::history::History;

/// How long a connection lives whose bytes do not get through.
const PATIENCE: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) open: bool,
    pub(crate) delay: Duration,
    /// One in so many pieces breaks its connection instead of arriving; zero for none.
    pub(crate) loses: u64,
}

impl Link {
    fn fine(delay: Duration) -> Self {
        Self { open: true, delay, loses: 0 }
    }
}

/// One life of a node.
struct Life {
    number: u64,
    service: Option<PeerService>,
    connections: Vec<AbortHandle>,
}

struct State {
    seed: u64,
    /// How long every way takes at least, and so differently that what is sent at once does not arrive at once.
    slowest: u64,
    links: Vec<Vec<Link>>,
    lives: Vec<Life>,
    pieces: u64,
}

#[derive(Clone)]
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
    /// Told when a link has changed.
    changed: Arc<watch::Sender<()>>,
    history: History,
}

pub(crate) fn authority(node: usize) -> String {
    format!("10.0.0.{}:80", node + 1)
}

fn node_at(authority: &str) -> usize {
    let host = authority.trim_end_matches(":80").rsplit('.').next().unwrap();
    host.parse::<usize>().unwrap() - 1
}

impl Network {
    /// Links take up to `slowest` milliseconds.
    pub(crate) fn new(seed: u64, nodes: usize, slowest: u64, history: History) -> Self {
        let life = |_| Life { number: 0, service: None, connections: Vec::new() };
        let state = State {
            seed,
            slowest,
            links: vec![vec![Link::fine(Duration::ZERO); nodes]; nodes],
            lives: (0..nodes).map(life).collect(),
            pieces: 0,
        };
        let network = Self { state: Arc::new(Mutex::new(state)), changed: Arc::default(), history };
        network.heal();
        network
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_link(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        change(&mut self.state().links[from][to]);
        self.changed.send_replace(());
    }

    pub(crate) fn heal(&self) {
        let state = &mut *self.state();
        for (from, links) in (0..).zip(&mut state.links) {
            for (to, link) in (0..).zip(links) {
                let delay = fate(&[state.seed, from, to]) % (state.slowest + 1);
                *link = Link::fine(Duration::from_millis(delay));
            }
        }
        self.changed.send_replace(());
    }

    /// A node's next life, by which it makes connections.
    pub(crate) fn begin(&self, node: usize) -> Dialer {
        let mut state = self.state();
        state.lives[node].number += 1;
        Dialer { from: node, life: state.lives[node].number, network: self.clone() }
    }

    /// From now on it answers.
    pub(crate) fn listen(&self, node: usize, service: PeerService) {
        self.state().lives[node].service = Some(service);
    }

    /// It loses its connections, and accepts none.
    pub(crate) fn crash(&self, node: usize) {
        let mut state = self.state();
        let life = &mut state.lives[node];
        (life.service, life.number) = (None, life.number + 1);
        life.connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Which of its lives a node is in.
    pub(crate) fn life(&self, node: usize) -> u64 {
        self.state().lives[node].number
    }

    /// It accepts nothing more.
    pub(crate) fn forget_service(&self, node: usize) {
        self.state().lives[node].service = None;
    }

    async fn passage(&self, from: usize, to: usize) -> io::Result<Link> {
        let mut changes = self.changed.subscribe();
        let open = async {
            loop {
                let link = self.state().links[from][to];
                if link.open {
                    return link;
                }
                changes.changed().await.unwrap();
            }
        };
        let link = tokio::time::timeout(PATIENCE, open).await?;
        if !link.delay.is_zero() {
            tokio::time::sleep(link.delay).await;
        }
        Ok(link)
    }

    /// Brings bytes from one end to the other, until the sender has no more.
    async fn carry(
        &self,
        from: usize,
        to: usize,
        mut source: impl AsyncRead + Unpin,
        mut sink: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = source.read(&mut buffer).await?;
            if read == 0 {
                return sink.shutdown().await;
            }
            let link = self.passage(from, to).await?;
            if link.loses > 0 {
                let mut state = self.state();
                state.pieces += 1;
                if fate(&[state.seed, state.pieces]).is_multiple_of(link.loses) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            sink.write_all(&buffer[..read]).await?;
        }
    }

    async fn connect(&self, from: usize, life: u64, to: usize) -> io::Result<DuplexStream> {
        self.passage(from, to).await?;
        self.passage(to, from).await?;
        let mut state = self.state();
        if state.lives[from].number != life {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let Some(service) = state.lives[to].service.clone() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (client, near) = duplex(64 << 10);
        let (far, server) = duplex(64 << 10);
        let network = self.clone();
        let wire = tokio::spawn(async move {
            let (near_read, near_write) = split(near);
            let (far_read, far_write) = split(far);
            let there = network.carry(from, to, near_read, far_write);
            let back = network.carry(to, from, far_read, near_write);
            // If one of them breaks, so does the connection.
            drop(try_join(there, back).await);
        });
        let serving = tokio::spawn(serve(to, service, server, self.history.clone()));
        let handles = [wire.abort_handle(), serving.abort_handle()];
        state.lives[to].connections.extend(handles.clone());
        state.lives[from].connections.extend(handles);
        Ok(client)
    }
}

async fn serve(node: usize, service: PeerService, stream: DuplexStream, history: History) {
    let answer = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let (mut service, history) = (service.clone(), history.clone());
        request.extensions_mut().insert(RemoteAddr(([127, 0, 0, 1], 1).into()));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        async move {
            let response = service.call(request).await;
            history.answered(node, &method, &path);
            response
        }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

/// Makes a node's connections, for as long as it lives.
#[derive(Clone)]
pub(crate) struct Dialer {
    from: usize,
    life: u64,
    network: Network,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialer({})", self.from)
    }
}

impl Transport for Dialer {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let to = node_at(to.authority());
            let stream = self.network.connect(self.from, self.life, to).await?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}
