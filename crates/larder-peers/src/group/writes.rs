//! The keys that are being set from here: whose copy may be kept afterwards.
//!
//! Two who set one key at once are answered in an order that need not be the owner's. A copy of the one that
//! is answered last could be the one that lost; so neither is kept.
//!
//! Pure.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Writes<K>(HashMap<K, Running>);

#[derive(Debug)]
struct Running {
    sets: u32,
    disturbed: bool,
}

impl<K> Default for Writes<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Writes<K> {
    /// A set begins. It must [end](Self::end).
    pub(super) fn begin(&mut self, key: &K) {
        let running = self.0.entry(key.clone()).or_insert(Running { sets: 0, disturbed: false });
        running.disturbed = running.sets > 0;
        running.sets += 1;
    }

    /// Somebody else has changed the key.
    pub(super) fn disturb(&mut self, key: &K) {
        if let Some(running) = self.0.get_mut(key) {
            running.disturbed = true;
        }
    }

    /// A set ends; says whether nobody else has changed the key since it began.
    pub(super) fn end(&mut self, key: &K) -> bool {
        let Some(running) = self.0.get_mut(key) else { return false };
        running.sets -= 1;
        let undisturbed = !running.disturbed;
        if running.sets == 0 {
            self.0.remove(key);
        }
        undisturbed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_alone_may_keep_its_copy_and_two_at_once_may_not() {
        let mut writes = Writes::default();
        writes.begin(&1);
        assert!(writes.end(&1));
        writes.begin(&1);
        writes.begin(&1);
        assert!(!writes.end(&1) && !writes.end(&1));
        writes.begin(&1);
        assert!(writes.end(&1), "what was before is over");
    }

    #[test]
    fn one_that_was_disturbed_may_not() {
        let mut writes = Writes::default();
        writes.disturb(&1);
        writes.begin(&1);
        writes.begin(&2);
        writes.disturb(&1);
        assert!(!writes.end(&1) && writes.end(&2));
        assert!(!writes.end(&1), "it has not begun");
    }
}
