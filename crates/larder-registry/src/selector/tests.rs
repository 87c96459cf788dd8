//! The selector as its callers see it, with a clock that is moved by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use larder_cache::Hands;

use super::*;
use crate::backend::Backend;
use crate::memory::{self, Memory};
use crate::model::{Endpoint, Instance, Metadata, Status, Weights};
use crate::registry_cache::{self, RegistryCache};

const ANY: &str = "there is somebody";

fn selector(options: Options) -> (Selector, Hands) {
    let (clock, hands) = Clock::by_hand(0);
    (Selector::new(Options { clock: Some(clock), ..options }), hands)
}

fn with(strategy: Strategy) -> (Selector, Hands) {
    selector(Options { strategy, ..Options::default() })
}

fn of(instances: impl IntoIterator<Item = Instance>) -> Arc<Service> {
    Arc::new(Service::new(Name::new("orders"), 1, instances.into_iter().map(Arc::new)))
}

fn orders<'a>(ids: impl IntoIterator<Item = &'a str>) -> Arc<Service> {
    of(ids.into_iter().map(|id| Instance::new("orders", id)))
}

fn zoned(id: &str, zone: &str) -> Instance {
    let metadata = Metadata::from([("zone".to_owned(), zone.to_owned())]);
    Instance { metadata, ..Instance::new("orders", id) }
}

fn select(selector: &Selector, service: &Arc<Service>) -> Selection {
    selector.select(service, &Filter::default()).expect(ANY)
}

fn pick(selector: &Selector, service: &Arc<Service>) -> Pick {
    select(selector, service).next()
}

fn id(pick: &Pick) -> String {
    pick.instance().id.clone()
}

/// Who is called by `calls` calls that all succeed.
fn called(selector: &Selector, service: &Arc<Service>, calls: usize) -> BTreeMap<String, usize> {
    let mut called = BTreeMap::new();
    for _ in 0..calls {
        let pick = pick(selector, service);
        *called.entry(id(&pick)).or_default() += 1;
        pick.succeeded();
    }
    called
}

/// Marks this instance by requests to it that fail.
fn mark(selector: &Selector, service: &Arc<Service>, id: &str) {
    let key = Key::new("orders", id);
    while selector.standing(&key).is_none_or(|standing| standing.marked_until.is_none()) {
        let pick = pick(selector, service);
        if pick.instance().id == id {
            pick.failed();
        }
    }
}

const ALL: [Strategy; 5] = [
    Strategy::Random,
    Strategy::RoundRobin,
    Strategy::LeastOutstanding,
    Strategy::PowerOfTwoChoices,
    Strategy::Weighted,
];

// go-micro's own tests, by name.

#[tokio::test(start_paused = true)]
async fn registry_selector_select_and_a_hundred_nexts_over_a_memory_registry_never_fail() {
    let memory = Arc::new(Memory::start(memory::Options::default(), Clock::running()));
    for (id, version) in [("a", "1"), ("b", "1"), ("c", "2")] {
        let instance = Instance { version: version.to_owned(), ..Instance::new("foo", id) };
        memory.register(instance).await.expect("there is room");
    }
    let cache = RegistryCache::new(memory, registry_cache::Options::default()).expect("it is sane");
    let foo = cache.get(&Name::new("foo")).await.expect("it is there");
    let selector = Selector::new(Options::default());
    let mut selection = selector.select(&foo, &Filter::default()).expect(ANY);
    let picked: BTreeSet<String> = (0..100).map(|_| id(&selection.next())).collect();
    assert_eq!(picked.len(), 3);
    cache.stop().await;
}

#[test]
fn strategies_return_an_instance_a_hundred_times_from_two_versions() {
    let versioned = [("a", "1"), ("b", "1"), ("c", "2"), ("d", "2")].map(|(id, version)| {
        Instance { version: version.to_owned(), ..Instance::new("orders", id) }
    });
    let service = of(versioned);
    for strategy in ALL {
        let (selector, _) = with(strategy);
        let mut selection = select(&selector, &service);
        let picked: BTreeSet<String> = (0..100).map(|_| id(&selection.next())).collect();
        assert_eq!(picked.len(), 4, "{strategy:?}");
    }
}

#[test]
fn filters_by_endpoint_label_version_tag_zone_and_status_match_one_or_none() {
    let endpoint = |name: &str| Endpoint {
        name: name.to_owned(),
        request: None,
        response: None,
        metadata: Metadata::new(),
    };
    let mut one = zoned("one", "north");
    one.version = "1.2".to_owned();
    one.tags = vec!["primary".to_owned()];
    one.endpoints = vec![endpoint("Greeter.Hello")];
    let mut other = zoned("other", "south");
    other.service_metadata = Metadata::from([("zone".to_owned(), "north".to_owned())]);
    let down = Instance { status: Status::Starting, ..one.clone() };
    let service = of([one, other, Instance { id: "down".to_owned(), ..down }]);
    let any = Filter::default;
    let (selector, _) = with(Strategy::Random);
    let candidates = |filter: Filter| {
        selector.select(&service, &filter).map_or(0, |selection| selection.candidates())
    };
    assert_eq!(candidates(any()), 2);
    for (matching, other) in [
        (any().endpoint("Greeter.Hello"), any().endpoint("Greeter.hello")),
        (any().label("zone", "north"), any().label("zone", "")),
        (any().version("1.2"), any().version("1")),
        (any().version(""), any().version("1.2").label("zone", "south")),
        (any().tag("primary"), any().tag("prim")),
        (any().zone("north"), any().zone("North")),
        (any().zone("north").tag("primary").version("1.2"), any().zone("south").tag("primary")),
        (Filter { status: Some(Status::Starting), ..any() }, any().zone("east")),
    ] {
        assert_eq!((candidates(matching.clone()), candidates(other)), (1, 0), "{matching:?}");
    }
    assert_eq!(candidates(any().any_status()), 3);
    assert_eq!(candidates(any().any_status().version("1.2")), 2);
}

#[test]
fn nobody_to_pick_is_an_error_that_says_of_how_many() {
    let (selector, _) = with(Strategy::Random);
    let none = selector.select(&orders(["a", "b"]), &Filter::default().tag("x"));
    let error = none.map(drop).expect_err("nobody has the tag");
    assert_eq!(error, NoneAvailable { service: Name::new("orders"), instances: 2 });
    let text =
        "none of the 2 instances of orders may be picked: ask for less, or wait for a change";
    assert_eq!(error.to_string(), text);
}

// Retries.

#[test]
fn a_retry_never_repeats_an_instance_while_others_remain() {
    for strategy in ALL {
        let (selector, _) = with(strategy);
        let service = orders(["a", "b", "c", "d", "e"]);
        mark(&selector, &service, "c");
        let mut selection = select(&selector, &service);
        let round: Vec<String> = (0..5)
            .map(|_| {
                let pick = selection.next();
                let id = id(&pick);
                pick.failed();
                id
            })
            .collect();
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 5, "{strategy:?}: {round:?}");
        assert_eq!(round[4], "c", "who is marked comes last");
    }
}

#[test]
fn when_all_were_tried_they_are_tried_again_but_never_one_twice_in_a_row() {
    for strategy in ALL {
        let (selector, _) = with(strategy);
        let mut selection = select(&selector, &orders(["a", "b", "c"]));
        let picked: Vec<String> = (0..30).map(|_| id(&selection.next())).collect();
        assert!(picked.windows(2).all(|pair| pair[0] != pair[1]), "{strategy:?}: {picked:?}");
        let mut alone = select(&selector, &orders(["a"]));
        assert!((0..5).all(|_| id(&alone.next()) == "a"));
    }
}

#[test]
fn a_retry_sees_the_snapshot_of_its_call() {
    let (selector, _) = with(Strategy::Random);
    let mut selection = select(&selector, &orders(["a", "b"]));
    called(&selector, &orders(["c"]), 1);
    let picked: BTreeSet<String> = (0..2).map(|_| id(&selection.next())).collect();
    assert_eq!(picked, ["a", "b"].map(str::to_owned).into());
}

// Marks.

#[test]
fn an_instance_that_cannot_be_reached_is_skipped_until_its_mark_ends() {
    for strategy in ALL {
        let (selector, hands) = with(strategy);
        let service = orders(["a", "b", "c"]);
        mark(&selector, &service, "b");
        assert!(!called(&selector, &service, 100).contains_key("b"), "{strategy:?}");
        hands.advance(Duration::from_millis(29_999));
        assert!(!called(&selector, &service, 100).contains_key("b"), "{strategy:?}");
        hands.advance(Duration::from_millis(1));
        assert!(called(&selector, &service, 100).contains_key("b"), "{strategy:?}");
        let standing = selector.standing(&Key::new("orders", "b"));
        assert_eq!(standing, Some(Standing::default()), "a success forgets everything");
    }
}

#[test]
fn neither_a_dropped_pick_nor_two_failures_mark() {
    let (selector, _) = with(Strategy::Random);
    let service = orders(["a"]);
    for _ in 0..10 {
        drop(pick(&selector, &service));
    }
    pick(&selector, &service).failed();
    pick(&selector, &service).failed();
    let standing = Standing { failures: 2, ..Standing::default() };
    assert_eq!(selector.standing(&Key::new("orders", "a")), Some(standing));
}

#[test]
fn when_all_are_marked_the_least_recently_failed_is_used() {
    for strategy in ALL {
        let (selector, hands) = with(strategy);
        let service = orders(["a", "b", "c"]);
        for id in ["b", "c", "a"] {
            mark(&selector, &service, id);
            hands.advance(Duration::from_secs(1));
        }
        for expected in ["b", "c", "a", "b", "c", "a"] {
            let pick = pick(&selector, &service);
            assert_eq!(id(&pick), expected, "{strategy:?}");
            pick.failed();
        }
        pick(&selector, &service).succeeded();
        assert_eq!(called(&selector, &service, 9), [("b".to_owned(), 9)].into(), "{strategy:?}");
    }
}

// Weights and zones.

#[test]
fn an_instance_without_weight_is_never_picked_by_weight_and_counts_as_nobody() {
    let weighing = |id: &str, passing| Instance {
        weights: Some(Weights { passing, warning: 1 }),
        ..Instance::new("orders", id)
    };
    let (selector, _) = with(Strategy::Weighted);
    let service = of([weighing("none", 0), weighing("some", 1)]);
    let mut selection = select(&selector, &service);
    assert!((0..10).all(|_| id(&selection.next()) == "some"));
    assert!(selector.select(&of([weighing("none", 0)]), &Filter::default()).is_err());
    let (selector, _) = with(Strategy::Random);
    assert_eq!(select(&selector, &service).candidates(), 2, "others do not weigh");
}

#[test]
fn the_own_zone_is_preferred_while_it_has_enough_of_what_is_available() {
    let far = (0..8).map(|number| zoned(&format!("far-{number}"), "south"));
    let near = ["near-0", "near-1"].map(|id| zoned(id, "north"));
    let service = of(far.chain(near));
    for strategy in ALL {
        let zone = Some("north".to_owned());
        let (selector, _) = selector(Options { strategy, zone, ..Options::default() });
        let is_near = |id: &String| id.starts_with("near");
        assert!(called(&selector, &service, 50).keys().all(is_near), "{strategy:?}");
        let mut selection = select(&selector, &service);
        let order: Vec<String> = (0..10).map(|_| id(&selection.next())).collect();
        assert!(order[..2].iter().all(is_near) && !order[2..].iter().any(is_near));
        // One of nine is less than a fifth: everybody is asked, and the one is not run over.
        mark(&selector, &service, "near-0");
        let called = called(&selector, &service, 400);
        assert_eq!(called.len(), 9, "{strategy:?}: {called:?}");
    }
}

// What is remembered.

#[test]
fn outstanding_requests_count_until_the_pick_is_gone() {
    let (selector, _) = with(Strategy::LeastOutstanding);
    let service = orders(["a", "b", "c"]);
    let picks: Vec<Pick> = (0..9).map(|_| pick(&selector, &service)).collect();
    let outstanding = || {
        ["a", "b", "c"].map(|id| {
            selector.standing(&Key::new("orders", id)).map(|standing| standing.outstanding)
        })
    };
    assert_eq!(outstanding(), [Some(3); 3], "the least busy is always picked");
    for (number, pick) in picks.into_iter().enumerate() {
        match number % 3 {
            0 => pick.succeeded(),
            1 => pick.failed(),
            _ => drop(pick),
        }
    }
    assert_eq!(outstanding(), [Some(0); 3]);
    assert_eq!(selector.standing(&Key::new("orders", "d")), None);
}

#[test]
fn of_too_many_services_those_selected_from_longest_ago_are_forgotten() {
    let (selector, _) = selector(Options { services: 16, ..Options::default() });
    let of_number = |number: usize| {
        let name = format!("service-{number}");
        let instance = Arc::new(Instance::new(&name, "a"));
        Arc::new(Service::new(Name::new(&name), 1, [instance]))
    };
    let often = of_number(0);
    let held = pick(&selector, &often);
    for number in 1..200 {
        pick(&selector, &of_number(number)).succeeded();
        select(&selector, &often);
        assert!((1..=16).contains(&selector.len()));
    }
    let standing = |number| selector.standing(&Key::new(&format!("service-{number}"), "a"));
    assert_eq!(standing(0).map(|standing| standing.outstanding), Some(1));
    assert!(standing(199).is_some() && standing(150).is_none());
    held.succeeded();
    assert_eq!(standing(0), Some(Standing::default()));
    let (one, _) = super::tests::selector(Options { services: 0, ..Options::default() });
    (0..5).for_each(|number| pick(&one, &of_number(number)).succeeded());
    assert_eq!(one.len(), 1);
}

#[test]
fn a_round_is_exact_when_many_threads_call_at_once() {
    let (selector, _) = with(Strategy::RoundRobin);
    let service = orders(["a", "b", "c", "d", "e"]);
    let total = std::thread::scope(|scope| {
        let thread = || scope.spawn(|| called(&selector, &service, 500));
        let threads: Vec<_> = (0..4).map(|_| thread()).collect();
        threads.into_iter().fold(BTreeMap::<String, usize>::new(), |mut total, thread| {
            for (id, count) in thread.join().expect("it does not panic") {
                *total.entry(id).or_default() += count;
            }
            total
        })
    });
    assert!(total.values().all(|count| *count == 400), "{total:?}");
    assert_eq!(selector.standing(&Key::new("orders", "a")), Some(Standing::default()));
}

#[test]
fn two_selectors_begin_their_rounds_at_different_instances() {
    let ids: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let service = orders(ids.iter().map(String::as_str));
    let first = |_| id(&pick(&with(Strategy::RoundRobin).0, &service));
    let firsts: BTreeSet<String> = (0..100).map(first).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}
