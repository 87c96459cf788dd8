//! Eureka servers on loopback, for one test: this crate's routes over a registry in memory, behind a
//! layer that counts what is asked and can be told to fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use larder_cache::{Backoff, Clock, Ticker};
use larder_eureka::response_cache::{self, ReadOnlyTier, ResponseCache};
use larder_eureka::server::{self, Eureka};
use larder_eureka::{EurekaClient, Options};
use larder_registry::model::{Instance, Lease};
use larder_registry::{Event, Memory, Registry, Watch, memory};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) gate: Arc<Gate>,
    router: Router,
    clock: Clock,
    task: Option<JoinHandle<()>>,
}

/// What the layer counts, and what it was told to do.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lists: AtomicUsize,
    deltas: AtomicUsize,
    requests: AtomicUsize,
    /// Answer deltas with this; zero for as they are.
    pub(crate) deltas_with: AtomicU16,
    /// Answer everything with this; zero for as it is.
    pub(crate) all_with: AtomicU16,
    /// Name another hash in deltas.
    pub(crate) falsifies: AtomicBool,
    /// Never answer.
    pub(crate) hangs: AtomicBool,
    /// The `Authorization` that is wanted.
    pub(crate) wants: Mutex<Option<String>>,
}

impl Gate {
    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }

    pub(crate) fn deltas(&self) -> usize {
        self.deltas.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn refusal(&self, path: &str) -> Option<StatusCode> {
        let of = |with: &AtomicU16| StatusCode::from_u16(with.load(Ordering::SeqCst)).ok();
        let delta = if path.contains("delta") { of(&self.deltas_with) } else { None };
        of(&self.all_with).or(delta)
    }
}

async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    gate.requests.fetch_add(1, Ordering::SeqCst);
    match &*path {
        "/eureka/apps/" => gate.lists.fetch_add(1, Ordering::SeqCst),
        "/eureka/apps/delta" => gate.deltas.fetch_add(1, Ordering::SeqCst),
        _ => 0,
    };
    if gate.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if let Some(wanted) = gate.wants.lock().expect("nobody panicked").clone() {
        let given = request.headers().get(header::AUTHORIZATION);
        if given.is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
            return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
        }
    }
    if let Some(status) = gate.refusal(&path) {
        return (status, "told to").into_response();
    }
    let falsifies = gate.falsifies.load(Ordering::SeqCst) && path.ends_with("delta");
    if !falsifies {
        return next.run(request).await;
    }
    let mut request = request;
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    let body = next.run(request).await.into_body();
    let text = String::from_utf8(to_bytes(body, 1 << 20).await.expect("it is whole").to_vec());
    let text =
        text.expect("it is UTF-8").replace("\"apps__hashcode\":\"", "\"apps__hashcode\":\"X");
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_tier(ReadOnlyTier::Push).await
    }

    /// With lists that are late, as Netflix's are.
    pub(crate) async fn with_tier(read_only_tier: ReadOnlyTier) -> Self {
        let clock = Clock::running();
        let registry: Arc<dyn Registry> =
            Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        let options =
            response_cache::Options { read_only_tier, ..response_cache::Options::default() };
        let responses =
            ResponseCache::observing(&registry, options, clock.clone()).expect("valid options");
        let eureka = Eureka::new(registry.clone(), responses, clock.clone());
        let gate = Arc::new(Gate::default());
        let router =
            server::router(Arc::new(eureka)).layer(from_fn_with_state(gate.clone(), guard));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { address, registry, gate, router, clock, task: None };
        server.restart().await;
        server
    }

    /// Listens again, where it did before.
    pub(crate) async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        self.address = listener.local_addr().expect("it is bound");
        let serving = axum::serve(listener, self.router.clone()).into_future();
        // Without it lists would not grow old while they are read.
        let ticker = Ticker::start(self.clock.clone(), Ticker::PERIOD);
        self.task = Some(tokio::spawn(async move {
            let _ticks_for_as_long = ticker;
            serving.await.expect("it goes on");
        }));
    }

    /// Listens no longer; connections that are open are served on.
    pub(crate) async fn stop_listening(&mut self) {
        let task = self.task.take().expect("it listens");
        task.abort();
        let _ = task.await;
    }

    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// Options that make a test quick.
    pub(crate) fn options(&self) -> Options {
        options(vec![self.name()])
    }
}

pub(crate) fn options(servers: Vec<String>) -> Options {
    let backoff = Backoff {
        free_failures: 0,
        base: Duration::from_millis(20),
        cap: Duration::from_millis(100),
    };
    let poll = Duration::from_millis(50);
    Options { servers, poll, backoff, ..Options::default() }
}

pub(crate) fn connect(options: Options) -> Arc<EurekaClient> {
    Arc::new(EurekaClient::connect(options, Clock::running()).expect("valid options"))
}

pub(crate) fn instance(service: &str, id: &str) -> Instance {
    let mut instance = Instance::new(service, id);
    instance.address.ip = Some("10.0.0.1".to_owned());
    instance.lease = Some(Lease::default());
    instance
}

/// The next event of a watch, within the patience.
pub(crate) async fn next(watch: &mut dyn Watch) -> Result<Event, larder_registry::Error> {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    next.expect("an event in time").expect("the watch goes on")
}

/// Reads a listing to its end; the ids in order.
pub(crate) async fn listing(watch: &mut dyn Watch) -> Vec<String> {
    assert_eq!(next(watch).await.expect("it is well"), Event::Init);
    let mut ids = Vec::new();
    loop {
        match next(watch).await.expect("it is well") {
            Event::InitApply(instance) => ids.push(instance.key().to_string()),
            Event::InitDone { .. } => break,
            other => panic!("in a listing: {other:?}"),
        }
    }
    ids.sort();
    ids
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
