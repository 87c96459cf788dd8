use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds =
    Bounds { instances: 3, silence: Duration::from_secs(10), echo: Duration::from_secs(2) };

fn instance(id: &str, updated_at: u64) -> Arc<Instance> {
    Arc::new(Instance { updated_at, ..Instance::new("web", id) })
}

fn here(id: &str, ttl_secs: u32) -> Heard {
    Heard::Here(Seen { place: Place::Open, instance: instance(id, 0), ttl_secs })
}

fn gone(id: &str, place: Place) -> Heard {
    Heard::Gone { key: Key::new("web", id), place }
}

fn at(secs: u64) -> Time {
    Time::from_millis(secs * 1_000)
}

/// What a watch is told next, in short.
fn told(picture: &Picture, told: &mut Option<u64>) -> Vec<String> {
    let events = picture.events(*told, None);
    *told = Some(picture.revision());
    let short = events.into_iter().map(|event| match event {
        Event::Resumed => "resumed".to_owned(),
        Event::InitApply(instance) => format!("={}", instance.id),
        Event::Apply { instance, .. } => format!("+{}", instance.id),
        Event::Delete { instance, .. } => format!("-{}", instance.id),
        Event::Init => "[".to_owned(),
        Event::InitDone { .. } => "]".to_owned(),
    });
    short.collect()
}

#[test]
fn a_watch_is_told_what_there_is_and_then_what_changes() {
    let mut picture = Picture::new(7, BOUNDS);
    picture.registered(instance("own", 1), at(0));
    picture.hear(here("1", 120), None, at(0));
    let mut last = None;
    assert_eq!(told(&picture, &mut last), ["[", "=1", "=own", "]"]);
    picture.hear(here("1", 120), None, at(1));
    picture.registered(instance("own", 1), at(0));
    assert_eq!(told(&picture, &mut last), [""; 0], "nothing is new");
    picture.hear(here("2", 120), None, at(2));
    picture.hear(gone("1", Place::Open), None, at(2));
    picture.left(&instance("own", 2), at(2));
    assert_eq!(told(&picture, &mut last), ["+2", "-1", "-own"]);
    let other = Name::new("other");
    assert!(picture.events(Some(7), Some(&other)).is_empty());
}

#[test]
fn what_is_not_heard_of_again_in_time_is_gone() {
    let mut picture = Picture::new(0, BOUNDS);
    picture.hear(here("brief", 2), None, at(0));
    picture.hear(here("long", 120), None, at(0));
    let mut last = None;
    assert_eq!(told(&picture, &mut last).len(), 4);
    assert_eq!(picture.next_expiry(), Some(at(2)));
    picture.expire(at(2));
    assert_eq!(told(&picture, &mut last), ["-brief"]);
    picture.hear(here("long", 120), None, at(9));
    picture.expire(at(18));
    assert_eq!(told(&picture, &mut last), [""; 0]);
    picture.expire(at(19));
    assert_eq!(told(&picture, &mut last), ["-long"], "nobody is believed for longer than that");
}

#[test]
fn nobody_is_believed_about_what_is_registered_here() {
    let mut picture = Picture::new(0, BOUNDS);
    picture.registered(instance("1", 5), at(0));
    let mut last = None;
    assert_eq!(told(&picture, &mut last), ["[", "=1", "]"]);
    picture.hear(here("1", 120), None, at(0));
    picture.hear(gone("1", Place::Open), None, at(0));
    picture.expire(at(999));
    assert_eq!(told(&picture, &mut last), [""; 0]);
}

#[test]
fn an_echo_does_not_bring_back_what_left() {
    let mut picture = Picture::new(0, BOUNDS);
    let echo = |updated_at| {
        let instance = instance("1", updated_at);
        Heard::Here(Seen { place: Place::Open, instance, ttl_secs: 120 })
    };
    let mut last = None;
    told(&picture, &mut last);
    picture.registered(instance("1", 5), at(0));
    picture.left(&instance("1", 6), at(0));
    picture.hear(echo(5), None, at(1));
    assert_eq!(told(&picture, &mut last), ["+1", "-1"]);
    picture.hear(echo(7), None, at(1));
    assert_eq!(told(&picture, &mut last), ["+1"], "somebody registered it since");
    picture.hear(gone("1", Place::Open), None, at(1));
    picture.expire(at(2));
    picture.hear(echo(5), None, at(2));
    assert_eq!(told(&picture, &mut last), ["-1", "+1"], "after that it is no echo");
}

#[test]
fn an_answer_does_not_undo_what_was_announced_since_it_was_asked_for() {
    let mut picture = Picture::new(0, BOUNDS);
    let version = |version: &str| {
        let instance =
            Arc::new(Instance { version: version.to_owned(), ..Instance::new("web", "1") });
        Heard::Here(Seen { place: Place::Open, instance, ttl_secs: 120 })
    };
    let mut last = None;
    told(&picture, &mut last);
    picture.hear(version("1"), Some(at(1)), at(2));
    picture.hear(version("2"), None, at(4));
    assert_eq!(told(&picture, &mut last), ["+1", "+1"]);
    picture.hear(version("1"), Some(at(3)), at(5));
    assert_eq!(told(&picture, &mut last), [""; 0], "it is older than what was announced");
    picture.expire(at(14));
    assert_eq!(told(&picture, &mut last), [""; 0], "but it says that somebody is there");
    picture.hear(gone("1", Place::Open), None, at(14));
    picture.hear(version("2"), Some(at(13)), at(15));
    assert_eq!(told(&picture, &mut last), ["-1"], "it must not bring back what left");
    picture.hear(version("2"), None, at(15));
    assert_eq!(told(&picture, &mut last), ["+1"], "it came back by itself");
    // Also of what nobody here had heard of yet.
    picture.hear(gone("2", Place::Open), None, at(16));
    picture.hear(here("2", 120), Some(at(15)), at(16));
    assert_eq!(told(&picture, &mut last), [""; 0]);
    picture.hear(here("2", 120), Some(at(17)), at(17));
    assert_eq!(told(&picture, &mut last), ["+2"]);
}

#[test]
fn what_moved_is_not_gone() {
    let mut picture = Picture::new(0, BOUNDS);
    picture.hear(here("1", 120), None, at(0));
    let moved = Heard::Here(Seen { place: Place::Aside, instance: instance("1", 0), ttl_secs: 9 });
    picture.hear(moved, None, at(1));
    picture.hear(gone("1", Place::Open), None, at(1));
    assert_eq!(told(&picture, &mut None), ["[", "=1", "]"]);
    picture.hear(gone("1", Place::Aside), None, at(1));
    assert_eq!(told(&picture, &mut None), ["[", "]"]);
}

#[test]
fn at_the_bound_others_are_left_out_and_counted() {
    let mut picture = Picture::new(0, BOUNDS);
    for id in ["1", "2", "3", "4", "3"] {
        picture.hear(here(id, 120), None, at(0));
    }
    assert_eq!((picture.left_out(), told(&picture, &mut None).len()), (1, 5));
    picture.registered(instance("own", 1), at(0));
    assert_eq!(told(&picture, &mut None).len(), 6, "what is registered here has its own bound");
    picture.hear(gone("1", Place::Open), None, at(0));
    picture.hear(here("4", 120), None, at(0));
    assert_eq!(picture.left_out(), 1);
}

#[test]
fn a_watch_that_fell_behind_and_one_from_before_list_anew() {
    let mut picture = Picture::new(0, BOUNDS);
    let mut last = None;
    told(&picture, &mut last);
    for n in 1..=LOG_LEN as u64 {
        picture.registered(instance("own", n), at(0));
    }
    assert_eq!(picture.events(last, None).len(), LOG_LEN);
    picture.registered(instance("own", 0), at(0));
    assert_eq!(told(&picture, &mut last), ["[", "=own", "]"]);
    picture.hear(here("1", 120), None, at(0));
    picture.forget_others();
    assert_eq!(told(&picture, &mut last), ["[", "=own", "]"]);
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Hear(Heard),
    Register(u8, u64),
    Leave(u8),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || prop_oneof![Just(Place::Open), Just(Place::Aside)];
    let step = prop_oneof![
        (0..4_u8, place(), 1..20_u32, 0..3_u64).prop_map(|(id, place, ttl_secs, updated_at)| {
            let instance = instance(&id.to_string(), updated_at);
            Step::Hear(Heard::Here(Seen { place, instance, ttl_secs }))
        }),
        (0..4_u8, place()).prop_map(|(id, place)| Step::Hear(gone(&id.to_string(), place))),
        (0..4_u8, 0..3_u64).prop_map(|(id, updated_at)| Step::Register(id, updated_at)),
        (0..4_u8).prop_map(Step::Leave),
        Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whoever builds a state of the events has what a new listing has.
    #[test]
    fn events_lead_to_the_listing(steps in steps()) {
        let mut picture = Picture::new(0, BOUNDS);
        let (mut told, mut built, mut now) = (0, BTreeMap::new(), 0);
        for step in steps {
            match step {
                Step::Hear(heard) => picture.hear(heard, None, at(now)),
                Step::Register(id, updated_at) => {
                    picture.registered(instance(&id.to_string(), updated_at), at(now));
                }
                Step::Leave(id) => picture.left(&instance(&id.to_string(), 9), at(now)),
                Step::Wait => {
                    now += 3;
                    picture.expire(at(now));
                }
            }
            for event in picture.events(Some(told), None) {
                match event {
                    Event::Apply { revision, instance } => {
                        prop_assert!(revision > told);
                        told = revision;
                        built.insert(instance.key(), instance);
                    }
                    Event::Delete { revision, instance } => {
                        prop_assert!(revision > told);
                        told = revision;
                        prop_assert!(built.remove(&instance.key()).is_some());
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        let listed = picture.events(None, None).into_iter().filter_map(|event| match event {
            Event::InitApply(instance) => Some((instance.key(), instance)),
            _ => None,
        });
        prop_assert_eq!(built, listed.collect::<BTreeMap<_, _>>());
    }
}
