//! Tries removals again at the peers that did not take them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use tokio::sync::Notify;

use crate::group::removal;
use crate::pool::{PoolOptions, RetryStats, Shared};

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
    pub(crate) fn add(
        &self,
        group: &str,
        key: &Bytes,
        to: impl IntoIterator<Item = String>,
        owner: Option<String>,
    ) {
        self.retries().add(group, key, to, owner, self.clock.now());
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

    /// Tells those who have not heard; leaves in it those who still have not.
    async fn again(pool: &Arc<Shared>, mut pending: Pending) -> Pending {
        let (members, began) = (pool.members(), pool.clock.now());
        let is_member = |name: &String| members.others().any(|(other, _)| other == name);
        // Who is not in the ring any more is not asked any more, either.
        pending.to.retain(is_member);
        let to = pending.to.clone();
        let is_owner_missed = pending.owner.is_some();
        let (group, key) = (&pending.group, &pending.key);
        let failed = removal::tell(pool, &members, group, key, &to, is_owner_missed).await;
        let owner_heard = pending.owner.as_ref().is_some_and(|owner| !failed.contains_key(owner));
        pending.to = failed.into_keys().collect();
        if owner_heard {
            // Until now others could get the old value from it, and may have kept it.
            let rest = members.others().map(|(other, _)| other.to_owned());
            let rest = rest.filter(|other| Some(other) != pending.owner.as_ref()).collect();
            let failed = removal::tell(pool, &members, group, key, &rest, false).await;
            if let Some(group) = pool.served(group) {
                group.forget(key, None);
                group.lift_tombstone(key, began);
            }
            pending.owner = None;
            pending.to.extend(failed.into_keys());
        }
        pending
    }

    fn retries(&self) -> MutexGuard<'_, Retries> {
        // Nothing in here panics half-way.
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
