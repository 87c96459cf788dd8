//! The other servers of a Eureka cluster: started from the configuration, and measured.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use larder_cache::Clock;
use larder_eureka::Credentials;
use larder_eureka::replicate::{Contact, Gate, Options, PeerFigures, Peers};
use larder_eureka::server::Origin;
use larder_eureka::server::operations::Operations;
use larder_eureka::wire::replication::Action;
use larder_registry::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{self, Config};

/// Why there can be no peers. Not retried: correct the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// An address of theirs, or this server's own, cannot be used.
    #[error(transparent)]
    Options(#[from] larder_eureka::OptionsError),
    /// The registry is somebody else's.
    #[error(
        "a server in front of another registry (upstream.url) has no peers: they share that one"
    )]
    Upstream,
}

/// The peers, and what stands before lists until their registry was copied.
pub(crate) struct Opened {
    pub(crate) peers: Arc<Peers>,
    pub(crate) gate: Arc<Gate>,
}

/// Begins to copy what the peers hold. Must be called inside a tokio runtime.
pub(crate) fn open(
    config: &Config,
    bound: &[SocketAddr],
    registry: &Arc<dyn Registry>,
    clock: &Clock,
) -> Result<Opened, PeersError> {
    let config::Peers { urls, gate, .. } = &config.peers;
    if config.upstream.url.is_some() && !urls.is_empty() {
        return Err(PeersError::Upstream);
    }
    let opens_at = if gate.is_zero() { larder_cache::Time::ZERO } else { clock.now().after(*gate) };
    let gate = Arc::new(Gate::until(opens_at));
    let peers = Peers::start(&options(&config.peers, bound), registry, gate.clone(), clock)?;
    Ok(Opened { peers: Arc::new(peers), gate })
}

fn options(config: &config::Peers, bound: &[SocketAddr]) -> Options {
    let own_url = Some(config.own_url.clone()).filter(|url| !url.is_empty());
    let listened = bound.iter().filter(|address| !address.ip().is_unspecified());
    let own = own_url.into_iter().chain(listened.map(ToString::to_string)).collect();
    let (user, password) = (config.user.clone(), config.password.0.clone());
    Options {
        peers: config.urls.clone(),
        own,
        credentials: (!user.is_empty()).then_some(Credentials { user, password }),
        connect_timeout: config.connect,
        batch_timeout: config.batch,
        list_timeout: config.list,
        queue_len: config.queue,
        sync_rounds: config.sync_rounds,
        sync_wait: config.sync_wait,
    }
}

/// What is read when somebody asks for metrics. A peer's URL is a label: there are as many as are
/// configured.
pub(crate) struct Measured {
    pub(crate) peers: Arc<Peers>,
    pub(crate) operations: Arc<Operations>,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").finish_non_exhaustive()
    }
}

/// A figure of a peer: its name, what it says, its kind, and where it is.
type FigureOf = (&'static str, &'static str, MetricType, fn(&PeerFigures) -> u64);

const FIGURES: [FigureOf; 8] = [
    ("available", "Whether the peer took the last batch", MetricType::Gauge, |figures| {
        u64::from(figures.contact == Contact::Available)
    }),
    ("queued", "Tasks that wait for the peer", MetricType::Gauge, |figures| figures.queued as u64),
    ("sent", "Tasks that the peer answered", MetricType::Counter, |figures| figures.sent),
    ("refused", "Tasks that the peer refused", MetricType::Counter, |figures| figures.refused),
    ("failed_batches", "Batches that the peer did not take", MetricType::Counter, |figures| {
        figures.failed_batches
    }),
    (
        "replaced",
        "Tasks that were not sent because a newer one said as much",
        MetricType::Counter,
        |figures| figures.replaced,
    ),
    ("expired", "Tasks that were not sent in time", MetricType::Counter, |figures| figures.expired),
    (
        "overflowed",
        "Tasks that were dropped because eureka.peer_queue were waiting",
        MetricType::Counter,
        |figures| figures.overflowed,
    ),
];

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.encode_operations(&mut encoder)?;
        let peers = self.peers.figures();
        for (name, help, kind, read) in FIGURES.iter().filter(|_| !peers.is_empty()) {
            let name = format!("larder_eureka_peer_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, *kind)?;
            for peer in &peers {
                let labels = [("peer", peer.url.as_str())];
                let of_peer = family.encode_family(&labels)?;
                match kind {
                    MetricType::Gauge => ConstGauge::new(read(peer)).encode(of_peer)?,
                    _ => ConstCounter::new(read(peer)).encode(of_peer)?,
                }
            }
        }
        Ok(())
    }
}

impl Measured {
    fn encode_operations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What was done over Eureka's API, for clients and for peers";
        let kind = MetricType::Counter;
        let mut family = encoder.encode_descriptor("larder_eureka_operations", help, None, kind)?;
        for (origin, called) in [(Origin::Client, "client"), (Origin::Peer, "peer")] {
            for (action, word) in ACTIONS {
                let count = ConstCounter::new(self.operations.of(action, origin));
                count.encode(family.encode_family(&[("operation", word), ("origin", called)])?)?;
            }
        }
        Ok(())
    }
}

const ACTIONS: [(Action, &str); 5] = [
    (Action::Register, "register"),
    (Action::Heartbeat, "heartbeat"),
    (Action::Cancel, "cancel"),
    (Action::StatusUpdate, "status_update"),
    (Action::DeleteStatusOverride, "status_delete"),
];
