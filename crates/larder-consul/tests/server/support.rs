//! A server with a registry in memory, and a client of few words.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use bytes::Bytes;
use larder_cache::Clock;
use larder_consul::mapping::OwnNode;
use larder_consul::server::{Consul, Options};
use larder_registry::{Memory, Registry, memory};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Longer than any wait that a test means to last.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// A server.
pub(crate) struct Stand {
    pub(crate) consul: Arc<Consul>,
    pub(crate) registry: Arc<dyn Registry>,
    clock: Clock,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How long it took, by tokio's clock.
    pub(crate) took: Duration,
}

/// A query that waits.
pub(crate) struct Parked(JoinHandle<Told>);

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Clock::running();
        let registry = Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        Self::over(registry, change, clock)
    }

    pub(crate) fn over(
        registry: Arc<dyn Registry>,
        change: impl FnOnce(&mut Options),
        clock: Clock,
    ) -> Self {
        let node = OwnNode::new("golden", "127.0.0.1", "dc1");
        let mut options = Options { node, ..Options::default() };
        change(&mut options);
        let consul = Consul::new(registry.clone(), None, options, clock.clone());
        Self { consul: consul.expect("its options make sense"), registry, clock }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Told {
        told(self.consul.clone(), request, self.clock.clone()).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> Told {
        let request = Request::builder().method(method).uri(path).body(body.into());
        self.send(request.expect("a request")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.ask("GET", path, Body::empty()).await
    }

    /// Gets what must be there.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let told = self.get(path).await;
        assert_eq!(told.status, 200, "{path}: {}", told.text());
        told.json()
    }

    /// Puts what must be taken.
    pub(crate) async fn put(&self, path: &str, body: impl Into<Body>) -> Told {
        let told = self.ask("PUT", path, body).await;
        assert_eq!(told.status, 200, "{path}: {}", told.text());
        told
    }

    pub(crate) async fn register(&self, body: &str) {
        let told = self.put("/v1/agent/service/register", body.to_owned()).await;
        assert_eq!(told.text(), "", "nothing is said about what is done");
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn begin(&self, path: &str) -> Parked {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let (consul, clock) = (self.consul.clone(), self.clock.clone());
        Parked(tokio::spawn(told(consul, request, clock)))
    }

    /// Asks, and returns when the query waits.
    pub(crate) async fn park(&self, path: &str) -> Parked {
        let before = self.consul.parked();
        let parked = self.begin(path);
        for _ in 0..100 {
            if self.consul.parked() > before {
                // It has its seat; now it gets to its wait.
                tokio::task::yield_now().await;
                break;
            }
            tokio::task::yield_now().await;
        }
        parked.is_still_waiting().await;
        parked
    }
}

impl Parked {
    /// Nothing that has happened so far answers it.
    pub(crate) async fn is_still_waiting(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!self.0.is_finished(), "it was answered");
    }

    pub(crate) async fn told(self) -> Told {
        let told = tokio::time::timeout(FOR_EVER, self.0).await;
        told.expect("it ends").expect("it does not panic")
    }

    pub(crate) async fn vanish(self) {
        self.0.abort();
        assert!(self.0.await.is_err_and(|error| error.is_cancelled()));
    }
}

async fn told(consul: Arc<Consul>, request: Request<Body>, clock: Clock) -> Told {
    let began = clock.now();
    let response: Response = consul.answer(request).await;
    let took = clock.now().since(began);
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("it arrives");
    Told { status: parts.status.as_u16(), headers: parts.headers, body, took }
}

impl Told {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("it is text"))
    }

    pub(crate) fn index(&self) -> u64 {
        let index = self.header("X-Consul-Index").expect("it has an index");
        index.parse().expect("a number")
    }
}

/// What a list says under one key.
pub(crate) fn all(list: &Value, pointer: &str) -> Vec<String> {
    let list = list.as_array().expect("a list");
    let said = list.iter().map(|it| it.pointer(pointer).expect("it is said"));
    said.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
}
