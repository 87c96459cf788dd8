//! What changed lately: a bounded log that watches and deltas are read from.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{Action, Instance};

/// One change of a catalog.
#[derive(Debug, Clone)]
pub struct Change {
    /// The catalog's revision after it.
    pub revision: u64,
    /// The time of day when it was made, in milliseconds since 1970.
    pub wall: u64,
    /// What happened.
    pub action: Action,
    /// The instance before; none if it is new.
    pub before: Option<Arc<Instance>>,
    /// The instance after; for a deletion, the instance as it was last, marked deleted.
    pub instance: Arc<Instance>,
}

/// The last changes of a catalog. At its bound the oldest change is forgotten, and a reader that
/// needed it must list anew.
#[derive(Debug)]
pub struct Log {
    changes: VecDeque<Change>,
    /// Everything after this revision is in `changes`.
    forgotten_revision: u64,
    /// When the youngest forgotten change was made; zero while nothing was forgotten.
    forgotten_wall: u64,
    capacity: usize,
}

impl Log {
    pub(super) fn new(revision: u64, capacity: usize) -> Self {
        Self { changes: VecDeque::new(), forgotten_revision: revision, forgotten_wall: 0, capacity }
    }

    /// Adds a change; hands back the one that is forgotten for it.
    pub(super) fn push(&mut self, change: Change) -> Option<Change> {
        self.changes.push_back(change);
        if self.changes.len() <= self.capacity {
            return None;
        }
        let oldest = self.changes.pop_front()?;
        self.forgotten_revision = oldest.revision;
        self.forgotten_wall = self.forgotten_wall.max(oldest.wall + 1);
        Some(oldest)
    }

    /// The changes after `revision`. None if some of them are forgotten, or if `revision` lies ahead.
    pub(super) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        let newest = self.changes.back().map_or(self.forgotten_revision, |change| change.revision);
        if revision < self.forgotten_revision || revision > newest {
            return None;
        }
        let first = self.changes.partition_point(|change| change.revision <= revision);
        Some(self.changes.range(first..))
    }

    /// The changes made at or after `wall`. None if one of them may be forgotten.
    pub(super) fn at_or_after(&self, wall: u64) -> Option<impl Iterator<Item = &Change>> {
        if wall < self.forgotten_wall {
            return None;
        }
        // The time of day may jump back, so that the log is not sorted by it: look from the young end,
        // and stop at the first change that is too old.
        let old = self.changes.iter().rposition(|change| change.wall < wall);
        Some(self.changes.range(old.map_or(0, |old| old + 1)..))
    }
}
