//! When what is gone went.
//!
//! Pure, and bounded: of what is forgotten it is said that it went with the youngest forgotten one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Names that are gone, and since when.
#[derive(Debug)]
pub(crate) struct Tombstones<K> {
    when: HashMap<K, u64>,
    /// In the order in which they went; one that went twice is here twice, and only the last counts.
    order: VecDeque<(K, u64)>,
    floor: u64,
    limit: usize,
}

impl<K: Hash + Eq + Clone> Tombstones<K> {
    /// Whatever is not known went at `floor`; `limit` of the others are remembered.
    pub(crate) fn new(floor: u64, limit: usize) -> Self {
        Self { when: HashMap::new(), order: VecDeque::new(), floor, limit }
    }

    /// It went now.
    pub(crate) fn bury(&mut self, name: K, revision: u64) {
        self.when.insert(name.clone(), revision);
        self.order.push_back((name, revision));
        while self.order.len() > self.limit {
            self.forget_oldest();
        }
    }

    /// When it went, or at least not after that.
    pub(crate) fn when(&self, name: &K) -> u64 {
        self.when.get(name).copied().unwrap_or(self.floor)
    }

    fn forget_oldest(&mut self) {
        let Some((name, revision)) = self.order.pop_front() else { return };
        if self.when.get(&name) == Some(&revision) {
            self.when.remove(&name);
            self.floor = self.floor.max(revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_went_with_the_youngest_forgotten_one() {
        let mut gone = Tombstones::new(5, 2);
        assert_eq!(gone.when(&"a"), 5);
        gone.bury("a", 10);
        gone.bury("b", 11);
        assert_eq!((gone.when(&"a"), gone.when(&"b"), gone.when(&"c")), (10, 11, 5));
        gone.bury("c", 12);
        assert_eq!((gone.when(&"a"), gone.when(&"b"), gone.when(&"c")), (10, 11, 12));
        // Nothing ever went later than it is said to have gone.
        assert_eq!(gone.when(&"never"), 10);
    }

    #[test]
    fn what_went_twice_went_the_last_time() {
        let mut gone = Tombstones::new(0, 2);
        gone.bury("a", 1);
        gone.bury("a", 2);
        gone.bury("b", 3);
        assert_eq!((gone.when(&"a"), gone.when(&"b")), (2, 3));
    }
}
