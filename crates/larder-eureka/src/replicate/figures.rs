//! What happened with a peer, for metrics and the status page.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::queue::Counts;

/// What happened with a peer so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerFigures {
    /// Where it is.
    pub url: String,
    /// Whether it takes what it is told.
    pub contact: Contact,
    /// Tasks that wait.
    pub queued: usize,
    /// Tasks that it answered.
    pub sent: u64,
    /// Tasks that it answered with a refusal, or refused with a whole batch.
    pub refused: u64,
    /// Batches that it did not take.
    pub failed_batches: u64,
    /// Tasks that were not sent because a newer one said as much.
    pub replaced: u64,
    /// Tasks that were not sent in time.
    pub expired: u64,
    /// Tasks that were the oldest when there was no more room.
    pub overflowed: u64,
}

/// Whether a peer takes what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// There was nothing to tell yet.
    Untried,
    /// It took the last batch.
    Available,
    /// It did not take the last batch.
    Unavailable,
}

/// The counters behind; the queue counts the rest.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    contact: AtomicU8,
    sent: AtomicU64,
    refused: AtomicU64,
    failed_batches: AtomicU64,
}

impl Tallies {
    pub(super) fn sent(&self, tasks: usize) {
        self.sent.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, tasks: usize) {
        self.refused.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn failed_batch(&self) {
        self.failed_batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whether it took the last batch; says whether that is news.
    pub(super) fn contact(&self, now: Contact) -> bool {
        self.contact.swap(now as u8, Ordering::Relaxed) != now as u8
    }

    pub(super) fn read(&self, url: &str, queued: usize, counts: Counts) -> PeerFigures {
        let contact = match self.contact.load(Ordering::Relaxed) {
            0 => Contact::Untried,
            1 => Contact::Available,
            _ => Contact::Unavailable,
        };
        PeerFigures {
            url: url.to_owned(),
            contact,
            queued,
            sent: self.sent.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed_batches: self.failed_batches.load(Ordering::Relaxed),
            replaced: counts.replaced,
            expired: counts.expired,
            overflowed: counts.overflowed,
        }
    }
}
