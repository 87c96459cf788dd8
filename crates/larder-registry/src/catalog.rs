//! The catalog: all services and instances, indexed and revisioned, with a log of what changed.
//!
//! Pure: the time of a change is an argument. Snapshots are immutable and cost a few reference counts,
//! because the maps share structure with the catalog that they were taken from; a change costs the
//! logarithm of the registry's size.

mod indexes;
mod log;
mod queries;
mod snapshot;

use std::sync::Arc;

use crate::model::{Action, Instance, Key};

pub use log::{Change, Log};
pub use snapshot::{CheckCounts, Service, Snapshot, StatusCounts};

/// All services and instances, as of a revision that grows with every change.
#[derive(Debug)]
pub struct Catalog {
    now: Snapshot,
    log: Log,
}

impl Catalog {
    /// An empty catalog at `revision`, which remembers up to `log_len` changes.
    ///
    /// Start above every revision that a former run may have handed out, so that a client which waits
    /// for a change past the one it knows is answered at once after a restart; milliseconds since 1970
    /// will do, as long as there are fewer than a thousand changes a second on average.
    pub fn new(revision: u64, log_len: usize) -> Self {
        Self { now: Snapshot::empty(revision), log: Log::new(revision, log_len) }
    }

    /// The present state. It does not change when the catalog does.
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// The instance with this key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.now.instance(key)
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.now.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// Adds the instance or replaces the one with its key. `wall` is the time of day in milliseconds
    /// since 1970, and becomes the instance's [`updated_at`](Instance::updated_at).
    pub fn put(&mut self, mut instance: Instance, action: Action, wall: u64) -> Change {
        instance.updated_at = wall;
        instance.action = Some(action);
        let instance = Arc::new(instance);
        let before = self.now.put(instance.clone());
        self.record(before, instance, action, wall)
    }

    /// Removes the instance with this key, which then reads [`Action::Deleted`].
    pub fn remove(&mut self, key: &Key, wall: u64) -> Option<Change> {
        let before = self.now.remove(key)?;
        let mut gone = Instance::clone(&before);
        gone.updated_at = wall;
        gone.action = Some(Action::Deleted);
        if let Some(lease) = &mut gone.lease {
            lease.evicted_at = wall;
        }
        Some(self.record(Some(before), Arc::new(gone), Action::Deleted, wall))
    }

    /// The changes after `revision`, oldest first. None if the log no longer reaches back so far, or
    /// if `revision` lies ahead: the caller must list anew.
    pub fn changes_since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        self.log.since(revision)
    }

    /// The changes made at or after `wall`, oldest first. None if the log no longer reaches back so
    /// far.
    pub fn changes_at_or_after(&self, wall: u64) -> Option<impl Iterator<Item = &Change>> {
        self.log.at_or_after(wall)
    }

    /// A copy to be changed aside, and put in place of this one by [`replace`](Self::replace).
    pub(crate) fn aside(&self) -> Snapshot {
        self.now.clone()
    }

    /// Takes over a state that was made [aside](Self::aside), and the changes that led to it. Hands back
    /// what it replaces and forgets, to be dropped where nobody waits for that.
    #[must_use = "it may be a whole registry"]
    pub(crate) fn replace(&mut self, now: Snapshot, changes: &[Change]) -> (Snapshot, Vec<Change>) {
        let before = std::mem::replace(&mut self.now, now);
        (before, changes.iter().filter_map(|change| self.log.push(change.clone())).collect())
    }

    fn record(
        &mut self,
        before: Option<Arc<Instance>>,
        instance: Arc<Instance>,
        action: Action,
        wall: u64,
    ) -> Change {
        let change = Change { revision: self.now.revision(), wall, action, before, instance };
        // What is forgotten for it is one change, which is small.
        drop(self.log.push(change.clone()));
        change
    }
}

#[cfg(test)]
mod tests;
