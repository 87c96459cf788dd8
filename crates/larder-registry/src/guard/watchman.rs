//! What a watch may be believed.
//!
//! Pure: `now` is an argument. It holds what was told so far, shared with whoever was told, and what it
//! holds on to; both are bounded by what is registered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use larder_cache::Time;

use super::{Mode, Options};
use crate::event::Event;
use crate::model::{Instance, Key, Name};

#[derive(Debug)]
pub(super) struct Watchman {
    options: Options,
    /// What was told to be there.
    known: HashMap<Name, BTreeMap<Arc<str>, Arc<Instance>>>,
    total: usize,
    /// When instances were let go lately, of which service.
    gone: VecDeque<(Time, Name)>,
    /// What is held on to, and since when.
    held: HashMap<Key, Time>,
    aside: Option<HashMap<Key, Arc<Instance>>>,
    revision: u64,
    /// A mass removal goes on, and was logged.
    alarmed: bool,
}

/// What is passed on for one event, and whether a mass removal has begun with it.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) events: Vec<Event>,
    pub(super) alarm: Option<Alarm>,
}

/// A mass removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    /// Whose instances; none if it is about all of them.
    pub(super) service: Option<Name>,
    pub(super) vanished: usize,
    pub(super) of: usize,
}

impl Watchman {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            known: HashMap::new(),
            total: 0,
            gone: VecDeque::new(),
            held: HashMap::new(),
            aside: None,
            revision: 0,
            alarmed: false,
        }
    }

    /// How many instances are held on to.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// When the next one is let go, if nothing else happens.
    pub(super) fn next(&self) -> Option<Time> {
        self.held.values().min().map(|since| since.after(self.options.hold))
    }

    pub(super) fn take(&mut self, event: Event, now: Time) -> Passed {
        self.forget_old(now);
        match event {
            Event::Init => {
                self.aside = Some(HashMap::new());
                Passed::default()
            }
            Event::InitApply(instance) => {
                if let Some(aside) = &mut self.aside {
                    aside.insert(instance.key(), instance);
                }
                Passed::default()
            }
            Event::InitDone { revision } => self.take_listing(revision, now),
            Event::Apply { revision, instance } => {
                self.revision = revision;
                self.held.remove(&instance.key());
                self.put(instance.clone());
                Passed { events: vec![Event::Apply { revision, instance }], alarm: None }
            }
            Event::Delete { revision, instance } => self.take_deletion(revision, instance, now),
            Event::Resumed => Passed { events: vec![Event::Resumed], alarm: None },
        }
    }

    /// Lets go of what has been held for long enough.
    pub(super) fn let_go(&mut self, now: Time) -> Vec<Event> {
        let hold = self.options.hold;
        self.release(|since| since.after(hold) <= now)
    }

    /// Lets go of everything.
    pub(super) fn confirm(&mut self) -> Vec<Event> {
        self.release(|_| true)
    }

    fn release(&mut self, which: impl Fn(Time) -> bool) -> Vec<Event> {
        let mut gone: Vec<Key> = self
            .held
            .iter()
            .filter(|(_, since)| which(**since))
            .map(|(key, _)| key.clone())
            .collect();
        gone.sort();
        let revision = self.revision;
        gone.iter()
            .filter_map(|key| {
                self.held.remove(key);
                Some(Event::Delete { revision, instance: self.remove(key)? })
            })
            .collect()
    }

    fn take_deletion(&mut self, revision: u64, instance: Arc<Instance>, now: Time) -> Passed {
        self.revision = revision;
        let key = instance.key();
        // Held already, and told by itself: that is the second word for it.
        let told_again = self.held.remove(&key).is_some();
        if !self.knows(&key) {
            return Passed::default();
        }
        let alarm = if told_again { None } else { self.mass_of(&key.service, 1, 1) };
        let hold = alarm.is_some() && self.options.mode == Mode::On;
        if hold {
            self.held.insert(key, now);
        } else {
            self.remove(&key);
            if !told_again {
                self.gone.push_back((now, key.service));
            }
        }
        let events = if hold { Vec::new() } else { vec![Event::Delete { revision, instance }] };
        Passed { events, alarm: self.news(alarm) }
    }

    fn take_listing(&mut self, revision: u64, now: Time) -> Passed {
        let Some(mut listed) = self.aside.take() else { return Passed::default() };
        self.revision = revision;
        let missing: Vec<Arc<Instance>> = self
            .known
            .values()
            .flat_map(BTreeMap::values)
            .filter(|held| !listed.contains_key(&held.key()))
            .cloned()
            .collect();
        // Held already, and missing again: that is the second word for them.
        let held = std::mem::take(&mut self.held);
        let (confirmed, vanished): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|instance| held.contains_key(&instance.key()));
        self.total -= confirmed.len();
        let mut by_service: BTreeMap<Name, Vec<Arc<Instance>>> = BTreeMap::new();
        let all = vanished.len();
        for instance in vanished {
            by_service.entry(instance.service.clone()).or_default().push(instance);
        }
        let mut alarm = None;
        for (service, vanished) in by_service {
            let mass = self.mass_of(&service, vanished.len(), all);
            if mass.is_some() && self.options.mode == Mode::On {
                for instance in vanished {
                    self.held.insert(instance.key(), now);
                    listed.insert(instance.key(), instance);
                }
            } else {
                self.gone.extend(vanished.iter().map(|_| (now, service.clone())));
            }
            alarm = alarm.or(mass);
        }
        self.known.clear();
        self.total = 0;
        let mut events = vec![Event::Init];
        for instance in listed.into_values() {
            self.put(instance.clone());
            events.push(Event::InitApply(instance));
        }
        events.push(Event::InitDone { revision });
        Passed { events, alarm: self.news(alarm) }
    }

    /// Whether it makes a mass if so many more of a service vanish, and so many of all.
    fn mass_of(&self, service: &Name, more: usize, more_of_all: usize) -> Option<Alarm> {
        let gone = self.gone.iter().filter(|(_, name)| name == service).count();
        let held = self.held.keys().filter(|key| key.service == *service).count();
        let there = self.known.get(service).map_or(0, BTreeMap::len);
        let (vanished, of) = (gone + held + more, there + gone);
        if self.is_mass(vanished, of) {
            return Some(Alarm { service: Some(service.clone()), vanished, of });
        }
        let vanished = self.gone.len() + self.held.len() + more_of_all;
        let of = self.total + self.gone.len();
        self.is_mass(vanished, of).then_some(Alarm { service: None, vanished, of })
    }

    #[expect(clippy::cast_precision_loss, reason = "no registry holds so many")]
    fn is_mass(&self, vanished: usize, of: usize) -> bool {
        vanished >= self.options.at_least && vanished as f64 > self.options.share * of as f64
    }

    /// An alarm is told once, until things have calmed down.
    fn news(&mut self, alarm: Option<Alarm>) -> Option<Alarm> {
        alarm.filter(|_| !std::mem::replace(&mut self.alarmed, true))
    }

    fn forget_old(&mut self, now: Time) {
        while self.gone.front().is_some_and(|(at, _)| at.after(self.options.window) < now) {
            self.gone.pop_front();
        }
        self.alarmed &= !(self.gone.is_empty() && self.held.is_empty());
    }

    fn knows(&self, key: &Key) -> bool {
        self.known.get(&key.service).is_some_and(|service| service.contains_key(&key.id))
    }

    fn put(&mut self, instance: Arc<Instance>) {
        let service = self.known.entry(instance.service.clone()).or_default();
        if service.insert(instance.id.as_str().into(), instance).is_none() {
            self.total += 1;
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Instance>> {
        let service = self.known.get_mut(&key.service)?;
        let instance = service.remove(&key.id)?;
        if service.is_empty() {
            self.known.remove(&key.service);
        }
        self.total -= 1;
        Some(instance)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn watchman(mode: Mode) -> Watchman {
        Watchman::new(Options { mode, ..Options::default() })
    }

    fn instance(service: &str, id: usize) -> Arc<Instance> {
        Arc::new(Instance::new(service, &format!("{id:03}")))
    }

    fn list(watchman: &mut Watchman, service: &str, ids: impl Iterator<Item = usize>) -> Passed {
        watchman.take(Event::Init, NOW);
        for id in ids {
            watchman.take(Event::InitApply(instance(service, id)), NOW);
        }
        watchman.take(Event::InitDone { revision: 1 }, NOW)
    }

    fn delete(watchman: &mut Watchman, service: &str, id: usize, now: Time) -> Passed {
        watchman.take(Event::Delete { revision: 2, instance: instance(service, id) }, now)
    }

    fn listed(passed: &Passed) -> usize {
        passed.events.iter().filter(|event| matches!(event, Event::InitApply(_))).count()
    }

    #[test]
    fn a_listing_without_most_of_a_service_is_held_and_the_next_one_is_believed() {
        let mut watchman = watchman(Mode::On);
        list(&mut watchman, "orders", 0..20);
        let passed = list(&mut watchman, "orders", 0..3);
        assert_eq!((listed(&passed), watchman.held()), (20, 17));
        let expected = Alarm { service: Some(Name::new("orders")), vanished: 17, of: 20 };
        assert_eq!(passed.alarm, Some(expected));
        let passed = list(&mut watchman, "orders", 0..3);
        assert_eq!((listed(&passed), watchman.held()), (3, 0));
    }

    #[test]
    fn deletions_one_by_one_are_held_from_where_they_are_a_mass() {
        let mut watchman = watchman(Mode::On);
        list(&mut watchman, "orders", 0..20);
        let passed: Vec<usize> =
            (0..20).map(|id| delete(&mut watchman, "orders", id, NOW).events.len()).collect();
        assert_eq!(passed.iter().sum::<usize>(), 10, "half of them: {passed:?}");
        assert_eq!(watchman.held(), 10);
        let told_again = delete(&mut watchman, "orders", 15, NOW);
        assert!(matches!(&told_again.events[..], [Event::Delete { .. }]));
    }

    #[test]
    fn a_roll_out_that_takes_its_time_is_no_mass() {
        let mut watchman = watchman(Mode::On);
        list(&mut watchman, "orders", 0..20);
        for id in 0..20 {
            let now = NOW.after(Duration::from_secs(3) * u32::try_from(id).unwrap());
            assert_eq!(delete(&mut watchman, "orders", id, now).events.len(), 1, "{id}");
        }
    }

    #[test]
    fn few_instances_are_no_mass_and_neither_is_a_small_service_that_leaves() {
        let mut watchman = watchman(Mode::On);
        list(&mut watchman, "orders", 0..4);
        assert_eq!(listed(&list(&mut watchman, "orders", 0..0)), 0);
    }

    #[test]
    fn what_is_held_is_let_go_in_time_or_when_it_comes_back_or_by_an_operator() {
        let mut watchman = watchman(Mode::On);
        list(&mut watchman, "orders", 0..20);
        list(&mut watchman, "orders", 0..3);
        let back = Event::Apply { revision: 3, instance: instance("orders", 10) };
        watchman.take(back, NOW);
        assert_eq!(watchman.held(), 16);
        let later = NOW.after(Duration::from_secs(90));
        assert_eq!(watchman.next(), Some(later));
        assert!(watchman.let_go(Time::from_millis(later.as_millis() - 1)).is_empty());
        assert_eq!(watchman.let_go(later).len(), 16);
        assert_eq!(watchman.held(), 0);
        list(&mut watchman, "orders", 20..40);
        list(&mut watchman, "orders", 20..22);
        let (held, there) = (watchman.held(), watchman.total);
        assert!(held > 0);
        assert_eq!((watchman.confirm().len(), watchman.total), (held, there - held));
    }

    #[test]
    fn a_warning_passes_everything_on_and_is_told_once() {
        let mut watchman = watchman(Mode::Warn);
        list(&mut watchman, "orders", 0..20);
        let passed: Vec<Passed> =
            (0..20).map(|id| delete(&mut watchman, "orders", id, NOW)).collect();
        assert!(passed.iter().all(|passed| passed.events.len() == 1));
        assert_eq!(passed.iter().filter(|passed| passed.alarm.is_some()).count(), 1);
        assert_eq!(watchman.held(), 0);
    }

    #[test]
    fn many_small_services_that_vanish_together_are_a_mass_of_the_registry() {
        let mut watchman = watchman(Mode::On);
        watchman.take(Event::Init, NOW);
        for service in 0..30 {
            watchman.take(Event::InitApply(instance(&format!("s{service}"), 0)), NOW);
        }
        watchman.take(Event::InitDone { revision: 1 }, NOW);
        watchman.take(Event::Init, NOW);
        let passed = watchman.take(Event::InitDone { revision: 2 }, NOW);
        assert_eq!((listed(&passed), watchman.held()), (30, 30));
        assert_eq!(passed.alarm, Some(Alarm { service: None, vanished: 30, of: 30 }));
    }
}
