//! What the tests share: backends on loopback, and short forms of what they say.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use larder_cache::Clock;
use larder_mdns::{Mdns, Options};
use larder_registry::model::{Instance, Name, Port};
use larder_registry::{Backend, Error, Event, Watch};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A network of its own: a port that no other test, and no other run, uses.
pub(crate) fn network() -> Options {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).expect("it is small") * 20;
    let port = 10_000 + own + NEXT.fetch_add(1, Ordering::Relaxed) % 20;
    Options {
        interface: Some(Ipv4Addr::LOCALHOST),
        port,
        query_timeout: Duration::from_millis(300),
        ..Options::default()
    }
}

pub(crate) fn start(options: &Options) -> Mdns {
    Mdns::start(options.clone(), Clock::running()).expect("loopback takes multicast")
}

/// An instance as go-micro would register it.
pub(crate) fn instance(service: &str, id: &str) -> Instance {
    let mut instance = Instance { version: "1".to_owned(), ..Instance::new(service, id) };
    instance.address.ip = Some("127.0.0.1".to_owned());
    instance.address.port = Some(Port { number: 8080, enabled: true });
    instance
}

pub(crate) async fn register(backend: &Mdns, instance: Instance) -> Arc<Instance> {
    backend.register(instance).await.expect("it has a form")
}

/// The ids of a service's instances; none if nobody has it.
pub(crate) async fn ids(backend: &Mdns, service: &str) -> Vec<String> {
    match backend.service(&Name::new(service)).await {
        Ok(service) => service.instances().map(|held| held.id.clone()).collect(),
        Err(Error::NotFound(_)) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn next(watch: &mut dyn Watch) -> Event {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time");
    event.expect("it is open").expect("the network is well")
}

/// Reads a listing; answers with its instances.
pub(crate) async fn listing(watch: &mut dyn Watch) -> Vec<String> {
    assert_eq!(next(watch).await, Event::Init);
    let mut listed = Vec::new();
    loop {
        match next(watch).await {
            Event::InitApply(instance) => listed.push(instance.key().to_string()),
            Event::InitDone { .. } => return listed,
            other => panic!("in a listing: {other:?}"),
        }
    }
}

/// An event in short: `+` or `-`, and the instance.
pub(crate) fn short(event: &Event) -> String {
    match event {
        Event::Apply { instance, .. } => format!("+{}", instance.key()),
        Event::Delete { instance, .. } => format!("-{}", instance.key()),
        other => format!("{other:?}"),
    }
}
