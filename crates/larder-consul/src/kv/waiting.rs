//! Those who wait for a key or a prefix, found by the key that changes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Refused, Scope};

/// What those have in common who wait for the same. Taken out by the change that wakes them: whoever comes
/// later gets another one.
#[derive(Debug, Clone)]
pub(super) struct Slot(Arc<Notify>);

/// Keys are kept as bytes: where two of them part need not be between letters.
#[derive(Debug)]
pub(super) struct Waiting {
    keys: HashMap<Box<[u8]>, Party>,
    prefixes: BTreeMap<Box<[u8]>, Party>,
    count: usize,
    max: usize,
}

#[derive(Debug)]
struct Party {
    slot: Slot,
    count: usize,
}

impl Slot {
    pub(super) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.0).notified_owned()
    }

    pub(super) fn wake(&self) {
        self.0.notify_waiters();
    }
}

impl Waiting {
    pub(super) fn new(max: usize) -> Self {
        Self { keys: HashMap::new(), prefixes: BTreeMap::new(), count: 0, max }
    }

    /// How many wait, or have been woken and not left yet.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn enter(&mut self, scope: &Scope) -> Result<Slot, Refused> {
        if self.count >= self.max {
            return Err(Refused::TooManyWaiting { max: self.max });
        }
        self.count += 1;
        let party = match scope {
            Scope::Key(key) => self.keys.entry(key.as_bytes().into()).or_insert_with(Party::new),
            Scope::Prefix(prefix) => {
                self.prefixes.entry(prefix.as_bytes().into()).or_insert_with(Party::new)
            }
        };
        party.count += 1;
        Ok(party.slot.clone())
    }

    /// Gives a place back, whether its party still waits or has been taken.
    pub(super) fn leave(&mut self, scope: &Scope, slot: &Slot) {
        self.count -= 1;
        let party = match scope {
            Scope::Key(key) => self.keys.get_mut(key.as_bytes()),
            Scope::Prefix(prefix) => self.prefixes.get_mut(prefix.as_bytes()),
        };
        let Some(party) = party.filter(|party| Arc::ptr_eq(&party.slot.0, &slot.0)) else { return };
        party.count -= 1;
        if party.count == 0 {
            match scope {
                Scope::Key(key) => drop(self.keys.remove(key.as_bytes())),
                Scope::Prefix(prefix) => drop(self.prefixes.remove(prefix.as_bytes())),
            }
        }
    }

    /// Takes out all who wait for `key`, for it alone or for a prefix of it.
    pub(super) fn take(&mut self, key: &str) -> Vec<Slot> {
        let mut slots: Vec<_> =
            self.keys.remove(key.as_bytes()).map(|party| party.slot).into_iter().collect();
        let mut bound = Some(key.as_bytes());
        while let Some(longest) = bound {
            // Whatever awaited prefix of the key is left, is a prefix of `longest`. The greatest that is not
            // greater than it begins with every such prefix: they are all in what the two have in common.
            let to = (Bound::Unbounded, Bound::Included(longest));
            let Some((found, _)) = self.prefixes.range::<[u8], _>(to).next_back() else { break };
            let common = found.iter().zip(longest).take_while(|(one, other)| one == other).count();
            bound = if common == found.len() {
                let party = self.prefixes.remove(&longest[..common]);
                slots.extend(party.map(|party| party.slot));
                common.checked_sub(1).map(|shorter| &longest[..shorter])
            } else {
                Some(&longest[..common])
            };
        }
        slots
    }
}

impl Party {
    fn new() -> Self {
        Self { slot: Slot(Arc::new(Notify::new())), count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let mut waiting = Waiting::new(10);
        let scopes = [Scope::Key("a".into()), Scope::Prefix("a".into())];
        let slots = scopes.each_ref().map(|scope| waiting.enter(scope).unwrap());
        let again = waiting.enter(&scopes[0]).unwrap();
        assert_eq!(waiting.len(), 3);
        waiting.leave(&scopes[0], &again);
        for (scope, slot) in scopes.iter().zip(&slots) {
            waiting.leave(scope, slot);
        }
        assert!(waiting.len() == 0 && waiting.keys.is_empty() && waiting.prefixes.is_empty());
    }

    #[test]
    fn whoever_leaves_after_the_waking_takes_nobodys_place() {
        let mut waiting = Waiting::new(10);
        let scope = Scope::Key("a".into());
        let old = waiting.enter(&scope).unwrap();
        assert_eq!(waiting.take("a").len(), 1);
        let new = waiting.enter(&scope).unwrap();
        waiting.leave(&scope, &old);
        assert_eq!(waiting.take("a").len(), 1);
        waiting.leave(&scope, &new);
        assert_eq!(waiting.len(), 0);
    }

    proptest! {
        #[test]
        fn those_are_taken_who_wait_for_the_key_or_for_its_beginning(
            prefixes in proptest::collection::btree_set("[ab/é]{0,5}", 0..12),
            key in "[ab/é]{0,6}",
        ) {
            let mut waiting = Waiting::new(100);
            for prefix in &prefixes {
                waiting.enter(&Scope::Prefix(prefix.as_str().into())).unwrap();
            }
            let is_left = |prefix: &&String| !key.starts_with(prefix.as_str());
            let left: BTreeSet<_> = prefixes.iter().filter(is_left).map(String::as_bytes).collect();
            prop_assert_eq!(waiting.take(&key).len(), prefixes.len() - left.len());
            prop_assert_eq!(waiting.prefixes.keys().map(|prefix| &**prefix).collect::<BTreeSet<_>>(), left);
        }
    }
}
