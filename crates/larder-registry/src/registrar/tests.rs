mod checks;

use super::*;
use crate::model::{Lease, Status};

fn registrar() -> Registrar {
    Registrar::new(Catalog::new(0, 100), 3)
}

const fn at(secs: u64) -> Moment {
    Moment { now: Time::from_millis(secs * 1_000), wall: 1_000_000 + secs * 1_000 }
}

fn leased(id: &str) -> Instance {
    Instance { lease: Some(Lease::default()), ..Instance::new("web", id) }
}

fn register(registrar: &mut Registrar, instance: Instance) -> Outcome {
    registrar.register(instance, at(0)).expect("there is room")
}

fn set(to: Status) -> OverrideChange {
    OverrideChange { to: Some(to), fallback: Status::Unknown, dirty_at: None }
}

fn lift(fallback: Status) -> OverrideChange {
    OverrideChange { to: None, fallback, dirty_at: None }
}

#[test]
fn registering_fills_in_the_times_of_the_lease() {
    let mut registrar = registrar();
    let held = register(&mut registrar, leased("1")).instance;
    let lease = held.lease.expect("it asked for one");
    assert_eq!(
        (lease.registered_at, lease.renewed_at, lease.up_since),
        (1_000_000, 1_000_000, 1_000_000)
    );
    assert_eq!((held.updated_at, held.action), (1_000_000, Some(Action::Added)));
}

#[test]
fn the_time_of_the_first_up_survives_a_new_registration() {
    let mut registrar = registrar();
    register(&mut registrar, leased("1"));
    let again = Instance { dirty_at: 1, ..leased("1") };
    let held = registrar.register(again, at(5)).expect("there is room").instance;
    let lease = held.lease.expect("it asked for one");
    assert_eq!((lease.registered_at, lease.up_since), (1_005_000, 1_000_000));
}

#[test]
fn repeating_a_registration_renews_the_lease_and_changes_nothing() {
    let mut registrar = registrar();
    register(&mut registrar, leased("1"));
    let again = registrar.register(leased("1"), at(80)).expect("there is room");
    assert!(again.change.is_none(), "{again:?}");
    assert!(registrar.expire(at(169), 10).is_empty());
    assert_eq!(registrar.expire(at(170), 10).len(), 1);
}

#[test]
fn an_instance_beyond_the_limit_is_refused_and_a_known_one_is_not() {
    let mut registrar = registrar();
    for id in ["1", "2", "3"] {
        register(&mut registrar, leased(id));
    }
    let refused = registrar.register(leased("4"), at(0));
    assert!(matches!(refused, Err(Error::Full { limit: 3 })), "{refused:?}");
    register(&mut registrar, Instance { dirty_at: 7, ..leased("3") });
    assert_eq!(registrar.catalog().len(), 3);
}

#[test]
fn leases_run_out_longest_overdue_first_and_no_more_than_asked() {
    let mut registrar = registrar();
    for (id, secs) in [("1", 30), ("2", 10), ("3", 20)] {
        let lease = Some(Lease { duration_secs: secs, ..Lease::default() });
        register(&mut registrar, Instance { lease, ..Instance::new("web", id) });
    }
    let ids = |expired: Vec<Expired>| {
        expired.into_iter().map(|expired| expired.change.instance.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(registrar.expire(at(60), 2)), ["2", "3"]);
    assert_eq!(ids(registrar.expire(at(60), 2)), ["1"]);
}

#[test]
fn an_instance_without_a_lease_stays() {
    let mut registrar = registrar();
    register(&mut registrar, leased("1"));
    register(&mut registrar, Instance { dirty_at: 1, ..Instance::new("web", "1") });
    assert!(registrar.expire(Moment { now: Time::MAX, wall: 0 }, 10).is_empty());
    assert_eq!(registrar.catalog().len(), 1);
}

#[test]
fn a_renewal_shows_in_the_live_instance_and_in_no_snapshot() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    let revision = registrar.catalog().snapshot().revision();
    registrar.renew(&key, None, at(20)).expect("it is registered");
    let renewed = |instance: &Instance| instance.lease.map(|lease| lease.renewed_at);
    let live = registrar.instance(&key).expect("it is registered");
    assert_eq!(renewed(&live), Some(1_020_000));
    assert_eq!(renewed(registrar.catalog().get(&key).expect("it is registered")), Some(1_000_000));
    assert_eq!(registrar.catalog().snapshot().revision(), revision);
}

#[test]
fn a_registration_that_does_not_say_when_it_changed_is_believed() {
    let mut registrar = registrar();
    register(&mut registrar, Instance { dirty_at: 5, ..leased("1") });
    let mut moved = leased("1");
    moved.address.ip = Some("10.0.0.9".to_owned());
    let held = register(&mut registrar, moved).instance;
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.9"));
}

#[test]
fn a_registrant_that_changed_keeps_its_lease_while_it_is_told_so() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, Instance { dirty_at: 5, ..leased("1") });
    let answer = registrar.renew(&key, Some(6), at(80));
    assert!(matches!(answer, Err(Error::Outdated(_))), "{answer:?}");
    assert!(registrar.expire(at(169), 10).is_empty());
}

/// Eureka's `testStatusOverrideSetAndRemoval`.
#[test]
fn an_override_outlives_a_newer_registration_until_it_is_lifted() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    registrar.set_override(&key, set(Status::OutOfService), at(1)).expect("it is registered");
    let again = register(&mut registrar, Instance { dirty_at: 9, ..leased("1") }).instance;
    assert_eq!(
        (again.status, again.status_override),
        (Status::OutOfService, Some(Status::OutOfService))
    );
    let lifted = registrar.set_override(&key, lift(Status::Down), at(2)).expect("it is registered");
    assert_eq!((lifted.instance.status, lifted.instance.status_override), (Status::Down, None));
    let again = register(&mut registrar, Instance { dirty_at: 10, ..leased("1") }).instance;
    assert_eq!(again.status, Status::Up);
}

/// Eureka's `testStatusOverrideWithRenewAppliedToAReplica`: there, an override may be known before the
/// instance is, and a renewal applies it; here it belongs to the instance, and a peer's renewal sets it
/// (`a_peer_that_knows_more_is_told_to_send_it_and_its_override_counts_at_once`).
#[test]
fn an_override_stands_through_renewals() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    registrar.set_override(&key, set(Status::OutOfService), at(1)).expect("it is registered");
    for secs in [10, 20] {
        let held = registrar.renew(&key, Some(0), at(secs)).expect("it is registered");
        let out = Status::OutOfService;
        assert_eq!((held.status, held.status_override), (out, Some(out)));
    }
}

/// Eureka's `testStatusOverrideStartingStatus`.
#[test]
fn an_instance_that_says_it_is_starting_is_believed_over_an_override() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    registrar.set_override(&key, set(Status::OutOfService), at(1)).expect("it is registered");
    let starting = Instance { status: Status::Starting, dirty_at: 1, ..leased("1") };
    assert_eq!(register(&mut registrar, starting).instance.status, Status::Starting);
}

/// Eureka's `testStatusOverrideWithExistingLeaseUp` and `…OutOfService`.
#[test]
fn registering_again_does_not_move_an_instance_in_or_out_of_service() {
    for (first, second) in [(Status::Up, Status::OutOfService), (Status::OutOfService, Status::Up)]
    {
        let mut registrar = registrar();
        register(&mut registrar, Instance { status: first, ..leased("1") });
        for dirty_at in 1..=2 {
            let again = Instance { status: second, dirty_at, ..leased("1") };
            assert_eq!(register(&mut registrar, again).instance.status, first);
        }
    }
}

#[test]
fn an_override_lifted_without_a_fallback_makes_the_instance_register_again() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    registrar.set_override(&key, set(Status::OutOfService), at(1)).expect("it is registered");
    registrar.set_override(&key, lift(Status::Unknown), at(2)).expect("it is registered");
    let answer = registrar.renew(&key, None, at(3));
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
}

#[test]
fn an_override_to_the_present_status_and_lifting_none_change_nothing() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, leased("1"));
    for change in [set(Status::Up), lift(Status::Down)] {
        let outcome = registrar.set_override(&key, change, at(1)).expect("it is registered");
        assert!(outcome.change.is_none());
        assert_eq!((outcome.instance.status, outcome.instance.status_override), (Status::Up, None));
    }
}

#[test]
fn an_override_moves_the_time_of_the_last_change_forward_only() {
    let mut registrar = registrar();
    let key = Key::new("web", "1");
    register(&mut registrar, Instance { dirty_at: 50, ..leased("1") });
    let mut dirty_after = |to, dirty_at| {
        let change = OverrideChange { dirty_at: Some(dirty_at), ..set(to) };
        registrar.set_override(&key, change, at(1)).expect("it is registered").instance.dirty_at
    };
    assert_eq!(dirty_after(Status::Down, 40), 50);
    assert_eq!(dirty_after(Status::OutOfService, 60), 60);
}
