//! Whom of a service's instances to pick from, best first.
//!
//! Pure: the time is an argument. A lineup is made once for a snapshot, a filter and what is marked, and
//! stays as it is.

use std::sync::Arc;

use larder_cache::Time;

use super::filter::Filter;
use super::marks::{Marking, Marks};
use super::strategy::{Member, Strategy, Tier, weight};
use super::zone::{is_enough, zone_of};
use crate::model::Instance;

/// What decides whom to pick, whatever the service.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) strategy: Strategy,
    pub(super) zone: Option<String>,
    pub(super) zone_key: String,
    pub(super) zone_percent: u8,
    pub(super) marking: Marking,
}

/// Whom of a service's instances to pick from.
#[derive(Debug)]
pub(super) struct Lineup {
    /// Best first: those that are available and near, the other available ones, and those that are marked,
    /// the least recently failed before the others.
    tiers: [Tier; 3],
    strategy: Strategy,
    /// When a mark ends, and with it this lineup.
    pub(super) until: Time,
}

impl Lineup {
    /// The lineup of those `members`, in the order of their ids, that `filter` matches.
    pub(super) fn new(
        members: &[Member],
        filter: &Filter,
        rules: &Rules,
        marks: &Marks,
        now: Time,
    ) -> Self {
        let strategy = rules.strategy;
        let mut available = Vec::new();
        let mut marked = Vec::new();
        for member in members {
            let instance = &member.instance;
            let is_weightless = strategy == Strategy::Weighted && weight(instance) == 0;
            if is_weightless || !filter.matches(instance, &rules.zone_key) {
                continue;
            }
            match marks.turn_if_marked(&instance.id, now) {
                Some(turn) => marked.push((turn, member.clone())),
                None => available.push(member.clone()),
            }
        }
        marked.sort_unstable_by_key(|(turn, _)| *turn);
        let marked = marked.into_iter().map(|(_, member)| member).collect();
        let (near, far) = rules.divide(available);
        let tiers = [near, far, marked].map(|members| Tier::new(members, strategy));
        Self { tiers, strategy, until: marks.first_end(now) }
    }

    /// How many may be picked.
    pub(super) fn len(&self) -> usize {
        self.tiers.iter().map(|tier| tier.members().len()).sum()
    }

    /// Who is next, but for those that were `tried`; none when there is nobody else. `after` is who was
    /// picked last in this round.
    pub(super) fn choose(
        &self,
        tried: &[Arc<Instance>],
        after: Option<&str>,
        random: u64,
    ) -> Option<Member> {
        let last = self.tiers.len() - 1;
        self.tiers.iter().enumerate().find_map(|(place, tier)| {
            if place == last {
                let mut members = tier.members().iter();
                return members.find(|member| is_left(member, tried)).cloned();
            }
            if tried.is_empty() {
                return tier.choose(self.strategy, after, random).cloned();
            }
            let left = tier.members().iter().filter(|member| is_left(member, tried));
            Tier::new(left.cloned().collect(), self.strategy)
                .choose(self.strategy, after, random)
                .cloned()
        })
    }
}

fn is_left(member: &Member, tried: &[Arc<Instance>]) -> bool {
    !tried.iter().any(|tried| Arc::ptr_eq(tried, &member.instance))
}

impl Rules {
    /// The available members that are near enough to be asked first, and the others.
    fn divide(&self, available: Vec<Member>) -> (Vec<Member>, Vec<Member>) {
        let Some(zone) = &self.zone else { return (available, Vec::new()) };
        let count = available.len();
        let is_near = |member: &Member| zone_of(&member.instance, &self.zone_key) == Some(zone);
        let near = available.iter().filter(|member| is_near(member)).count();
        if is_enough(near, count, self.zone_percent) {
            available.into_iter().partition(is_near)
        } else {
            (available, Vec::new())
        }
    }
}
