//! Setting and removing, across the ring.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use http::Method;
use larder_cache::{Fresh, Put, Source};
use tokio::sync::oneshot;

use crate::client::Question;
use crate::codec::{Codec, GroupKey};
use crate::group::held::Held;
use crate::group::removal::{Removed, Told, Tombstone, done};
use crate::group::{Core, HotCopy, Missed, TellError, WriteError};
use crate::pool::{Members, Missing};
use crate::wire::expiry::Expiry;
use crate::wire::message::encode_set;
use crate::wire::path::path;

/// Removals of one call that are under way at a time.
const AT_ONCE: usize = 64;

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    /// Whether there is set and remove here.
    pub(super) fn may_write(&self, key: &S::Key, is_set: bool) -> Result<(), WriteError> {
        let mode = self.pool.options.mode;
        if !mode.can_write() && self.pool.members().others().next().is_some() {
            return Err(WriteError::NotInThisMode(mode));
        }
        if is_set && key.as_bytes().is_empty() {
            return Err(WriteError::EmptyKey);
        }
        Ok(())
    }

    /// Has it done by a task of the pool, so that it does not stop half-way with its caller.
    pub(super) async fn detached(
        &self,
        work: impl Future<Output = Result<(), WriteError>> + Send + 'static,
    ) -> Result<(), WriteError> {
        let (tell, told) = oneshot::channel();
        // Whoever asked may be gone.
        self.pool.tasks.spawn(async move { drop(tell.send(work.await)) });
        told.await.unwrap_or(Err(WriteError::Closed))
    }

    pub(super) async fn set(
        self: Arc<Self>,
        key: S::Key,
        value: S::Value,
        expiry: Expiry,
        copy: HotCopy,
    ) -> Result<(), WriteError> {
        let held = Held::set(value, self.limited(expiry));
        if held.value.size() > self.pool.options.max_value {
            // A peer would hang up in the middle of it, which looks as if it had failed.
            return Err(WriteError::TooLarge);
        }
        let members = self.pool.members();
        let owner = members.remote_owner(key.as_bytes());
        let bytes = Bytes::copy_from_slice(key.as_bytes());
        let removed = self.removed(&members, &bytes);
        let keepers = removed.keepers();
        let mut told = Told::default();
        if let Some((peer, client)) = owner {
            let question = self.set_question(&key, &held);
            self.writes().begin(&key);
            let sent = done(client, question).await;
            if sent.is_ok() {
                // Before what is here is forgotten: a get in between would load past the owner, and keep that.
                self.tombstones().lift(&key);
                // Who is asked in the owner's place, before a copy that is here is the new value's.
                let second = keepers.get(1..).unwrap_or_default();
                told = removed.tell_in_turn(second, Tombstone::Falls).await;
            }
            self.settle_copy(&key, held, copy, sent.is_ok());
            sent.map_err(|error| of_owner(peer, error))?;
            self.pool.retrier.cancel(&self.name, &bytes, peer);
        } else {
            self.keep(&key, held)?;
            told = removed.tell_in_turn(&keepers, Tombstone::Falls).await;
        }
        self.drop_copies(removed, keepers, told).await;
        Ok(())
    }

    /// What is kept for less than it was set for must not be handed on for longer.
    fn limited(&self, expiry: Expiry) -> Expiry {
        let (now, ttl) = (self.pool.clock.wall(), self.options.ttl);
        if expiry.left(now) > ttl { Expiry::after(now, ttl) } else { expiry }
    }

    fn removed<'a>(&'a self, members: &'a Members, key: &'a [u8]) -> Removed<'a> {
        Removed { pool: &self.pool, members, group: &self.name, key, ago: None }
    }

    fn set_question(&self, key: &S::Key, held: &Held<S::Value>) -> Question {
        let (options, bytes) = (&self.pool.options, key.as_bytes());
        let body = encode_set(&self.name, bytes, held.value.encode(), held.expiry());
        let path = path(&options.base_path, &self.name, bytes, options.mode.escape());
        Question::new(Method::PUT, path, body.into())
    }

    /// After a set at an owner elsewhere: what is here is outdated, and what was set may be kept.
    fn settle_copy(&self, key: &S::Key, held: Held<S::Value>, copy: HotCopy, was_set: bool) {
        // Loaded past the owner, some time.
        self.main.invalidate(key);
        // Under the lock: a removal that comes now either has disturbed this set already, or waits to
        // forget the copy after it was kept.
        let mut writes = self.writes();
        let is_alone = writes.end(key);
        if was_set && is_alone && copy == HotCopy::Keep {
            let left = held.expiry().left(self.pool.clock.wall());
            // Too large a copy is not kept, and the owner has it all the same.
            let _ = self.hot.put(key, Fresh::new(held).ttl(left));
        } else {
            // Whether the owner has it or not: the next get asks.
            self.hot.invalidate(key);
        }
    }

    /// Keeps a value as its owner, for no longer than the ttl here, whoever has set it.
    pub(super) fn keep(&self, key: &S::Key, held: Held<S::Value>) -> Result<(), WriteError> {
        self.writes().disturb(key);
        self.tombstones().lift(key);
        self.hot.invalidate(key);
        let expiry = self.limited(held.expiry());
        let (held, left) = (Held::set(held.value, expiry), expiry.left(self.pool.clock.wall()));
        if left.is_zero() {
            self.main.invalidate(key);
            return Ok(());
        }
        match self.main.put(key, Fresh::new(held).ttl(left)) {
            Put::Stored | Put::Present => Ok(()),
            // A group that keeps nothing need not say so each time.
            Put::TooHeavy if self.options.max_bytes == 0 => Ok(()),
            Put::TooHeavy => Err(WriteError::TooLarge),
            Put::Closed => Err(WriteError::Closed),
        }
    }

    /// After a set, with what became of telling those of the keepers that do not have it: has everybody else
    /// forget what they have. Tries again in the background where that fails.
    async fn drop_copies(&self, removed: Removed<'_>, keepers: Vec<String>, mut told: Told) {
        if !self.pool.options.mode.can_write() {
            return;
        }
        told.and(removed.tell(&removed.others(&keepers), Tombstone::Falls).await);
        let owner = removed.members.remote_owner(removed.key).map(|(name, _)| name.to_owned());
        if told.differ {
            // As after a removal; but for the owner, which has what was set.
            let mut rest = removed.others(owner.as_slice());
            rest.retain(|name| !told.missed.contains_key(name));
            told.and(removed.tell(&rest, Tombstone::Falls).await);
        }
        if told.missed.is_empty() {
            return;
        }
        let spreads = told.differ || keepers.iter().any(|keeper| told.missed.contains_key(keeper));
        let missed =
            Missing { to: told.missed.into_keys().collect(), keepers: BTreeSet::new(), spreads };
        let bytes = Bytes::copy_from_slice(removed.key);
        self.pool.retrier.add(&self.name, &bytes, missed);
    }

    pub(super) async fn remove(self: Arc<Self>, key: S::Key) -> Result<(), WriteError> {
        self.tally.removals.fetch_add(1, Ordering::Relaxed);
        let members = self.pool.members();
        let bytes = Bytes::copy_from_slice(key.as_bytes());
        let removed = self.removed(&members, &bytes);
        let keepers = removed.keepers();
        if members.remote_owner(&bytes).is_none() {
            // As the owner, before the second one hears: that one would ask here in between, get the old value, and
            // keep its copy, because it is told only once.
            self.forget(&key);
        }
        let mut told = removed.tell_in_turn(&keepers, Tombstone::Stays).await;
        let missed = |name: &&String| told.missed.contains_key(*name);
        let missed_keepers: BTreeSet<_> = keepers.iter().filter(missed).cloned().collect();
        let past_keepers = !missed_keepers.is_empty();
        if past_keepers {
            self.bury(&key, self.pool.options.tombstone);
        }
        self.forget(&key);
        let stone = Tombstone::rises_if(past_keepers);
        told.and(removed.tell(&removed.others(&keepers), stone).await);
        if told.differ {
            // By now nobody who was told has what was loaded before, but may have a copy of what another one had
            // until it was told. Copies are not passed on: so this is enough.
            self.forget(&key);
            let mut rest = removed.others(&[]);
            rest.retain(|name| !told.missed.contains_key(name));
            told.and(removed.tell(&rest, stone).await);
        }
        if told.missed.is_empty() {
            return Ok(());
        }
        let to = told.missed.keys().cloned().collect();
        let missed = Missing { to, keepers: missed_keepers, spreads: told.differ || past_keepers };
        self.pool.retrier.add(&self.name, &bytes, missed);
        let missed = told.missed.into_iter().map(|(peer, error)| Missed { peer, error });
        Err(WriteError::Missed(missed.collect()))
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    pub(super) async fn remove_many(self: Arc<Self>, keys: Vec<S::Key>) -> Result<(), WriteError> {
        let removals = keys.into_iter().map(|key| Arc::clone(&self).remove(key));
        let mut removals = iter(removals).buffer_unordered(AT_ONCE);
        let mut missed = BTreeMap::new();
        while let Some(removed) = removals.next().await {
            match removed {
                Ok(()) => {}
                Err(WriteError::Missed(peers)) => {
                    missed.extend(peers.into_iter().map(|missed| (missed.peer, missed.error)));
                }
                Err(error) => return Err(error),
            }
        }
        if missed.is_empty() {
            return Ok(());
        }
        let missed = missed.into_iter().map(|(peer, error)| Missed { peer, error });
        Err(WriteError::Missed(missed.collect()))
    }
}

fn of_owner(peer: &str, error: TellError) -> WriteError {
    match error {
        TellError::Refused(413, _) => WriteError::TooLarge,
        error => WriteError::Owner(Missed { peer: peer.to_owned(), error }),
    }
}
