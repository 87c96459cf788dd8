//! A queue of deadlines whose work grows with what is due, not with what is queued.
//!
//! Pure: `now` is an argument. The queue holds one row for each key. Moving a deadline *later*, which
//! is what a heartbeat does, costs one map update: the old row stays in the order and is put back at
//! its true place when it comes up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use crate::clock::Time;

/// Keys ordered by deadline.
///
/// Holds at most one deadline for a key. Unbounded by itself: whoever bounds the keys bounds the queue,
/// which keeps at most one stale row for each live key and forgets removed ones when half of it is
/// stale.
#[derive(Debug, Clone)]
pub struct Deadlines<K> {
    due: HashMap<K, Time>,
    /// A row is stale when `due` says otherwise. Every live key has a row at or before its deadline.
    order: BinaryHeap<Reverse<(Time, K)>>,
}

impl<K> Default for Deadlines<K>
where
    K: Ord,
{
    fn default() -> Self {
        Self { due: HashMap::new(), order: BinaryHeap::new() }
    }
}

impl<K: Hash + Eq + Ord + Clone> Deadlines<K> {
    /// Sets or moves `key`'s deadline.
    pub fn set(&mut self, key: K, deadline: Time) {
        let before = self.due.insert(key.clone(), deadline);
        if before.is_none_or(|before| deadline < before) {
            self.order.push(Reverse((deadline, key)));
            self.forget_stale_rows();
        }
    }

    /// Forgets `key`; returns the deadline that it had.
    pub fn remove(&mut self, key: &K) -> Option<Time> {
        let deadline = self.due.remove(key);
        self.forget_stale_rows();
        deadline
    }

    /// `key`'s deadline.
    pub fn get(&self, key: &K) -> Option<Time> {
        self.due.get(key).copied()
    }

    /// The keys that have a deadline, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.due.keys()
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// The earliest deadline, or a moment before it: waking then and calling [`pop`](Self::pop) is
    /// never too late.
    pub fn next(&self) -> Option<Time> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the key whose deadline passed first, if any deadline is at or before `now`.
    pub fn pop(&mut self, now: Time) -> Option<(K, Time)> {
        while let Some(Reverse((at, _))) = self.order.peek()
            && *at <= now
        {
            let Reverse((at, key)) = self.order.pop()?;
            match self.due.get(&key).copied() {
                Some(deadline) if deadline <= at => {
                    self.due.remove(&key);
                    return Some((key, deadline));
                }
                Some(deadline) => self.order.push(Reverse((deadline, key))),
                None => {}
            }
        }
        None
    }

    /// Moving a deadline earlier and removing a key leave rows behind: without this, a client that
    /// registers and leaves in a loop would grow the order until the longest deadline passes.
    fn forget_stale_rows(&mut self) {
        if self.order.len() > 2 * self.due.len() + 64 {
            self.order = self.due.iter().map(|(key, at)| Reverse((*at, key.clone()))).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_deadlines() {
        let mut queue = Deadlines::default();
        for (key, deadline) in [("c", 30), ("a", 10), ("b", 20)] {
            queue.set(key, at(deadline));
        }
        assert_eq!(queue.pop(at(9)), None);
        assert_eq!(queue.pop(at(25)), Some(("a", at(10))));
        assert_eq!(queue.pop(at(25)), Some(("b", at(20))));
        assert_eq!(queue.pop(at(25)), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn renewing_a_key_a_million_times_keeps_one_row() {
        let mut queue = Deadlines::default();
        for now in 0..1_000_000 {
            queue.set("k", at(now + 90));
        }
        assert_eq!(queue.order.len(), 1);
    }

    #[test]
    fn keys_that_come_and_go_do_not_grow_the_queue() {
        let mut queue = Deadlines::default();
        for key in 0..100_000 {
            queue.set(key, Time::MAX);
            queue.remove(&key);
        }
        assert!(queue.order.len() <= 65, "{} rows", queue.order.len());
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(
            steps in prop::collection::vec((0_u8..3, 0_u8..8, 0_u64..100), 1..200)
        ) {
            let mut queue = Deadlines::default();
            let mut reference: BTreeMap<u8, Time> = BTreeMap::new();
            for (step, key, moment) in steps {
                match step {
                    0 => { queue.set(key, at(moment)); reference.insert(key, at(moment)); }
                    1 => prop_assert_eq!(queue.remove(&key), reference.remove(&key)),
                    _ => {
                        let mut popped = BTreeMap::new();
                        while let Some((key, deadline)) = queue.pop(at(moment)) {
                            popped.insert(key, deadline);
                        }
                        let due: BTreeMap<_, _> =
                            reference.iter().filter(|(_, d)| **d <= at(moment)).map(|(k, d)| (*k, *d)).collect();
                        reference.retain(|_, d| *d > at(moment));
                        prop_assert_eq!(popped, due);
                    }
                }
                prop_assert_eq!(queue.len(), reference.len());
                if let Some(earliest) = reference.values().min() {
                    prop_assert!(queue.next().is_some_and(|next| next <= *earliest));
                }
            }
        }
    }
}
