//! Bounded places: how many callers, fetches, keepers and subscriptions there are, and may be.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering};

/// So many places, and how many are taken.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    limit: usize,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit: limit as usize })
    }

    /// Takes a place, if one is left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let more = |taken| (taken < self.limit).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire) as u64
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How a keeper stands, for the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Neither,
    Connected,
    Failing,
}

/// How many keepers stand how.
#[derive(Debug, Default)]
pub(crate) struct Census {
    connected: AtomicUsize,
    failing: AtomicUsize,
}

impl Census {
    /// A keeper that stood at `old` stands at `new` from now on.
    pub(crate) fn change(&self, old: &mut Counted, new: Counted) {
        if *old != new {
            if let Some(counter) = self.counter(*old) {
                counter.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(counter) = self.counter(new) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            *old = new;
        }
    }

    pub(crate) fn of(&self, counted: Counted) -> u64 {
        self.counter(counted).map_or(0, |counter| counter.load(Ordering::Relaxed) as u64)
    }

    fn counter(&self, counted: Counted) -> Option<&AtomicUsize> {
        match counted {
            Counted::Neither => None,
            Counted::Connected => Some(&self.connected),
            Counted::Failing => Some(&self.failing),
        }
    }
}
