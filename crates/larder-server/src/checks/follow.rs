//! Which checks are probed, as instances come, change and go.
//!
//! Pure: it hears the events of a watch and answers with what is to be done. Events may be repeated or
//! begin anew, as those of a watch do: what is to be done is the difference to what was done before.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use larder_registry::Event;
use larder_registry::model::{CheckKey, Instance, Key, Probe};

use super::probe;

/// What is probed, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) probe: Probe,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

/// A check as it is probed in one way. In another one it has another number: what comes then need not
/// wait until the last probe of what was before has ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Probed {
    pub(super) check: CheckKey,
    /// Never given twice.
    pub(super) number: u64,
}

/// What is to be done about a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Probe it from now on, like this.
    Track(Probed, Target),
    /// Probe it no more.
    Forget(Probed),
    /// There is no room to probe it: say so.
    Refuse(CheckKey, Target),
}

type Targets = BTreeMap<CheckKey, Target>;

/// The checks that are probed, `limit` at most, and those that wait for room. Bounded by the registry.
#[derive(Debug)]
pub(super) struct Following {
    limit: usize,
    /// With their numbers.
    tracked: BTreeMap<CheckKey, (u64, Target)>,
    waiting: Targets,
    /// The checks of a listing that is not complete yet.
    listing: Targets,
    last_number: u64,
}

impl Following {
    pub(super) fn new(limit: usize) -> Self {
        let (tracked, waiting, listing) = Default::default();
        Self { limit, tracked, waiting, listing, last_number: 0 }
    }

    /// How many checks wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the event demands.
    pub(super) fn hear(&mut self, event: &Event) -> Vec<Step> {
        let mut steps = Vec::new();
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(instance) => self.listing.extend(targets(instance)),
            Event::InitDone { .. } => {
                let (listed, before) = (mem::take(&mut self.listing), self.known());
                self.replace(&before, listed, &mut steps);
            }
            Event::Apply { instance, .. } => {
                let before = self.known_of(&instance.key());
                self.replace(&before, targets(instance).collect(), &mut steps);
            }
            Event::Delete { instance, .. } => {
                let before = self.known_of(&instance.key());
                self.replace(&before, Targets::new(), &mut steps);
            }
            Event::Resumed => {}
        }
        steps
    }

    /// Puts the targets `after` in the place of the checks `before`.
    fn replace(&mut self, before: &[CheckKey], after: Targets, steps: &mut Vec<Step>) {
        for gone in before.iter().filter(|key| !after.contains_key(key)) {
            self.waiting.remove(gone);
            self.forget(gone, steps);
        }
        for (key, target) in after {
            self.set(key, target, steps);
        }
        while self.tracked.len() < self.limit
            && let Some((key, target)) = self.waiting.pop_first()
        {
            self.track(key, target, steps);
        }
    }

    fn set(&mut self, key: CheckKey, target: Target, steps: &mut Vec<Step>) {
        match self.tracked.get(&key) {
            Some((_, held)) if *held == target => {}
            Some(_) => {
                self.forget(&key, steps);
                self.track(key, target, steps);
            }
            // Those that wait already take the free places first.
            None => {
                let before = self.waiting.insert(key.clone(), target.clone());
                if self.tracked.len() >= self.limit && before.as_ref() != Some(&target) {
                    steps.push(Step::Refuse(key, target));
                }
            }
        }
    }

    fn track(&mut self, key: CheckKey, target: Target, steps: &mut Vec<Step>) {
        self.last_number += 1;
        let number = self.last_number;
        self.tracked.insert(key.clone(), (number, target.clone()));
        steps.push(Step::Track(Probed { check: key, number }, target));
    }

    fn forget(&mut self, key: &CheckKey, steps: &mut Vec<Step>) {
        if let Some((number, _)) = self.tracked.remove(key) {
            steps.push(Step::Forget(Probed { check: key.clone(), number }));
        }
    }

    fn known(&self) -> Vec<CheckKey> {
        self.tracked.keys().chain(self.waiting.keys()).cloned().collect()
    }

    fn known_of(&self, instance: &Key) -> Vec<CheckKey> {
        let first = CheckKey::new(instance.clone(), "");
        let is_of_it = |key: &&CheckKey| key.instance == *instance;
        let tracked = self.tracked.range(&first..).map(|(key, _)| key).take_while(is_of_it);
        let waiting = self.waiting.range(&first..).map(|(key, _)| key).take_while(is_of_it);
        tracked.chain(waiting).cloned().collect()
    }
}

/// The checks of an instance that somebody has to look at.
fn targets(instance: &Instance) -> impl Iterator<Item = (CheckKey, Target)> {
    let key = instance.key();
    instance.checks.iter().filter(|check| check.is_active()).map(move |check| {
        let (interval, timeout) = (probe::interval(check), probe::timeout(check));
        let target = Target { probe: check.probe.clone(), interval, timeout };
        (CheckKey::new(key.clone(), &check.id), target)
    })
}

#[cfg(test)]
mod tests;
