//! Eureka's REST API, as its clients call it.
//!
//! | operation | method and path below any accepted prefix |
//! | --- | --- |
//! | register | `POST apps/{app}` |
//! | heartbeat | `PUT apps/{app}/{id}` |
//! | leave | `DELETE apps/{app}/{id}` |
//! | all applications | `GET apps` |
//! | what changed lately | `GET apps/delta` |
//! | one application | `GET apps/{app}` |
//! | one instance | `GET apps/{app}/{id}`, `GET instances/{id}` |
//! | set, lift a status override | `PUT`, `DELETE apps/{app}/{id}/status` |
//! | by virtual address | `GET vips/{vip}`, `GET svips/{vip}` |
//!
//! Lists come from the [`ResponseCache`]; single instances are read live. Where this server is
//! deliberately kinder than Netflix's is in `docs/eureka.md`.

mod apps;
mod instance;
mod negotiation;
pub mod path;
mod refusal;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use larder_cache::Clock;
use larder_registry::{Registry, View};

use crate::response_cache::{Entity, ResponseCache};
use crate::server::path::Route;
use crate::server::refusal::Refusal;

/// What the routes need.
#[derive(Debug)]
pub struct Eureka {
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
    clock: Clock,
}

impl Eureka {
    /// Serves `registry`, with `responses` as the cache of what was encoded from it.
    pub fn new(registry: Arc<dyn Registry>, responses: Arc<ResponseCache>, clock: Clock) -> Self {
        Self { registry, responses, clock }
    }

    fn view(&self) -> &dyn View {
        &*self.registry
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
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.method().clone(), route) {
        (_, Route::Apps) if reads => apps::list(eureka, Entity::Apps, version, headers).await,
        (_, Route::Delta) if reads => apps::list(eureka, Entity::Delta, version, headers).await,
        (_, Route::App(app)) if reads => {
            apps::list(eureka, Entity::app(&app), version, headers).await
        }
        (_, Route::Vip(vip)) if reads => {
            apps::list(eureka, Entity::Vip(vip), version, headers).await
        }
        (_, Route::SecureVip(vip)) if reads => {
            apps::list(eureka, Entity::SecureVip(vip), version, headers).await
        }
        (_, Route::Instance(app, id)) if reads => {
            instance::show(eureka, &app, &id, version, headers)
        }
        (_, Route::InstanceById(id)) if reads => {
            instance::show_by_id(eureka, &id, version, headers)
        }
        (Method::POST, Route::App(app)) => instance::register(eureka, &app, request).await,
        (Method::PUT, Route::Instance(app, id)) => {
            instance::heartbeat(eureka, &app, &id, request.uri()).await
        }
        (Method::DELETE, Route::Instance(app, id)) => instance::leave(eureka, &app, &id).await,
        (Method::PUT, Route::Status(app, id)) => {
            instance::set_status(eureka, &app, &id, request.uri()).await
        }
        (Method::DELETE, Route::Status(app, id)) => {
            instance::lift_status(eureka, &app, &id, request.uri()).await
        }
        (_, route) => Err(Refusal::Method(allowed(&route))),
    }
}

const fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Apps
        | Route::Delta
        | Route::InstanceById(_)
        | Route::Vip(_)
        | Route::SecureVip(_) => "GET, HEAD",
        Route::App(_) => "GET, HEAD, POST",
        Route::Instance(..) => "GET, HEAD, PUT, DELETE",
        Route::Status(..) => "PUT, DELETE",
    }
}
