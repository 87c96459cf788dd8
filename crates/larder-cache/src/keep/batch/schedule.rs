//! When each key is due. The work grows with what is due, not with what is queued.
//!
//! Pure: `now` is an argument. Rows lie in a calendar of buckets, as fine as a two hundredth of the period;
//! a bucket is read from its end, row after row, and no key is looked up. Which row of a key counts, its
//! entry says: see [`Ticket`]. So a row is never searched for, to be moved or removed: it becomes stale,
//! and is dropped when it comes up.
//!
//! With each row lies the key's entry, so that one that comes up need not be looked up: in a large cache
//! that costs more than all the rest. Whoever takes rows out drops them outside of every lock.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Time;
use crate::standing::Ticket;

/// Due keys, stale rows among them: at most two rows for each live key, and [`SLACK`] more.
#[derive(Debug)]
pub(crate) struct Schedule<K, E> {
    /// By the end of the bucket, in milliseconds.
    calendar: BTreeMap<u64, Vec<Row<K, E>>>,
    /// Milliseconds in a bucket; a power of two.
    width: u64,
    /// Keys that are to leave, in the same way: that waits for no batch.
    leaving: BTreeMap<u64, Vec<Row<K, E>>>,
    /// New keys that are to be fetched at once, in the order of their coming.
    first: VecDeque<Row<K, E>>,
    /// Batches that are due and have not begun.
    planned: [VecDeque<Vec<Row<K, E>>>; 2],
    /// Since when the first of those has been due.
    planned_since: Time,
    rows: usize,
    /// Rows that do not count any more. For a moment it may be one too few: whoever removes an entry
    /// says so afterwards.
    stale: isize,
    last_ticket: Ticket,
    /// Keys of which something has changed; the driver finds out what.
    changed: HashSet<K>,
    /// Keys whose last fetch failed: they are due soon after their upstream is back.
    failed: HashSet<K>,
}

/// A key's place in the schedule, if the key's entry has the same ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row<K, E> {
    pub(crate) key: K,
    pub(crate) ticket: Ticket,
    /// The key's entry as the row was made. If that has this ticket, it need not be looked up.
    pub(crate) entry: E,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    First,
    /// In the bucket that ends then.
    Due(u64),
    Leaving(u64),
}

/// The two queues of a schedule from which batches are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Keys that are refreshed, by the time at which they are due.
    Refresh,
    /// New keys, to be fetched for the first time.
    First,
}

/// Buckets in a period, at least. The fewer there are, the fewer times the driver wakes up, and the more
/// keys it finds each time; the jitter of a key is larger than a bucket.
const BUCKETS: u64 = 256;
/// The most milliseconds in a bucket: not every key has the same period, and who backs off is asked within
/// a second of the recovery.
const WIDEST: u64 = 64;
/// So many stale rows do no harm.
const SLACK: usize = 64;

impl Lane {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Refresh => Self::First,
            Self::First => Self::Refresh,
        }
    }
}

impl<K: Hash + Eq + Clone, E> Schedule<K, E> {
    /// For keys that are refreshed `every` so often.
    pub(crate) fn new(every: Duration) -> Self {
        let width = (crate::clock::millis(every) / BUCKETS).clamp(1, WIDEST);
        Self {
            calendar: BTreeMap::new(),
            leaving: BTreeMap::new(),
            width: 1 << width.ilog2(),
            first: VecDeque::new(),
            planned: [VecDeque::new(), VecDeque::new()],
            planned_since: Time::ZERO,
            rows: 0,
            stale: 0,
            last_ticket: Ticket::default(),
            changed: HashSet::default(),
            failed: HashSet::default(),
        }
    }

    /// Puts a key's row where it is due at `at`, or up to a bucket later.
    pub(crate) fn queue(&mut self, (key, entry): (K, E), at: Time) -> Ticket {
        let (end, row) = (self.end(at), self.row(key, entry));
        let ticket = row.ticket;
        self.calendar.entry(end).or_default().push(row);
        ticket
    }

    /// Puts a key's row where it is to leave at `at`, or up to a bucket later.
    pub(crate) fn queue_leaving(&mut self, (key, entry): (K, E), at: Time) -> Ticket {
        let (end, row) = (self.end(at), self.row(key, entry));
        let ticket = row.ticket;
        self.leaving.entry(end).or_default().push(row);
        ticket
    }

    fn end(&self, at: Time) -> u64 {
        at.as_millis().div_ceil(self.width).saturating_mul(self.width)
    }

    /// Puts a new key's row behind those of the others.
    pub(crate) fn queue_first(&mut self, (key, entry): (K, E)) -> Ticket {
        let row = self.row(key, entry);
        let ticket = row.ticket;
        self.first.push_back(row);
        ticket
    }

    fn row(&mut self, key: K, entry: E) -> Row<K, E> {
        self.rows += 1;
        self.last_ticket = self.last_ticket.next();
        Row { key, ticket: self.last_ticket, entry }
    }

    /// Takes up to `most` rows that are due, the longest overdue buckets first.
    pub(crate) fn take(&mut self, lane: Lane, most: usize, now: Time) -> Vec<Row<K, E>> {
        let taken = match lane {
            Lane::First => self.first.drain(..most.min(self.first.len())).collect(),
            Lane::Refresh => take_due(&mut self.calendar, most, now),
        };
        self.rows -= taken.len();
        taken
    }

    /// Takes up to `most` rows of keys whose time to leave has come.
    pub(crate) fn take_leaving(&mut self, most: usize, now: Time) -> Vec<Row<K, E>> {
        let taken = take_due(&mut self.leaving, most, now);
        self.rows -= taken.len();
        taken
    }

    /// When somebody is to leave, at the earliest.
    pub(crate) fn next_leaving(&self) -> Option<Time> {
        self.leaving.first_key_value().map(|(end, _)| Time::from_millis(*end))
    }

    /// Puts batches that were made of rows due `since` then where [`next_planned`](Self::next_planned)
    /// finds them.
    pub(crate) fn plan(&mut self, lane: Lane, batches: Vec<Vec<Row<K, E>>>, since: Time) {
        if lane == Lane::Refresh {
            self.planned_since = since;
        }
        self.rows += batches.iter().map(Vec::len).sum::<usize>();
        self.planned[lane as usize].extend(batches);
    }

    /// Takes the batch that was planned first.
    pub(crate) fn next_planned(&mut self, lane: Lane) -> Option<Vec<Row<K, E>>> {
        let batch = self.planned[lane as usize].pop_front()?;
        self.rows -= batch.len();
        Some(batch)
    }

    /// When something is due to be refreshed, at the earliest.
    pub(crate) fn next(&self) -> Option<Time> {
        self.calendar.first_key_value().map(|(end, _)| Time::from_millis(*end))
    }

    /// Whether something is due.
    pub(crate) fn is_due(&self, lane: Lane, now: Time) -> bool {
        let unplanned = match lane {
            Lane::First => !self.first.is_empty(),
            Lane::Refresh => self.next().is_some_and(|next| next <= now),
        };
        unplanned || !self.planned[lane as usize].is_empty()
    }

    /// How many new keys wait for their first fetch.
    pub(crate) fn waiting_first(&self) -> usize {
        self.first.len()
    }

    /// How many rows are due to be refreshed; stale ones may be among them.
    pub(crate) fn due(&self, now: Time) -> usize {
        let planned = self.planned[Lane::Refresh as usize].iter().map(Vec::len);
        let due = self.calendar.range(..=now.as_millis()).map(|(_, rows)| rows.len());
        due.chain(planned).sum()
    }

    /// For how long the first of those has been due.
    pub(crate) fn overdue(&self, now: Time) -> Duration {
        let planned = !self.planned[Lane::Refresh as usize].is_empty();
        let since = if planned { Some(self.planned_since) } else { self.next() };
        since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How many rows count.
    pub(crate) fn len(&self) -> usize {
        self.rows.saturating_add_signed(-self.stale.max(0))
    }

    /// A row does not count any more.
    pub(crate) fn strike(&mut self) {
        self.stale += 1;
    }

    /// A row that does not count has come up.
    pub(crate) fn dropped_stale(&mut self) {
        self.stale -= 1;
    }

    /// Whether stale rows have become too many for `live` keys.
    pub(crate) fn is_littered(&self, live: usize) -> bool {
        self.rows > 2 * live + SLACK
    }

    /// All rows, for a look at each of them; [`put_back`](Self::put_back) follows.
    pub(crate) fn take_all(&mut self) -> Vec<(Place, Row<K, E>)> {
        let first = std::mem::take(&mut self.first).into_iter().map(|row| (Place::First, row));
        let due = std::mem::take(&mut self.calendar).into_iter();
        let due =
            due.flat_map(|(end, rows)| rows.into_iter().map(move |row| (Place::Due(end), row)));
        let leaving = std::mem::take(&mut self.leaving).into_iter();
        let leaving = leaving
            .flat_map(|(end, rows)| rows.into_iter().map(move |row| (Place::Leaving(end), row)));
        let all: Vec<_> = first.chain(due).chain(leaving).collect();
        self.rows -= all.len();
        all
    }

    /// Puts rows back where they were; so many others were stale.
    pub(crate) fn put_back(&mut self, kept: Vec<(Place, Row<K, E>)>, stale: usize) {
        self.stale -= isize::try_from(stale).unwrap_or(isize::MAX);
        self.rows += kept.len();
        for (place, row) in kept {
            match place {
                Place::First => self.first.push_back(row),
                Place::Due(end) => self.calendar.entry(end).or_default().push(row),
                Place::Leaving(end) => self.leaving.entry(end).or_default().push(row),
            }
        }
    }

    /// Empties it, for good.
    pub(crate) fn clear(&mut self) -> Vec<Row<K, E>> {
        let planned = std::mem::take(&mut self.planned).into_iter().flatten().flatten();
        let queued = self.take_all();
        self.rows = 0;
        queued.into_iter().map(|(_, row)| row).chain(planned).collect()
    }

    /// Something about a key has changed.
    pub(crate) fn note_change(&mut self, key: &K) {
        if !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
    }

    pub(crate) fn take_changes(&mut self) -> HashSet<K> {
        std::mem::take(&mut self.changed)
    }

    /// How a key's last fetch went.
    pub(crate) fn note_outcome(&mut self, key: &K, failed: bool) {
        if failed {
            self.failed.insert(key.clone());
        } else if !self.failed.is_empty() {
            self.failed.remove(key);
        }
    }

    pub(crate) fn take_failed(&mut self) -> HashSet<K> {
        std::mem::take(&mut self.failed)
    }

    /// How many keys failed when they were last fetched.
    pub(crate) fn failing(&self) -> usize {
        self.failed.len()
    }
}

/// The rows of the buckets that have ended, the longest overdue buckets first.
fn take_due<K, E>(
    calendar: &mut BTreeMap<u64, Vec<Row<K, E>>>,
    most: usize,
    now: Time,
) -> Vec<Row<K, E>> {
    let mut taken = Vec::new();
    while let Some(mut bucket) = calendar.first_entry()
        && *bucket.key() <= now.as_millis()
        && taken.len() < most
    {
        let rows = bucket.get_mut();
        let rest = rows.len().saturating_sub(most - taken.len());
        taken.extend(rows.drain(rest..));
        if rows.is_empty() {
            bucket.remove();
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn keys(rows: Vec<Row<&'static str, ()>>) -> Vec<&'static str> {
        rows.into_iter().map(|row| row.key).collect()
    }

    #[test]
    fn only_what_is_due_is_taken_and_the_longest_overdue_first() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        for (key, due) in [("c", 30), ("a", 10), ("b", 20), ("d", 40)] {
            schedule.queue((key, ()), at(due));
        }
        assert_eq!(keys(schedule.take(Lane::Refresh, 2, at(30))), ["a", "b"]);
        assert_eq!(keys(schedule.take(Lane::Refresh, 2, at(30))), ["c"]);
        assert_eq!((schedule.next(), schedule.len()), (Some(at(40)), 1));
    }

    #[test]
    fn new_keys_wait_apart_in_the_order_of_their_coming() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        schedule.queue(("old", ()), at(6));
        schedule.queue_first(("x", ()));
        schedule.queue_first(("y", ()));
        assert_eq!(keys(schedule.take(Lane::First, 1, at(0))), ["x"]);
        assert!(schedule.take(Lane::Refresh, 9, at(4)).is_empty());
        assert_eq!(keys(schedule.take(Lane::First, 9, at(0))), ["y"]);
        assert_eq!(keys(schedule.take(Lane::Refresh, 9, at(6))), ["old"]);
    }

    #[test]
    fn nothing_comes_early_and_nothing_later_than_a_bucket() {
        for period in [1_u64, 500, 30_000, 3_600_000] {
            let mut schedule = Schedule::new(Duration::from_millis(period));
            let due = at(123_457);
            schedule.queue(("k", ()), due);
            let late = schedule.next().unwrap().since(due);
            assert!(late <= Duration::from_millis(period / BUCKETS), "{late:?} of {period} ms");
        }
    }

    #[test]
    fn stale_rows_are_counted_out_and_swept_when_they_are_many() {
        let mut schedule = Schedule::new(Duration::from_secs(1));
        for key in 0..1_000 {
            schedule.queue((key, ()), Time::from_millis(key));
            schedule.strike();
        }
        let ticket = schedule.queue((7, ()), at(2_000));
        assert_eq!(schedule.len(), 1);
        assert!(schedule.is_littered(1));
        let (kept, stale): (Vec<_>, Vec<_>) =
            schedule.take_all().into_iter().partition(|(.., row)| row.ticket == ticket);
        schedule.put_back(kept, stale.len());
        assert_eq!((schedule.len(), schedule.is_littered(1)), (1, false));
        assert_eq!(schedule.take(Lane::Refresh, 9, at(2_000)), [Row { key: 7, ticket, entry: () }]);
        assert_eq!((schedule.rows, schedule.stale), (0, 0));
    }

    proptest! {
        /// Against a map from keys to what they are due at, where a key's newest row alone counts.
        #[test]
        fn every_row_comes_up_once_in_its_time(
            steps in prop::collection::vec((0_u8..3, 0_u8..8, 0_u64..5_000), 1..300),
            period in 1_u64..20_000,
        ) {
            let mut schedule = Schedule::new(Duration::from_millis(period));
            let mut reference: HashMap<u8, (Ticket, u64)> = HashMap::new();
            let mut now = 0;
            for (step, key, moment) in steps {
                match step {
                    0 => {
                        let due = now + moment;
                        let ticket = schedule.queue((key, ()), at(due));
                        if reference.insert(key, (ticket, due)).is_some() {
                            schedule.strike();
                        }
                    }
                    1 => {
                        if reference.remove(&key).is_some() {
                            schedule.strike();
                        }
                    }
                    _ => {
                        now += moment;
                        for row in schedule.take(Lane::Refresh, 3, at(now)) {
                            match reference.get(&row.key) {
                                Some((ticket, due)) if *ticket == row.ticket => {
                                    prop_assert!(*due <= now);
                                    reference.remove(&row.key);
                                }
                                _ => schedule.dropped_stale(),
                            }
                        }
                    }
                }
                prop_assert_eq!(schedule.len(), reference.len());
                let overdue = reference.values().any(|(_, due)| due + period / BUCKETS <= now);
                prop_assert!(!overdue || schedule.is_due(Lane::Refresh, at(now)));
            }
        }
    }
}
