use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::*;
use crate::model::{Check, Probe, Weights};

/// The same throws every time.
pub(in crate::selector) fn dice(throw: u64) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(throw)
}

fn instance(place: usize) -> Instance {
    Instance::new("orders", &format!("{place:02}"))
}

fn tier(instances: impl IntoIterator<Item = Instance>, strategy: Strategy) -> Tier {
    let member = |instance: Instance| Member { instance: Arc::new(instance), load: Arc::default() };
    Tier::new(instances.into_iter().map(member).collect(), strategy)
}

/// How often each member is picked in `throws` throws, and nobody finishes.
fn picks(tier: &Tier, strategy: Strategy, throws: u64) -> Vec<u64> {
    let mut picked = vec![0; tier.members().len()];
    for throw in 0..throws {
        let chosen = tier.choose(strategy, None, dice(throw)).expect("there is somebody");
        picked[chosen.instance.id.parse::<usize>().expect("ids are numbers")] += 1;
    }
    picked
}

/// The sum of the squared deviations from what is expected, each over what is expected.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn chi_square(picked: &[u64], shares: &[u64]) -> f64 {
    let total: u64 = picked.iter().sum();
    let sum: u64 = shares.iter().sum();
    let one = |(picked, share): (&u64, &u64)| {
        let expected = (total * share) as f64 / sum as f64;
        (*picked as f64 - expected).powi(2) / expected
    };
    picked.iter().zip(shares).map(one).sum()
}

/// What chance alone exceeds once in a thousand times, with nine degrees of freedom.
const UNLIKELY_OF_TEN: f64 = 27.9;

#[test]
fn random_picks_all_with_the_same_chance() {
    let tier = tier((0..10).map(instance), Strategy::Random);
    let picked = picks(&tier, Strategy::Random, 10_000);
    assert!(chi_square(&picked, &[1; 10]) < UNLIKELY_OF_TEN, "{picked:?}");
}

#[test]
fn weighted_picks_in_proportion_to_the_weights() {
    let weights = [1, 2, 3, 10, 1, 1, 5, 7, 100, 4];
    let weighing = |(place, passing): (usize, &u64)| {
        let passing = u32::try_from(*passing).expect("it is small");
        Instance { weights: Some(Weights { passing, warning: 0 }), ..instance(place) }
    };
    let tier = tier(weights.iter().enumerate().map(weighing), Strategy::Weighted);
    let picked = picks(&tier, Strategy::Weighted, 50_000);
    assert!(chi_square(&picked, &weights) < UNLIKELY_OF_TEN, "{picked:?}");
    assert!(chi_square(&picked, &[1; 10]) > 10.0 * UNLIKELY_OF_TEN, "the test can fail");
}

#[test]
fn an_instance_weighs_less_while_a_check_warns_and_one_without_a_weight_weighs_one() {
    let mut held = instance(0);
    assert_eq!(weight(&held), 1);
    held.weights = Some(Weights { passing: 5, warning: 2 });
    assert_eq!(weight(&held), 5);
    let check = |health| Check { health, ..Check::new("c", Probe::Tcp("h:1".to_owned())) };
    for (health, expected) in [(Health::Passing, 5), (Health::Warning, 2), (Health::Critical, 2)] {
        held.checks = vec![check(health)];
        assert_eq!(weight(&held), expected, "{health:?}");
    }
}

#[test]
fn of_two_at_random_the_one_with_less_to_do_is_picked() {
    let strategy = Strategy::PowerOfTwoChoices;
    let tier = tier((0..10).map(instance), strategy);
    let idle = picks(&tier, strategy, 10_000);
    assert!(chi_square(&idle, &[1; 10]) < UNLIKELY_OF_TEN, "{idle:?}");
    // With loads 9 to 0, one wins against those with more: the chance of the place is itself of 45.
    for (load, member) in tier.members().iter().rev().enumerate() {
        (0..load).for_each(|_| member.load.begin());
    }
    let picked = picks(&tier, strategy, 10_000);
    let shares: Vec<u64> = (1..10).collect();
    assert_eq!(picked[0], 0, "two at random are never the same");
    assert!(chi_square(&picked[1..], &shares) < UNLIKELY_OF_TEN, "{picked:?}");
}

#[test]
fn the_least_busy_is_picked_and_among_equals_anyone() {
    let strategy = Strategy::LeastOutstanding;
    let tier = tier((0..20).map(instance), strategy);
    for busy in &tier.members()[10..] {
        busy.load.begin();
    }
    let picked = picks(&tier, strategy, 10_000);
    assert_eq!(picked[10..], [0; 10]);
    assert!(chi_square(&picked[..10], &[1; 10]) < UNLIKELY_OF_TEN, "{picked:?}");
    tier.members()[10].load.end();
    (0..10).for_each(|place| tier.members()[place].load.begin());
    assert_eq!(picks(&tier, strategy, 100)[10], 100);
}

#[test]
fn a_round_goes_on_after_an_id_that_has_left() {
    let strategy = Strategy::RoundRobin;
    let tier = tier([1, 3, 5].map(instance), strategy);
    for (last, next) in [("00", "01"), ("01", "03"), ("02", "03"), ("05", "01"), ("06", "01")] {
        let chosen = tier.choose(strategy, Some(last), 0).map(|held| held.instance.id.as_str());
        assert_eq!(chosen, Some(next), "after {last}");
    }
}

#[test]
fn any_bits_pick_somebody_if_there_is_somebody() {
    let strategies = [
        Strategy::Random,
        Strategy::RoundRobin,
        Strategy::LeastOutstanding,
        Strategy::PowerOfTwoChoices,
        Strategy::Weighted,
    ];
    for strategy in strategies {
        assert!(tier([], strategy).choose(strategy, None, 0).is_none());
        for count in 1..5 {
            let tier = tier((0..count).map(instance), strategy);
            for random in [0, 1, u64::MAX, u64::MAX - 1, u64::MAX >> 32, u64::MAX << 32] {
                assert!(tier.choose(strategy, None, random).is_some(), "{strategy:?} of {count}");
            }
        }
    }
}
