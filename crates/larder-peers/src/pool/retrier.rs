//! Tries removals again at the peers that did not take them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use tokio::sync::Notify;

use crate::group::removal::{Removed, Tombstone};
use crate::pool::{Missing, PoolOptions, RetryStats, Shared};

use super::retries::{Pending, Retries};

/// How long it rests when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// What waits to be tried again, and the task that does so.
#[derive(Debug)]
pub(crate) struct Retrier {
    retries: Mutex<Retries>,
    /// Told when something may be due sooner than it was.
    more: Notify,
    clock: Clock,
}

impl Retrier {
    pub(super) fn new(options: &PoolOptions, clock: Clock) -> Self {
        let retries = Retries::new(options.max_retries, options.retry_for);
        Self { retries: Mutex::new(retries), more: Notify::new(), clock }
    }

    /// These have not heard that `key` was removed.
    pub(crate) fn add(&self, group: &str, key: &Bytes, missing: Missing) {
        self.retries().add(group, key, missing, self.clock.now());
        self.look_again();
    }

    pub(crate) fn cancel(&self, group: &str, key: &Bytes, peer: &str) {
        self.retries().cancel(group, key, peer);
    }

    pub(super) fn look_again(&self) {
        self.more.notify_one();
    }

    pub(super) fn stats(&self) -> RetryStats {
        self.retries().stats()
    }

    /// Works for as long as there is a pool.
    pub(super) async fn run(self: Arc<Self>, pool: Weak<Shared>) {
        loop {
            let now = self.clock.now();
            let due = self.retries().next_due();
            let pause = due.map_or(IDLE, |due| due.since(now));
            // cancel-safe: both take nothing, but the note that there is more, which has been heard then.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.more.notified() => {}
            }
            let due = self.retries().take_due(self.clock.now());
            let Some(pool) = pool.upgrade() else { return };
            let tried = due.into_iter().map(|pending| Self::again(&pool, pending));
            for pending in futures_util::future::join_all(tried).await {
                self.retries().put_back(pending, self.clock.now());
            }
        }
    }

    /// Tells those who have not heard; leaves in it those who still have not. Who is not in the ring is not asked,
    /// and waits: it may come back with the old value.
    async fn again(pool: &Arc<Shared>, mut pending: Pending) -> Pending {
        let (members, began) = (pool.members(), pool.clock.now());
        let is_member = |name: &String| members.others().any(|(other, _)| other == name);
        let (to, mut still): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut pending.to).into_iter().partition(is_member);
        let Pending { group, key, .. } = &pending;
        let ago = Some(began.since(pending.since));
        let removed = Removed { pool, members: &members, group, key, ago };
        let were_away = !pending.keepers.is_empty();
        let mut told = removed.tell(&to, Tombstone::rises_if(were_away)).await;
        let heard: Vec<_> = to.iter().filter(|peer| !told.missed.contains_key(*peer)).collect();
        let spreads = pending.spreads || told.differ;
        let is_away = |keeper| told.missed.contains_key(keeper) || still.contains(keeper);
        let are_away = pending.keepers.iter().any(is_away);
        if spreads && !heard.is_empty() {
            // Until now others could get the old value from them, and may have kept it, as a copy. They have heard
            // before: whatever was set there is newer.
            let removed = Removed { ago: Some(Duration::MAX), ..removed };
            let mut rest = removed.others(&[]);
            rest.retain(|peer| !told.missed.contains_key(peer));
            told.and(removed.tell(&rest, Tombstone::rises_if(are_away)).await);
            if let Some(group) = pool.served(group) {
                group.forget(key, None, removed.ago);
            }
        }
        if were_away
            && !are_away
            && let Some(group) = pool.served(group)
        {
            group.lift_tombstone(key, began);
        }
        still.extend(told.missed.into_keys());
        (pending.to, pending.spreads) = (still, spreads);
        pending
    }

    fn retries(&self) -> MutexGuard<'_, Retries> {
        // Nothing in here panics half-way.
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
