//! What an [`AutoRefresh`](crate::AutoRefresh) has done and how it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::capacity::Capacity;
use crate::source::Removal;

/// What an [`AutoRefresh`](crate::AutoRefresh) has done since it was made, and how it is. The numbers of
/// one snapshot may be some events apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct AutoRefreshStats {
    /// Reads that found their item.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Items held now.
    pub items: u64,
    /// Those of them that are terminal.
    pub terminal: u64,
    /// Items with a place in the queue of syncs and departures: each at most once.
    pub queued: u64,
    /// Those of them that are due to be refreshed.
    pub due: u64,
    /// How long the first of those has been due.
    pub overdue: Duration,
    /// New items that wait for their first sync.
    pub waiting_first: u64,
    /// Items in a sync now.
    pub in_flight: u64,
    /// Syncs running now.
    pub syncs_running: u64,
    /// Items whose last sync failed: they back off.
    pub backing_off: u64,
    /// Syncs that have ended.
    pub syncs: u64,
    /// How long they took, together.
    pub sync_time: Duration,
    /// How long the longest took.
    pub longest_sync: Duration,
    /// Items that a sync brought a new state of.
    pub updated: u64,
    /// Items that a sync found unchanged.
    pub unchanged: u64,
    /// Items that a sync failed.
    pub failed: u64,
    /// Items whose sync took too long.
    pub timed_out: u64,
    /// Items whose sync panicked.
    pub panicked: u64,
    /// Live items evicted to make room: nobody follows those to their end.
    pub evicted_live: u64,
    /// Terminal items evicted to make room.
    pub evicted_terminal: u64,
    /// Items deleted by callers.
    pub deleted: u64,
    /// Items that their owner does not know any more.
    pub gone: u64,
    /// Terminal items whose ttl was over.
    pub expired: u64,
    /// Creations refused because there was no room.
    pub refused: u64,
    /// Answers about items that were not asked for, or twice about the same: they are ignored.
    pub strays: u64,
    /// Items that the function of [`Batches::by`](crate::Batches::by) dropped, doubled or invented.
    pub misdivided: u64,
    /// Panics of [`SyncSource::removed`](crate::SyncSource::removed) and
    /// [`finished`](crate::SyncSource::finished).
    pub listener_panics: u64,
    /// Whether the configuration can keep up. A warning is logged when it no longer can.
    pub capacity: Capacity,
}

/// Why items have left.
#[derive(Debug, Default)]
pub(super) struct Departures {
    pub(super) evicted_live: AtomicU64,
    pub(super) evicted_terminal: AtomicU64,
    pub(super) deleted: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Departures {
    pub(super) fn count(&self, cause: Removal, terminal: bool) {
        let counter = match cause {
            Removal::Evicted if terminal => &self.evicted_terminal,
            Removal::Evicted => &self.evicted_live,
            Removal::Deleted => &self.deleted,
            Removal::Absent => &self.gone,
            Removal::Expired => &self.expired,
            Removal::Replaced
            | Removal::TooHeavy
            | Removal::Invalidated
            | Removal::Idle
            | Removal::Closed => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
