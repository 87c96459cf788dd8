//! What a Eureka server holds, put together from its lists and deltas.
//!
//! A *list* (`GET apps`) is everything, and replaces what was known. A *delta* (`GET apps/delta`) is the
//! last state of what changed in the last minutes: it is applied to what is known, entry by entry, and
//! applying it twice does no harm. With it comes the hash of everything that the server holds; if what
//! is known then has another one, something was missed, and a list must be fetched.
//!
//! Pure, and knows no backend: whoever follows a Eureka server keeps one of these.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use larder_registry::catalog::StatusCounts;
use larder_registry::model::{Action, Instance, Key, Lease};

use crate::apps_hash::apps_hash;
use crate::wire::Applications;

/// What one server holds, as far as it was told. Holds at most so many instances.
#[derive(Debug)]
pub struct Replica {
    held: HashMap<Key, Arc<Instance>>,
    counts: StatusCounts,
    max_instances: usize,
}

/// What a list or a delta did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What is held in another state than before, or no longer, or was not. In no order; each once.
    pub changed: Vec<Key>,
    /// Whether the hashes agree.
    pub verdict: Verdict,
}

/// Whether what is held is what the server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The hashes agree. They count statuses, so that two errors that make up for each other go unseen.
    Agrees,
    /// They do not: fetch a list.
    Differs {
        /// The hash of what is held.
        held: String,
        /// The hash that the server sent.
        told: String,
    },
}

/// There are more instances than may be held. What is held is as it was. Raise the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds more than {limit} instances")]
pub struct TooMany {
    /// How many may be held.
    pub limit: usize,
}

impl Replica {
    /// Holds nothing yet, and `max_instances` at most.
    pub fn new(max_instances: usize) -> Self {
        Self { held: HashMap::new(), counts: StatusCounts::default(), max_instances }
    }

    /// The instance with this key, as the server prints it.
    pub fn get(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.held.get(key)
    }

    /// How many instances are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The hash of what is held, by which it is compared with what the server holds.
    pub fn hash(&self) -> String {
        apps_hash(&self.counts)
    }

    /// Takes a list for everything that there is: what is not in it is gone. Entries that say `DELETED`
    /// are none.
    pub fn list(&mut self, apps: &Applications) -> Result<Applied, TooMany> {
        let mut now = HashMap::new();
        for instance in entries(apps).filter(|entry| entry.action != Some(Action::Deleted)) {
            now.insert(instance.key(), instance.clone());
            if now.len() > self.max_instances {
                return Err(TooMany { limit: self.max_instances });
            }
        }
        let before = std::mem::replace(&mut self.held, now);
        self.counts = StatusCounts::default();
        let mut changed = Vec::new();
        for (key, instance) in &self.held {
            self.counts.add(instance.effective_status());
            if before.get(key).is_none_or(|before| !is_same(before, instance)) {
                changed.push(key.clone());
            }
        }
        changed.extend(before.into_keys().filter(|key| !self.held.contains_key(key)));
        Ok(Applied { changed, verdict: self.compare(apps) })
    }

    /// Applies a delta: `DELETED` removes, everything else adds or replaces. An entry that is older, by
    /// the server's own stamp, than what is held is skipped: a server keeps encoded deltas for a while,
    /// and one may be older than the list that was fetched before it.
    pub fn delta(&mut self, delta: &Applications) -> Result<Applied, TooMany> {
        self.check_room(delta)?;
        let mut changed = HashSet::new();
        for entry in entries(delta) {
            let key = entry.key();
            let held = self.held.get(&key);
            if held.is_some_and(|held| entry.updated_at < held.updated_at) {
                continue;
            }
            let is_news = match entry.action {
                Some(Action::Deleted) => self.remove(&key),
                Some(Action::Added | Action::Modified) | None => self.put(&key, entry),
            };
            if is_news {
                changed.insert(key);
            }
        }
        let changed = changed.into_iter().collect();
        Ok(Applied { changed, verdict: self.compare(delta) })
    }

    /// Before anything is applied, so that a delta is applied whole or not at all.
    fn check_room(&self, delta: &Applications) -> Result<(), TooMany> {
        let mut len = self.held.len();
        for entry in entries(delta) {
            match (self.held.contains_key(&entry.key()), entry.action) {
                // A delta that names an instance twice only makes the room look larger or smaller.
                (true, Some(Action::Deleted)) => len = len.saturating_sub(1),
                (false, Some(Action::Added | Action::Modified) | None) => len += 1,
                (true, _) | (false, Some(Action::Deleted)) => {}
            }
        }
        if len > self.max_instances { Err(TooMany { limit: self.max_instances }) } else { Ok(()) }
    }

    /// Whether that was news.
    fn put(&mut self, key: &Key, instance: &Arc<Instance>) -> bool {
        let before = self.held.insert(key.clone(), instance.clone());
        self.counts.add(instance.effective_status());
        if let Some(before) = &before {
            self.counts.subtract(before.effective_status());
        }
        before.is_none_or(|before| !is_same(&before, instance))
    }

    fn remove(&mut self, key: &Key) -> bool {
        let before = self.held.remove(key);
        if let Some(before) = &before {
            self.counts.subtract(before.effective_status());
        }
        before.is_some()
    }

    fn compare(&self, apps: &Applications) -> Verdict {
        let held = self.hash();
        if held == apps.hash {
            return Verdict::Agrees;
        }
        Verdict::Differs { held, told: apps.hash.clone() }
    }
}

/// Every instance of a list, or entry of a delta, in order.
pub fn entries(apps: &Applications) -> impl Iterator<Item = &Arc<Instance>> {
    apps.apps.iter().flat_map(|app| &app.instances)
}

/// Whether two copies of an instance say the same, whenever they were made and whichever server of a
/// cluster printed them: heartbeats are no change, and each server keeps times of its own.
pub(crate) fn is_same(one: &Instance, other: &Instance) -> bool {
    let terms = |lease: &Lease| (lease.renewal_interval_secs, lease.duration_secs);
    one.says_the_same(other, |one, other| terms(one) == terms(other))
}

#[cfg(test)]
mod tests;
