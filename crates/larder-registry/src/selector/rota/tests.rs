use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::marks::Marking;
use super::super::strategy::Strategy as Way;
use super::super::strategy::tests::dice;
use super::*;
use crate::model::Name;

fn rules(strategy: Way) -> Rules {
    let marking = Marking::default();
    Rules { strategy, zone: None, zone_key: "zone".to_owned(), zone_percent: 20, marking }
}

fn service<'a>(ids: impl IntoIterator<Item = &'a str>) -> Arc<Service> {
    let instances = ids.into_iter().map(|id| Arc::new(Instance::new("orders", id)));
    Arc::new(Service::new(Name::new("orders"), 1, instances))
}

/// A rota with the throws of its dice.
struct Game {
    rota: Rota,
    rules: Rules,
    throws: u64,
    now: Time,
}

impl Game {
    fn new(strategy: Way) -> Self {
        Self { rota: Rota::default(), rules: rules(strategy), throws: 0, now: Time::ZERO }
    }

    /// The first pick of a call.
    fn call(&mut self, service: &Arc<Service>, filter: &Filter) -> Option<Member> {
        let (view, lineup) = self.rota.lineup(service, filter, &self.rules, self.now);
        self.throws += 1;
        self.rota.pick(view, &lineup, &[], dice(self.throws))
    }

    /// Who is called, one call after the other, each finished before the next.
    fn ids(&mut self, service: &Arc<Service>, filter: &Filter, calls: usize) -> Vec<String> {
        let call = |_| {
            let member = self.call(service, filter).expect("there is somebody");
            member.load.end();
            member.instance.id.clone()
        };
        (0..calls).map(call).collect()
    }

    fn fail(&mut self, member: &Member) {
        member.load.end();
        self.rota.fail(member, &self.rules, self.now, self.now);
    }
}

fn counts(ids: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_keeps_its_place_from_call_to_call() {
    let mut game = Game::new(Way::RoundRobin);
    let orders = service(["a", "b", "c", "d", "e", "f", "g"]);
    let ids = game.ids(&orders, &Filter::default(), 700);
    assert!(counts(&ids).values().all(|count| *count == 100));
    assert!(ids.windows(8).all(|round| round[0] == round[7]));
}

#[test]
fn a_round_goes_on_when_instances_join_and_leave() {
    let mut game = Game::new(Way::RoundRobin);
    let before = service(["b", "d", "f"]);
    while game.ids(&before, &Filter::default(), 1) != ["d"] {}
    let after = service(["a", "b", "c", "e", "g"]);
    assert_eq!(game.ids(&after, &Filter::default(), 6), ["e", "g", "a", "b", "c", "e"]);
}

#[test]
fn each_filter_has_a_round_of_its_own() {
    let mut game = Game::new(Way::RoundRobin);
    let versioned = [("a1", "1"), ("a2", "1"), ("b1", "2"), ("b2", "2")].map(|(id, version)| {
        Arc::new(Instance { version: version.to_owned(), ..Instance::new("orders", id) })
    });
    let orders = Arc::new(Service::new(Name::new("orders"), 1, versioned));
    let filters = ["1", "2"].map(|version| Filter::default().version(version));
    let mut ids = Vec::new();
    for _ in 0..10 {
        for filter in &filters {
            ids.extend(game.ids(&orders, filter, 1));
        }
    }
    assert_eq!(counts(&ids), BTreeMap::from([("a1", 5), ("a2", 5), ("b1", 5), ("b2", 5)]));
}

#[test]
fn of_too_many_filters_those_used_longest_ago_are_forgotten() {
    let mut game = Game::new(Way::RoundRobin);
    let orders = service(["a", "b"]);
    let used_often = Filter::default();
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.extend(game.ids(&orders, &used_often, 1));
        let number = number.to_string();
        game.rota.lineup(&orders, &Filter::default().version(&number), &game.rules, game.now);
        assert!(game.rota.views.len() <= FILTERS_PER_SERVICE);
    }
    assert_eq!(game.rota.views.len(), FILTERS_PER_SERVICE);
    assert_eq!(counts(&ids), BTreeMap::from([("a", 50), ("b", 50)]));
}

#[test]
fn what_left_is_forgotten_with_the_snapshot() {
    let mut game = Game::new(Way::Random);
    for wave in 0..50 {
        let ids: Vec<String> = (0..20).map(|number| format!("{wave}-{number}")).collect();
        let orders = service(ids.iter().map(String::as_str));
        for _ in 0..60 {
            let member = game.call(&orders, &Filter::default()).expect("there is somebody");
            game.fail(&member);
        }
        let known = game.rota.members.len();
        assert!(game.rota.marks.len() <= 20, "{} are remembered", game.rota.marks.len());
        assert_eq!((known, ids.iter().all(|id| game.rota.of(id).is_some())), (20, true));
        assert_eq!(game.rota.of(&format!("{}-0", wave - 1)), None);
    }
}

#[test]
fn a_lineup_is_made_once_for_a_snapshot_a_filter_and_what_is_marked() {
    let mut game = Game::new(Way::Random);
    let orders = service(["a", "b"]);
    let lineup = |game: &mut Game, orders| {
        game.rota.lineup(orders, &Filter::default(), &game.rules, game.now).1
    };
    let first = lineup(&mut game, &orders);
    assert!(Arc::ptr_eq(&first, &lineup(&mut game, &orders)));
    let member = first.choose(&[], None, 0).expect("there is somebody");
    (0..3).for_each(|_| game.rota.fail(&member, &game.rules, game.now, game.now));
    let marked = lineup(&mut game, &orders);
    assert!(!Arc::ptr_eq(&first, &marked));
    game.now = game.now.after(Duration::from_secs(29));
    assert!(Arc::ptr_eq(&marked, &lineup(&mut game, &orders)));
    game.now = game.now.after(Duration::from_secs(1));
    assert!(!Arc::ptr_eq(&marked, &lineup(&mut game, &orders)));
}

#[test]
fn a_mark_belongs_to_the_address_that_failed() {
    let mut game = Game::new(Way::Random);
    let mut instance = Instance::new("orders", "a");
    let one = |instance: &Instance| {
        Arc::new(Service::new(Name::new("orders"), 1, [Arc::new(instance.clone())]))
    };
    let orders = one(&instance);
    let late = game.call(&orders, &Filter::default()).expect("there is somebody");
    for _ in 0..3 {
        let member = game.call(&orders, &Filter::default()).expect("there is somebody");
        game.fail(&member);
    }
    instance.version = "2".to_owned();
    game.rota.lineup(&one(&instance), &Filter::default(), &game.rules, game.now);
    assert!(game.rota.of("a").is_some_and(|(outstanding, trouble)| {
        outstanding == 1 && trouble.is_some_and(|trouble| trouble.is_marked(game.now))
    }));
    instance.address.ip = Some("10.0.0.2".to_owned());
    game.rota.lineup(&one(&instance), &Filter::default(), &game.rules, game.now);
    assert_eq!(game.rota.of("a"), Some((0, None)));
    game.fail(&late);
    assert_eq!(game.rota.of("a"), Some((0, None)), "what is late is of the one before");
}

#[derive(Debug, Clone)]
enum Step {
    Call,
    Drop(usize),
    Succeed(usize),
    Fail(usize),
    /// The instances that there are from now on, a bit for each.
    Change(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Call),
        2 => any::<usize>().prop_map(Step::Drop),
        2 => any::<usize>().prop_map(Step::Succeed),
        3 => any::<usize>().prop_map(Step::Fail),
        1 => (1..=u8::MAX).prop_map(Step::Change),
        1 => (0..40_u64).prop_map(Step::Wait),
    ]
}

const IDS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];

fn present(bits: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |place| bits & (1 << place) != 0)
}

/// What a selector ought to know, kept naively: for each id since when it is there, and the picks of it.
#[derive(Debug, Default)]
struct Model {
    here: BTreeMap<usize, u64>,
    changes: u64,
    under_way: Vec<(usize, u64)>,
}

impl Model {
    fn change(&mut self, bits: u8) {
        self.changes += 1;
        self.here.retain(|place, _| bits & (1 << place) != 0);
        present(bits).for_each(|place| {
            self.here.entry(place).or_insert(self.changes);
        });
    }

    fn outstanding(&self, place: usize) -> Option<u32> {
        let here = *self.here.get(&place)?;
        let count = self.under_way.iter().filter(|pick| **pick == (place, here)).count();
        u32::try_from(count).ok()
    }
}

proptest! {
    #[test]
    fn outstanding_requests_are_counted_whatever_happens(
        steps in prop::collection::vec(step(), 1..120),
        strategy in prop::sample::select(vec![
            Way::Random, Way::RoundRobin, Way::LeastOutstanding, Way::PowerOfTwoChoices, Way::Weighted,
        ]),
    ) {
        let mut game = Game::new(strategy);
        let mut model = Model::default();
        let mut picks: Vec<(Member, Time)> = Vec::new();
        let mut bits = 0b111_u8;
        let mut orders = service(present(bits).map(|place| IDS[place]));
        model.change(bits);
        game.rota.lineup(&orders, &Filter::default(), &game.rules, game.now);
        for step in steps {
            let place = match step {
                Step::Drop(at) | Step::Succeed(at) | Step::Fail(at) if !picks.is_empty() => {
                    at % picks.len()
                }
                _ => 0,
            };
            match step {
                Step::Call => {
                    let member = game.call(&orders, &Filter::default());
                    let member = member.expect("marks alone leave nobody with none");
                    let place = member.instance.id.parse().expect("ids are numbers");
                    let here = model.here.get(&place).copied();
                    model.under_way.push((place, here.expect("only who is there is picked")));
                    picks.push((member, game.now));
                }
                Step::Change(to) => {
                    bits = to;
                    orders = service(present(bits).map(|place| IDS[place]));
                    model.change(bits);
                    game.rota.lineup(&orders, &Filter::default(), &game.rules, game.now);
                }
                Step::Wait(secs) => game.now = game.now.after(Duration::from_secs(secs)),
                _ if picks.is_empty() => {}
                _ => {
                    model.under_way.remove(place);
                    let (member, begun) = picks.remove(place);
                    member.load.end();
                    match step {
                        Step::Succeed(_) => game.rota.succeed(&member),
                        Step::Fail(_) => game.rota.fail(&member, &game.rules, begun, game.now),
                        _ => {}
                    }
                }
            }
            for (place, id) in IDS.iter().enumerate() {
                let known = game.rota.of(id).map(|(outstanding, _)| outstanding);
                prop_assert_eq!(known, model.outstanding(place), "{}", id);
            }
        }
    }
}
