//! How much was asked for and encoded, and how long that took: Eureka's counters `getAll`, `getAllDelta` and
//! `getApplication`, with those of their misses, and its timers `serialize-all`, `serialize-all-delta`,
//! `serialize-one` and `serialize-one-vip`, compression included.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Entity;

/// How many lists of a kind were asked for and encoded, and how long that took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// `all`, `delta`, `one` or `vip`.
    pub list: &'static str,
    /// How many were asked for, from whichever tier they were answered.
    pub asked: u64,
    /// How many were encoded.
    pub count: u64,
    /// How long it took in all, of the threads that did it; each time is read to the millisecond.
    pub took: Duration,
}

const LISTS: [&str; 4] = ["all", "delta", "one", "vip"];

/// Counts, by the kind of list.
#[derive(Debug, Default)]
pub(super) struct Efforts([Spent; LISTS.len()]);

#[derive(Debug, Default)]
struct Spent {
    asked: AtomicU64,
    count: AtomicU64,
    millis: AtomicU64,
}

impl Efforts {
    pub(super) fn asked(&self, entity: &Entity) {
        self.on(entity).asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn spent(&self, on: &Entity, took: Duration) {
        let spent = self.on(on);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        spent.count.fetch_add(1, Ordering::Relaxed);
        spent.millis.fetch_add(millis, Ordering::Relaxed);
    }

    fn on(&self, entity: &Entity) -> &Spent {
        &self.0[match entity {
            Entity::Apps => 0,
            Entity::Delta => 1,
            Entity::App(_) => 2,
            Entity::Vip(_) | Entity::SecureVip(_) => 3,
        }]
    }

    pub(super) fn so_far(&self) -> [Effort; LISTS.len()] {
        std::array::from_fn(|list| Effort {
            list: LISTS[list],
            asked: self.0[list].asked.load(Ordering::Relaxed),
            count: self.0[list].count.load(Ordering::Relaxed),
            took: Duration::from_millis(self.0[list].millis.load(Ordering::Relaxed)),
        })
    }
}
