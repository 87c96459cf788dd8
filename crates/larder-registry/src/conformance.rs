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

use crate::backend::{Backend, Error, OverrideChange, Report, Reporter, Watch};
use crate::event::Event;
use crate::model::{Check, CheckKey, Health, Instance, Key, Lease, Name, Probe, Status};

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

/// Runs every case about checks against a fresh, empty backend from `start`: for those that hold them.
///
/// # Panics
///
/// If the backend breaks the contract; the message says how.
pub async fn checks(start: impl AsyncFn() -> Arc<dyn Backend>) {
    a_reported_check_moves_the_status_of_its_instance(&*start().await).await;
    registering_again_keeps_what_a_check_said(&*start().await).await;
    a_check_that_nobody_reports_turns_critical(&*start().await).await;
    what_is_no_check_cannot_be_reported(&*start().await).await;
}

async fn a_reported_check_moves_the_status_of_its_instance(backend: &dyn Backend) {
    let probe = Probe::Tcp("10.0.0.1:80".to_owned());
    register(backend, checked("1", probe.clone())).await;
    for (health, status) in [
        (Health::Passing, Status::Up),
        (Health::Warning, Status::Up),
        (Health::Critical, Status::Down),
    ] {
        let from = Reporter::Prober(probe.clone());
        let held = backend.report(&check_of("1"), report(from, health)).await.expect("registered");
        assert_eq!(held.effective_status(), status, "{health}");
        let service = backend.service(&Name::new("orders")).await.expect("registered");
        let listed = service.instances().map(|held| held.effective_status());
        assert_eq!(listed.collect::<Vec<_>>(), [status], "{health}");
    }
    backend.close().await;
}

async fn registering_again_keeps_what_a_check_said(backend: &dyn Backend) {
    let ttl = || Probe::Ttl(Duration::from_secs(60));
    register(backend, checked("1", ttl())).await;
    let passing = report(Reporter::Registrant, Health::Passing);
    backend.report(&check_of("1"), passing).await.expect("registered");
    let mut moved = checked("1", ttl());
    moved.address.ip = Some("10.0.0.9".to_owned());
    let held = backend.register(moved).await.expect("registered");
    assert_eq!(held.effective_status(), Status::Up);
    let other = checked("1", Probe::Ttl(Duration::from_secs(30)));
    let held = backend.register(other).await.expect("registered");
    assert_eq!(held.effective_status(), Status::Down, "it is another check now");
    backend.close().await;
}

async fn a_check_that_nobody_reports_turns_critical(backend: &dyn Backend) {
    register(backend, checked("1", Probe::Ttl(Duration::from_secs(1)))).await;
    let passing = report(Reporter::Registrant, Health::Passing);
    backend.report(&check_of("1"), passing).await.expect("registered");
    let mut watch = backend.watch(None).await.expect("it can watch");
    let mut seen = Seen::default();
    seen.listing(&mut *watch).await;
    seen.change(&mut *watch).await;
    let key = Key::new("orders", "1");
    let held = seen.held.get(&key).expect("it stays");
    assert_eq!(held.effective_status(), Status::Down);
    backend.close().await;
}

async fn what_is_no_check_cannot_be_reported(backend: &dyn Backend) {
    let tcp = || Probe::Tcp("10.0.0.1:80".to_owned());
    register(backend, checked("1", tcp())).await;
    let passing = |from| report(from, Health::Passing);
    let answer = backend.report(&check_of("1"), passing(Reporter::Registrant)).await;
    assert!(matches!(answer, Err(Error::Probed(_))), "{answer:?}");
    let late = Reporter::Prober(Probe::Tcp("10.0.0.1:81".to_owned()));
    let no_check = CheckKey::new(Key::new("orders", "1"), "other");
    for (key, from) in [
        (check_of("1"), late),
        (check_of("2"), Reporter::Prober(tcp())),
        (no_check, Reporter::Prober(tcp())),
    ] {
        let answer = backend.report(&key, passing(from)).await;
        assert!(matches!(answer, Err(Error::NotFound(_))), "{key}: {answer:?}");
    }
    backend.close().await;
}

fn checked(id: &str, probe: Probe) -> Instance {
    Instance { checks: vec![Check::new("c", probe)], ..instance("orders", id, "10.0.0.1") }
}

fn check_of(id: &str) -> CheckKey {
    CheckKey::new(Key::new("orders", id), "c")
}

fn report(from: Reporter, health: Health) -> Report {
    Report { from, health, output: String::new() }
}

async fn a_registered_instance_is_found_whatever_the_case(backend: &dyn Backend) {
    register(backend, instance("Orders", "1", "10.0.0.1")).await;
    let service = backend.service(&Name::new("ORDERS")).await.expect("just registered");
    assert_eq!(service.name().as_str(), "Orders", "names are kept as written");
    let held = service.get("1").expect("just registered");
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(held.metadata.get("zone"), Some("a"));
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
        let is_amid_step = watch.is_amid_step();
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
        let is_same_step = is_amid_step && at == self.revision;
        assert!(at > self.revision || is_same_step, "revisions grow with every step");
        self.revision = at;
    }

    fn ids(&self) -> Vec<String> {
        self.held.keys().map(Key::to_string).collect()
    }
}
