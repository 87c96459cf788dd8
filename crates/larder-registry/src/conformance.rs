//! The suite that every backend must pass: what callers may rely on, whatever is behind the trait.
//!
//! ```no_run
//! # async fn example() {
//! use std::sync::Arc;
//! use larder_cache::Clock;
//! use larder_registry::{Backend, Memory, conformance, memory};
//!
//! conformance::suite(async || {
//!     Arc::new(Memory::start(memory::Options::default(), Clock::running())) as Arc<dyn Backend>
//! })
//! .await;
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Error, OverrideChange, Watch};
use crate::event::Event;
use crate::model::{Instance, Key, Lease, Name, Status};

/// How long the suite waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every case against a fresh, empty backend from `start`.
///
/// # Panics
///
/// If the backend breaks the contract; the message says how.
pub async fn suite(start: impl AsyncFn() -> Arc<dyn Backend>) {
    a_registered_instance_is_found_whatever_the_case(&*start().await).await;
    registering_again_replaces_the_address(&*start().await).await;
    an_unknown_service_is_not_found(&*start().await).await;
    a_service_is_not_found_once_its_last_instance_left(&*start().await).await;
    what_is_not_registered_cannot_be_renewed_or_removed(&*start().await).await;
    a_registrant_that_changed_is_told_to_register_again(&*start().await).await;
    an_outdated_registration_changes_nothing(&*start().await).await;
    an_override_is_shown_until_it_is_lifted(&*start().await).await;
    services_are_listed_by_name(&*start().await).await;
    a_watch_tells_the_state_and_then_every_change(&*start().await).await;
    a_watch_of_one_service_hears_of_no_other(&*start().await).await;
    a_lease_that_runs_out_is_told_as_a_deletion(&*start().await).await;
    a_renewed_lease_does_not_run_out(&*start().await).await;
    a_closed_backend_ends_its_watches_and_refuses_work(&*start().await).await;
}

async fn a_registered_instance_is_found_whatever_the_case(backend: &dyn Backend) {
    register(backend, instance("Orders", "1", "10.0.0.1")).await;
    let service = backend.service(&Name::new("ORDERS")).await.expect("just registered");
    assert_eq!(service.name().as_str(), "Orders", "names are kept as written");
    let held = service.get("1").expect("just registered");
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(held.metadata.get("zone").map(String::as_str), Some("a"));
    backend.close().await;
}

async fn registering_again_replaces_the_address(backend: &dyn Backend) {
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    register(backend, instance("orders", "1", "10.0.0.2")).await;
    let service = backend.service(&Name::new("orders")).await.expect("just registered");
    let ips: Vec<_> = service.instances().map(|held| held.address.ip.clone()).collect();
    assert_eq!(ips, [Some("10.0.0.2".to_owned())]);
    backend.close().await;
}

async fn an_unknown_service_is_not_found(backend: &dyn Backend) {
    let answer = backend.service(&Name::new("nobody")).await;
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    backend.close().await;
}

async fn a_service_is_not_found_once_its_last_instance_left(backend: &dyn Backend) {
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    backend.deregister(&Key::new("orders", "1")).await.expect("just registered");
    let answer = backend.service(&Name::new("orders")).await;
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    backend.close().await;
}

async fn what_is_not_registered_cannot_be_renewed_or_removed(backend: &dyn Backend) {
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    let key = Key::new("orders", "2");
    let lift = OverrideChange { to: None, fallback: Status::Unknown, dirty_at: None };
    let answers = [
        backend.renew(&key, None).await,
        backend.deregister(&key).await,
        backend.set_override(&key, lift).await,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    }
    backend.close().await;
}

async fn a_registrant_that_changed_is_told_to_register_again(backend: &dyn Backend) {
    let key = Key::new("orders", "1");
    register(backend, Instance { dirty_at: 5, ..instance("orders", "1", "10.0.0.1") }).await;
    backend.renew(&key, Some(5)).await.expect("nothing changed");
    backend.renew(&key, Some(4)).await.expect("the registry knows better");
    let answer = backend.renew(&key, Some(6)).await;
    assert!(matches!(answer, Err(Error::Outdated(_))), "{answer:?}");
    backend.close().await;
}

async fn an_outdated_registration_changes_nothing(backend: &dyn Backend) {
    register(backend, Instance { dirty_at: 5, ..instance("orders", "1", "10.0.0.1") }).await;
    let late = Instance { dirty_at: 4, ..instance("orders", "1", "10.0.0.9") };
    let held = backend.register(late).await.expect("it is no error");
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    backend.close().await;
}

async fn an_override_is_shown_until_it_is_lifted(backend: &dyn Backend) {
    let key = Key::new("orders", "1");
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    let set = |to, fallback| OverrideChange { to, fallback, dirty_at: None };
    let out = set(Some(Status::OutOfService), Status::Unknown);
    backend.set_override(&key, out).await.expect("registered");
    let again = backend.register(instance("orders", "1", "10.0.0.1")).await.expect("registered");
    assert_eq!(again.status, Status::OutOfService, "registering again does not undo it");
    let lifted = backend.set_override(&key, set(None, Status::Down)).await.expect("registered");
    assert_eq!((lifted.status, lifted.status_override), (Status::Down, None));
    let again = backend.register(instance("orders", "1", "10.0.0.1")).await.expect("registered");
    assert_eq!(again.status, Status::Up);
    backend.close().await;
}

async fn services_are_listed_by_name(backend: &dyn Backend) {
    for service in ["web", "Api", "db"] {
        register(backend, instance(service, "1", "10.0.0.1")).await;
    }
    let names = backend.services().await.expect("it can list");
    let names: Vec<_> = names.iter().map(Name::as_str).collect();
    assert_eq!(names, ["Api", "db", "web"]);
    backend.close().await;
}

async fn a_watch_tells_the_state_and_then_every_change(backend: &dyn Backend) {
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    let mut watch = backend.watch(None).await.expect("it can watch");
    let mut seen = Seen::default();
    seen.listing(&mut *watch).await;
    assert_eq!(seen.ids(), ["orders/1"]);
    register(backend, instance("orders", "2", "10.0.0.2")).await;
    register(backend, instance("web", "1", "10.0.0.3")).await;
    backend.deregister(&Key::new("orders", "1")).await.expect("registered");
    for _ in 0..3 {
        seen.change(&mut *watch).await;
    }
    assert_eq!(seen.ids(), ["orders/2", "web/1"]);
    backend.close().await;
}

async fn a_watch_of_one_service_hears_of_no_other(backend: &dyn Backend) {
    let mut watch = backend.watch(Some(Name::new("ORDERS"))).await.expect("it can watch");
    let mut seen = Seen::default();
    seen.listing(&mut *watch).await;
    assert!(seen.ids().is_empty());
    register(backend, instance("web", "1", "10.0.0.3")).await;
    register(backend, instance("orders", "1", "10.0.0.1")).await;
    seen.change(&mut *watch).await;
    assert_eq!(seen.ids(), ["orders/1"]);
    backend.close().await;
}

async fn a_lease_that_runs_out_is_told_as_a_deletion(backend: &dyn Backend) {
    let mut watch = backend.watch(None).await.expect("it can watch");
    let mut seen = Seen::default();
    seen.listing(&mut *watch).await;
    register(backend, leased(instance("orders", "1", "10.0.0.1"), 1)).await;
    seen.change(&mut *watch).await;
    seen.change(&mut *watch).await;
    assert!(seen.ids().is_empty());
    let answer = backend.service(&Name::new("orders")).await;
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    backend.close().await;
}

async fn a_renewed_lease_does_not_run_out(backend: &dyn Backend) {
    let key = Key::new("orders", "1");
    register(backend, leased(instance("orders", "1", "10.0.0.1"), 2)).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        backend.renew(&key, None).await.expect("renewed four times in each lease");
    }
    backend.close().await;
}

async fn a_closed_backend_ends_its_watches_and_refuses_work(backend: &dyn Backend) {
    let mut watch = backend.watch(None).await.expect("it can watch");
    Seen::default().listing(&mut *watch).await;
    backend.close().await;
    assert!(next(&mut *watch).await.is_none(), "the watch ends");
    let answer = backend.register(instance("orders", "1", "10.0.0.1")).await;
    assert!(matches!(answer, Err(Error::Closed)), "{answer:?}");
    assert!(matches!(backend.services().await, Err(Error::Closed)));
    assert!(matches!(backend.watch(None).await, Err(Error::Closed)));
}

fn instance(service: &str, id: &str, ip: &str) -> Instance {
    let mut instance = Instance::new(service, id);
    instance.address.ip = Some(ip.to_owned());
    instance.metadata.insert("zone".to_owned(), "a".to_owned());
    instance
}

fn leased(instance: Instance, duration_secs: u32) -> Instance {
    Instance { lease: Some(Lease { duration_secs, ..Lease::default() }), ..instance }
}

async fn register(backend: &dyn Backend, instance: Instance) {
    backend.register(instance).await.expect("a valid instance is accepted");
}

async fn next(watch: &mut dyn Watch) -> Option<Event> {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time");
    event.map(|event| event.expect("the backend is well"))
}

/// What a consumer of a watch holds, built as the events say.
#[derive(Debug, Default)]
struct Seen {
    held: BTreeMap<Key, Arc<Instance>>,
    revision: u64,
}

impl Seen {
    async fn listing(&mut self, watch: &mut dyn Watch) {
        assert_eq!(next(watch).await, Some(Event::Init));
        let mut aside = BTreeMap::new();
        loop {
            match next(watch).await {
                Some(Event::InitApply(instance)) => aside.insert(instance.key(), instance),
                Some(Event::InitDone { revision }) => {
                    (self.held, self.revision) = (aside, revision);
                    return;
                }
                other => panic!("in a listing: {other:?}"),
            };
        }
    }

    async fn change(&mut self, watch: &mut dyn Watch) {
        let at = match next(watch).await {
            Some(Event::Apply { revision, instance }) => {
                self.held.insert(instance.key(), instance);
                revision
            }
            Some(Event::Delete { revision, instance }) => {
                self.held.remove(&instance.key()).expect("only what was there is deleted");
                revision
            }
            other => panic!("after the listing: {other:?}"),
        };
        assert!(at > self.revision, "revisions grow");
        self.revision = at;
    }

    fn ids(&self) -> Vec<String> {
        self.held.keys().map(Key::to_string).collect()
    }
}
