//! The keys that were removed while their owner could not be told: for a while they are loaded past it.
//!
//! Pure: `now` is an argument.

use std::collections::HashMap;
use std::hash::Hash;

use larder_cache::Time;

/// How many there may be. Beyond it, the one that would end next ends at once.
const MOST: usize = 10_000;

#[derive(Debug)]
pub(super) struct Tombstones<K>(HashMap<K, Stone>);

#[derive(Debug, Clone, Copy)]
struct Stone {
    /// Of the last removal.
    since: Time,
    until: Time,
}

impl<K> Default for Tombstones<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Tombstones<K> {
    /// One that stands for longer already stays.
    pub(super) fn bury(&mut self, key: K, until: Time, now: Time) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.retain(|_, stone| stone.until > now);
            let next =
                self.0.iter().min_by_key(|(_, stone)| stone.until).map(|(key, _)| key.clone());
            if let Some(next) = next.filter(|_| self.0.len() >= MOST) {
                self.0.remove(&next);
            }
        }
        let stone = self.0.entry(key).or_insert(Stone { since: now, until });
        *stone = Stone { since: now, until: until.max(stone.until) };
    }

    pub(super) fn is_buried(&self, key: &K, now: Time) -> bool {
        !self.0.is_empty() && self.0.get(key).is_some_and(|stone| stone.until > now)
    }

    pub(super) fn lift(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Lifts it, unless the key was removed again at `began` or later: the owner, which has heard since then of
    /// the removal before that, may have missed the later one, and have the value from between the two.
    pub(super) fn lift_older(&mut self, key: &K, began: Time) {
        if self.0.get(key).is_some_and(|stone| stone.since < began) {
            self.0.remove(key);
        }
    }

    pub(super) fn len(&self, now: Time) -> usize {
        self.0.values().filter(|stone| stone.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_key_is_buried_until_its_time_or_until_it_is_lifted() {
        let mut stones = Tombstones::default();
        stones.bury(1, at(10), at(0));
        stones.bury(1, at(5), at(0));
        assert!(stones.is_buried(&1, at(9)) && !stones.is_buried(&1, at(10)));
        assert!(!stones.is_buried(&2, at(0)));
        stones.lift(&1);
        assert!(!stones.is_buried(&1, at(0)));
    }

    #[test]
    fn one_that_was_told_late_does_not_lift_the_stone_of_a_later_removal() {
        let mut stones = Tombstones::default();
        stones.bury(1, at(1_000), at(10));
        stones.bury(1, at(900), at(20));
        stones.lift_older(&1, at(20));
        assert!(stones.is_buried(&1, at(999)));
        stones.lift_older(&1, at(21));
        assert!(!stones.is_buried(&1, at(21)));
    }

    #[test]
    fn beyond_the_bound_the_one_that_ends_next_makes_room() {
        let mut stones = Tombstones::default();
        let most = u64::try_from(MOST).unwrap();
        (0..=most).for_each(|n| stones.bury(n, at(100 + n), at(0)));
        assert_eq!(stones.len(at(0)), MOST);
        assert!(!stones.is_buried(&0, at(0)) && stones.is_buried(&1, at(0)));
        stones.bury(most + 1, at(99_999), at(200));
        assert_eq!(stones.len(at(0)), MOST - 99, "those whose time was over are gone");
    }
}
