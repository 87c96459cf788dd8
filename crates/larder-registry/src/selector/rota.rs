//! What a selector remembers of one service: who is busy, who fails, and whose turn it is.
//!
//! Pure: the time and random bits are arguments.

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;

use larder_cache::Time;

use super::filter::Filter;
use super::lineup::{Lineup, Rules};
use super::marks::{Marks, Trouble};
use super::strategy::Member;
use crate::catalog::Service;
use crate::model::Instance;

/// How many filters of one service are remembered, each with its lineup and its place in the round. Of more,
/// those that were used longest ago are forgotten: they begin a round anew.
pub const FILTERS_PER_SERVICE: usize = 16;

/// What is remembered of one service: of each instance of the snapshot that was shown last how many
/// requests are outstanding, and of those that fail how.
#[derive(Debug, Default)]
pub(super) struct Rota {
    shown: Option<Arc<Service>>,
    /// All its instances, in the order of their ids.
    members: Vec<Member>,
    marks: Marks,
    /// The most recently used first.
    views: Vec<View>,
    last_view: u64,
}

/// A service as one filter lets it be seen.
#[derive(Debug)]
struct View {
    number: u64,
    filter: Filter,
    /// From the snapshot that was shown last; none when that, or what is marked, has changed since.
    lineup: Option<Arc<Lineup>>,
    /// Who was picked last.
    place: Option<Arc<Instance>>,
}

impl Rota {
    /// Whom to pick from, and the number of the view that [`pick`](Self::pick) asks for.
    pub(super) fn lineup(
        &mut self,
        service: &Arc<Service>,
        filter: &Filter,
        rules: &Rules,
        now: Time,
    ) -> (u64, Arc<Lineup>) {
        self.learn(service);
        self.bring_to_front(filter);
        let view = &mut self.views[0];
        if let Some(lineup) = view.lineup.as_ref().filter(|lineup| now < lineup.until) {
            return (view.number, lineup.clone());
        }
        let lineup = Arc::new(Lineup::new(&self.members, filter, rules, &self.marks, now));
        view.lineup = Some(lineup.clone());
        (view.number, lineup)
    }

    /// Picks somebody who was not tried, and counts a request as outstanding there.
    pub(super) fn pick(
        &mut self,
        view: u64,
        lineup: &Lineup,
        tried: &[Arc<Instance>],
        random: u64,
    ) -> Option<Member> {
        let view = self.views.iter_mut().find(|held| held.number == view);
        let last = view.as_ref().and_then(|view| view.place.clone());
        let last = last.as_ref().map(|instance| instance.id.as_str());
        let member = lineup.choose(tried, last, random)?;
        member.load.begin();
        if let Some(view) = view {
            view.place = Some(member.instance.clone());
        }
        Some(member)
    }

    /// A request that was begun at `begun` did not reach this member.
    pub(super) fn fail(&mut self, member: &Member, rules: &Rules, begun: Time, now: Time) {
        if self.is_known(member) && self.marks.fail(rules.marking, &member.instance.id, begun, now)
        {
            self.forget_lineups();
        }
    }

    /// A request reached this member.
    pub(super) fn succeed(&mut self, member: &Member) {
        if self.marks.has_any() && self.is_known(member) && self.marks.succeed(&member.instance.id)
        {
            self.forget_lineups();
        }
    }

    /// What is remembered of an instance: its outstanding requests, and how it fails.
    pub(super) fn of(&self, id: &str) -> Option<(u32, Option<Trouble>)> {
        let member = member(&self.members, id)?;
        Some((member.load.outstanding(), self.marks.of(id).copied()))
    }

    /// Whether this is still the instance of its id. One that left and came back, or that is reached
    /// elsewhere now, is another.
    fn is_known(&self, picked: &Member) -> bool {
        let known = member(&self.members, &picked.instance.id);
        known.is_some_and(|known| Arc::ptr_eq(&known.load, &picked.load))
    }

    /// Takes note of the snapshot, if it is another one, and forgets who is not in it. The revision does not
    /// count: that of a registry which was restored from a backup is smaller than before.
    fn learn(&mut self, service: &Arc<Service>) {
        if self.shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, service)) {
            return;
        }
        self.forget_lineups();
        let mut before = mem::take(&mut self.members).into_iter().peekable();
        for instance in service.instances() {
            while before.next_if(|held| order(held, instance).is_lt()).is_some() {}
            let known = before.next_if(|held| order(held, instance).is_eq());
            let load = match known {
                Some(known) if known.instance.address == instance.address => known.load,
                _ => {
                    self.marks.forget(&instance.id);
                    Arc::default()
                }
            };
            self.members.push(Member { instance: instance.clone(), load });
        }
        self.marks.retain(|id| member(&self.members, id).is_some());
        self.shown = Some(service.clone());
    }

    fn bring_to_front(&mut self, filter: &Filter) {
        let view = match self.views.iter().position(|view| view.filter == *filter) {
            Some(0) => return,
            Some(place) => self.views.remove(place),
            None => {
                self.views.truncate(FILTERS_PER_SERVICE - 1);
                self.last_view += 1;
                let (number, filter) = (self.last_view, filter.clone());
                View { number, filter, lineup: None, place: None }
            }
        };
        self.views.insert(0, view);
    }

    fn forget_lineups(&mut self) {
        self.views.iter_mut().for_each(|view| view.lineup = None);
    }
}

/// Which of the two comes first. Mostly they are the same, as from one snapshot to the next little changes.
fn order(held: &Member, instance: &Arc<Instance>) -> Ordering {
    if Arc::ptr_eq(&held.instance, instance) {
        Ordering::Equal
    } else {
        held.instance.id.cmp(&instance.id)
    }
}

/// The member with this id, of those that are in the order of their ids.
fn member<'a>(members: &'a [Member], id: &str) -> Option<&'a Member> {
    let place = members.binary_search_by(|held| held.instance.id.as_str().cmp(id)).ok()?;
    members.get(place)
}

#[cfg(test)]
mod tests;
