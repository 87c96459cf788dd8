//! The keys that are being set from here, or asked for many at a time: whose copy may be kept afterwards.
//!
//! Two who set one key at once are answered in an order that need not be the owner's. A copy of the one that
//! is answered last could be the one that lost; so neither is kept. What was asked for before a set or a
//! removal is not kept after it.
//!
//! Pure.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Writes<K>(HashMap<K, Running>);

#[derive(Debug, Default)]
struct Running {
    sets: u32,
    sets_disturbed: bool,
    reads: u32,
    reads_disturbed: bool,
}

impl<K> Default for Writes<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Writes<K> {
    /// A set begins. It must [end](Self::end).
    pub(super) fn begin(&mut self, key: &K) {
        let running = self.0.entry(key.clone()).or_default();
        running.sets_disturbed = running.sets > 0;
        running.reads_disturbed = true;
        running.sets += 1;
    }

    /// Somebody else has changed the key.
    pub(super) fn disturb(&mut self, key: &K) {
        if let Some(running) = self.0.get_mut(key) {
            running.sets_disturbed = true;
            running.reads_disturbed = true;
        }
    }

    /// A set ends; says whether nobody else has changed the key since it began.
    pub(super) fn end(&mut self, key: &K) -> bool {
        let Some(running) = self.0.get_mut(key).filter(|running| running.sets > 0) else {
            return false;
        };
        running.sets -= 1;
        let undisturbed = !running.sets_disturbed;
        self.tidy(key);
        undisturbed
    }

    /// A request for the key among others begins. It must [end](Self::end_read).
    pub(super) fn begin_read(&mut self, key: &K) {
        let running = self.0.entry(key.clone()).or_default();
        if running.reads == 0 {
            running.reads_disturbed = running.sets > 0;
        }
        running.reads += 1;
    }

    /// Whether nobody has changed the key since the first of the requests that are under way began.
    pub(super) fn may_keep_read(&self, key: &K) -> bool {
        self.0.get(key).is_some_and(|running| running.reads > 0 && !running.reads_disturbed)
    }

    pub(super) fn end_read(&mut self, key: &K) {
        if let Some(running) = self.0.get_mut(key) {
            running.reads = running.reads.saturating_sub(1);
            self.tidy(key);
        }
    }

    fn tidy(&mut self, key: &K) {
        if self.0.get(key).is_some_and(|running| running.sets == 0 && running.reads == 0) {
            self.0.remove(key);
        }
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

    #[test]
    fn what_was_asked_for_is_kept_unless_a_set_or_a_removal_came_meanwhile() {
        let mut writes = Writes::default();
        writes.begin_read(&1);
        writes.begin_read(&1);
        assert!(writes.may_keep_read(&1), "two who ask do not disturb each other");
        writes.disturb(&1);
        assert!(!writes.may_keep_read(&1));
        writes.end_read(&1);
        assert!(!writes.may_keep_read(&1), "the other one began before, too");
        writes.end_read(&1);
        writes.begin_read(&1);
        assert!(writes.may_keep_read(&1));
        writes.begin(&1);
        assert!(!writes.may_keep_read(&1));
        assert!(writes.end(&1), "who asks does not disturb who sets");
        assert!(!writes.may_keep_read(&1));
        writes.end_read(&1);
        writes.begin(&1);
        writes.begin_read(&1);
        assert!(!writes.may_keep_read(&1), "it may have been answered before the set was");
    }
}
