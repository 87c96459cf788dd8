//! What a delta tells: the last state of everything that changed lately.
//!
//! Pure. Clients apply a delta to what they have, compare the hash that comes with it against their
//! own, and fetch everything if the two differ; so a delta may tell a change twice, and must tell the
//! last state of each instance.

use std::collections::{HashMap, VecDeque};

use larder_registry::catalog::Change;
use larder_registry::model::Key;

/// Which instances changed lately, and when each of them last did.
///
/// Bounded: it knows of up to [`MAX_TOLD`](Self::MAX_TOLD) instances. Beyond that it has a gap, as it
/// has if its owner missed changes: until the gap is older than the retention the delta must tell
/// nothing, so that its hash makes clients fetch everything.
#[derive(Debug, Default)]
pub struct Window {
    /// The revision of each instance's last change.
    last: HashMap<Key, u64>,
    /// Changes in the order in which they came; one that is not its instance's last counts no more.
    order: VecDeque<Told>,
    /// When changes were last missed, in milliseconds since 1970.
    gap: Option<u64>,
}

#[derive(Debug)]
struct Told {
    wall: u64,
    revision: u64,
    key: Key,
}

impl Window {
    /// How many instances a delta tells of at most.
    pub const MAX_TOLD: usize = 65_536;

    /// Takes in a change, which comes after all those before.
    pub fn add(&mut self, change: &Change) {
        let key = change.instance.key();
        self.last.insert(key.clone(), change.revision);
        self.order.push_back(Told { wall: change.wall, revision: change.revision, key });
        if self.last.len() > Self::MAX_TOLD {
            self.miss(change.wall);
        } else if self.order.len() > 2 * self.last.len() + 64 {
            let last = &self.last;
            self.order.retain(|told| last.get(&told.key) == Some(&told.revision));
        }
    }

    /// Whether this is the last change of its instance, and not forgotten.
    pub fn tells(&self, change: &Change) -> bool {
        self.last.get(&change.instance.key()) == Some(&change.revision)
    }

    /// Forgets everything: changes were missed at `wall`.
    pub fn miss(&mut self, wall: u64) {
        *self = Self { gap: Some(wall), ..Self::default() };
    }

    /// Lets go of what was before `since`, and answers with what is told no more.
    pub fn expire(&mut self, since: u64) -> Vec<Key> {
        self.gap = self.gap.filter(|gap| *gap >= since);
        let mut expired = Vec::new();
        while self.order.front().is_some_and(|told| told.wall < since) {
            let Some(told) = self.order.pop_front() else { break };
            if self.last.get(&told.key) == Some(&told.revision) {
                self.last.remove(&told.key);
                expired.push(told.key);
            }
        }
        expired
    }

    /// Whether changes within the retention were missed.
    pub fn has_gap(&self) -> bool {
        self.gap.is_some()
    }
}

#[cfg(test)]
mod tests {
    use larder_registry::catalog::Catalog;
    use larder_registry::model::{Action, Instance};

    use super::*;

    fn change(catalog: &mut Catalog, id: &str, wall: u64) -> Change {
        catalog.put(Instance::new("a", id), Action::Modified, wall)
    }

    #[test]
    fn what_changed_again_is_told_until_its_last_change_is_old() {
        let (mut catalog, mut window) = (Catalog::new(0, 100), Window::default());
        for (id, wall) in [("1", 10), ("2", 20), ("1", 30)] {
            window.add(&change(&mut catalog, id, wall));
        }
        assert_eq!(window.expire(20), [], "its first change is old, its last is not");
        assert_eq!(window.expire(21), [Key::new("a", "2")]);
        assert_eq!(window.expire(31), [Key::new("a", "1")]);
    }

    #[test]
    fn one_instance_that_changes_for_ever_takes_little_room() {
        let (mut catalog, mut window) = (Catalog::new(0, 100), Window::default());
        for wall in 0..10_000 {
            window.add(&change(&mut catalog, "1", wall));
        }
        assert!(window.order.len() < 100, "{} are kept", window.order.len());
        assert_eq!(window.expire(10_000), [Key::new("a", "1")]);
    }

    #[test]
    fn what_was_missed_is_a_gap_until_it_is_old() {
        let (mut catalog, mut window) = (Catalog::new(0, 100), Window::default());
        window.add(&change(&mut catalog, "1", 10));
        window.miss(50);
        assert!(window.has_gap());
        assert_eq!(window.expire(50), [], "it was forgotten");
        assert!(window.has_gap());
        window.expire(51);
        assert!(!window.has_gap());
    }

    #[test]
    fn beyond_its_bound_the_window_has_a_gap() {
        let (mut catalog, mut window) = (Catalog::new(0, 1), Window::default());
        for id in 0..=Window::MAX_TOLD {
            assert!(!window.has_gap(), "at {id}");
            window.add(&change(&mut catalog, &id.to_string(), 7));
        }
        assert!(window.has_gap());
    }
}
