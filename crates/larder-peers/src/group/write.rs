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
use crate::group::removal::{done, tell};
use crate::group::{Core, HotCopy, Missed, TellError, WriteError};
use crate::pool::Members;
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
        let now = self.pool.clock.wall();
        let ttl = expiry.left(now);
        // What is kept for less than it was set for must not be handed on for longer.
        let expiry =
            if ttl > self.options.ttl { Expiry::after(now, self.options.ttl) } else { expiry };
        let held = Held::set(value, expiry);
        if held.value.size() > self.pool.options.max_value {
            // A peer would hang up in the middle of it, which looks as if it had failed.
            return Err(WriteError::TooLarge);
        }
        let members = self.pool.members();
        let owner = members.remote_owner(key.as_bytes());
        let owner_name = owner.map(|(name, _)| name.to_owned());
        match owner {
            Some((peer, client)) => {
                let question = self.set_question(&key, &held);
                self.writes().begin(&key);
                let sent = done(client, question).await;
                self.settle_copy(&key, held, copy, sent.is_ok());
                sent.map_err(|error| of_owner(peer, error))?;
                let bytes = Bytes::copy_from_slice(key.as_bytes());
                self.pool.retrier.cancel(&self.name, &bytes, peer);
                self.tombstones().lift(&key);
            }
            None => self.keep(&key, held)?,
        }
        self.drop_copies(&members, &key, owner_name).await;
        Ok(())
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

    /// Keeps a value as its owner.
    pub(super) fn keep(&self, key: &S::Key, held: Held<S::Value>) -> Result<(), WriteError> {
        self.writes().disturb(key);
        self.tombstones().lift(key);
        self.hot.invalidate(key);
        let left = held.expiry().left(self.pool.clock.wall());
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

    /// Has everybody but the owner forget what they have; tries again in the background where that fails.
    async fn drop_copies(&self, members: &Members, key: &S::Key, owner: Option<String>) {
        if !self.pool.options.mode.can_write() {
            return;
        }
        let rest = members.others().map(|(name, _)| name.to_owned());
        let rest = rest.filter(|name| Some(name) != owner.as_ref()).collect();
        let bytes = key.as_bytes();
        let failed = tell(&self.pool, members, &self.name, bytes, &rest, false).await;
        if !failed.is_empty() {
            let bytes = Bytes::copy_from_slice(bytes);
            self.pool.retrier.add(&self.name, &bytes, failed.into_keys(), None);
        }
    }

    pub(super) async fn remove(self: Arc<Self>, key: S::Key) -> Result<(), WriteError> {
        self.tally.removals.fetch_add(1, Ordering::Relaxed);
        let members = self.pool.members();
        let bytes = Bytes::copy_from_slice(key.as_bytes());
        let told = |to, past| {
            let (pool, name, members) = (&self.pool, &self.name, &members);
            let bytes = bytes.clone();
            async move { tell(pool, members, name, &bytes, &to, past).await }
        };
        // The owner first: who forgets before it does may get the old value from it once more.
        let owner = members.remote_owner(&bytes).map(|(name, _)| name.to_owned());
        let mut failed = told(owner.iter().cloned().collect::<BTreeSet<_>>(), false).await;
        let owner_missed = owner.clone().filter(|owner| failed.contains_key(owner));
        if owner_missed.is_some() {
            self.bury(&key, self.pool.options.tombstone);
        }
        self.forget(&key);
        let rest = members.others().map(|(name, _)| name.to_owned());
        let rest = rest.filter(|name| Some(name) != owner.as_ref()).collect();
        failed.extend(told(rest, owner_missed.is_some()).await);
        if failed.is_empty() {
            return Ok(());
        }
        self.pool.retrier.add(&self.name, &bytes, failed.keys().cloned(), owner_missed);
        let missed = failed.into_iter().map(|(peer, error)| Missed { peer, error });
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
