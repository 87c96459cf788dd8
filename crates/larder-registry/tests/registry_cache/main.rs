//! The registry cache and the mirror, over a registry whose line goes bad: what go-micro's cache promises,
//! what it gets wrong, and what outages must not do.

#![allow(clippy::unwrap_used, reason = "what tests share is tests, too")]

mod contract;
mod defects;
mod faulty;
mod mirror;
mod model;
mod outage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Backoff;
use larder_registry::catalog::Service;
use larder_registry::model::{Instance, Key, Lease, Name};
use larder_registry::registry_cache::{Options, ServiceEvents};
use larder_registry::{Backend, Event, RegistryCache, Watch};

use faulty::Faulty;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn name(name: &str) -> Name {
    Name::new(name)
}

fn key(service: &str, id: &str) -> Key {
    Instance::new(service, id).key()
}

/// An instance of `orders`.
fn instance(id: &str) -> Instance {
    Instance::new("orders", id)
}

fn on_host(id: &str, host: &str) -> Instance {
    let mut instance = instance(id);
    instance.address.host = Some(host.to_owned());
    instance
}

fn leased(id: &str, secs: u32) -> Instance {
    let lease = Lease { duration_secs: secs, ..Lease::default() };
    Instance { lease: Some(lease), ..instance(id) }
}

fn ids(service: &Service) -> Vec<&str> {
    service.instances().map(|instance| instance.id.as_str()).collect()
}

fn cache_with(registry: &Arc<Faulty>, options: Options) -> RegistryCache {
    RegistryCache::new(registry.clone(), options).unwrap()
}

fn cache_over(registry: &Arc<Faulty>) -> RegistryCache {
    cache_with(registry, Options::default())
}

/// A registry with these instances of `orders`.
async fn registry_of(ids: &[&str]) -> Arc<Faulty> {
    let registry = Faulty::start();
    for id in ids {
        registry.memory().register(instance(id)).await.unwrap();
    }
    registry
}

/// Time stands still but for this: every task that can run has run when it is over.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The longest that the default back-off waits, and a bit.
const RECOVERED: Duration = Duration::from_millis(30_100);

fn no_backoff() -> Backoff {
    let tick = Duration::from_millis(1);
    Backoff { free_failures: 0, base: tick, cap: tick }
}

async fn next(events: &mut ServiceEvents) -> String {
    match tokio::time::timeout(2 * MINUTE, events.next()).await {
        Ok(Some(Ok(event))) => told(&event),
        Ok(Some(Err(error))) => format!("error: {error}"),
        Ok(None) => "end".to_owned(),
        Err(_) => "nothing".to_owned(),
    }
}

fn told(event: &Event) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(instance) => format!("={}", instance.id),
        Event::InitDone { .. } => "done".to_owned(),
        Event::Apply { instance, .. } => format!("+{}", instance.id),
        Event::Delete { instance, .. } => format!("-{}", instance.id),
        Event::Resumed => "resumed".to_owned(),
    }
}

/// The next `n` events.
async fn take(events: &mut ServiceEvents, n: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < n {
        taken.push(next(events).await);
    }
    taken
}

/// What events make of nothing: hosts by id.
#[derive(Debug, Default)]
struct Fold {
    state: BTreeMap<String, Option<String>>,
    aside: Option<BTreeMap<String, Option<String>>>,
}

impl Fold {
    fn take(&mut self, event: Event) {
        match event {
            Event::Init => self.aside = Some(BTreeMap::new()),
            Event::InitApply(instance) => {
                let aside = self.aside.as_mut().expect("a listing has begun");
                aside.insert(instance.id.clone(), instance.address.host.clone());
            }
            Event::InitDone { .. } => {
                self.state = self.aside.take().expect("a listing has begun");
            }
            Event::Apply { instance, .. } => {
                assert!(self.aside.is_none(), "a change within a listing");
                self.state.insert(instance.id.clone(), instance.address.host.clone());
            }
            Event::Delete { instance, .. } => {
                assert!(self.aside.is_none(), "a change within a listing");
                assert!(self.state.remove(&instance.id).is_some(), "{} was not there", instance.id);
            }
            Event::Resumed => {}
        }
    }
}

fn hosts(service: &Service) -> BTreeMap<String, Option<String>> {
    let hosts = service.instances().map(|held| (held.id.clone(), held.address.host.clone()));
    hosts.collect()
}
