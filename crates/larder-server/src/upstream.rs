//! In front of another registry: opens it, and says with each answer how old what is read may be.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AGE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use larder_cache::Clock;
use larder_etcd::{Credentials, Etcd, OptionsError};
use larder_registry::backend::Copied;
use larder_registry::{Memory, Mirror, Registry, memory};

use crate::api::Refusal;
use crate::config::{Address, Config, Upstream};

/// The registry that is served: this server's own, or a mirror of the one behind. Nothing is asked yet: the
/// one behind need not be there.
pub(crate) fn open(config: &Config, clock: &Clock) -> Result<Arc<dyn Registry>, OptionsError> {
    let (limits, clock) = (config.registry, clock.clone());
    let Some(address) = &config.upstream.url else {
        let options =
            memory::Options { max_instances: limits.max_instances, log_len: limits.log_len };
        return Ok(Arc::new(Memory::start(options, clock)));
    };
    let Address::Etcd { endpoints, prefix } = address;
    let mut options = larder_etcd::Options {
        endpoints: endpoints.clone(),
        credentials: credentials(&config.upstream),
        max_instances: limits.max_instances,
        ..larder_etcd::Options::default()
    };
    if let Some(prefix) = prefix {
        options.prefix.clone_from(prefix);
    }
    let etcd = Arc::new(Etcd::connect(options, clock.clone())?);
    Ok(Arc::new(Mirror::start(etcd, limits.log_len, clock)))
}

fn credentials(upstream: &Upstream) -> Option<Credentials> {
    let (user, password) = (upstream.user.clone(), upstream.password.0.clone());
    (!user.is_empty()).then_some(Credentials { user, password })
}

/// Around every read: nobody is told that there is nothing before it was read once, and while the registry
/// behind is out of reach an answer says for how long, in its header `Age`.
pub(crate) async fn show_age(
    State(registry): State<Arc<dyn Registry>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match registry.copy().filter(|_| reads && is_of_registry(request.uri().path())) {
        None | Some(Copied::Connected) => next.run(request).await,
        Some(Copied::Nothing) => {
            let says = "the registry behind this server (upstream.url) has not been reached yet: try \
                        again";
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, says);
            ([(RETRY_AFTER, HeaderValue::from_static("1"))], refusal).into_response()
        }
        Some(Copied::Stale(age)) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
            response
        }
    }
}

/// The other paths speak of this server.
fn is_of_registry(path: &str) -> bool {
    !matches!(path, "/healthz" | "/metrics")
}
