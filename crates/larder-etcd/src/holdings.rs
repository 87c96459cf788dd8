//! What is kept in etcd, instance by instance, and what a change of it means to whoever follows.
//!
//! A key is not an instance: `/` and `-` are the same in a key, two spellings of a service's name are
//! two keys and one service, and what does not serve is kept in another place. So the keys that may
//! speak of one instance are held together, and each instance is shown as the key that was written
//! last says. A change is told as the difference that it makes.
//!
//! Pure.

use std::collections::HashMap;
use std::sync::Arc;

use larder_registry::model::{Instance, Key};

use crate::keys::Parts;

/// An instance, as one key says it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The whole key.
    pub(crate) key: String,
    /// The revision at which the key was written first.
    pub(crate) created: i64,
    /// The revision at which it was written last.
    pub(crate) revision: i64,
    /// The lease that it is kept by; zero for none.
    pub(crate) lease: i64,
    /// What it says.
    pub(crate) instance: Arc<Instance>,
}

/// A change of one key.
#[derive(Debug)]
pub(crate) struct Change {
    /// Which keys may speak of the same instance; see [`group`].
    pub(crate) group: String,
    /// The whole key.
    pub(crate) key: String,
    /// What it says now; none if it is gone, or says nothing that counts.
    pub(crate) now: Option<Stored>,
}

/// What a change means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// The instance is new or changed.
    Apply(Arc<Instance>),
    /// The instance is gone.
    Delete(Arc<Instance>),
}

/// What a follower holds: at most `max` keys.
#[derive(Debug)]
pub(crate) struct Holdings {
    groups: HashMap<String, Vec<Stored>>,
    len: usize,
    max: usize,
}

/// There are more keys than may be held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The group of a key: all keys that may speak of the same instance are in one.
pub(crate) fn group(parts: &Parts<'_>) -> String {
    format!("{}/{}", parts.service.to_lowercase(), parts.node)
}

/// Each instance that the keys speak of, as the key that was written last says.
pub(crate) fn shown<'a>(stored: impl IntoIterator<Item = &'a Stored>) -> Vec<&'a Stored> {
    let mut last: HashMap<Key, &Stored> = HashMap::new();
    for stored in stored {
        let shown = last.entry(stored.instance.key()).or_insert(stored);
        if stored.revision > shown.revision {
            *shown = stored;
        }
    }
    last.into_values().collect()
}

impl Holdings {
    /// Holds nothing yet.
    pub(crate) fn new(max: usize) -> Self {
        Self { groups: HashMap::new(), len: 0, max }
    }

    /// Every instance, as it is shown.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.groups.values().flat_map(shown).map(|stored| &stored.instance)
    }

    /// Applies changes that were made in one step, and tells what they mean. A move from one key to
    /// another is one change of the instance, not an end and a beginning.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Result<Vec<Told>, TooMany> {
        let mut touched: Vec<(String, Vec<Arc<Instance>>)> = Vec::new();
        for Change { group, key, now } in changes {
            if !touched.iter().any(|(known, _)| *known == group) {
                touched.push((group.clone(), self.shown_in(&group)));
            }
            self.set(group, &key, now)?;
        }
        let differences = touched.iter().flat_map(|(group, before)| {
            let after = self.shown_in(group);
            difference(before, &after)
        });
        Ok(differences.collect())
    }

    fn set(&mut self, group: String, key: &str, now: Option<Stored>) -> Result<(), TooMany> {
        let mut stored = self.groups.remove(&group).unwrap_or_default();
        let before = stored.len();
        stored.retain(|stored| stored.key != key);
        stored.extend(now);
        self.len = self.len + stored.len() - before;
        if !stored.is_empty() {
            self.groups.insert(group, stored);
        }
        if self.len > self.max { Err(TooMany) } else { Ok(()) }
    }

    fn shown_in(&self, group: &str) -> Vec<Arc<Instance>> {
        let stored = self.groups.get(group).into_iter().flatten();
        shown(stored).into_iter().map(|stored| stored.instance.clone()).collect()
    }
}

/// What leads from one state to the other: first what is gone, then what is new or changed.
fn difference(before: &[Arc<Instance>], after: &[Arc<Instance>]) -> Vec<Told> {
    let same =
        |one: &Instance, other: &Instance| one.id == other.id && one.service == other.service;
    let gone = before.iter().filter(|old| !after.iter().any(|new| same(old, new)));
    let changed = after.iter().filter(|new| !before.iter().any(|old| old == *new));
    let gone = gone.cloned().map(Told::Delete);
    gone.chain(changed.cloned().map(Told::Apply)).collect()
}

#[cfg(test)]
mod tests;
