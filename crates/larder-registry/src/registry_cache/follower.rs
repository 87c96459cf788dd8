//! What a watch's events make of a service.
//!
//! Pure. A listing is built aside and put in place at its end, so that nobody sees half of it; what was
//! there and is not in it is gone by that. What an event tells of a time before what is known is nothing
//! new: a late creation does not bring a deleted instance back.

use std::sync::Arc;

use crate::catalog::Service;
use crate::event::Event;
use crate::model::{Instance, Name};

/// A service as it is followed.
#[derive(Debug)]
pub(super) struct Follower {
    name: Name,
    state: Option<Service>,
    aside: Option<Vec<Arc<Instance>>>,
    revision: u64,
}

/// What an event has changed.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Nothing that can be seen.
    Nothing,
    /// The service, as of this revision; none if it has no instance.
    State(Option<Service>, u64),
    /// The event makes no sense here: a part of a listing that has not begun, or the other way round.
    Disordered,
}

impl Follower {
    pub(super) fn new(name: Name) -> Self {
        Self { name, state: None, aside: None, revision: 0 }
    }

    /// Takes the next event of a watch.
    pub(super) fn take(&mut self, event: Event) -> Step {
        match (event, self.aside.take()) {
            (Event::Init, None) => {
                self.aside = Some(Vec::new());
                Step::Nothing
            }
            (Event::InitApply(instance), Some(mut aside)) => {
                aside.push(self.held_if_same(instance));
                self.aside = Some(aside);
                Step::Nothing
            }
            (Event::InitDone { revision }, Some(aside)) => {
                // As registrants write it, and not as it was asked for.
                let name = aside.first().map_or(&self.name, |first| &first.service).clone();
                // A listing is the truth, even if its revisions have begun again.
                let service = match &self.state {
                    Some(state) => state.relisted(name, revision, aside),
                    None => Service::new(name, revision, aside),
                };
                self.settle(service, revision)
            }
            (Event::Apply { revision, instance }, None) if self.is_news(revision) => {
                let service = self.state.clone();
                let mut service =
                    service.unwrap_or_else(|| Service::new(instance.service.clone(), 0, []));
                service.put(instance, revision);
                self.settle(service, revision)
            }
            (Event::Delete { revision, instance }, None) if self.is_news(revision) => {
                let Some(mut service) = self.state.clone() else { return Step::Nothing };
                if !service.take(&instance.id, revision) {
                    return Step::Nothing;
                }
                self.settle(service, revision)
            }
            (Event::Apply { .. } | Event::Delete { .. } | Event::Resumed, None) => Step::Nothing,
            _ => Step::Disordered,
        }
    }

    /// Whether a listing has begun and not ended.
    pub(super) fn is_listing(&self) -> bool {
        self.aside.is_some()
    }

    /// What is held in place of what is listed, if that says the same. It is compared here, one by one as they
    /// come, because at the end of a long listing nobody else on the thread would run for as long as all of
    /// them take.
    fn held_if_same(&self, listed: Arc<Instance>) -> Arc<Instance> {
        let held = self.state.as_ref().and_then(|state| state.get(&listed.id));
        held.filter(|held| **held == listed).cloned().unwrap_or(listed)
    }

    fn settle(&mut self, service: Service, revision: u64) -> Step {
        self.revision = revision;
        self.state = (!service.is_empty()).then_some(service);
        Step::State(self.state.clone(), revision)
    }

    /// A source that does not count is believed. Several changes of one step share a revision.
    fn is_news(&self, revision: u64) -> bool {
        revision == 0 || revision >= self.revision
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn instance(id: &str, host: &str) -> Arc<Instance> {
        let mut instance = Instance::new("orders", id);
        instance.address.host = Some(host.to_owned());
        Arc::new(instance)
    }

    fn apply(revision: u64, id: &str) -> Event {
        Event::Apply { revision, instance: instance(id, "h") }
    }

    fn delete(revision: u64, id: &str) -> Event {
        Event::Delete { revision, instance: instance(id, "h") }
    }

    fn listing(ids: &[&str], revision: u64) -> Vec<Event> {
        let items = ids.iter().map(|id| Event::InitApply(instance(id, "h")));
        std::iter::once(Event::Init).chain(items).chain([Event::InitDone { revision }]).collect()
    }

    fn ids(step: &Step) -> Option<Vec<String>> {
        let Step::State(state, _) = step else { return None };
        Some(state.iter().flat_map(Service::instances).map(|held| held.id.clone()).collect())
    }

    fn following(ids: &[&str], revision: u64) -> Follower {
        let mut follower = Follower::new(Name::new("orders"));
        for event in listing(ids, revision) {
            follower.take(event);
        }
        follower
    }

    #[test]
    fn a_listing_shows_nothing_before_its_end() {
        let mut follower = following(&["a", "b"], 5);
        let steps: Vec<_> =
            listing(&["b", "c"], 9).into_iter().map(|event| follower.take(event)).collect();
        let (last, before) = steps.split_last().unwrap();
        assert!(before.iter().all(|step| matches!(step, Step::Nothing)));
        assert_eq!(ids(last).unwrap(), ["b", "c"], "a is gone by not being listed");
    }

    #[test]
    fn what_a_listing_says_again_is_shared_with_what_was_there() {
        let mut follower = following(&["a", "b"], 5);
        let before = follower.state.clone().unwrap();
        let mut events = listing(&["b", "c", "a"], 9);
        events[3] = Event::InitApply(instance("a", "elsewhere"));
        let steps: Vec<_> = events.into_iter().map(|event| follower.take(event)).collect();
        let Some(Step::State(Some(after), 9)) = steps.last() else { panic!("{steps:?}") };
        assert!(Arc::ptr_eq(before.get("b").unwrap(), after.get("b").unwrap()));
        assert_eq!(after.get("a").unwrap().address.host.as_deref(), Some("elsewhere"));
        assert_eq!((after.len(), after.revision()), (3, 9));
    }

    #[test]
    fn of_two_that_are_listed_under_one_id_the_later_stays() {
        for mut follower in [following(&["a"], 5), Follower::new(Name::new("orders"))] {
            follower.take(Event::Init);
            for host in ["first", "second"] {
                follower.take(Event::InitApply(instance("a", host)));
            }
            let step = follower.take(Event::InitDone { revision: 6 });
            let Step::State(Some(after), 6) = step else { panic!("{step:?}") };
            assert_eq!(after.get("a").unwrap().address.host.as_deref(), Some("second"));
            assert_eq!(after.len(), 1);
        }
    }

    #[test]
    fn a_late_creation_does_not_bring_a_deleted_instance_back() {
        let mut follower = following(&["a", "b"], 5);
        assert_eq!(ids(&follower.take(delete(8, "b"))).unwrap(), ["a"]);
        assert!(matches!(follower.take(apply(7, "b")), Step::Nothing));
        assert_eq!(ids(&follower.take(apply(9, "b"))).unwrap(), ["a", "b"]);
    }

    #[test]
    fn without_a_last_instance_there_is_no_service() {
        let mut follower = following(&["a"], 5);
        assert!(matches!(follower.take(delete(6, "a")), Step::State(None, 6)));
        assert!(matches!(follower.take(delete(7, "a")), Step::Nothing));
        assert_eq!(ids(&follower.take(apply(8, "z"))).unwrap(), ["z"]);
    }

    #[test]
    fn a_listing_after_a_restart_counts_although_its_revisions_begin_again() {
        let mut follower = following(&["a"], 500);
        let steps: Vec<_> =
            listing(&["b"], 3).into_iter().map(|event| follower.take(event)).collect();
        assert_eq!(ids(steps.last().unwrap()).unwrap(), ["b"]);
        assert_eq!(ids(&follower.take(apply(4, "c"))).unwrap(), ["b", "c"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let mut follower = following(&["a"], 5);
        assert!(matches!(follower.take(Event::InitDone { revision: 6 }), Step::Disordered));
        follower.take(Event::Init);
        assert!(matches!(follower.take(apply(7, "a")), Step::Disordered));
    }

    proptest! {
        /// Against a plain map: changes and listings in any order.
        #[test]
        fn it_holds_what_it_was_told(steps in prop::collection::vec((0_u8..5, 0_u8..6), 1..80)) {
            let mut follower = Follower::new(Name::new("orders"));
            follower.take(Event::Init);
            follower.take(Event::InitDone { revision: 0 });
            let mut reference = BTreeSet::new();
            for (revision, (kind, id)) in (1..).zip(steps) {
                let id = id.to_string();
                let step = match kind {
                    0 | 1 => {
                        reference.insert(id.clone());
                        follower.take(apply(revision, &id))
                    }
                    2 | 3 => {
                        reference.remove(&id);
                        follower.take(delete(revision, &id))
                    }
                    _ => {
                        reference.remove(&id);
                        let listed: Vec<&str> = reference.iter().map(String::as_str).collect();
                        let events = listing(&listed, revision).into_iter();
                        events.map(|event| follower.take(event)).last().unwrap()
                    }
                };
                if let Some(ids) = ids(&step) {
                    prop_assert_eq!(ids, reference.iter().cloned().collect::<Vec<_>>());
                }
            }
        }
    }
}
