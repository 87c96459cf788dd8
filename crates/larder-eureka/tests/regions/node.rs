//! A server of this crate's, with regions that it follows, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use larder_cache::{Backoff, Clock};
use larder_eureka::regions::{self, Region, Regions, WhiteList};
use larder_eureka::response_cache::{self, ResponseCache};
use larder_eureka::server::{self, Eureka};
use larder_eureka::wire::{Applications, json};
use larder_registry::model::{Instance, Key, Vips};
use larder_registry::{Memory, Registry, memory};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) responses: Arc<ResponseCache>,
    pub(crate) regions: Arc<Regions>,
    router: Router,
    serving: Option<JoinHandle<()>>,
}

/// A region of this name at this address.
pub(crate) fn region(name: &str, address: SocketAddr) -> Region {
    let millis = Duration::from_millis;
    let backoff = Backoff { free_failures: 0, base: millis(10), cap: millis(50) };
    let servers = larder_eureka::Options {
        servers: vec![address.to_string()],
        poll: millis(20),
        backoff,
        ..larder_eureka::Options::default()
    };
    Region { name: name.to_owned(), servers, white_list: WhiteList::ALL }
}

/// An address at which nobody listens yet.
pub(crate) async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    listener.local_addr().expect("it is bound")
}

pub(crate) fn instance(service: &str, id: &str) -> Instance {
    let vips = Vips { plain: Some("v".to_owned()), secure: None };
    Instance { vips, ..Instance::new(service, id) }
}

impl Node {
    pub(crate) async fn start(regions: Vec<Region>) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), regions, true).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        regions: Vec<Region>,
        fallback: bool,
    ) -> Self {
        let clock = Clock::running();
        let registry: Arc<dyn Registry> =
            Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        let regions = Regions::start(regions::Options { regions, fallback }, &clock);
        let regions = Arc::new(regions.expect("they have names"));
        let responses = ResponseCache::with_regions(
            &registry,
            Some(regions.clone()),
            response_cache::Options::default(),
            clock.clone(),
        );
        let responses = responses.expect("valid options");
        let eureka = Eureka::new(registry.clone(), responses.clone(), clock);
        let router = server::router(Arc::new(eureka));
        let mut node = Self { address, registry, responses, regions, router, serving: None };
        node.listen().await;
        node
    }

    /// Serves; at the address where it served before, if it did.
    pub(crate) async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        self.address = listener.local_addr().expect("it is bound");
        let serve = axum::serve(listener, self.router.clone());
        self.serving = Some(tokio::spawn(async move { serve.await.expect("it serves") }));
    }

    /// Is there no more for others.
    pub(crate) async fn vanish(&mut self) {
        let serving = self.serving.take().expect("it served");
        serving.abort();
        let _ = serving.await;
    }

    pub(crate) async fn add(&self, service: &str, id: &str) {
        self.registry.register(instance(service, id)).await.expect("there is room");
    }

    pub(crate) async fn remove(&self, service: &str, id: &str) {
        self.registry.deregister(&Key::new(service, id)).await.expect("it is there");
    }

    /// Asks it, without the way over a socket; returns the status and the body.
    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let mut request = Request::get(format!("/eureka/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a valid request");
        let response = self.router.clone().oneshot(request).await.expect("it always answers");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("the body is whole");
        (status, body.to_vec())
    }

    pub(crate) async fn list(&self, path: &str) -> Applications {
        let (status, body) = self.ask(path, &[("accept", "application/json")]).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        json::decode_applications(&body).expect("a list")
    }

    /// The ids in a list, in order.
    pub(crate) async fn ids(&self, path: &str) -> Vec<String> {
        let list = self.list(path).await;
        let mut ids: Vec<_> =
            list.apps.iter().flat_map(|app| &app.instances).map(|held| held.id.clone()).collect();
        ids.sort();
        ids
    }

    /// Waits until a list has these ids.
    pub(crate) async fn until(&self, path: &str, expected: &[&str]) {
        let mut last = Vec::new();
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                if self.ask(path, &[]).await.0 == 200 {
                    last = self.ids(path).await;
                    if last == expected {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let seen = seen.await;
        assert!(seen.is_ok(), "{path} never has {expected:?}, but {last:?}");
    }

    pub(crate) async fn stop(mut self) {
        self.regions.close().await;
        self.responses.close().await;
        self.registry.close().await;
        if self.serving.is_some() {
            self.vanish().await;
        }
    }
}
