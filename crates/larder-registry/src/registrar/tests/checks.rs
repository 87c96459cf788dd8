use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backend::Reporter;
use crate::model::{Check, Health, MAX_OUTPUT_BYTES, Probe};

const TTL_SECS: u64 = 10;

const fn at(secs: u64) -> Moment {
    Moment { now: Time::from_millis(secs * 1_000), wall: 1_000_000 + secs * 1_000 }
}

fn registrar() -> Registrar {
    Registrar::new(Catalog::new(0, 1_000), 10)
}

fn ttl() -> Check {
    Check::new("c", Probe::Ttl(secs(10)))
}

fn tcp(port: u16) -> Check {
    Check::new("c", Probe::Tcp(format!("10.0.0.1:{port}")))
}

fn with_check(check: Check) -> Instance {
    Instance { checks: vec![check], ..Instance::new("web", "1") }
}

fn register(registrar: &mut Registrar, check: Check, now: u64) -> Outcome {
    registrar.register(with_check(check), at(now)).expect("there is room")
}

fn key() -> CheckKey {
    CheckKey::new(Key::new("web", "1"), "c")
}

fn says(health: Health, output: &str) -> Report {
    Report { from: Reporter::Registrant, health, output: output.to_owned() }
}

fn report(registrar: &mut Registrar, health: Health, output: &str, now: u64) -> Outcome {
    registrar.report(&key(), says(health, output), at(now)).expect("it is registered")
}

fn held(registrar: &Registrar) -> Check {
    let held = registrar.catalog().get(&key().instance).expect("it is registered");
    held.checks[0].clone()
}

fn live(registrar: &Registrar) -> Check {
    let live = registrar.instance(&key().instance).expect("it is registered");
    live.checks[0].clone()
}

fn causes(registrar: &mut Registrar, now: u64) -> Vec<Cause> {
    registrar.expire(at(now), 10).into_iter().map(|expired| expired.cause).collect()
}

#[test]
fn a_change_of_health_is_a_change_of_the_instance_and_a_repetition_is_none() {
    let mut registrar = registrar();
    register(&mut registrar, ttl(), 0);
    let change = report(&mut registrar, Health::Passing, "fine", 1).change.expect("it changed");
    assert_eq!((change.action, change.revision), (Action::Modified, 2));
    assert_eq!(change.instance.effective_status(), Status::Up);
    assert_eq!(change.before.map(|before| before.effective_status()), Some(Status::Down));
    assert!(report(&mut registrar, Health::Passing, "fine", 2).change.is_none());
}

#[test]
fn new_output_alone_wakes_nobody_and_shows_in_the_live_instance() {
    let mut registrar = registrar();
    register(&mut registrar, ttl(), 0);
    report(&mut registrar, Health::Passing, "one", 1);
    assert!(report(&mut registrar, Health::Passing, "two", 2).change.is_none());
    assert_eq!((held(&registrar).output, live(&registrar).output), ("one".into(), "two".into()));
    report(&mut registrar, Health::Passing, "one", 3);
    assert_eq!(live(&registrar).output, "one");
    report(&mut registrar, Health::Passing, "two", 4);
    report(&mut registrar, Health::Warning, "three", 5);
    assert_eq!(
        (held(&registrar).output, live(&registrar).output),
        ("three".into(), "three".into())
    );
}

#[test]
fn output_is_bounded_wherever_it_comes_from() {
    let mut registrar = registrar();
    let long = "x".repeat(MAX_OUTPUT_BYTES + 1);
    register(&mut registrar, Check { output: long.clone(), ..ttl() }, 0);
    assert_eq!(held(&registrar).output.len(), MAX_OUTPUT_BYTES);
    for health in [Health::Passing, Health::Passing, Health::Warning] {
        report(&mut registrar, health, &long, 1);
        assert_eq!(live(&registrar).output.len(), MAX_OUTPUT_BYTES);
    }
    causes(&mut registrar, 20);
    assert_eq!(live(&registrar).output.len(), MAX_OUTPUT_BYTES);
}

#[test]
fn silence_for_a_ttl_after_the_last_report_is_critical() {
    let mut registrar = registrar();
    register(&mut registrar, ttl(), 0);
    report(&mut registrar, Health::Passing, "", 5);
    report(&mut registrar, Health::Warning, "", 9);
    report(&mut registrar, Health::Warning, "slow", 14);
    assert!(causes(&mut registrar, 23).is_empty());
    assert_eq!(causes(&mut registrar, 24), [Cause::Silence(key())]);
    let expired = "TTL expired (last output before timeout follows): slow";
    assert_eq!(
        (held(&registrar).health, held(&registrar).output),
        (Health::Critical, expired.into())
    );
    assert!(causes(&mut registrar, 1_000).is_empty());
    report(&mut registrar, Health::Passing, "", 1_001);
    assert_eq!(causes(&mut registrar, 1_011), [Cause::Silence(key())]);
    assert_eq!(held(&registrar).output, "TTL expired");
    assert_eq!(registrar.tally().checks_expired, 2);
}

#[test]
fn a_ttl_check_that_registers_as_passing_has_one_ttl_to_prove_it() {
    let mut registrar = registrar();
    register(&mut registrar, Check { health: Health::Passing, ..ttl() }, 3);
    assert!(causes(&mut registrar, 12).is_empty());
    assert_eq!(causes(&mut registrar, 13), [Cause::Silence(key())]);
}

#[test]
fn registering_again_is_no_report() {
    let mut registrar = registrar();
    register(&mut registrar, Check { health: Health::Passing, ..ttl() }, 0);
    assert!(
        register(&mut registrar, Check { health: Health::Passing, ..ttl() }, 5).change.is_none()
    );
    let renamed = Check { health: Health::Passing, name: "other".to_owned(), ..ttl() };
    assert!(register(&mut registrar, renamed, 9).change.is_some());
    assert_eq!(causes(&mut registrar, 10), [Cause::Silence(key())]);
    let again = register(&mut registrar, Check { health: Health::Passing, ..ttl() }, 11);
    assert_eq!(
        again.instance.effective_status(),
        Status::Down,
        "it says only what is believed first"
    );
}

#[test]
fn a_check_that_is_probed_otherwise_is_a_new_one() {
    let mut registrar = registrar();
    register(&mut registrar, tcp(80), 0);
    let from = |check: Check| Reporter::Prober(check.probe);
    let passing = Report { from: from(tcp(80)), health: Health::Passing, output: "yes".into() };
    registrar.report(&key(), passing.clone(), at(1)).expect("it is registered");
    assert_eq!(register(&mut registrar, tcp(80), 2).instance.effective_status(), Status::Up);
    register(&mut registrar, tcp(81), 3);
    assert_eq!(
        (held(&registrar).health, live(&registrar).output),
        (Health::Critical, String::new())
    );
    let late = registrar.report(&key(), passing, at(4));
    assert!(matches!(late, Err(Error::NotFound(_))), "{late:?}");
}

#[test]
fn only_those_who_have_a_say_are_heard() {
    let mut registrar = registrar();
    register(&mut registrar, tcp(80), 0);
    let refused = registrar.report(&key(), says(Health::Passing, ""), at(1));
    let says_what_to_do = "the check c of web/1 is probed, so that nobody reports it: register one with a ttl for that";
    assert_eq!(refused.map(drop).map_err(|error| error.to_string()), Err(says_what_to_do.into()));
    let other = CheckKey::new(key().instance, "d");
    let unknown = registrar.report(&other, says(Health::Passing, ""), at(1));
    let missing = "the check d of web/1 is not registered";
    assert_eq!(unknown.map(drop).map_err(|error| error.to_string()), Err(missing.into()));
}

#[test]
fn being_critical_for_too_long_deregisters_and_recovering_starts_anew() {
    let mut registrar = registrar();
    let check = Check { deregister_after: Some(secs(100)), ..ttl() };
    register(&mut registrar, check.clone(), 0);
    report(&mut registrar, Health::Critical, "still", 50);
    report(&mut registrar, Health::Passing, "", 99);
    report(&mut registrar, Health::Critical, "again", 100);
    register(&mut registrar, Check { name: "other".to_owned(), ..check }, 150);
    assert!(causes(&mut registrar, 199).is_empty());
    assert_eq!(causes(&mut registrar, 200), [Cause::Critical(key())]);
    assert!(registrar.catalog().is_empty());
    assert_eq!(registrar.tally().deregistered_by_checks, 1);
    assert_eq!(registrar.next_expiry(Time::ZERO).filter(|next| *next < Time::MAX), None);
}

#[test]
fn a_wait_below_a_minute_counts_as_one() {
    let mut registrar = registrar();
    register(&mut registrar, Check { deregister_after: Some(secs(1)), ..tcp(80) }, 0);
    assert!(causes(&mut registrar, 59).is_empty());
    assert_eq!(causes(&mut registrar, 60), [Cause::Critical(key())]);
}

#[test]
fn a_wait_that_is_changed_counts_from_when_it_turned_critical() {
    let mut registrar = registrar();
    register(&mut registrar, tcp(80), 0);
    register(&mut registrar, Check { deregister_after: Some(secs(100)), ..tcp(80) }, 90);
    assert_eq!(causes(&mut registrar, 100), [Cause::Critical(key())]);
}

#[test]
fn an_instance_that_leaves_takes_what_its_checks_wait_for_along() {
    let mut registrar = registrar();
    for leave in [true, false] {
        register(&mut registrar, Check { health: Health::Passing, ..ttl() }, 0);
        report(&mut registrar, Health::Passing, "noted", 1);
        if leave {
            registrar.deregister(&key().instance, at(2)).expect("it is registered");
        } else {
            registrar.register(Instance::new("web", "1"), at(2)).expect("there is room");
        }
        assert!(causes(&mut registrar, 100).is_empty());
        assert_eq!(registrar.checks.output(&key()), None);
    }
}

#[test]
fn of_two_checks_with_one_id_the_first_stays() {
    let mut registrar = registrar();
    let instance = Instance { checks: vec![tcp(80), tcp(81)], ..Instance::new("web", "1") };
    let held = registrar.register(instance, at(0)).expect("there is room").instance;
    assert_eq!(held.checks, [tcp(80)]);
}

#[test]
fn the_first_up_is_when_the_checks_first_pass() {
    let mut registrar = registrar();
    let lease = Some(crate::model::Lease::default());
    registrar.register(Instance { lease, ..with_check(ttl()) }, at(0)).expect("there is room");
    let up_since = |outcome: &Outcome| outcome.instance.lease.map(|lease| lease.up_since);
    assert_eq!(up_since(&report(&mut registrar, Health::Passing, "", 7)), Some(1_007_000));
    report(&mut registrar, Health::Critical, "", 8);
    assert_eq!(up_since(&report(&mut registrar, Health::Passing, "", 9)), Some(1_007_000));
}

#[test]
fn an_operators_word_stands_whatever_the_checks_say() {
    let mut registrar = registrar();
    register(&mut registrar, ttl(), 0);
    let out = OverrideChange {
        to: Some(Status::OutOfService),
        fallback: Status::Unknown,
        dirty_at: None,
    };
    registrar.set_override(&key().instance, out, at(1)).expect("it is registered");
    for health in Health::ALL {
        let shown = report(&mut registrar, health, "", 2).instance.effective_status();
        assert_eq!(shown, Status::OutOfService, "{health}");
    }
    let up = OverrideChange { to: Some(Status::Up), ..out };
    let shown = registrar.set_override(&key().instance, up, at(3)).expect("it is registered");
    assert_eq!(shown.instance.effective_status(), Status::Down, "its check is critical");
}

/// What an instance's check is, told the slow way: second by second.
#[derive(Debug, Clone)]
struct Told {
    health: Health,
    deregister_after: Option<u64>,
    reported: u64,
    critical_since: u64,
}

impl Told {
    fn hear(&mut self, health: Health, now: u64) {
        if health == Health::Critical && self.health != Health::Critical {
            self.critical_since = now;
        }
        (self.health, self.reported) = (health, now);
    }

    fn is_silent(&self, now: u64) -> bool {
        self.health != Health::Critical && now >= self.reported + TTL_SECS
    }

    fn is_over(&self, now: u64) -> bool {
        let wait = self.deregister_after.map(|wait| wait.max(60));
        self.health == Health::Critical
            && wait.is_some_and(|wait| now >= self.critical_since + wait)
    }
}

fn wait_second(registrar: &mut Registrar, told: &mut BTreeMap<String, Told>, now: u64) {
    registrar.expire(at(now), 100);
    told.retain(|_, told| !told.is_over(now));
    for told in told.values_mut().filter(|told| told.is_silent(now)) {
        told.hear(Health::Critical, now);
    }
}

proptest! {
    #[test]
    fn behaves_as_a_look_at_every_check_each_second(
        steps in prop::collection::vec((0_u8..4, 0_usize..3, 0_usize..3, 0_u64..3, 1_u64..45), 1..60)
    ) {
        let mut registrar = registrar();
        let mut told: BTreeMap<String, Told> = BTreeMap::new();
        let mut now = 0;
        for (step, id, health, wait, pause) in steps {
            let (id, health) = (["1", "2", "3"][id], Health::ALL[health]);
            let deregister_after = [None, Some(30), Some(90)][usize::try_from(wait)?];
            let key = CheckKey::new(Key::new("web", id), "c");
            match step {
                0 => {
                    let check = Check { health, deregister_after: deregister_after.map(Duration::from_secs), ..ttl() };
                    registrar.register(Instance { checks: vec![check], ..Instance::new("web", id) }, at(now)).expect("there is room");
                    let new = Told { health, deregister_after, reported: now, critical_since: now };
                    told.entry(id.to_owned()).or_insert(new).deregister_after = deregister_after;
                }
                1 => {
                    let heard = registrar.report(&key, says(health, "x"), at(now)).is_ok();
                    prop_assert_eq!(heard, told.contains_key(id));
                    if let Some(told) = told.get_mut(id) { told.hear(health, now); }
                }
                2 => prop_assert_eq!(registrar.deregister(&key.instance, at(now)).is_ok(), told.remove(id).is_some()),
                _ => for _ in 0..pause {
                    now += 1;
                    wait_second(&mut registrar, &mut told, now);
                },
            }
            // What was changed in this second may be due in this second.
            wait_second(&mut registrar, &mut told, now);
            let snapshot = registrar.catalog().snapshot();
            let held: Vec<_> = snapshot.instances().map(|held| (held.id.clone(), held.checks[0].health)).collect();
            let expected: Vec<_> = told.iter().map(|(id, told)| (id.clone(), told.health)).collect();
            prop_assert_eq!(held, expected);
            for health in Health::ALL {
                let expected = told.values().filter(|told| told.health == health).count();
                prop_assert_eq!(snapshot.check_counts().of(health), expected);
            }
        }
    }
}
