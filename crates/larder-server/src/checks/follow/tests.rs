use std::collections::BTreeSet;
use std::sync::Arc;

use larder_registry::model::Check;
use proptest::prelude::*;

use super::*;

fn tcp(id: &str, port: u16) -> Check {
    let interval = Duration::from_secs(5);
    Check { interval, ..Check::new(id, Probe::Tcp(format!("127.0.0.1:{port}"))) }
}

fn with(id: &str, checks: Vec<Check>) -> Arc<Instance> {
    Arc::new(Instance { checks, ..Instance::new("web", id) })
}

fn apply(instance: &Arc<Instance>) -> Event {
    Event::Apply { revision: 1, instance: instance.clone() }
}

fn delete(instance: &Arc<Instance>) -> Event {
    Event::Delete { revision: 1, instance: instance.clone() }
}

/// What is done, shortly: `+1/a` tracks check a of instance 1, `-` forgets, `!` refuses.
fn told(steps: Vec<Step>) -> Vec<String> {
    let shown = |sign, key: CheckKey| format!("{sign}{}/{}", key.instance.id, key.id);
    let told = |step| match step {
        Step::Track(probed, _) => shown('+', probed.check),
        Step::Forget(probed) => shown('-', probed.check),
        Step::Refuse(key, _) => shown('!', key),
    };
    steps.into_iter().map(told).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn active_checks_are_probed_while_their_instance_is_there() {
    let mut following = Following::new(10);
    let ttl = Check::new("t", Probe::Ttl(Duration::from_secs(9)));
    let one = with("1", vec![tcp("a", 1), ttl, tcp("b", 2)]);
    let steps = following.hear(&apply(&one));
    let expected = Target {
        probe: Probe::Tcp("127.0.0.1:1".to_owned()),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
    };
    assert!(matches!(&steps[0], Step::Track(_, target) if *target == expected), "{steps:?}");
    assert_eq!(told(steps), ["+1/a", "+1/b"]);
    assert_eq!(told(following.hear(&delete(&one))), ["-1/a", "-1/b"]);
    assert_eq!(told(following.hear(&delete(&one))), NOTHING);
}

#[test]
fn a_change_that_is_about_something_else_changes_no_probing() {
    let mut following = Following::new(10);
    following.hear(&apply(&with("1", vec![tcp("a", 1), tcp("b", 2)])));
    let mut failing = tcp("a", 1);
    failing.output = "refused".to_owned();
    let again = with("1", vec![failing, tcp("c", 3)]);
    assert_eq!(told(following.hear(&apply(&again))), ["-1/b", "+1/c"]);
    let slower = Check { interval: Duration::from_secs(9), ..tcp("a", 1) };
    assert_eq!(
        told(following.hear(&apply(&with("1", vec![slower, tcp("c", 3)])))),
        ["-1/a", "+1/a"]
    );
}

#[test]
fn the_checks_of_one_instance_are_not_those_of_the_next() {
    let mut following = Following::new(10);
    for id in ["1", "10", "2"] {
        following.hear(&apply(&with(id, vec![tcp("a", 1)])));
    }
    assert_eq!(told(following.hear(&delete(&with("1", vec![])))), ["-1/a"]);
}

#[test]
fn a_new_listing_takes_the_place_of_everything() {
    let mut following = Following::new(10);
    following.hear(&apply(&with("1", vec![tcp("a", 1)])));
    following.hear(&apply(&with("2", vec![tcp("a", 1)])));
    assert_eq!(told(following.hear(&Event::Init)), NOTHING);
    for listed in [with("2", vec![tcp("a", 1)]), with("3", vec![tcp("a", 1)])] {
        assert_eq!(told(following.hear(&Event::InitApply(listed))), NOTHING);
    }
    assert_eq!(told(following.hear(&Event::InitDone { revision: 9 })), ["-1/a", "+3/a"]);
}

#[test]
fn a_listing_that_begins_anew_forgets_its_first_half() {
    let mut following = Following::new(10);
    for event in [
        Event::Init,
        Event::InitApply(with("1", vec![tcp("a", 1)])),
        Event::Init,
        Event::InitApply(with("2", vec![tcp("a", 1)])),
    ] {
        following.hear(&event);
    }
    assert_eq!(told(following.hear(&Event::InitDone { revision: 9 })), ["+2/a"]);
}

#[test]
fn a_check_beyond_the_limit_is_told_once_and_let_in_when_there_is_room() {
    let mut following = Following::new(1);
    following.hear(&apply(&with("1", vec![tcp("a", 1)])));
    let second = with("2", vec![tcp("a", 1), tcp("b", 1)]);
    assert_eq!(told(following.hear(&apply(&second))), ["!2/a", "!2/b"]);
    assert_eq!(told(following.hear(&apply(&second))), NOTHING);
    assert_eq!(following.waiting(), 2);
    assert_eq!(told(following.hear(&delete(&with("1", vec![])))), ["-1/a", "+2/a"]);
    assert_eq!(told(following.hear(&delete(&second))), ["-2/a"]);
    assert_eq!(following.waiting(), 0);
}

proptest! {
    #[test]
    fn whatever_happens_what_is_probed_is_what_is_registered(
        limit in 1_usize..5,
        steps in prop::collection::vec((0_usize..4, 0_usize..3, 0_u16..3, 0_u8..4), 1..60)
    ) {
        let mut following = Following::new(limit);
        let mut registered: BTreeMap<String, Arc<Instance>> = BTreeMap::new();
        let mut probed: BTreeMap<CheckKey, (u64, Target)> = BTreeMap::new();
        for (id, checks, port, what) in steps {
            let id = ["1", "2", "3", "10"][id];
            let checks = ["a", "b"][..checks.min(2)].iter().map(|id| tcp(id, port)).collect();
            let instance = with(id, checks);
            let events = match what {
                0 => {
                    let listed = registered.values().cloned().map(Event::InitApply);
                    [Event::Init].into_iter().chain(listed).chain([Event::InitDone { revision: 1 }]).collect()
                }
                1 => { registered.remove(id); vec![delete(&instance)] }
                _ => { registered.insert(id.to_owned(), instance.clone()); vec![apply(&instance)] }
            };
            for step in events.iter().flat_map(|event| following.hear(event)) {
                match step {
                    Step::Track(Probed { check, number }, target) => prop_assert_eq!(probed.insert(check, (number, target)), None),
                    Step::Forget(Probed { check, number }) => prop_assert_eq!(probed.remove(&check).map(|(number, _)| number), Some(number)),
                    Step::Refuse(key, _) => prop_assert!(!probed.contains_key(&key)),
                }
            }
            let all: Targets = registered.values().flat_map(|instance| targets(instance)).collect();
            prop_assert_eq!(probed.len(), all.len().min(limit));
            prop_assert!(probed.iter().all(|(key, (_, target))| all.get(key) == Some(target)));
            let known: BTreeSet<_> = following.known().into_iter().collect();
            prop_assert_eq!(known, all.keys().cloned().collect::<BTreeSet<_>>());
            prop_assert_eq!(following.waiting(), all.len() - probed.len());
        }
    }
}
