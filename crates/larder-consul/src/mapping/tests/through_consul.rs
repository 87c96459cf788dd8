//! What Larder writes to a Consul is what it reads from there. The Consul in between is Larder's own face:
//! its decoders, its view; `tests/goldens` say that a real one prints the same.

use larder_registry::model::{
    Check, Health, Instance, Lease, Metadata, Name, Probe, Status, Weights,
};
use proptest::prelude::*;
use serde_json::Value;

use super::strategies::instance;
use super::{own, printed};
use crate::mapping::{
    Listed, Unfit, agent_registration, catalog_registration, check_id, lease_check_id,
    maintenance_check_id, read, read_all, register, register_in_catalog, service_id,
};
use crate::wire::{CheckServiceNode, definition};

fn through_agent(instance: &Instance) -> CheckServiceNode<'static> {
    let body = agent_registration(instance).expect("it has a form");
    let service = definition::service(&body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
    printed(&register(service, &own()))
}

fn through_catalog(instance: &Instance) -> CheckServiceNode<'static> {
    let body = catalog_registration(instance, &own()).expect("it has a form");
    let entry = definition::registration(&body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
    printed(&register_in_catalog(entry, &own()).expect("it has a service"))
}

fn leased() -> Instance {
    let mut instance = Instance::new("Orders", "1");
    instance.address.ip = Some("10.0.0.1".to_owned());
    instance.lease = Some(Lease::default());
    instance
}

fn status_of<'a>(
    entry: &'a mut CheckServiceNode<'static>,
    id: &str,
) -> &'a mut std::borrow::Cow<'static, str> {
    let check = entry.checks.iter_mut().find(|check| check.check_id == id);
    &mut check.expect("it is there").status
}

#[test]
fn what_consul_has_fields_for_stands_there() {
    let mut instance = leased();
    instance.tags = vec!["blue".to_owned()];
    instance.metadata = Metadata::from([("zone".to_owned(), "a".to_owned())]);
    instance.weights = Some(Weights { passing: 3, warning: 1 });
    let body: Value = serde_json::from_slice(&agent_registration(&instance).unwrap()).unwrap();
    assert_eq!(
        (&body["ID"], &body["Name"], &body["Address"]),
        (&"orders:1".into(), &"Orders".into(), &"10.0.0.1".into())
    );
    assert_eq!((&body["Tags"][0], &body["Meta"]["zone"]), (&"blue".into(), &"a".into()));
    assert_eq!(body["Weights"]["Passing"], 3);
    let lease = &body["Checks"][0];
    assert_eq!(
        (&lease["CheckID"], &lease["TTL"]),
        (&"larder-lease:orders:1".into(), &"1m30s".into())
    );
    assert_eq!(
        (&lease["Status"], &lease["DeregisterCriticalServiceAfter"]),
        (&"passing".into(), &"1m0s".into())
    );
}

#[test]
fn a_lease_that_ran_out_is_seen() {
    let mut entry = through_agent(&leased());
    assert!(!read(&entry).has_lapsed);
    *status_of(&mut entry, &lease_check_id("orders:1")) = "critical".into();
    let listed = read(&entry);
    assert!(listed.has_lapsed && listed.is_larders);
    assert_eq!(listed.instance.effective_status(), Status::Down);
    assert_eq!(listed.instance.checks, []);
}

#[test]
fn a_check_says_what_consul_says() {
    let mut instance = leased();
    let ttl = Probe::Ttl(std::time::Duration::from_secs(5));
    instance.checks = vec![Check { output: "before".to_owned(), ..Check::new("a:b", ttl) }];
    let mut entry = through_agent(&instance);
    assert_eq!(read(&entry).instance, instance);
    *status_of(&mut entry, &check_id("orders:1", "a:b")) = "passing".into();
    let read_back = read(&entry).instance;
    assert_eq!((read_back.checks[0].health, &*read_back.checks[0].output), (Health::Passing, ""));
    entry.checks.retain(|check| check.check_id != check_id("orders:1", "a:b"));
    assert_eq!(read(&entry).instance.checks, [], "it was taken out there");
}

#[test]
fn a_node_that_is_gone_takes_down_what_larder_wrote() {
    let mut entry = through_agent(&leased());
    assert_eq!(read(&entry).instance.effective_status(), Status::Up);
    *status_of(&mut entry, "serfHealth") = "critical".into();
    assert_eq!(read(&entry).instance.effective_status(), Status::Down);
}

#[test]
fn an_override_to_out_of_service_is_consuls_to_lift() {
    let mut instance = leased();
    instance.status = Status::OutOfService;
    instance.status_override = Some(Status::OutOfService);
    let mut entry = through_agent(&instance);
    assert_eq!(read(&entry).instance, instance);
    entry.checks.retain(|check| check.check_id != maintenance_check_id("orders:1"));
    let lifted = read(&entry).instance;
    assert_eq!((lifted.status, lifted.status_override), (Status::Up, None));
}

#[test]
fn what_is_too_much_is_refused() {
    let mut instance = leased();
    instance.metadata = (0..100).map(|n| (format!("k {n}"), "v".repeat(400))).collect();
    let refused = agent_registration(&instance).unwrap_err();
    assert!(matches!(refused, Unfit::TooLarge { bytes } if bytes > 32_768), "{refused}");
    assert!(larder_registry::Error::from(refused).to_string().contains("shorten its metadata"));
    let nameless = Instance { service: Name::new(""), ..leased() };
    assert_eq!(agent_registration(&nameless), Err(Unfit::NoName));
}

/// The same, however often it is written.
fn same(listed: &Listed, instance: &Instance) -> Result<(), TestCaseError> {
    prop_assert!(listed.is_larders && !listed.has_lapsed);
    prop_assert_eq!(&listed.service_id, &service_id(&instance.service, &instance.id));
    let held = &listed.instance;
    prop_assert_eq!(held, instance);
    prop_assert_eq!(held.service.as_str(), instance.service.as_str());
    Ok(())
}

/// With something of everything that Consul has no field for.
fn everything() -> Instance {
    let mut instance = leased();
    instance.address.secure_port =
        Some(larder_registry::model::Port { number: 8_443, enabled: true });
    instance.version = "1.2".to_owned();
    instance.tags = vec!["blue".to_owned(), "été".to_owned()];
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    instance.metadata = Metadata::from([
        pair("zone", "a"),
        pair("management.port", "8081"),
        pair("long", &"é".repeat(300)),
        pair("larder-0", "mine"),
    ]);
    instance.service_metadata = Metadata::from([pair("team", "orders")]);
    instance.weights = Some(Weights { passing: 3, warning: 2 });
    instance.vips.plain = Some("orders.example".to_owned());
    instance.status = Status::Starting;
    instance.dirty_at = 7;
    let tcp = Check::new("tcp", Probe::Tcp("127.0.0.1:1".to_owned()));
    let ttl = Probe::Ttl(std::time::Duration::from_secs(86_400));
    let ttl = Check { health: Health::Warning, ..Check::new("of:its own", ttl) };
    let other = Probe::Other {
        kind: "grpc".to_owned(),
        definition: larder_registry::model::Opaque::default(),
    };
    instance.checks =
        vec![tcp, ttl, Check { health: Health::Passing, ..Check::new("grpc", other) }];
    instance
}

fn taken_out() -> Instance {
    Instance {
        status: Status::OutOfService,
        status_override: Some(Status::OutOfService),
        ..Instance::new("Orders", "2")
    }
}

fn listed(golden: &str) -> Vec<Listed> {
    read_all(&serde_json::from_str::<Vec<CheckServiceNode<'_>>>(golden).expect("it is read"))
}

/// The bodies of [`agent_registration`] were sent to a real agent, and this is what it listed.
#[test]
fn a_real_agent_gives_back_what_it_was_told() {
    let all = listed(include_str!("../../../tests/goldens/larder_wrote_agent.json"));
    let [one, two] = &all[..] else { panic!("{all:?}") };
    same(one, &everything()).unwrap();
    same(two, &taken_out()).unwrap();
    assert_eq!(one.node, "probe-node");
}

#[test]
fn a_real_catalog_gives_back_what_it_was_told() {
    let all = listed(include_str!("../../../tests/goldens/larder_wrote_catalog.json"));
    let [one] = &all[..] else { panic!("{all:?}") };
    same(one, &everything()).unwrap();
    assert_eq!(one.node, "elsewhere");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_an_agent_is_told_is_read_back_without_loss(instance in instance()) {
        same(&read(&through_agent(&instance)), &instance)?;
    }

    #[test]
    fn what_the_catalog_is_told_is_read_back_without_loss(instance in instance()) {
        same(&read(&through_catalog(&instance)), &instance)?;
    }

    /// Within what a real Consul takes.
    #[test]
    fn meta_is_within_consuls_bounds(instance in instance()) {
        let body: Value = serde_json::from_slice(&agent_registration(&instance).unwrap()).unwrap();
        let meta = body["Meta"].as_object().unwrap();
        prop_assert!(meta.len() <= 64);
        for (key, value) in meta {
            prop_assert_eq!(definition::meta_fault(key, value.as_str().unwrap()), None);
        }
    }
}
