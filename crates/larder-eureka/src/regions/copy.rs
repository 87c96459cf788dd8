//! What is shown of one region: a catalog that follows what its servers hold.
//!
//! Pure: the time is an argument. What is not on the white list is never taken in; that an instance was renewed
//! is no change.

use larder_registry::catalog::{Catalog, Change, Snapshot};
use larder_registry::model::{Action, Instance, Key};

use super::WhiteList;
use crate::client::pursuit::News;
use crate::client::reconcile::is_same;

/// How many changes are remembered; a delta that would need older ones tells nothing, so that its hash makes
/// clients fetch everything.
const LOG_LEN: usize = 65_536;

/// The copy of one region.
#[derive(Debug)]
pub(super) struct Copy {
    catalog: Catalog,
    white_list: WhiteList,
}

impl Copy {
    /// Nothing was read yet. `wall` is the time of day in milliseconds since 1970.
    pub(super) fn new(white_list: WhiteList, wall: u64) -> Self {
        Self { catalog: Catalog::new(wall, LOG_LEN), white_list }
    }

    /// Takes in what a round brought; answers with what changed by it.
    pub(super) fn take(&mut self, news: News<'_>, wall: u64) -> Vec<Change> {
        let shown = news.changed.iter().filter(|key| self.white_list.shows(&key.service));
        let shown: Vec<&Key> = shown.collect();
        shown
            .into_iter()
            .filter_map(|key| match news.replica.get(key) {
                Some(told) => self.put(key, told, wall),
                None => self.catalog.remove(key, wall),
            })
            .collect()
    }

    fn put(&mut self, key: &Key, told: &Instance, wall: u64) -> Option<Change> {
        let held = self.catalog.get(key);
        if held.is_some_and(|held| is_same(held, told)) {
            return None;
        }
        let action = if held.is_some() { Action::Modified } else { Action::Added };
        Some(self.catalog.put(told.clone(), action, wall))
    }

    /// What is shown now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.catalog.snapshot()
    }

    /// What changed at or after `wall`, oldest first; none if it is no longer all known.
    pub(super) fn changes_at_or_after(&self, wall: u64) -> Option<Vec<Change>> {
        Some(self.catalog.changes_at_or_after(wall)?.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::client::Heard;
    use crate::client::reconcile::Replica;
    use crate::wire::{Application, Applications};

    fn list(instances: &[Instance]) -> Applications {
        let app = |held: &Instance| Application {
            name: held.service.to_string(),
            instances: vec![Arc::new(held.clone())],
        };
        Applications { version: 1, hash: String::new(), apps: instances.iter().map(app).collect() }
    }

    fn shows(copy: &mut Copy, replica: &mut Replica, instances: &[Instance], wall: u64) -> usize {
        let heard = Heard { apps: list(instances), server: 0 };
        let applied = replica.list(&heard.apps).expect("there is room");
        let changed: HashSet<Key> = applied.changed.into_iter().collect();
        copy.take(News { replica, changed: &changed, heard: &heard }, wall).len()
    }

    #[test]
    fn it_follows_what_is_on_the_white_list_and_tells_what_changed() {
        let mut copy = Copy::new(WhiteList::of(["orders"]), 1_000);
        let mut replica = Replica::new(10);
        let one = [Instance::new("ORDERS", "1"), Instance::new("STOCK", "1")];
        assert_eq!(shows(&mut copy, &mut replica, &one, 2_000), 1);
        assert_eq!(copy.snapshot().len(), 1);
        assert_eq!(shows(&mut copy, &mut replica, &one, 3_000), 0, "nothing changed");
        assert_eq!(shows(&mut copy, &mut replica, &one[1..], 4_000), 1);
        assert!(copy.snapshot().is_empty());
        let changes = copy.changes_at_or_after(2_000).expect("they are all known");
        let actions: Vec<Action> = changes.iter().map(|change| change.action).collect();
        assert_eq!(actions, [Action::Added, Action::Deleted]);
        assert_eq!(copy.changes_at_or_after(2_001).expect("they are all known").len(), 1);
    }
}
