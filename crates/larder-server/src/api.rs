//! Larder's own API, below `/larder/v1/`: what the command line speaks, and scripts.
//!
//! | method and path | does |
//! | --- | --- |
//! | `GET services` | lists services, with how many instances are in which status |
//! | `GET services/{service}` | lists the instances of one |
//! | `PUT services/{service}/instances/{id}` | registers an instance |
//! | `POST services/{service}/instances/{id}/renew` | renews its lease |
//! | `DELETE services/{service}/instances/{id}` | deregisters it |
//! | `PUT services/{service}/instances/{id}/checks/{check}` | reports how one of its checks is |
//! | `GET groups` | shows the ring of peer groups, and what each has done |
//! | `GET watch?service={service}` | streams the present state and every change, as server-sent events |
//! | `GET watch?query={id}={read}` | the same of reads of Consul's API, many of them over one connection |
//!
//! Everything is JSON; a refusal is `{"error": "…"}`. Described for users in `docs/api.md`.

mod checks;
mod document;
mod follow;
mod instances;
mod refusal;
mod services;
mod validation;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use larder_cache::Clock;
use larder_consul::server::Consul;
use larder_registry::Registry;

use crate::shutdown::Stopping;

pub use document::{
    Check, CheckRegistration, CheckReport, Instance, InstanceChange, Lease, ListingEnd, Refused,
    Registration, Service, ServiceSummary, Services,
};

pub(crate) use refusal::{Refusal, not_that_method};

#[derive(Debug, Clone)]
struct Api {
    registry: Arc<dyn Registry>,
    consul: Arc<Consul>,
    clock: Clock,
    stopping: Stopping,
}

pub(crate) fn router(
    registry: Arc<dyn Registry>,
    consul: Arc<Consul>,
    clock: Clock,
    stopping: Stopping,
) -> Router {
    Router::new()
        .route("/larder/v1/services", get(services::list))
        .route("/larder/v1/services/{service}", get(services::show))
        .route(
            "/larder/v1/services/{service}/instances/{id}",
            put(instances::register).delete(instances::deregister),
        )
        .route("/larder/v1/services/{service}/instances/{id}/renew", post(instances::renew))
        .route("/larder/v1/services/{service}/instances/{id}/checks/{check}", put(checks::report))
        .route("/larder/v1/watch", get(follow::stream))
        .route("/larder", axum::routing::any(refusal::nothing_here))
        .route("/larder/{*rest}", axum::routing::any(refusal::nothing_here))
        .method_not_allowed_fallback(not_that_method)
        .with_state(Api { registry, consul, clock, stopping })
}
