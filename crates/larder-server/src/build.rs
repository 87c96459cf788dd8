//! The one place where the parts meet, and the order in which they live and die.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use larder_cache::{Clock, Ticker};
use larder_consul::server::{Consul, is_consuls};
use larder_eureka::replicate::Peers;
use larder_eureka::response_cache::{self, ResponseCache};
use larder_eureka::server::Eureka;
use larder_registry::model::{Instance, Port};
use larder_registry::{Mirror, Registry};
use prometheus_client::registry::Registry as Metrics;
use tokio::task::JoinSet;
use tower::Service as _;

use crate::checks::{self, Checks};
use crate::config::{Config, Limits, Membership};
use crate::groups::{self, Groups, GroupsError};
use crate::listen::{self, Connections, Listener, Service};
use crate::metrics::{self, Parts, Requests};
use crate::peers::Measured;
use crate::shutdown::Stop;
use crate::{admin, api, consul, guard, peers, regions, self_preservation, upstream};

/// For how long connections wait at the start, in the system's queue, for a peer's registry to be copied. Two
/// servers that start together wait for each other; then both serve.
const SYNC_PATIENCE: Duration = Duration::from_secs(1);

/// For how long they wait for the members of the ring to be known.
const RING_PATIENCE: Duration = Duration::from_secs(2);

/// Larder, listening: everything is wired, and nothing is served until [`run`](Self::run).
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    service: Service,
    /// For peers of groups alone, if they have listeners of their own.
    for_peers: Vec<(Listener, Service)>,
    groups: Option<Arc<Groups>>,
    stop: Stop,
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
    checks: Arc<Checks>,
    peers: Arc<Peers>,
    consul: Arc<Consul>,
    ticker: Ticker,
}

/// Why the program cannot start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An address cannot be listened on: another program has it, or it is not this machine's.
    #[error("cannot listen on {address} (listen): {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// An address for peers of groups cannot be listened on.
    #[error("cannot listen on {address} (groups.listen): {reason}")]
    ListenForPeers {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// There cannot be groups as they are configured.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// The registry behind cannot be used as it is configured.
    #[error("upstream.url: {0}")]
    Upstream(#[from] upstream::OpenError),
    /// The other servers of the cluster cannot be told as it is configured.
    #[error("eureka.peers: {0}")]
    Peers(#[from] peers::PeersError),
    /// The regions cannot be followed as they are configured.
    #[error("eureka.regions: {0}")]
    Regions(#[from] larder_eureka::regions::RegionsError),
    /// An option of a cache is out of its range.
    #[error(transparent)]
    Cache(#[from] larder_cache::OutOfRange),
    /// The client that probes checks cannot be made: the system gives a program not even what it needs
    /// for that.
    #[error("cannot probe health checks: {0}")]
    Checks(String),
}

impl From<checks::StartError> for BuildError {
    fn from(error: checks::StartError) -> Self {
        match error {
            checks::StartError::Options(error) => Self::Cache(error),
            error => Self::Checks(error.to_string()),
        }
    }
}

impl Server {
    /// Puts everything together and binds every address. Must be called inside a tokio runtime.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let listeners = bind(&config.listen).await;
        let listeners =
            listeners.map_err(|(address, reason)| BuildError::Listen { address, reason })?;
        let for_peers = bind(peer_listeners(&config)).await;
        let for_peers = for_peers
            .map_err(|(address, reason)| BuildError::ListenForPeers { address, reason })?;
        let clock = Clock::running();
        let ticker = Ticker::start(clock.clone(), Ticker::PERIOD);
        let upstream::Opened { registry, guard, agents, dormant } =
            upstream::open(&config, &clock)?;
        let options = response_cache::Options {
            read_only_tier: config.eureka.read_only_tier,
            capacity: config.eureka.cache_bytes,
            ..response_cache::Options::default()
        };
        let shown = regions::open(&config, &clock)?;
        let responses = ResponseCache::with_regions(&registry, shown, options, clock.clone())?;
        let connections =
            Connections::new(config.limits.connections, config.limits.client_connections);
        let stop = Stop::new();
        let (probed, probing) = (registry.clone(), config.checks.clone());
        let checks = Checks::start(probing, probed, clock.clone(), stop.listener()).await?;
        let checks = Arc::new(checks);
        let consul =
            Consul::new(registry.clone(), agents, consul::options(&config), clock.clone())?;
        let parts = Parts {
            registry: registry.clone(),
            responses: responses.clone(),
            checks: checks.clone(),
            connections: connections.clone(),
            guard: guard.clone(),
            consul: consul.clone(),
        };
        let api = api::router(registry.clone(), consul.clone(), clock.clone(), stop.listener());
        let api = api.merge(upstream::confirmation(guard));
        let api = api.merge(self_preservation::router(registry.clone()));
        let bound = addresses(&listeners);
        let at = if for_peers.is_empty() { bound.clone() } else { addresses(&for_peers) };
        if let (Membership::Service(_), Some(dormant)) = (&config.groups.membership, &dormant) {
            dormant.wake();
        }
        let groups = Groups::open(&config, &at, &registry, &clock)?;
        let peers::Opened { peers, gate } = peers::open(&config, &bound, &registry, &clock)?;
        let eureka = Eureka::new(registry.clone(), responses.clone(), clock);
        let mut eureka = eureka.with_peers(peers.clone()).behind(gate);
        if let Some(address) = bound.first() {
            eureka = eureka.described_by(own(*address));
        }
        if let Some(limits) = config.rate_limit.limits() {
            eureka = eureka.limited_to(limits);
        }
        let api = api.merge(groups::view::router(groups.clone()));
        let replication = Measured { peers: peers.clone(), operations: eureka.operations() };
        let protocols = Protocols {
            eureka: larder_eureka::server::router(Arc::new(eureka)),
            consul: consul.clone(),
            dormant,
            groups: groups.clone(),
        };
        let requests = Requests::default();
        let router = router(&config, parts, replication, api, protocols, &requests, &stop);
        let limits = config.limits;
        let service = Service { router, limits, connections, stopping: stop.listener() };
        let for_peers = match groups.as_deref() {
            Some(groups) => {
                let service = for_peers_alone(groups, limits, requests, &stop);
                for_peers.into_iter().map(|listener| (listener, service.clone())).collect()
            }
            None => Vec::new(),
        };
        Ok(Self {
            listeners,
            service,
            for_peers,
            groups,
            stop,
            registry,
            responses,
            checks,
            peers,
            consul,
            ticker,
        })
    }

    /// The addresses that it listens on, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners)
    }

    /// The addresses that it listens on for peers of groups alone.
    pub fn peer_addresses(&self) -> Vec<SocketAddr> {
        self.for_peers.iter().map(|(listener, _)| listener.address).collect()
    }

    /// Serves until `until` is ready; then stops cleanly: no more connections, watches end, requests
    /// that have begun finish within the time for that, and every task is joined.
    pub async fn run(self, until: impl Future<Output = ()>) {
        // Whoever reads after a restart is not to find an empty registry while a peer's is full.
        self.peers.asked_once(SYNC_PATIENCE).await;
        if let Some(groups) = &self.groups {
            groups.settled(RING_PATIENCE).await;
        }
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            tracing::info!(address = %listener.address, "listening");
            listening.spawn(listen::serve(listener, self.service.clone()));
        }
        for (listener, service) in self.for_peers {
            tracing::info!(address = %listener.address, "listening for peers of groups");
            listening.spawn(listen::serve(listener, service));
        }
        until.await;
        tracing::info!("stopping");
        // Peers go elsewhere before nobody answers them here.
        if let Some(groups) = &self.groups {
            groups.leave().await;
        }
        self.stop.now();
        while listening.join_next().await.is_some() {}
        if let Some(groups) = &self.groups {
            groups.close().await;
        }
        // First those who write: what they hold on to is closed after them.
        self.checks.close().await;
        if let Some(regions) = self.responses.regions() {
            regions.close().await;
        }
        self.peers.close().await;
        self.consul.close().await;
        self.responses.close().await;
        self.registry.close().await;
        self.ticker.stop().await;
        tracing::info!("stopped");
    }
}

/// This server, as Eureka's status page shows it.
fn own(address: SocketAddr) -> Instance {
    let (ip, port) = (address.ip().to_string(), address.port());
    let mut own = Instance::new("LARDER", &format!("{ip}:larder:{port}"));
    own.address.host = Some(ip.clone());
    own.address.ip = Some(ip);
    own.address.port = Some(Port { number: port, enabled: true });
    own
}

/// Binds every address, or says which one cannot be.
async fn bind(to: &[SocketAddr]) -> Result<Vec<Listener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    for address in to.iter().copied() {
        listeners.push(Listener::bind(address).await.map_err(|reason| (address, reason))?);
    }
    Ok(listeners)
}

/// Without a group there is nothing to serve peers.
fn peer_listeners(config: &Config) -> &[SocketAddr] {
    if config.groups.groups.is_empty() { &[] } else { &config.groups.listen }
}

fn addresses(listeners: &[Listener]) -> Vec<SocketAddr> {
    listeners.iter().map(|listener| listener.address).collect()
}

/// The longest head of a peer's request: its path may have 64 KiB.
const PEER_HEAD: usize = 80 << 10;

/// What is served where peers of groups have listeners of their own. They do not compete for connections with
/// clients, and one peer may have as many as it is configured to open.
fn for_peers_alone(groups: &Groups, limits: Limits, requests: Requests, stop: &Stop) -> Service {
    let peers = groups.service();
    let routes =
        Router::new().fallback(move |request: Request| groups::answer_peer(peers.clone(), request));
    let guarded = guard::around(routes, &limits)
        .layer(middleware::from_fn_with_state(requests, metrics::count));
    let connections = Connections::new(limits.connections, 0);
    let limits = Limits { header_bytes: limits.header_bytes.max(PEER_HEAD), ..limits };
    Service { router: guarded, limits, connections, stopping: stop.listener() }
}

/// What other systems' clients speak.
#[derive(Debug, Clone)]
struct Protocols {
    eureka: Router,
    consul: Arc<Consul>,
    /// What is to be woken when others than Consul's clients ask.
    dormant: Option<Arc<Mirror>>,
    groups: Option<Arc<Groups>>,
}

impl Protocols {
    /// Consul and groups have their own paths; Eureka takes the rest.
    async fn answer(mut self, request: Request) -> Response {
        let path = request.uri().path();
        if is_consuls(path) {
            return self.consul.answer(request).await;
        }
        if groups::surface(path).is_some() {
            return match self.groups {
                Some(groups) => groups.answer(request).await,
                None => groups::nothing_here(),
            };
        }
        match self.eureka.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Larder's own paths first; then those of the protocols.
fn router(
    config: &Config,
    parts: Parts,
    replication: Measured,
    api: Router,
    protocols: Protocols,
    requests: &Requests,
    stop: &Stop,
) -> Router {
    let mut measured = Metrics::default();
    let help = "Requests answered, by surface, method and status";
    measured.register("larder_http_requests", help, requests.clone());
    parts.checks.figures().register(&mut measured);
    let read = upstream::Read {
        registry: parts.registry.clone(),
        consul_answers: protocols.consul.behind().is_some(),
        dormant: protocols.dormant.clone(),
    };
    measured.register_collector(Box::new(regions::Measured(parts.responses.clone())));
    measured.register_collector(Box::new(parts));
    measured.register_collector(Box::new(replication));
    if let Some(groups) = protocols.groups.clone() {
        measured.register_collector(Box::new(metrics::groups::Measured(groups)));
    }
    let routes = admin::router(measured, stop.listener())
        .merge(api)
        .fallback(move |request: Request| protocols.clone().answer(request));
    let routes = routes.layer(middleware::from_fn_with_state(read, upstream::show_age));
    // The last layer is the outermost: a request is counted whatever becomes of it.
    guard::around(routes, &config.limits)
        .layer(middleware::from_fn_with_state(requests.clone(), metrics::count))
}
