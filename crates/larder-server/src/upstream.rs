//! In front of another registry: opens it, and says with each answer how old what is read may be.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AGE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use larder_cache::Clock;
use larder_consul::server::{Behind, is_consuls};
use larder_etcd::Etcd;
use larder_eureka::EurekaClient;
use larder_mdns::Mdns;
use larder_registry::backend::Copied;
use larder_registry::registrar::self_preservation;
use larder_registry::{Backend, Guarded, Memory, Mirror, Registry, guard, memory};

use crate::api::{self, Refusal};
use crate::config::{self, Address, Config, Guard, Upstream};
use crate::{consul, groups};

/// Why the registry behind cannot be used. Not retried: correct `upstream.url`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its etcd cannot be.
    #[error(transparent)]
    Etcd(#[from] larder_etcd::OptionsError),
    /// Its Consul agents cannot be.
    #[error(transparent)]
    Consul(#[from] larder_consul::server::BehindError),
    /// Its Eureka servers cannot be.
    #[error(transparent)]
    Eureka(#[from] larder_eureka::OptionsError),
    /// Multicast DNS cannot be.
    #[error(transparent)]
    Mdns(#[from] larder_mdns::StartError),
}

/// The registry that is served, and the guard in front of the one behind.
pub(crate) struct Opened {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) guard: Option<Arc<Guarded>>,
    /// The way to Consul's agents, if they are what is behind.
    pub(crate) agents: Option<Behind>,
    /// What is to be woken when somebody other than Consul's clients asks.
    pub(crate) dormant: Option<Arc<Mirror>>,
}

/// The registry that is served: this server's own, or a mirror of the one behind. Nothing is asked yet: the
/// one behind need not be there.
pub(crate) fn open(config: &Config, clock: &Clock) -> Result<Opened, OpenError> {
    let (limits, clock) = (config.registry, clock.clone());
    let Some(address) = &config.upstream.url else {
        let registry = Arc::new(Memory::start(embedded(&limits), clock));
        return Ok(Opened { registry, guard: None, agents: None, dormant: None });
    };
    let (behind, agents) = behind(config, address, clock.clone())?;
    let options = guard::Options { mode: mode(config.upstream.guard), ..guard::Options::default() };
    let guard = Arc::new(Guarded::new(behind, options, clock.clone()));
    let mirror = Arc::new(Mirror::dormant(guard.clone(), limits.log_len, clock));
    // What answers Consul's clients follows what they ask for; the rest is followed once somebody else asks.
    let dormant = agents.is_some().then(|| mirror.clone());
    if dormant.is_none() {
        mirror.wake();
    }
    Ok(Opened { registry: mirror, guard: Some(guard), agents, dormant })
}

/// The registry behind; with it the way to it, if others go it as well.
fn behind(
    config: &Config,
    address: &Address,
    clock: Clock,
) -> Result<(Arc<dyn Backend>, Option<Behind>), OpenError> {
    let backend: Arc<dyn Backend> = match address {
        Address::Consul { servers } => {
            let agents = consul::behind(config, servers, &clock)?;
            let registry = agents.registry(&larder_consul::backend::Options::default(), &clock);
            return Ok((Arc::new(registry), Some(agents)));
        }
        Address::Etcd { endpoints, prefix } => {
            Arc::new(Etcd::connect(etcd_options(config, endpoints, prefix.as_ref()), clock)?)
        }
        Address::Eureka { servers, path } => {
            let options = eureka_options(config, servers, path.as_deref());
            Arc::new(EurekaClient::connect(options, clock)?)
        }
        Address::Mdns { interface, port } => {
            let defaults = larder_mdns::Options::default();
            let options = larder_mdns::Options {
                interface: *interface,
                port: port.unwrap_or(defaults.port),
                max_instances: config.registry.max_instances,
                ..defaults
            };
            Arc::new(Mdns::start(options, clock)?)
        }
    };
    Ok((backend, None))
}

/// This server's own registry.
fn embedded(config: &config::Registry) -> memory::Options {
    let preserving = self_preservation::Options {
        share: f64::from(config.self_preservation_percent) / 100.0,
        at_least: config.self_preservation_at_least,
    };
    memory::Options {
        max_instances: config.max_instances,
        log_len: config.log_len,
        lease_time: config.lease_time,
        self_preservation: config.self_preservation.then_some(preserving),
    }
}

fn etcd_options(
    config: &Config,
    endpoints: &[String],
    prefix: Option<&String>,
) -> larder_etcd::Options {
    let defaults = larder_etcd::Options::default();
    let credentials = credentials(&config.upstream)
        .map(|(user, password)| larder_etcd::Credentials { user, password });
    larder_etcd::Options {
        endpoints: endpoints.to_vec(),
        prefix: prefix.unwrap_or(&defaults.prefix).clone(),
        credentials,
        max_instances: config.registry.max_instances,
        ..defaults
    }
}

fn eureka_options(
    config: &Config,
    servers: &[String],
    path: Option<&str>,
) -> larder_eureka::Options {
    let at = |server: &String| format!("{server}{}", path.unwrap_or_default());
    let credentials = credentials(&config.upstream)
        .map(|(user, password)| larder_eureka::Credentials { user, password });
    larder_eureka::Options {
        servers: servers.iter().map(at).collect(),
        credentials,
        max_instances: config.registry.max_instances,
        ..larder_eureka::Options::default()
    }
}

fn mode(guard: Guard) -> guard::Mode {
    match guard {
        Guard::Off => guard::Mode::Off,
        Guard::Warn => guard::Mode::Warn,
        Guard::On => guard::Mode::On,
    }
}

/// `POST /larder/v1/upstream/confirm`: an operator says that what vanished is gone.
pub(crate) fn confirmation(guard: Option<Arc<Guarded>>) -> Router {
    Router::new()
        .route("/larder/v1/upstream/confirm", post(confirm))
        .method_not_allowed_fallback(api::not_that_method)
        .with_state(guard)
}

async fn confirm(State(guard): State<Option<Arc<Guarded>>>) -> Response {
    let Some(guard) = guard else {
        let says = "this server has a registry of its own: there is nothing to confirm";
        return Refusal::new(StatusCode::NOT_FOUND, says).into_response();
    };
    guard.confirm();
    StatusCode::NO_CONTENT.into_response()
}

/// The user and the password, if there is one.
fn credentials(upstream: &Upstream) -> Option<(String, String)> {
    let (user, password) = (upstream.user.clone(), upstream.password.0.clone());
    (!user.is_empty()).then_some((user, password))
}

/// How long the first who asks waits for what is behind to be read.
const FIRST_READING: Duration = Duration::from_secs(2);

/// What is read, and by whom it is told.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) registry: Arc<dyn Registry>,
    /// Consul's paths are answered by its agents, who say themselves how old an answer is.
    pub(crate) consul_answers: bool,
    /// What is to be woken.
    pub(crate) dormant: Option<Arc<Mirror>>,
}

/// Around every read: nobody is told that there is nothing before it was read once, and while the registry
/// behind is out of reach an answer says for how long, in its header `Age`.
pub(crate) async fn show_age(
    State(Read { registry, consul_answers, dormant }): State<Read>,
    request: Request,
    next: Next,
) -> Response {
    if !is_of_registry(request.uri(), consul_answers) {
        return next.run(request).await;
    }
    if let Some(mirror) = dormant
        && registry.copy() == Some(Copied::Nothing)
    {
        mirror.wake();
        mirror.wait_until_ready(FIRST_READING).await;
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match registry.copy().filter(|_| reads) {
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

/// The other paths speak of this server, or an agent of Consul answers them.
fn is_of_registry(uri: &Uri, consul_answers: bool) -> bool {
    let path = uri.path();
    let follows_reads = || {
        let query = uri.query().unwrap_or_default();
        path == "/larder/v1/watch" && query.split('&').any(|pair| pair.starts_with("query="))
    };
    let is_of_agent = consul_answers && (is_consuls(path) || follows_reads());
    let is_of_group = groups::surface(path).is_some();
    !is_of_agent && !is_of_group && !matches!(path, "/healthz" | "/metrics")
}
