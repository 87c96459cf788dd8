//! Consul's HTTP API: on a registry of Larder's own, or in front of Consul's agent.
//!
//! [`Consul`] answers everything below `/v1/`. On a registry of Larder's own, reads come from
//! [`local`](crate::local), keys from a store of their own, and what Consul has and Larder has not is refused
//! with a sentence. In front of an agent, reads go through the agent's cache, [`remote`](crate::remote), and
//! everything else is handed on as it is.

mod agent;
mod behind;
mod body;
mod catalog;
pub mod crowd;
mod event;
mod events;
mod key;
mod notify;
mod options;
mod path;
mod read;
mod refusal;
mod respond;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use larder_cache::{Clock, OutOfRange};
use larder_registry::Registry;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

pub use self::behind::{Behind, BehindError};
use self::crowd::Crowd;
use self::events::Events;
pub use self::notify::{CannotFollow, MAX_CORRELATION_ID, MAX_FOLLOWED, News, Notice};
pub use self::options::Options;
pub use self::path::is_consuls;
use self::refusal::Refusal;
use crate::filter::{Fields, Filter};
use crate::kv::Kv;
use crate::local::Local;
use crate::mapping::OwnNode;
use crate::params::{self, Asked};
use crate::question::Endpoint;
use crate::wire;

/// Where a request comes from. Whoever accepts connections puts it into the extensions of their requests;
/// without it, all clients count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Consul's API over a registry.
#[derive(Debug)]
pub struct Consul {
    registry: Arc<dyn Registry>,
    /// Consul's agents, if this server stands in front of some: then they answer.
    behind: Option<Behind>,
    local: Local,
    kv: Kv,
    own: Arc<OwnNode>,
    options: Options,
    /// Queries that wait.
    parked: Arc<Crowd>,
    /// Held once for each read that is followed, and here.
    followed: Arc<()>,
    /// Whoever changes a part of an instance reads it, and writes it whole: one after the other.
    turn: Semaphore,
    events: Mutex<Events>,
    /// Rises when an event is fired.
    fired: watch::Sender<u64>,
}

impl Consul {
    /// Serves `registry`; or, if this server stands in front of Consul's agents, what they answer. Must be called
    /// inside a tokio runtime; [`close`](Self::close) ends what it starts.
    pub fn new(
        registry: Arc<dyn Registry>,
        behind: Option<Behind>,
        options: Options,
        clock: Clock,
    ) -> Result<Arc<Self>, OutOfRange> {
        let own = Arc::new(options.node.clone());
        let start = clock.wall();
        Ok(Arc::new(Self {
            local: Local::new(registry.clone(), own.clone(), clock)?,
            registry,
            behind,
            kv: Kv::new(options.kv, start),
            own,
            parked: Crowd::new(options.parked),
            followed: Arc::new(()),
            turn: Semaphore::new(1),
            events: Mutex::new(Events::new(start)),
            fired: watch::Sender::new(start),
            options,
        }))
    }

    /// Answers a request below `/v1/`.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        if let Some(behind) = &self.behind {
            return self.in_front(behind, request).await;
        }
        match self.route(request).await {
            Ok(response) => response,
            Err(refusal) => {
                let mut response = refusal.into_response();
                self.about().tell(response.headers_mut());
                response
            }
        }
    }

    /// What is said with every answer, a refusal too.
    fn about(&self) -> respond::About {
        let contact = read::Contact::of_registry(self.out_of_reach());
        respond::About { contact, ..respond::About::NOTHING }
    }

    /// How many queries wait, and reads are followed.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// How many reads are followed.
    pub fn followed(&self) -> usize {
        Arc::strong_count(&self.followed) - 1
    }

    /// The key/value store. In front of agents, theirs answers, and this one stays empty.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// The way to Consul's agents, if there is one.
    pub fn behind(&self) -> Option<&Behind> {
        self.behind.as_ref()
    }

    /// Ends what runs in the background, and waits for its end.
    pub async fn close(&self) {
        self.local.close().await;
        if let Some(behind) = &self.behind {
            behind.close().await;
        }
    }

    async fn route(&self, request: Request) -> Result<Response, Refusal> {
        // A body cannot be looked at by two at once, so that nothing that waits may hold a whole request.
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let endpoint = Endpoint::from_path(path);
        let methods = path::methods(path, endpoint.as_ref()).ok_or_else(|| path::refuse(path))?;
        if parts.method == Method::OPTIONS {
            return Ok(respond::options(methods.allow()));
        }
        if !methods.allows(&parts.method) {
            return Err(Refusal::method(&parts.method, methods.allow()));
        }
        match endpoint {
            Some(Endpoint::Kv(key)) => self.key(key, parts, body).await,
            Some(endpoint) => self.read(endpoint, parts).await,
            // Apart, so that it takes no room in the thousands of reads that wait.
            None => Box::pin(self.other(&parts, body)).await,
        }
    }

    /// What is no read of the catalog, and no key.
    async fn other(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let rest = parts.uri.path().strip_prefix("/v1/").unwrap_or_default();
        match rest.split_once('/').unwrap_or((rest, "")) {
            ("catalog", "register") => self.register_outside(body).await,
            ("catalog", "deregister") => self.deregister_outside(body).await,
            ("agent", tail) => self.agent(tail, parts, body).await,
            ("event", tail) => self.event(tail, parts, body).await,
            ("status", tail) => self.status(tail),
            ("coordinate", tail) => self.coordinate(tail),
            _ => Err(path::unknown()),
        }
    }

    fn status(&self, tail: &str) -> Result<Response, Refusal> {
        let leader = format!("{}:8300", self.own.address);
        let body = match tail {
            "leader" => written(&leader)?,
            "peers" => written(&[leader])?,
            _ => return Err(path::unknown()),
        };
        Ok(respond::json(body, respond::About::NOTHING))
    }

    /// Larder does not measure where nodes are: nobody is anywhere.
    fn coordinate(&self, tail: &str) -> Result<Response, Refusal> {
        let body = match tail {
            "datacenters" => written(&serde_json::json!([{
                "Datacenter": self.own.datacenter, "AreaID": "wan", "Coordinates": [],
            }]))?,
            "nodes" => Bytes::from_static(b"[]"),
            tail if tail.starts_with("node/") => {
                return Err(Refusal::not_found("Larder keeps no coordinates of nodes"));
            }
            _ => return Err(path::unknown()),
        };
        let about = respond::About { index: Some(1), ..respond::About::NOTHING };
        Ok(respond::json(body, about))
    }

    /// The turn to change a part of an instance.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.turn.acquire().await.expect("nobody closes it")
    }

    /// A request's body.
    async fn receive(&self, body: Body) -> Result<Bytes, Refusal> {
        body::receive(body, self.options.max_body, self.options.body_time).await
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request says beside its path and body.
fn asked(parts: &Parts) -> Result<Asked, Refusal> {
    params::read(parts.uri.query(), &parts.headers).map_err(|bad| Refusal::invalid(bad.to_string()))
}

/// What the filter, if there is one, admits of all.
fn filtered<T: Fields>(all: Vec<T>, filter: Option<&str>) -> Result<Vec<T>, Refusal> {
    let Some(filter) = filter else { return Ok(all) };
    let filter =
        Filter::<T>::new(filter).map_err(|bad| Refusal::new(bad.status(), bad.to_string()))?;
    Ok(all.into_iter().filter(|one| filter.admits(one)).collect())
}

/// A value as compact JSON.
fn written(value: &impl Serialize) -> Result<Bytes, Refusal> {
    printed(value, false)
}

/// A value as JSON, indented if it is to be pretty.
fn printed(value: &impl Serialize, pretty: bool) -> Result<Bytes, Refusal> {
    // Texts and numbers can always be printed.
    wire::print(value, pretty)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
