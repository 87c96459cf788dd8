//! A Consul agent on loopback, as far as reads go: paths with bodies and indexes, blocking queries, and every
//! way to fail. It lives in a runtime of its own, which dies with all of its connections.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_cache::{Clock, Ticker};
use larder_consul::client::{self, Client};
use larder_consul::question::{Endpoint, Question, Selection, Token};
use larder_consul::remote::{self, Agent, Read};
use larder_consul::terms::{CacheControl, Terms};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An agent.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) stage: Arc<Stage>,
    runtime: Option<Runtime>,
}

/// What an agent holds, counts and was told to do.
pub(crate) struct Stage {
    held: Mutex<BTreeMap<String, Page>>,
    changed: watch::Sender<u64>,
    mood: watch::Sender<Mood>,
    asked: Mutex<HashMap<String, usize>>,
    parked: Mutex<HashMap<String, usize>>,
    refuses: Mutex<Vec<String>>,
    connections: AtomicUsize,
    most_connections: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

#[derive(Debug, Clone)]
struct Page {
    status: StatusCode,
    index: u64,
    body: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    Hangs,
    HalfBodies,
    NoIndex,
    Answers(u16, &'static str),
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let stage = Arc::new(Stage {
            held: Mutex::default(),
            changed: watch::Sender::new(0),
            mood: watch::Sender::default(),
            asked: Mutex::default(),
            parked: Mutex::default(),
            refuses: Mutex::default(),
            connections: AtomicUsize::new(0),
            most_connections: AtomicUsize::new(0),
            heard: Mutex::default(),
        });
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut upstream = Self { address: unbound, stage, runtime: None };
        upstream.come_back();
        upstream
    }

    /// Ends it with all of its connections.
    pub(crate) fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again where it was.
    pub(crate) fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stage, address) = (self.stage.clone(), self.address);
        let (told, bound) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let listener = loop {
                // Its former self may not have let go of the port yet.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            told.send(listener.local_addr().expect("it is bound")).expect("somebody waits");
            stage.connections.store(0, Ordering::SeqCst);
            let listener = Counting { listener, stage: stage.clone() };
            let router = Router::new().fallback(answer).with_state(stage);
            axum::serve(listener, router).await.expect("it serves");
        });
        self.address = bound.recv_timeout(PATIENCE).expect("it binds");
        self.runtime = Some(runtime);
    }

    pub(crate) fn options(&self) -> client::Options {
        client::Options {
            servers: vec![self.address.to_string()],
            connect_timeout: Duration::from_millis(500),
            call_timeout: Duration::from_secs(1),
            ..client::Options::default()
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.die();
    }
}

impl Stage {
    /// Sets what a path answers, and its index.
    pub(crate) fn set(&self, path: &str, index: u64, body: &str) {
        self.set_status(path, 200, index, body);
    }

    pub(crate) fn set_status(&self, path: &str, status: u16, index: u64, body: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        let page = Page { status, index, body: body.to_owned() };
        lock(&self.held).insert(path.to_owned(), page);
        self.changed.send_modify(|times| *times += 1);
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// From now on there is no such token.
    pub(crate) fn refuse(&self, token: &str) {
        lock(&self.refuses).push(token.to_owned());
        self.changed.send_modify(|times| *times += 1);
    }

    /// There is such a token again.
    pub(crate) fn accept(&self, token: &str) {
        lock(&self.refuses).retain(|refused| refused != token);
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        lock(&self.asked).get(path).copied().unwrap_or(0)
    }

    /// How many queries wait for news of a path.
    pub(crate) fn parked(&self, path: &str) -> usize {
        lock(&self.parked).get(path).copied().unwrap_or(0)
    }

    /// How many connections there were at most at a time.
    pub(crate) fn most_connections(&self) -> usize {
        self.most_connections.load(Ordering::SeqCst)
    }

    /// Every request line and token, in order.
    pub(crate) fn heard(&self) -> Vec<String> {
        lock(&self.heard).clone()
    }

    async fn well(&self) {
        let mut mood = self.mood.subscribe();
        mood.wait_for(|mood| *mood != Mood::Hangs).await.expect("the stage is there");
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panicked")
}

/// Counts one waiting query.
struct Parked(Arc<Stage>, String);

impl Parked {
    fn new(stage: &Arc<Stage>, path: &str) -> Self {
        *lock(&stage.parked).entry(path.to_owned()).or_default() += 1;
        Self(stage.clone(), path.to_owned())
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        *lock(&self.0.parked).entry(self.1.clone()).or_default() -= 1;
    }
}

async fn answer(State(stage): State<Arc<Stage>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query: HashMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    *lock(&stage.asked).entry(path.clone()).or_default() += 1;
    let token = request.headers().get("x-consul-token");
    let token = token.map(|token| token.to_str().expect("ASCII").to_owned()).unwrap_or_default();
    lock(&stage.heard).push(format!("{} {} {token}", request.method(), request.uri()));
    if path.starts_with("/echo") {
        return echo(request);
    }
    let index = query.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
    let wait = query.get("wait").map_or(300_000, |wait| {
        wait.strip_suffix("ms").and_then(|wait| wait.parse().ok()).expect("milliseconds")
    });
    if index > 0 {
        let _parked = Parked::new(&stage, &path);
        let mut changed = stage.changed.subscribe();
        let passed = async {
            loop {
                let page = lock(&stage.held).get(&path).cloned();
                let is_refused = lock(&stage.refuses).contains(&token);
                // As with Consul, a lower index is not noticed before the time is over.
                if is_refused || page.is_some_and(|page| page.index > index) {
                    return;
                }
                changed.changed().await.expect("the stage is there");
            }
        };
        let mood = stage.mood.borrow().clone();
        if mood != Mood::NoIndex {
            let _ = tokio::time::timeout(Duration::from_millis(wait), passed).await;
        }
    }
    stage.well().await;
    tell(&stage, &path, &token)
}

fn tell(stage: &Stage, path: &str, token: &str) -> Response {
    let mood = stage.mood.borrow().clone();
    if let Mood::Answers(status, says) = mood {
        return (StatusCode::from_u16(status).expect("a status"), says).into_response();
    }
    if lock(&stage.refuses).iter().any(|refused| refused == token) {
        return (StatusCode::FORBIDDEN, "ACL not found").into_response();
    }
    let Some(page) = lock(&stage.held).get(path).cloned() else {
        return (StatusCode::NOT_FOUND, "Invalid URL path").into_response();
    };
    let index = if mood == Mood::NoIndex { 0 } else { page.index };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("x-consul-index", index.to_string()),
        ("x-consul-lastcontact", "0".to_owned()),
        ("x-consul-knownleader", "true".to_owned()),
    ];
    if mood == Mood::HalfBodies {
        let half = page.body[..page.body.len() / 2].to_owned();
        let pieces = [Ok(half), Err(io::Error::other("told to"))];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        return (page.status, headers, body).into_response();
    }
    (page.status, headers, page.body).into_response()
}

/// Says what was asked, and sends the body back as it comes.
fn echo(request: Request) -> Response {
    let asked = format!("{} {}", request.method(), request.uri());
    let names: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let status = if request.uri().path().ends_with("teapot") { 418 } else { 200 };
    Response::builder()
        .status(status)
        .header("x-asked", asked)
        .header("x-names", names.join(","))
        .header("connection", "x-secret")
        .header("x-secret", "of this connection")
        .body(request.into_body())
        .expect("a response")
}

struct Counting {
    listener: TcpListener,
    stage: Arc<Stage>,
}

impl axum::serve::Listener for Counting {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        let now = self.stage.connections.fetch_add(1, Ordering::SeqCst) + 1;
        self.stage.most_connections.fetch_max(now, Ordering::SeqCst);
        (Counted(stream, self.stage.clone()), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Counted(TcpStream, Arc<Stage>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// An agent in front of an agent.
pub(crate) struct Front {
    pub(crate) agent: Arc<Agent>,
    pub(crate) client: Client,
    _ticker: Ticker,
}

impl Front {
    pub(crate) fn of(upstream: &Upstream) -> Self {
        Self::with(&upstream.options(), remote::Options::default())
    }

    pub(crate) fn with(options: &client::Options, keeping: remote::Options) -> Self {
        let clock = Clock::running();
        let client = Client::new(options).expect("good options");
        let agent = Arc::new(Agent::new(&client, keeping, &clock).expect("good options"));
        Self { agent, client, _ticker: Ticker::start(clock, Ticker::PERIOD) }
    }

    pub(crate) async fn read(
        &self,
        question: &Question,
        terms: &Terms,
    ) -> Result<Read, remote::Unanswered> {
        let read = self.agent.read(question, terms, terms.wait.unwrap_or(PATIENCE * 2));
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }

    /// A read that waits, in a task of its own.
    pub(crate) fn park(
        &self,
        question: &Question,
        index: u64,
    ) -> tokio::task::JoinHandle<Result<Read, remote::Unanswered>> {
        let (agent, question) = (self.agent.clone(), question.clone());
        let terms = Terms { index, ..Terms::default() };
        tokio::spawn(async move { agent.read(&question, &terms, PATIENCE * 2).await })
    }
}

pub(crate) fn health(service: &str) -> Question {
    about(Endpoint::Health(service.into()), "")
}

pub(crate) fn kv(key: &str) -> Question {
    about(Endpoint::Kv(key.into()), "")
}

pub(crate) fn about(endpoint: Endpoint, token: &str) -> Question {
    Question { endpoint, selection: Selection::default(), token: Token::new(token) }
}

pub(crate) fn cached() -> Terms {
    Terms { cached: true, ..Terms::default() }
}

pub(crate) fn cached_with(cache_control: CacheControl) -> Terms {
    Terms { cache_control, ..cached() }
}

pub(crate) fn text(read: &Read) -> &str {
    std::str::from_utf8(&read.answer.body).expect("UTF-8")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}
