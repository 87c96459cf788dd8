//! What was written here, and is not in the server's lists yet.
//!
//! Netflix's server hands out encoded lists that are up to half a minute old, while a single instance
//! is read as it is. So what a write led to is read back at once, and *pinned*: shown in place of what
//! the lists say, until they tell of the instance as it was then or later, by the server's own stamp,
//! or until they have had time enough to.
//!
//! Pure. Holds at most so many pins; a write beyond that shows when the lists do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_registry::model::{Action, Instance, Key};

/// The pins.
#[derive(Debug)]
pub(crate) struct OwnWrites {
    pins: HashMap<Key, Pin>,
    lag: Duration,
    max: usize,
}

#[derive(Debug)]
struct Pin {
    /// None if it was removed.
    shown: Option<Arc<Instance>>,
    /// When the server changed it last, by its own clock.
    stamp: u64,
    until: Time,
}

impl OwnWrites {
    /// None yet. Lists are at most `lag` behind.
    pub(crate) fn new(lag: Duration, max: usize) -> Self {
        Self { pins: HashMap::new(), lag, max }
    }

    /// The instance was written, and read back as this.
    pub(crate) fn wrote(&mut self, instance: &Arc<Instance>, now: Time) {
        let stamp = instance.updated_at;
        self.pin(instance.key(), Some(instance.clone()), stamp, now);
    }

    /// The instance was removed; this is how it was last.
    pub(crate) fn removed(&mut self, last: &Instance, now: Time) {
        self.pin(last.key(), None, last.updated_at, now);
    }

    fn pin(&mut self, key: Key, shown: Option<Arc<Instance>>, stamp: u64, now: Time) {
        // Two writes of one instance may be read back in one order and arrive here in the other.
        let is_late = self.pins.get(&key).is_some_and(|pin| match pin.shown {
            Some(_) => stamp < pin.stamp,
            None => shown.is_some() && stamp <= pin.stamp,
        });
        let has_room = self.pins.len() < self.max || self.pins.contains_key(&key);
        if has_room && !is_late {
            self.pins.insert(key, Pin { shown, stamp, until: now.after(self.lag) });
        }
    }

    /// Hears what a list or a delta says of an instance; hands back its key if the pin falls.
    pub(crate) fn hear(&mut self, entry: &Instance) -> Option<Key> {
        if self.pins.is_empty() {
            return None;
        }
        let key = entry.key();
        let pin = self.pins.get(&key)?;
        let is_removal = entry.action == Some(Action::Deleted);
        let caught_up = match &pin.shown {
            // What was removed here came back after that.
            None if !is_removal => entry.updated_at > pin.stamp,
            None | Some(_) => entry.updated_at >= pin.stamp,
        };
        if !caught_up {
            return None;
        }
        self.pins.remove(&key);
        Some(key)
    }

    /// Lets go of what the lists have had time enough to tell; hands back their keys.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Key> {
        let over = self.pins.iter().filter(|(_, pin)| pin.until <= now);
        let over: Vec<Key> = over.map(|(key, _)| key.clone()).collect();
        for key in &over {
            self.pins.remove(key);
        }
        over
    }

    /// What is shown of an instance, of which the lists say `told`.
    pub(crate) fn shown<'a>(
        &'a self,
        key: &Key,
        told: Option<&'a Arc<Instance>>,
    ) -> Option<&'a Arc<Instance>> {
        match self.pins.get(key) {
            Some(pin) => pin.shown.as_ref(),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000);

    fn own() -> OwnWrites {
        OwnWrites::new(Duration::from_secs(40), 2)
    }

    fn told(id: &str, stamp: u64, action: Action) -> Arc<Instance> {
        let instance = Instance::new("a", id);
        Arc::new(Instance { updated_at: stamp, action: Some(action), ..instance })
    }

    fn key() -> Key {
        Key::new("A", "1")
    }

    #[test]
    fn what_was_written_is_shown_until_the_lists_tell_of_it_or_of_later() {
        for stamp in [5, 6] {
            let mut own = own();
            let (mine, old) = (told("1", 5, Action::Added), told("1", 4, Action::Added));
            own.wrote(&mine, NOW);
            assert_eq!(own.hear(&old), None);
            assert_eq!(own.shown(&key(), Some(&old)), Some(&mine));
            assert_eq!(own.shown(&key(), None), Some(&mine));
            let now = told("1", stamp, Action::Added);
            assert_eq!(own.hear(&now), Some(key()));
            assert_eq!(own.shown(&key(), Some(&now)), Some(&now));
        }
    }

    #[test]
    fn what_was_written_and_then_ended_is_not_shown_on() {
        let mut own = own();
        own.wrote(&told("1", 5, Action::Added), NOW);
        assert_eq!(own.hear(&told("1", 6, Action::Deleted)), Some(key()));
        assert_eq!(own.shown(&key(), None), None);
    }

    #[test]
    fn what_was_removed_is_not_shown_although_old_lists_have_it() {
        let mut own = own();
        let old = told("1", 5, Action::Added);
        own.removed(&old, NOW);
        assert_eq!(own.hear(&old), None);
        assert_eq!(own.shown(&key(), Some(&old)), None);
        assert_eq!(own.hear(&told("1", 6, Action::Added)), Some(key()), "somebody registered it");
        let mut own = self::own();
        own.removed(&old, NOW);
        assert_eq!(own.hear(&told("1", 6, Action::Deleted)), Some(key()));
    }

    #[test]
    fn a_pin_falls_when_the_lists_have_had_time_enough() {
        let mut own = own();
        own.wrote(&told("1", 5, Action::Added), NOW);
        assert!(own.expire(Time::from_millis(40_999)).is_empty());
        assert_eq!(own.expire(Time::from_millis(41_000)), [key()]);
        assert_eq!(own.shown(&key(), None), None);
    }

    #[test]
    fn writes_that_are_read_back_out_of_order_do_not_undo_each_other() {
        let (first, second) = (told("1", 5, Action::Added), told("1", 6, Action::Modified));
        let mut own = own();
        own.wrote(&second, NOW);
        own.wrote(&first, NOW);
        assert_eq!(own.shown(&key(), None), Some(&second));
        own.removed(&first, NOW);
        assert_eq!(own.shown(&key(), None), Some(&second), "it was registered again after that");
        own.removed(&second, NOW);
        own.wrote(&second, NOW);
        assert_eq!(own.shown(&key(), Some(&second)), None, "it was removed after that");
    }

    #[test]
    fn there_are_no_more_pins_than_may_be_and_a_later_write_takes_the_place_of_its_own() {
        let mut own = own();
        for id in ["1", "2", "3"] {
            own.wrote(&told(id, 5, Action::Added), NOW);
        }
        assert_eq!(own.shown(&Key::new("a", "3"), None), None);
        let mine = told("1", 7, Action::Modified);
        own.wrote(&mine, NOW);
        assert_eq!(own.shown(&key(), None), Some(&mine));
    }
}
