//! Who is picked from those that may be.
//!
//! Pure: random bits and the place in the round are arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::{Health, Instance};

/// Who is picked from those that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Anyone, all with the same chance.
    Random,
    /// One after the other in the order of their ids. The round goes on from call to call, also when
    /// instances join or leave; each [`Filter`](super::Filter) of a service has its own. It begins somewhere,
    /// so that callers which start together do not all call the same instance.
    RoundRobin,
    /// Whoever has the fewest outstanding requests of this selector; among equals anyone. It looks at every
    /// instance, and sends everything to one that fails fast until it is marked.
    LeastOutstanding,
    /// Of two at random the one with fewer outstanding requests: nearly as even as the least of all, with
    /// two looks, and without a herd.
    #[default]
    PowerOfTwoChoices,
    /// Anyone, with a chance in proportion to its weight: [`Instance::weights`], `passing` while all of its
    /// checks pass, else `warning`; 1 if it has none. An instance of weight 0 is never picked.
    Weighted,
}

/// How many requests are outstanding at one instance.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicU32);

impl Load {
    pub(super) fn outstanding(&self) -> u32 {
        // Relaxed everywhere: it is a number to compare, and guards nothing.
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An instance that may be picked.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) load: Arc<Load>,
}

/// Instances that are as good as each other, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Tier {
    members: Vec<Member>,
    /// For each member the sum of its weight and of those before it; empty unless weights count.
    sums: Vec<u64>,
}

impl Tier {
    pub(super) fn new(members: Vec<Member>, strategy: Strategy) -> Self {
        let weighted = strategy == Strategy::Weighted;
        let weights = members.iter().filter(|_| weighted).map(|member| &member.instance);
        let sums = weights.scan(0, |sum, instance| {
            *sum += u64::from(weight(instance));
            Some(*sum)
        });
        Self { sums: sums.collect(), members }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Who is next; none of none. `after` is who was picked last in this round.
    pub(super) fn choose(
        &self,
        strategy: Strategy,
        after: Option<&str>,
        random: u64,
    ) -> Option<&Member> {
        let count = self.members.len();
        if count < 2 {
            return self.members.first();
        }
        let place = match strategy {
            Strategy::Random => one_of(count, random),
            Strategy::RoundRobin => {
                after.map_or(one_of(count, random), |last| self.place_after(last))
            }
            Strategy::LeastOutstanding => self.least(random),
            Strategy::PowerOfTwoChoices => self.better_of_two(random),
            Strategy::Weighted => self.by_weight(random),
        };
        self.members.get(place)
    }

    /// The place of the first member whose id is greater than `last`, which may have left.
    fn place_after(&self, last: &str) -> usize {
        let next = self.members.partition_point(|member| *member.instance.id <= *last);
        if next == self.members.len() { 0 } else { next }
    }

    fn least(&self, random: u64) -> usize {
        let loads: Vec<u32> = self.members.iter().map(|held| held.load.outstanding()).collect();
        let least = loads.iter().min();
        let count = loads.iter().filter(|load| Some(*load) == least).count();
        let mut ties = loads.iter().enumerate().filter(|(_, load)| Some(*load) == least);
        ties.nth(one_of(count, random)).map_or(0, |(place, _)| place)
    }

    fn better_of_two(&self, random: u64) -> usize {
        // The upper bits are the first's, the lower ones the second's, which is another than the first.
        let first = one_of(self.members.len(), random);
        let other = one_of(self.members.len() - 1, random << 32);
        let other = if other < first { other } else { other + 1 };
        let load = |place: usize| self.members[place].load.outstanding();
        if load(other) < load(first) { other } else { first }
    }

    fn by_weight(&self, random: u64) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        let point = scaled(total, random);
        self.sums.partition_point(|sum| *sum <= point)
    }
}

/// A place below `count`, all with the same chance. Uses the upper bits of `random` first.
fn one_of(count: usize, random: u64) -> usize {
    usize::try_from(scaled(count as u64, random)).unwrap_or_default()
}

/// A number below `bound`.
fn scaled(bound: u64, random: u64) -> u64 {
    let product = u128::from(bound) * u128::from(random);
    u64::try_from(product >> 64).unwrap_or_default()
}

/// What the instance's share of the traffic is in proportion to.
pub(super) fn weight(instance: &Instance) -> u32 {
    let passes = || instance.checks.iter().all(|check| check.health == Health::Passing);
    match instance.weights {
        None => 1,
        Some(weights) if passes() => weights.passing,
        Some(weights) => weights.warning,
    }
}

#[cfg(test)]
pub(super) mod tests;
