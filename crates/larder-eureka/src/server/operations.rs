//! How often each operation was done: what clients asked for, and what peers told of theirs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Origin;
use crate::wire::replication::Action;

/// Counts what was done. What was refused is not counted.
#[derive(Debug, Default)]
pub struct Operations {
    of_clients: [AtomicU64; Action::ALL.len()],
    of_peers: [AtomicU64; Action::ALL.len()],
}

impl Operations {
    /// How often it was done.
    pub fn of(&self, action: Action, origin: Origin) -> u64 {
        self.counter(action, origin).load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, action: Action, origin: Origin) {
        self.counter(action, origin).fetch_add(1, Ordering::Relaxed);
    }

    fn counter(&self, action: Action, origin: Origin) -> &AtomicU64 {
        let counters = match origin {
            Origin::Client => &self.of_clients,
            Origin::Peer => &self.of_peers,
        };
        &counters[action as usize]
    }
}
