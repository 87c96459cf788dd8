//! When what is not there any more was deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Tombstones, bounded in number and bytes. Of those that were forgotten, the greatest index is left.
#[derive(Debug)]
pub(super) struct Graves {
    by_key: BTreeMap<Arc<str>, u64>,
    by_age: BTreeSet<(u64, Arc<str>)>,
    bytes: usize,
    max: usize,
    max_bytes: usize,
    floor: u64,
}

impl Graves {
    pub(super) fn new(max: usize, max_bytes: usize, floor: u64) -> Self {
        Self { by_key: BTreeMap::new(), by_age: BTreeSet::new(), bytes: 0, max, max_bytes, floor }
    }

    /// What is below every index of what has a grave no more, or never had one.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn of(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// The latest deletion of a key that begins with `prefix`.
    pub(super) fn latest(&self, prefix: &str) -> Option<u64> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.by_key.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        keys.map(|(_, index)| *index).max()
    }

    pub(super) fn dig(&mut self, key: &Arc<str>, index: u64) {
        self.fill(key);
        self.by_key.insert(Arc::clone(key), index);
        self.by_age.insert((index, Arc::clone(key)));
        self.bytes += key.len();
        while self.by_age.len() > self.max || self.bytes > self.max_bytes {
            let Some((index, key)) = self.by_age.pop_first() else { break };
            self.by_key.remove(&key);
            self.bytes -= key.len();
            self.floor = self.floor.max(index);
        }
    }

    /// The key is there again, with an index above that of its grave.
    pub(super) fn fill(&mut self, key: &str) {
        if let Some((key, index)) = self.by_key.remove_entry(key) {
            self.bytes -= key.len();
            self.by_age.remove(&(index, key));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.by_age.len());
        assert_eq!(self.bytes, self.by_key.keys().map(|key| key.len()).sum::<usize>());
        self.by_key.len()
    }
}
