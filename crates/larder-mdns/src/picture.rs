//! What is known of the network: the instances that are registered here, and those that were heard of.
//!
//! Those of others are believed for as long as they said, or as long as this backend is told to, and
//! then gone unless they were heard again. Changes are numbered and remembered for watches.
//!
//! Pure. Holds at most so many instances of others; the next is left out, and counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_cache::expiry::Deadlines;
use larder_registry::Event;
use larder_registry::model::{Instance, Key, Name};

use crate::message::{Heard, Seen};
use crate::names::Place;

/// How many changes are remembered. A watch that falls further behind lists anew.
const LOG_LEN: usize = 4_096;

/// What is known.
#[derive(Debug)]
pub(crate) struct Picture {
    held: BTreeMap<Key, Held>,
    /// When those of others are gone, unless they are heard of again.
    deadlines: Deadlines<Key>,
    log: VecDeque<Change>,
    /// Everything after this revision is in `log`.
    forgotten: u64,
    revision: u64,
    bounds: Bounds,
    left_out: u64,
    /// What left a moment ago. What was said of it before may still be on its way, and must not bring
    /// it back. At most so many as instances.
    left: HashMap<Key, Left>,
    echoes: Deadlines<Key>,
}

/// How much of others is held, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How many instances.
    pub(crate) instances: usize,
    /// How long an instance is believed that is not heard of again, whatever it says itself.
    pub(crate) silence: Duration,
    /// How long what was said before an instance left may take to arrive here.
    pub(crate) echo: Duration,
}

#[derive(Debug)]
struct Held {
    instance: Arc<Instance>,
    /// Where it was heard of; none for one that is registered here.
    heard: Option<Place>,
    /// As of when that is so, at least.
    as_of: Time,
}

#[derive(Debug)]
struct Left {
    at: Time,
    /// For one that was registered here, when it was changed last.
    updated_at: u64,
}

#[derive(Debug, Clone)]
struct Change {
    revision: u64,
    is_gone: bool,
    instance: Arc<Instance>,
}

impl Picture {
    /// Knows nothing yet.
    pub(crate) fn new(revision: u64, bounds: Bounds) -> Self {
        Self {
            held: BTreeMap::new(),
            deadlines: Deadlines::default(),
            log: VecDeque::new(),
            forgotten: revision,
            revision,
            bounds,
            left_out: 0,
            left: HashMap::new(),
            echoes: Deadlines::default(),
        }
    }

    /// The last change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// How often an instance of others was left out because there were too many.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// An instance was registered here, or changed.
    pub(crate) fn registered(&mut self, instance: Arc<Instance>, now: Time) {
        let key = instance.key();
        self.deadlines.remove(&key);
        let before =
            self.held.insert(key, Held { instance: instance.clone(), heard: None, as_of: now });
        if before.is_none_or(|before| before.instance != instance) {
            self.record(false, instance);
        }
    }

    /// An instance that was registered here left.
    pub(crate) fn left(&mut self, instance: &Arc<Instance>, now: Time) {
        let key = instance.key();
        if self.held.remove(&key).is_some() {
            self.record(true, instance.clone());
            self.remember(key, Left { at: now, updated_at: instance.updated_at });
        }
    }

    /// Something was heard that is so as of some moment: now if it was announced; if it was asked for,
    /// the moment before. Answers are taken in when all of them are there, and what was announced
    /// meanwhile is newer. Of what is registered here nobody else is believed.
    pub(crate) fn hear(&mut self, heard: Heard, as_of: Option<Time>, now: Time) {
        match heard {
            Heard::Here(seen) => self.see(seen, as_of, now),
            Heard::Gone { key, place } => {
                // The one that is held may have been heard of in the other place since.
                if self.held.get(&key).is_none_or(|held| held.heard == Some(place)) {
                    self.forget(&key);
                    self.remember(key, Left { at: now, updated_at: 0 });
                }
            }
            Heard::Listed(_) => {}
        }
    }

    fn see(&mut self, seen: Seen, as_of: Option<Time>, now: Time) {
        let Seen { place, instance, ttl_secs } = seen;
        let is_older = |than: Time| as_of.is_some_and(|as_of| as_of <= than);
        let key = instance.key();
        let is_full = self.deadlines.len() >= self.bounds.instances;
        let before = self.held.get(&key);
        let is_echo = self.left.get(&key).is_some_and(|left| {
            is_older(left.at) || (1..=left.updated_at).contains(&instance.updated_at)
        });
        if is_echo || before.is_some_and(|held| held.heard.is_none()) {
            return;
        }
        if before.is_none() && is_full {
            self.left_out += 1;
            return;
        }
        let ttl = Duration::from_secs(ttl_secs.into()).min(self.bounds.silence);
        self.deadlines.set(key.clone(), now.after(ttl));
        if before.is_some_and(|held| is_older(held.as_of)) {
            return;
        }
        let is_news = before.is_none_or(|held| held.instance != instance);
        let as_of = as_of.unwrap_or(now);
        self.held.insert(key, Held { instance: instance.clone(), heard: Some(place), as_of });
        if is_news {
            self.record(false, instance);
        }
    }

    /// Forgets those of others that were not heard of again in time.
    pub(crate) fn expire(&mut self, now: Time) {
        while let Some((key, _)) = self.deadlines.pop(now) {
            self.forget(&key);
        }
        while let Some((key, _)) = self.echoes.pop(now) {
            self.left.remove(&key);
        }
    }

    /// The moment before which nobody is forgotten.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.deadlines.next().into_iter().chain(self.echoes.next()).min()
    }

    /// Forgets all others without a word: nobody watches.
    pub(crate) fn forget_others(&mut self) {
        self.held.retain(|_, held| held.heard.is_none());
        self.deadlines = Deadlines::default();
        self.log.clear();
        self.forgotten = self.revision;
    }

    /// In which ways the service is written.
    pub(crate) fn spellings(&self, service: &Name) -> Vec<String> {
        let first = Key { service: service.clone(), id: "".into() };
        let of_this = self.held.range(first..).take_while(|(key, _)| key.service == *service);
        let mut spellings: Vec<String> =
            of_this.map(|(_, held)| held.instance.service.as_str().to_owned()).collect();
        spellings.sort();
        spellings.dedup();
        spellings
    }

    /// What a watch of `service`, or of all, hears next if it was told everything up to `told`: the
    /// changes since, or a listing if they are not all known.
    pub(crate) fn events(&self, told: Option<u64>, service: Option<&Name>) -> Vec<Event> {
        let is_wanted =
            |instance: &Instance| service.is_none_or(|service| *service == instance.service);
        let Some(told) = told.filter(|told| (self.forgotten..=self.revision).contains(told)) else {
            let held = self.held.values().map(|held| &held.instance);
            let wanted = held.filter(|instance| is_wanted(instance)).cloned();
            let end = Event::InitDone { revision: self.revision };
            let listing = wanted.map(Event::InitApply).chain([end]);
            return std::iter::once(Event::Init).chain(listing).collect();
        };
        let first = self.log.partition_point(|change| change.revision <= told);
        let wanted = self.log.range(first..).filter(|change| is_wanted(&change.instance));
        wanted.cloned().map(Event::from).collect()
    }

    fn forget(&mut self, key: &Key) {
        self.deadlines.remove(key);
        if let Some(held) = self.held.remove(key) {
            self.record(true, held.instance);
        }
    }

    fn remember(&mut self, key: Key, left: Left) {
        if self.left.len() < self.bounds.instances || self.left.contains_key(&key) {
            self.echoes.set(key.clone(), left.at.after(self.bounds.echo));
            self.left.insert(key, left);
        }
    }

    fn record(&mut self, is_gone: bool, instance: Arc<Instance>) {
        self.revision += 1;
        self.log.push_back(Change { revision: self.revision, is_gone, instance });
        if self.log.len() > LOG_LEN
            && let Some(oldest) = self.log.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }
}

impl From<Change> for Event {
    fn from(Change { revision, is_gone, instance }: Change) -> Self {
        if is_gone {
            Self::Delete { revision, instance }
        } else {
            Self::Apply { revision, instance }
        }
    }
}

#[cfg(test)]
mod tests;
