//! Eureka's REST API, as its clients call it.
//!
//! | operation | method and path below any accepted prefix |
//! | --- | --- |
//! | register | `POST apps/{app}` |
//! | heartbeat | `PUT apps/{app}/{id}` |
//! | leave | `DELETE apps/{app}/{id}` |
//! | all applications | `GET apps`, `GET apps?regions=a,b` |
//! | what changed lately | `GET apps/delta`, `GET apps/delta?regions=a,b` |
//! | one application | `GET apps/{app}` |
//! | one instance | `GET apps/{app}/{id}`, `GET instances/{id}` |
//! | set, lift a status override | `PUT`, `DELETE apps/{app}/{id}/status` |
//! | by virtual address | `GET vips/{vip}`, `GET svips/{vip}` |
//! | add metadata | `PUT apps/{app}/{id}/metadata` |
//! | what a peer's clients did | `POST peerreplication/batch` |
//! | this server | `GET status`, `GET /serverinfo/statusoverrides` |
//!
//! Lists come from the [`ResponseCache`]; single instances are read live. Where this server is
//! deliberately kinder than Netflix's is in `docs/eureka.md`.

mod apps;
mod body;
mod instance;
mod negotiation;
pub mod operations;
pub mod path;
mod rate_limit;
mod refusal;
mod replication;
mod status;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use larder_cache::{Clock, Time};
use larder_registry::model::Instance;
use larder_registry::{Registry, View};

use crate::replicate::news::News;
use crate::replicate::{Gate, Peers};
use crate::response_cache::{Entity, ResponseCache};
use crate::server::operations::Operations;
use crate::server::path::Route;
use crate::server::rate_limit::RateLimiter;
use crate::server::refusal::Refusal;
use crate::wire::replication::Action;

pub use rate_limit::RateLimits;

/// Who asks, as Java's clients and servers say.
const IDENTITY: HeaderName = HeaderName::from_static("discoveryidentity-name");

/// What the routes need.
#[derive(Debug)]
pub struct Eureka {
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
    clock: Clock,
    started: Time,
    own: Instance,
    limiter: Option<Mutex<RateLimiter>>,
    peers: Option<Arc<Peers>>,
    gate: Option<Arc<Gate>>,
    operations: Arc<Operations>,
}

/// Who asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An instance, or an operator.
    Client,
    /// Another server, about one of its clients.
    Peer,
}

impl Eureka {
    /// Serves `registry`, with `responses` as the cache of what was encoded from it.
    pub fn new(registry: Arc<dyn Registry>, responses: Arc<ResponseCache>, clock: Clock) -> Self {
        let started = clock.now();
        let own = Instance { is_coordinator: true, ..Instance::new("LARDER", "larder") };
        let operations = Arc::default();
        Self {
            registry,
            responses,
            clock,
            started,
            own,
            limiter: None,
            peers: None,
            gate: None,
            operations,
        }
    }

    /// Tells these of everything that a client does.
    #[must_use]
    pub fn with_peers(mut self, peers: Arc<Peers>) -> Self {
        self.peers = Some(peers);
        self
    }

    /// Lets lists be read only while this is open: else they are answered 403, without a body, as Netflix's
    /// server does, whose clients keep what they have read before.
    #[must_use]
    pub fn behind(mut self, gate: Arc<Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// How often each operation was done so far, for clients and for peers.
    pub fn operations(&self) -> Arc<Operations> {
        self.operations.clone()
    }

    /// The server's own entry, as its status page shows it.
    #[must_use]
    pub fn described_by(mut self, own: Instance) -> Self {
        self.own = Instance { is_coordinator: true, ..own };
        self
    }

    /// Refuses reads of lists beyond these limits, with 503.
    #[must_use]
    pub fn limited_to(mut self, limits: RateLimits) -> Self {
        self.limiter = Some(Mutex::new(RateLimiter::new(limits, self.clock.now())));
        self
    }

    fn admits(&self, route: &Route, headers: &HeaderMap) -> bool {
        let Some(limiter) = &self.limiter else { return true };
        let client = headers.get(IDENTITY).and_then(|name| name.to_str().ok());
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.admits(route, client, self.clock.now())
    }

    fn view(&self) -> &dyn View {
        &*self.registry
    }

    /// Counts what was done, and tells the peers of it if a client brought it.
    fn done(&self, action: Action, origin: Origin, news: impl FnOnce() -> News) {
        self.operations.count(action, origin);
        if origin == Origin::Client
            && let Some(peers) = &self.peers
        {
            peers.tell(&news());
        }
    }

    fn is_open(&self) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.is_open(self.clock.now()))
    }
}

/// The routes, as a service that takes every path which nobody else wants: what is not Eureka's is
/// answered 404. Put limits on bodies and time around it.
pub fn router(eureka: Arc<Eureka>) -> Router {
    Router::new().fallback(serve).with_state(eureka)
}

async fn serve(State(eureka): State<Arc<Eureka>>, request: Request) -> Response {
    route(&eureka, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn route(eureka: &Eureka, request: Request) -> Result<Response, Refusal> {
    let (version, route) = path::parse(request.uri().path())?;
    let (uri, headers) = (request.uri(), request.headers());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && !eureka.admits(&route, headers) {
        return Err(Refusal::TooMany);
    }
    match (request.method().clone(), route) {
        (_, Route::Apps) if reads => apps::all(eureka, Entity::Apps, version, uri, headers).await,
        (_, Route::Delta) if reads => apps::all(eureka, Entity::Delta, version, uri, headers).await,
        (_, Route::App(app)) if reads => {
            apps::some(eureka, Entity::app(&app), version, headers).await
        }
        (_, Route::Vip(vip)) if reads => {
            apps::some(eureka, Entity::Vip(vip), version, headers).await
        }
        (_, Route::SecureVip(vip)) if reads => {
            apps::some(eureka, Entity::SecureVip(vip), version, headers).await
        }
        (_, Route::Instance(app, id)) if reads => {
            instance::show(eureka, &app, &id, version, headers)
        }
        (_, Route::InstanceById(id)) if reads => {
            instance::show_by_id(eureka, &id, version, headers)
        }
        (_, Route::Server) if reads => Ok(status::page(eureka, version, headers)),
        (_, Route::Overrides) if reads => Ok(status::overrides(eureka)),
        (Method::POST, Route::App(app)) => instance::register(eureka, &app, request).await,
        (Method::PUT, Route::Instance(app, id)) => {
            instance::heartbeat(eureka, &app, &id, request.uri(), headers).await
        }
        (Method::DELETE, Route::Instance(app, id)) => {
            instance::leave(eureka, &app, &id, headers).await
        }
        (Method::PUT, Route::Status(app, id)) => {
            instance::set_status(eureka, &app, &id, request.uri(), headers).await
        }
        (Method::DELETE, Route::Status(app, id)) => {
            instance::lift_status(eureka, &app, &id, request.uri(), headers).await
        }
        (Method::PUT, Route::Metadata(app, id)) => {
            instance::add_metadata(eureka, &app, &id, request.uri(), headers).await
        }
        (Method::POST, Route::Batch) => {
            replication::batch(eureka, body::whole(request).await?).await
        }
        (Method::PUT, Route::AutoScalingGroup) => Err(Refusal::Invalid(
            "this server is not in AWS: it knows no auto-scaling groups".to_owned(),
        )),
        (_, route) => Err(Refusal::Method(allowed(&route))),
    }
}

const fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Apps
        | Route::Delta
        | Route::Server
        | Route::Overrides
        | Route::InstanceById(_)
        | Route::Vip(_)
        | Route::SecureVip(_) => "GET, HEAD",
        Route::App(_) => "GET, HEAD, POST",
        Route::Instance(..) => "GET, HEAD, PUT, DELETE",
        Route::Status(..) => "PUT, DELETE",
        Route::Metadata(..) | Route::AutoScalingGroup => "PUT",
        Route::Batch => "POST",
    }
}
