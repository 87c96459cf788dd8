//! Who must leave when there is no more room.
//!
//! Pure. Each item has a row in the order of its creation, and another one once it is terminal. The hand
//! of a clock goes through them: whoever was read since the hand last came by stays, and goes to the end;
//! whoever was not, leaves. Rows of items that have left are dropped when the hand comes by.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use crate::clock::Time;

#[derive(Debug)]
pub(crate) struct Roster<K> {
    live: Ring<K>,
    terminal: Ring<K>,
}

#[derive(Debug)]
struct Ring<K> {
    rows: VecDeque<(K, Seen)>,
}

/// When an item was last read, to within 64 ms: four bytes, for eight years.
type Seen = u32;

/// What is known about a row's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) terminal: bool,
    pub(crate) read_at: Time,
}

/// So many rows too many do no harm.
const SLACK: usize = 64;

impl<K: Hash + Eq + Clone> Roster<K> {
    pub(crate) fn new() -> Self {
        Self { live: Ring { rows: VecDeque::new() }, terminal: Ring { rows: VecDeque::new() } }
    }

    /// An item has come, or has become terminal; there are `items` by now, and `is_there` says of each
    /// whether it is among them.
    pub(crate) fn enter(
        &mut self,
        key: K,
        resident: Resident,
        items: usize,
        is_there: impl Fn(&K) -> bool,
    ) {
        let ring = if resident.terminal { &mut self.terminal } else { &mut self.live };
        ring.rows.push_back((key, seen(resident.read_at)));
        if ring.rows.len() > 2 * items + SLACK {
            ring.tidy(is_there);
        }
    }

    /// The item to evict: a terminal one if there is one, else, if `live` ones may be, one of those.
    /// `find` says what is known about an item that is still there.
    pub(crate) fn victim(
        &mut self,
        live: bool,
        mut find: impl FnMut(&K) -> Option<Resident>,
    ) -> Option<K> {
        let terminal = self.terminal.victim(|key| find(key).filter(|found| found.terminal));
        if terminal.is_some() || !live {
            return terminal;
        }
        self.live.victim(|key| find(key).filter(|found| !found.terminal))
    }
}

impl<K: Hash + Eq + Clone> Ring<K> {
    fn victim(&mut self, mut find: impl FnMut(&K) -> Option<Resident>) -> Option<K> {
        // Whoever is put to the end has been seen as it is now. So the second time round somebody
        // leaves, unless everybody is read faster than the hand moves.
        let mut patience = 2 * self.rows.len() + 1;
        while let Some((key, before)) = self.rows.pop_front() {
            let Some(resident) = find(&key) else { continue };
            let now = seen(resident.read_at);
            patience = patience.saturating_sub(1);
            if now == before || patience == 0 {
                return Some(key);
            }
            self.rows.push_back((key, now));
        }
        None
    }

    /// Items that come and go leave rows behind: keeps the newest of each that is there.
    fn tidy(&mut self, is_there: impl Fn(&K) -> bool) {
        let mut keys = HashSet::new();
        let rows = self.rows.drain(..).rev();
        let mut newest: VecDeque<_> =
            rows.filter(|(key, _)| is_there(key) && keys.insert(key.clone())).collect();
        newest.make_contiguous().reverse();
        self.rows = newest;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "eight years from the clock's beginning")]
fn seen(read_at: Time) -> Seen {
    (read_at.as_millis() >> 6) as Seen
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    fn resident(terminal: bool, read: u64) -> Resident {
        Resident { terminal, read_at: at(read) }
    }

    fn full(items: &HashMap<u32, Resident>) -> Roster<u32> {
        let mut roster = Roster::new();
        let mut keys: Vec<_> = items.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            roster.enter(key, items[&key], items.len(), |_| true);
        }
        roster
    }

    #[test]
    fn terminal_items_leave_first_and_then_the_oldest() {
        let mut items: HashMap<u32, Resident> =
            (0..4).map(|key| (key, resident(key == 2, 1))).collect();
        let mut roster = full(&items);
        for expected in [2, 0, 1, 3] {
            let victim = roster.victim(true, |key| items.get(key).copied());
            assert_eq!(victim, Some(expected));
            items.remove(&expected);
        }
        assert_eq!(roster.victim(true, |key| items.get(key).copied()), None);
    }

    #[test]
    fn who_was_read_stays_for_another_round() {
        let mut items: HashMap<u32, Resident> =
            (0..3).map(|key| (key, resident(false, 1))).collect();
        let mut roster = full(&items);
        items.insert(0, resident(false, 9));
        assert_eq!(roster.victim(true, |key| items.get(key).copied()), Some(1));
        items.remove(&1);
        assert_eq!(roster.victim(true, |key| items.get(key).copied()), Some(2));
    }

    #[test]
    fn a_live_item_is_spared_where_that_is_asked() {
        let items: HashMap<u32, Resident> = (0..3).map(|key| (key, resident(false, 1))).collect();
        assert_eq!(full(&items).victim(false, |key| items.get(key).copied()), None);
    }

    #[test]
    fn somebody_leaves_even_if_all_are_read_all_the_time() {
        let mut roster = Roster::new();
        (0..5).for_each(|key| roster.enter(key, resident(false, 0), 5, |_| true));
        let reads = std::cell::Cell::new(0);
        let victim = roster.victim(true, |_: &u32| {
            reads.set(reads.get() + 1);
            Some(resident(false, reads.get()))
        });
        assert!(victim.is_some());
        assert!(reads.get() <= 11);
    }

    #[test]
    fn items_that_come_and_go_do_not_grow_the_roster() {
        for ids in [7, 1_000_000] {
            let mut roster = Roster::new();
            for round in 0..10_000_u32 {
                let newest = |id: &u32| (round.saturating_sub(7)..=round).any(|n| n % ids == *id);
                roster.enter(round % ids, resident(round % 2 == 0, round.into()), 7, newest);
            }
            assert!(roster.live.rows.len().max(roster.terminal.rows.len()) <= 2 * 7 + SLACK + 1);
        }
    }
}
