//! One server of a cluster, and the parts of a peer that misbehaves.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Clock, Ticker};
use larder_eureka::replicate::{Gate, Options, PeerFigures, Peers};
use larder_eureka::response_cache::{self, ResponseCache};
use larder_eureka::server::operations::Operations;
use larder_eureka::server::{self, Eureka};
use larder_registry::model::{Instance, Key};
use larder_registry::{Memory, Registry, memory};
use reqwest::{Client, Method, StatusCode};
use tokio::runtime::{Builder, Runtime};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that is free, and kept by its listener until a server takes it over.
pub(crate) fn port() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("it can be");
    listener
}

/// A whole server: registry, peers, routes, socket.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) operations: Arc<Operations>,
    peers: Arc<Peers>,
    runtime: Option<Runtime>,
    http: Client,
}

/// What is not as it is by default.
pub(crate) struct Setup {
    pub(crate) peers: Options,
    /// How long the gate may be shut.
    pub(crate) gate: Duration,
}

impl Setup {
    /// Peers at these addresses; rounds that make a test quick.
    pub(crate) fn among(addresses: &[SocketAddr]) -> Self {
        let peers = Options {
            peers: addresses.iter().map(|address| format!("http://{address}/eureka")).collect(),
            sync_wait: Duration::from_millis(100),
            ..Options::default()
        };
        Self { peers, gate: Duration::ZERO }
    }
}

impl Node {
    /// Serves on `listener`, among these; itself may be one of them.
    pub(crate) fn start(listener: TcpListener, setup: Setup) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let Setup { mut peers, gate } = setup;
        peers.own = vec![address.to_string()];
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("there are threads");
        let within = runtime.enter();
        let clock = Clock::running();
        let registry: Arc<dyn Registry> =
            Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        let options = response_cache::Options::default();
        let responses =
            ResponseCache::observing(&registry, options, clock.clone()).expect("valid options");
        let gate = Arc::new(Gate::until(clock.now().after(gate)));
        let peers = Peers::start(&peers, &registry, gate.clone(), &clock);
        let peers = Arc::new(peers.expect("valid options"));
        let eureka = Eureka::new(registry.clone(), responses, clock.clone());
        let eureka = eureka.with_peers(peers.clone()).behind(gate);
        let operations = eureka.operations();
        let router = server::router(Arc::new(eureka));
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        let ticker = Ticker::start(clock, Ticker::PERIOD);
        runtime.spawn(async move {
            let _ticks_for_as_long = ticker;
            axum::serve(listener, router).await.expect("it goes on");
        });
        drop(within);
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { address, registry, operations, peers, runtime: Some(runtime), http }
    }

    /// Ends everything at once, as a kill does.
    pub(crate) fn kill(mut self) -> SocketAddr {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.address
    }

    /// Sends a request as a client does.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> (StatusCode, String) {
        let url = format!("http://{}/eureka/{path}", self.address);
        let mut request = self.http.request(method, url).header("accept", "application/json");
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = request.send().await.expect("it answers");
        let status = response.status();
        (status, response.text().await.expect("the body is whole"))
    }

    pub(crate) async fn register(&self, id: &str, dirty: u64) {
        let (status, says) = self.call(Method::POST, "apps/WEB", &registration(id, dirty)).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{says}");
    }

    pub(crate) async fn heartbeat(&self, id: &str) -> StatusCode {
        self.call(Method::PUT, &format!("apps/WEB/{id}?status=UP"), "").await.0
    }

    pub(crate) fn held(&self, id: &str) -> Option<Arc<Instance>> {
        self.registry.instance(&Key::new("WEB", id))
    }

    /// What happened with its only peer.
    pub(crate) fn figures(&self) -> PeerFigures {
        let mut all = self.peers.figures();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A runtime may not be dropped, and so waited for, inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn registration(id: &str, dirty: u64) -> String {
    let center = r#""dataCenterInfo":{"name":"MyOwn"}"#;
    let address = r#""hostName":"h","ipAddr":"10.0.0.1""#;
    let rest = format!(r#""vipAddress":"v","status":"UP","lastDirtyTimestamp":"{dirty}""#);
    format!(r#"{{"instance":{{"instanceId":"{id}","app":"WEB",{address},{rest},{center}}}}}"#)
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// Two that know each other.
pub(crate) fn two() -> (Node, Node) {
    let (one, other) = (port(), port());
    let addresses = [&one, &other].map(|listener| listener.local_addr().expect("it is bound"));
    let start = |listener| Node::start(listener, Setup::among(&addresses));
    (start(one), start(other))
}
