//! The cache that a service keeps of "where is X?": go-micro's registry cache, as a
//! [`larder_cache::Cache`] over any [`Backend`].
//!
//! Each name that is asked for is read once and then followed by a watch, for as long as somebody asks. A
//! watch begins with a listing and goes on from its revision, so that nothing falls between the two; after
//! a break it is listed anew, and put in place at once. While the backend fails, what is known goes on being
//! served, with its age and the error beside it.
//!
//! What it differs in from go-micro's on purpose is in `docs/decisions/`.

mod difference;
mod events;
mod follower;
mod following;
mod names;
mod visible;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{
    Backoff, Cache, Clock, Error as CacheError, OutOfRange, Refresh, Reply, Request, Stats,
    Upstream,
};

use crate::backend::{Backend, BoxFuture, Error, OverrideChange, Phase, Report, Watch};
use crate::catalog::Service;
use crate::model::{CheckKey, Instance, Key, Name};

pub use events::ServiceEvents;
pub use following::Shared;

use following::Following;
use names::Names;
use visible::{holds, lacks};

/// How a [`RegistryCache`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many services are held, and followed, at a time. Beyond it the least asked for leave.
    ///
    /// Defaults to: 10,000. Range: 1 to 1,000,000.
    pub services: u32,
    /// For how long what was read is fresh while its watch does not stand. A watched service has no age.
    ///
    /// Defaults to: 1 min, as go-micro's. Range: any.
    pub ttl: Duration,
    /// For how long a service is served after that, while the backend fails.
    ///
    /// Defaults to: for ever: a registry that is down never empties the cache. Range: any; a
    /// [`Request`] may ask for less.
    pub stale_if_error: Duration,
    /// For how long it is remembered that there is no such service, if nobody follows it.
    ///
    /// Defaults to: 5 s. Range: any.
    pub absent_ttl: Duration,
    /// For how long after its last read a service is followed.
    ///
    /// Defaults to: 20 min. Range: from 1 ms.
    pub idle: Duration,
    /// How long the backend may take for an answer.
    ///
    /// Defaults to: 10 s. Range: from 1 ms.
    pub timeout: Duration,
    /// How long a service whose reads or watches fail is left alone. While the backend is out of reach
    /// one of all services is tried about once a second, however long it would rest, and when it comes
    /// through the others follow within another second.
    ///
    /// Defaults to: 800 ms, doubling to 30 s, up to a quarter less, as Kubernetes' reflectors.
    pub backoff: Backoff,
    /// The clock to live by. Without one, one is made.
    ///
    /// Defaults to: none. Whoever gives one must keep its tick moving.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: 10_000,
            ttl: Duration::from_secs(60),
            stale_if_error: Duration::MAX,
            absent_ttl: Duration::from_secs(5),
            idle: Duration::from_secs(20 * 60),
            timeout: Duration::from_secs(10),
            backoff: Backoff {
                free_failures: 0,
                base: Duration::from_millis(800),
                cap: Duration::from_secs(30),
            },
            clock: None,
        }
    }
}

/// Why a service cannot be told: a [`larder_cache::Error`] over the backend's.
pub type LookupError = CacheError<Error>;

/// A cache over a registry, and itself a [`Backend`]: reads are answered from memory, everything else goes
/// through.
///
/// ```
/// use std::sync::Arc;
/// use larder_cache::Clock;
/// use larder_registry::model::{Instance, Name};
/// use larder_registry::{Backend, Memory, RegistryCache, memory, registry_cache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Arc::new(Memory::start(memory::Options::default(), Clock::running()));
/// registry.register(Instance::new("orders", "orders-1")).await?;
///
/// let cache = RegistryCache::new(registry.clone(), registry_cache::Options::default())?;
/// let orders = cache.get(&Name::new("ORDERS")).await?;
/// assert_eq!(orders.len(), 1);
/// assert!(orders.error().is_none());
///
/// cache.stop().await;
/// registry.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RegistryCache {
    services: Cache<Following>,
    names: Cache<Names>,
    backend: Arc<dyn Backend>,
}

impl RegistryCache {
    /// A cache over `backend` that holds nothing yet. Its tasks run on the tokio runtime that this is
    /// called in; outside of one it panics.
    pub fn new(backend: Arc<dyn Backend>, options: Options) -> Result<Self, OutOfRange> {
        let following = Following { backend: backend.clone() };
        // One for both: what is known of the backend by its services is known of it by its names.
        let upstream = Upstream::new(options.clock.clone().unwrap_or_else(Clock::running));
        let services = Cache::watching(following, services_options(&options, upstream.clone()))?;
        let names =
            Cache::new(Names { backend: backend.clone() }, names_options(options, upstream))?;
        Ok(Self { services, names, backend })
    }

    /// The service of this name: all its instances, of all versions, as of one revision. The reply tells
    /// its age and, while the backend fails, the error.
    ///
    /// [`Absent`](larder_cache::Error::Absent) for one that is unknown or has no instance.
    pub async fn get(&self, name: &Name) -> Result<Reply<Shared>, LookupError> {
        self.services.get(name).await
    }

    /// As [`get`](Self::get), within the bounds of `request`.
    pub async fn get_with(
        &self,
        name: &Name,
        request: &Request,
    ) -> Result<Reply<Shared>, LookupError> {
        self.services.get_with(name, request).await
    }

    /// The service, if it is in memory and fresh. Never asks the backend.
    #[inline]
    pub fn peek(&self, name: &Name) -> Option<Reply<Shared>> {
        self.services.peek(name)
    }

    /// The names of all services that have an instance; a moment old at most, or, while the backend fails,
    /// as they were last.
    pub async fn list(&self) -> Result<Reply<Vec<Name>>, LookupError> {
        self.names.get(&()).await
    }

    /// The present state of a service, and every change from now on; of one that is unknown, that there is
    /// nothing, and whatever comes. While it is held the service is followed.
    ///
    /// Refused when there are too many, or the cache was stopped.
    pub fn subscribe(&self, name: &Name) -> Result<ServiceEvents, larder_cache::SubscribeError> {
        self.services.subscribe(name, &Request::DEFAULT).map(ServiceEvents::new)
    }

    /// Waits until it is known where a service is, or that there is none; at most for `patience`. What is
    /// known may be stale.
    pub async fn wait_until_ready(
        &self,
        name: &Name,
        patience: Duration,
    ) -> Result<(), LookupError> {
        let Ok(mut subscription) = self.services.subscribe(name, &Request::DEFAULT) else {
            return self.get(name).await.map(drop);
        };
        let ready = async {
            loop {
                let update = subscription.changed().await.ok_or(LookupError::Closed)?;
                let absent = matches!(update.error, Some(LookupError::Absent));
                if update.value.is_some() || absent {
                    return Ok(());
                }
            }
        };
        // Cancel-safe: what is dropped is a subscription.
        tokio::time::timeout(patience, ready).await.unwrap_or(Err(LookupError::Impatient(patience)))
    }

    /// What the cache has done and what it holds.
    pub fn stats(&self) -> Stats {
        self.services.stats()
    }

    /// Ends every watch and subscription, and returns when the last task has ended. The backend stays open.
    pub async fn stop(&self) {
        self.services.close().await;
        self.names.close().await;
    }
}

fn services_options(options: &Options, upstream: Upstream) -> larder_cache::Options {
    larder_cache::Options {
        capacity: u64::from(options.services),
        expected_entries: options.services as usize,
        ttl: options.ttl,
        stale_if_error: options.stale_if_error,
        absent_ttl: options.absent_ttl,
        fetch_timeout: options.timeout,
        backoff: options.backoff,
        // A watch of nothing that changes is silent. That its stream is dead, the backend notices.
        refresh: Refresh::Watch { idle_timeout: Duration::MAX },
        idle: options.idle,
        rate: None,
        limits: larder_cache::Limits {
            keepers: options.services,
            ..larder_cache::Limits::default()
        },
        clock: options.clock.clone(),
        upstream: Some(upstream),
        ..larder_cache::Options::default()
    }
}

/// For how long the list of names is fresh.
const NAMES_TTL: Duration = Duration::from_secs(1);

fn names_options(options: Options, upstream: Upstream) -> larder_cache::Options {
    larder_cache::Options {
        capacity: 1,
        expected_entries: 1,
        ttl: NAMES_TTL.min(options.ttl),
        stale_if_error: options.stale_if_error,
        fetch_timeout: options.timeout,
        backoff: options.backoff,
        idle: Duration::MAX,
        rate: None,
        clock: options.clock,
        upstream: Some(upstream),
        ..larder_cache::Options::default()
    }
}

/// What a backend would have answered.
fn error_of(error: LookupError, what: &dyn fmt::Display) -> Error {
    match error {
        LookupError::Absent => Error::NotFound(what.to_string()),
        LookupError::Closed => Error::Closed,
        LookupError::Source(error) => Error::clone(&error),
        other => Error::Unavailable { phase: Phase::Read, reason: other.to_string() },
    }
}

impl Backend for RegistryCache {
    fn kind(&self) -> &'static str {
        self.backend.kind()
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            let held = self.backend.register(instance).await?;
            self.until_it_shows(&held.service, |service| holds(service, &held)).await;
            Ok(held)
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.backend.renew(key, dirty_at)
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            let gone = self.backend.deregister(key).await?;
            self.until_it_shows(&key.service, |service| lacks(service, &key.id)).await;
            Ok(gone)
        })
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            let held = self.backend.set_override(key, change).await?;
            self.until_it_shows(&key.service, |service| holds(service, &held)).await;
            Ok(held)
        })
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            let held = self.backend.report(check, report).await?;
            // New output alone is not told.
            let status = held.effective_status();
            let shows = |service: Option<&Service>| {
                let shown = service.and_then(|service| service.get(&held.id));
                shown.is_some_and(|shown| shown.effective_status() == status)
            };
            self.until_it_shows(&check.instance.service, shows).await;
            Ok(held)
        })
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async move {
            let reply = self.get(name).await.map_err(|error| error_of(error, name))?;
            Ok(Arc::clone(&reply))
        })
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async {
            let reply =
                self.list().await.map_err(|error| error_of(error, &"the list of services"))?;
            Ok(reply.to_vec())
        })
    }

    /// Of one service, from the cache; of all of them, from the backend.
    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        let Some(name) = service else { return self.backend.watch(None) };
        let events = self
            .subscribe(&name)
            .map_err(|error| Error::Unavailable { phase: Phase::Watch, reason: error.to_string() });
        Box::pin(std::future::ready(events.map(|events| Box::new(events) as Box<dyn Watch>)))
    }

    /// Stops the cache, and closes the backend.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.stop().await;
            self.backend.close().await;
        })
    }
}

impl fmt::Debug for RegistryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
