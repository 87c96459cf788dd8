//! The removals that some peers have not heard of yet, and when they are tried again.
//!
//! Pure: `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Backoff, Time};

/// From a second, doubling up to ten.
const BACKOFF: Backoff =
    Backoff { free_failures: 0, base: Duration::from_secs(1), cap: Duration::from_secs(10) };

/// How many are taken at a time.
const BATCH: usize = 64;

/// A removal that some peers have not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) group: String,
    pub(crate) key: Bytes,
    /// Who has not.
    pub(crate) to: BTreeSet<String>,
    /// Those of them whom others ask for the key: until they have heard, it is loaded past them.
    pub(crate) keepers: BTreeSet<String>,
    /// Others may have the old value from one of them: when it has heard, everybody is told once more.
    pub(crate) spreads: bool,
    /// When it was removed last.
    pub(crate) since: Time,
    due: Time,
    failures: u32,
}

/// Who has not heard of a removal: as in [`Pending`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Missing {
    pub(crate) to: BTreeSet<String>,
    pub(crate) keepers: BTreeSet<String>,
    pub(crate) spreads: bool,
}

/// What has become of removals that did not reach everybody at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryStats {
    /// Those that some peer has not heard of yet.
    pub pending: usize,
    /// Those that everybody has heard of in the end.
    pub completed: u64,
    /// Those that were given up: it took too long, or there were too many.
    pub given_up: u64,
}

#[derive(Debug)]
pub(crate) struct Retries {
    pending: BTreeMap<(String, Bytes), Pending>,
    /// Those that are being tried, each with who need not hear of it any more.
    taken: BTreeMap<(String, Bytes), BTreeSet<String>>,
    most: usize,
    patience: Duration,
    completed: u64,
    given_up: u64,
}

impl Retries {
    pub(crate) fn new(most: usize, patience: Duration) -> Self {
        let (pending, taken) = (BTreeMap::new(), BTreeMap::new());
        Self { pending, taken, most, patience, completed: 0, given_up: 0 }
    }

    /// Notes that these have not heard that `key` was removed.
    pub(crate) fn add(&mut self, group: &str, key: &Bytes, missing: Missing, now: Time) {
        let due = now.after(BACKOFF.wait(1, 0));
        let (group, key) = (group.to_owned(), key.clone());
        let Missing { to, keepers, spreads } = missing;
        self.merge(Pending { group, key, to, keepers, spreads, since: now, due, failures: 1 });
    }

    fn merge(&mut self, new: Pending) {
        if new.to.is_empty() {
            return;
        }
        if self.patience.is_zero() {
            self.given_up += 1;
            return;
        }
        let id = (new.group.clone(), new.key.clone());
        if let Some(old) = self.pending.get_mut(&id) {
            // The later removal counts, for all of them.
            old.to.extend(new.to);
            old.keepers.extend(new.keepers);
            old.spreads |= new.spreads;
            old.since = old.since.max(new.since);
            old.due = old.due.min(new.due);
            return;
        }
        // Those that are being tried wait as well, and come back.
        if self.pending.len() + self.taken.len() >= self.most
            && let Some(oldest) = self.oldest()
        {
            self.pending.remove(&oldest);
            self.given_up += 1;
        }
        if self.pending.len() + self.taken.len() >= self.most {
            // All are being tried: the new one is the only one that can be given up.
            self.given_up += 1;
            return;
        }
        self.pending.insert(id, new);
    }

    fn oldest(&self) -> Option<(String, Bytes)> {
        self.pending.iter().min_by_key(|(_, pending)| pending.since).map(|(id, _)| id.clone())
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// Takes some of those that are due, who waits longest first. Each must be [put back](Self::put_back).
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<Pending> {
        let due = self.pending.iter().filter(|(_, pending)| pending.due <= now);
        let mut due: Vec<_> = due.map(|(id, pending)| (pending.due, id.clone())).collect();
        due.sort_by_key(|(due, _)| *due);
        let taken = due.into_iter().take(BATCH).filter_map(|(_, id)| {
            let pending = self.pending.remove(&id)?;
            self.taken.insert(id, BTreeSet::new());
            Some(pending)
        });
        taken.collect()
    }

    /// Puts back one that was tried, with those who have still not heard.
    pub(crate) fn put_back(&mut self, mut pending: Pending, now: Time) {
        let id = (pending.group.clone(), pending.key.clone());
        let need_not = self.taken.remove(&id).unwrap_or_default();
        pending.to.retain(|peer| !need_not.contains(peer));
        if pending.to.is_empty() {
            self.completed += 1;
        } else if now.since(pending.since) >= self.patience {
            self.given_up += 1;
        } else {
            pending.failures = pending.failures.saturating_add(1);
            pending.due = now.after(BACKOFF.wait(pending.failures, 0));
            pending.keepers.retain(|keeper| pending.to.contains(keeper));
            self.merge(pending);
        }
    }

    /// A peer has got a newer value: it need not forget the old one.
    pub(crate) fn cancel(&mut self, group: &str, key: &Bytes, peer: &str) {
        let id = (group.to_owned(), key.clone());
        if let Some(need_not) = self.taken.get_mut(&id) {
            need_not.insert(peer.to_owned());
        }
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.to.remove(peer);
        pending.keepers.remove(peer);
        if pending.to.is_empty() {
            self.pending.remove(&id);
            self.completed += 1;
        }
    }

    pub(crate) fn stats(&self) -> RetryStats {
        let Self { completed, given_up, .. } = *self;
        RetryStats { pending: self.pending.len() + self.taken.len(), completed, given_up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1_000)
    }

    fn retries() -> Retries {
        Retries::new(3, Duration::from_secs(60))
    }

    fn key(text: &'static str) -> Bytes {
        Bytes::from(text)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn missing(to: &[&str], keepers: &[&str]) -> Missing {
        let spreads = !keepers.is_empty();
        Missing { to: names(to), keepers: names(keepers), spreads }
    }

    fn add(retries: &mut Retries, name: &'static str, to: &[&str], now: Time) {
        retries.add("g", &key(name), missing(to, &[]), now);
    }

    #[test]
    fn what_failed_is_due_after_a_second_and_then_later_and_later() {
        let mut retries = retries();
        add(&mut retries, "k", &["b"], at(0));
        let mut dues = Vec::new();
        for _ in 0..5 {
            let due = retries.next_due().unwrap();
            dues.push(due.as_millis() / 1_000);
            assert_eq!(retries.take_due(Time::from_millis(due.as_millis() - 1)), []);
            let mut taken = retries.take_due(due);
            retries.put_back(taken.pop().unwrap(), due);
        }
        assert_eq!(dues, [1, 3, 7, 15, 25]);
    }

    #[test]
    fn it_ends_when_everybody_has_heard_or_after_too_long() {
        let mut retries = retries();
        add(&mut retries, "k", &["b"], at(0));
        let mut taken = retries.take_due(at(1)).pop().unwrap();
        taken.to.clear();
        retries.put_back(taken, at(1));
        assert_eq!(retries.stats(), RetryStats { pending: 0, completed: 1, given_up: 0 });
        add(&mut retries, "k", &["b"], at(1));
        let taken = retries.take_due(at(61)).pop().unwrap();
        retries.put_back(taken, at(61));
        assert_eq!(retries.stats(), RetryStats { pending: 0, completed: 1, given_up: 1 });
    }

    #[test]
    fn of_more_than_are_taken_at_a_time_those_that_wait_longest_come_first() {
        let mut retries = Retries::new(1_000, Duration::from_secs(60));
        for n in (0..2 * BATCH).rev() {
            // The later ones come first in the order of keys.
            let name = Bytes::from(format!("{:03}", 999 - n));
            retries.add("g", &name, missing(&["b"], &[]), Time::from_millis(n as u64));
        }
        let taken = retries.take_due(at(2));
        let longest = taken.iter().all(|one| one.key > format!("{:03}", 999 - BATCH));
        assert!(longest && taken.len() == BATCH, "{taken:?}");
    }

    #[test]
    fn a_second_removal_of_a_key_joins_the_first() {
        let mut retries = retries();
        add(&mut retries, "k", &["b"], at(0));
        let taken = retries.take_due(at(1)).pop().unwrap();
        retries.add("g", &key("k"), missing(&["c"], &["c"]), at(1));
        retries.put_back(taken, at(1));
        let taken = retries.take_due(at(10)).pop().unwrap();
        assert_eq!((&taken.to, &taken.keepers), (&names(&["b", "c"]), &names(&["c"])));
        assert!(taken.spreads);
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_given_up() {
        let mut retries = retries();
        for (second, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            add(&mut retries, name, &["peer"], at(second as u64));
        }
        assert_eq!(retries.stats(), RetryStats { pending: 3, completed: 0, given_up: 1 });
        let left: BTreeSet<_> = retries.take_due(at(99)).into_iter().map(|one| one.key).collect();
        assert_eq!(left, BTreeSet::from([key("b"), key("c"), key("d")]));
    }

    #[test]
    fn those_that_are_being_tried_count_against_the_bound() {
        let mut retries = retries();
        for name in ["a", "b", "c"] {
            add(&mut retries, name, &["peer"], at(0));
        }
        let tried = retries.take_due(at(1));
        add(&mut retries, "d", &["peer"], at(1));
        assert_eq!(retries.stats(), RetryStats { pending: 3, completed: 0, given_up: 1 });
        for one in tried {
            retries.put_back(one, at(2));
        }
        assert_eq!(retries.stats(), RetryStats { pending: 3, completed: 0, given_up: 1 });
    }

    #[test]
    fn who_got_a_newer_value_need_not_forget_the_old_one() {
        let mut retries = retries();
        retries.add("g", &key("k"), missing(&["b", "c"], &["b"]), at(0));
        retries.cancel("g", &key("k"), "b");
        let taken = retries.take_due(at(1)).pop().unwrap();
        assert_eq!((&taken.to, &taken.keepers), (&names(&["c"]), &names(&[])));
        assert_eq!(retries.stats().pending, 1, "it is being tried");
        retries.cancel("g", &key("k"), "c");
        retries.put_back(taken, at(1));
        assert_eq!(retries.stats(), RetryStats { pending: 0, completed: 1, given_up: 0 });
    }
}
