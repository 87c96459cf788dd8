//! A group: values of one kind under one name, which the processes of a ring load once and share.

mod error;
mod heat;
mod hedge;
mod held;
mod many;
mod options;
mod rates;
pub(crate) mod removal;
mod renew;
mod renewals;
mod served;
mod sources;
mod stats;
mod tombstones;
mod write;
mod writes;

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use larder_cache::{Budget, Cache, Options, Origin, Reply, Source};

use crate::codec::{Codec, GroupKey};
use crate::pool::Shared;
use crate::wire::expiry::Expiry;
pub use error::{Error, GroupError, Missed, TellError, WriteError};
use error::{Told, told};
use heat::Heat;
pub use heat::HotPolicy;
use held::Held;
pub use options::{GroupOptions, HotCopy};
use renewals::Renewals;
pub(crate) use served::{Refused, Served};
use sources::{Local, Remote};
use stats::Tally;
pub use stats::{CacheStats, GroupStats, Latency};
use tombstones::Tombstones;
use writes::Writes;

/// A group. Clones are handles on the same one.
///
/// A key's owner loads it, by the group's source, and keeps it in its *main* cache. Everybody else asks the
/// owner, and keeps a copy in its *hot* cache. Both live under one budget of bytes. Dropping the last
/// handle takes the group from the pool.
///
/// There is at most one load of a key in each process, and none of them waits for a peer's load of the same
/// key: what a peer asks is answered here, from memory or by the source, and never passed on. So peers that
/// disagree about owners cost loads, and no deadlock.
pub struct Group<S: Source<Key: GroupKey, Value: Codec>>(Arc<Core<S>>);

pub(crate) struct Core<S: Source<Key: GroupKey, Value: Codec>> {
    name: String,
    options: GroupOptions,
    main: Cache<Local<S>>,
    hot: Cache<Remote<S::Key, S::Value>>,
    pool: Arc<Shared>,
    tally: Arc<Tally>,
    heat: Arc<Heat>,
    /// The keys that are being set from here.
    writes: Mutex<Writes<S::Key>>,
    /// The keys that were removed while their owner was away.
    tombstones: Mutex<Tombstones<S::Key>>,
    /// The keys that are being renewed before they expire.
    renewals: Mutex<Renewals<S::Key>>,
    /// For tasks that go on after their caller.
    myself: Weak<Self>,
}

/// A value that was asked for. Dereferences to it; cheap to clone. It lives as long as this, whatever becomes
/// of the cache's.
pub struct Got<V>(From<V>);

enum From<V> {
    Cache(Reply<Held<V>>),
    /// From a request for many keys: in the cache there is another handle on it, or none.
    Request(Arc<Held<V>>),
}

impl<S: Source<Key: GroupKey, Value: Codec>> Group<S> {
    pub(crate) fn new(
        name: String,
        source: S,
        options: GroupOptions,
        pool: Arc<Shared>,
    ) -> Result<Self, GroupError> {
        options.validate()?;
        let tally = Arc::new(Tally::default());
        let budget = Budget::new(options.max_bytes.max(1));
        let local = Local::new(source, options.ttl, pool.clock.clone(), Arc::clone(&tally));
        let remembers_absence = !options.absent_ttl.is_zero();
        let (name_there, pool_there) = (name.clone(), Arc::clone(&pool));
        let heat = Arc::new(Heat::new(options.hot, pool.clock.now()));
        let (tally_there, heat_there) = (Arc::clone(&tally), Arc::clone(&heat));
        let remote =
            Remote::new(name_there, pool_there, tally_there, heat_there, remembers_absence);
        // Of nine parts, so that hot is at most an eighth of main when there is no room for both.
        let main = options.cache(&pool.clock, budget.share(8.0 / 9.0));
        let hot = options.cache(&pool.clock, budget.share(1.0 / 9.0));
        // A call to a peer has a time-out of its own, which says more; there may be two of them.
        let calls = pool.options.peer_timeout.saturating_mul(2);
        let patience = calls.saturating_add(Duration::from_secs(1));
        let hot = Options { fetch_timeout: patience, backoff: options::NO_BACKOFF, ..hot };
        let (main, hot) = (Cache::new(local, main)?, Cache::new(remote, hot)?);
        Ok(Self(Arc::new_cyclic(|myself| Core {
            main,
            hot,
            name,
            options,
            pool,
            tally,
            heat,
            writes: Mutex::default(),
            tombstones: Mutex::default(),
            renewals: Mutex::default(),
            myself: Weak::clone(myself),
        })))
    }

    /// `key`'s value: from memory, from its owner, or from the source if this process is the owner, or the
    /// owner is of no use.
    ///
    /// A caller that gives up cancels nobody: drop the future at will.
    pub async fn get(&self, key: &S::Key) -> Result<Got<S::Value>, Error<S::Error>> {
        match self.0.read(key) {
            Some(got) => Ok(got),
            None => Box::pin(self.0.miss(key)).await,
        }
    }

    /// As [`get`](Self::get), but waits no longer than `patience`. The load goes on.
    pub async fn get_within(
        &self,
        key: &S::Key,
        patience: Duration,
    ) -> Result<Got<S::Value>, Error<S::Error>> {
        // cancel-safe: a caller's wait holds nothing.
        let got = tokio::time::timeout(patience, self.get(key)).await;
        got.unwrap_or(Err(Error::Impatient(patience)))
    }

    /// The values of many keys, in their order.
    ///
    /// In a [native](crate::Mode::Native) ring each owner is asked once for all of its keys, up to a thousand
    /// in a request; a key that its owner cannot answer in time is asked for alone. Such a request joins no
    /// load of this process, and is joined by none; the owner still loads each key once. A value that was in
    /// memory is handed out when the last one has come, and may have expired by then. In other rings, whose
    /// peers do not know it, keys are asked for one by one, 256 at a time.
    pub async fn get_many(&self, keys: &[S::Key]) -> Vec<Result<Got<S::Value>, Error<S::Error>>> {
        Box::pin(self.0.many(keys)).await
    }

    /// `key`'s value if it is in this process's memory. Asks nobody, and renews nothing.
    #[inline]
    pub fn peek(&self, key: &S::Key) -> Option<Got<S::Value>> {
        self.0.peek(key)
    }

    /// Gives `key` a value until `expiry`, at its owner. A load that is under way cannot undo it.
    ///
    /// Every other process forgets its copy. Where that fails it is tried again in the background; until then
    /// the copy is served there for as long as it was to be kept. It goes on if the caller gives up.
    pub async fn set(
        &self,
        key: &S::Key,
        value: S::Value,
        expiry: Expiry,
        copy: HotCopy,
    ) -> Result<(), WriteError> {
        self.0.may_write(key, true)?;
        let (core, key) = (Arc::clone(&self.0), key.clone());
        self.0.detached(async move { core.set(key, value, expiry, copy).await }).await
    }

    /// Has every process forget `key`'s value: first its owner, then all others, twice if they disagree about
    /// who that is. A load that is under way
    /// cannot undo it.
    ///
    /// The error names all who could not be told. They are told again in the background, for
    /// [some time](crate::PoolOptions::retry_for); and if the owner is among them, or the second one where it is
    /// asked, the key is loaded past them [meanwhile](crate::PoolOptions::tombstone), here and by every Larder
    /// that could be told. It goes on if the caller gives up.
    pub async fn remove(&self, key: &S::Key) -> Result<(), WriteError> {
        self.0.may_write(key, false)?;
        let (core, key) = (Arc::clone(&self.0), key.clone());
        self.0.detached(async move { core.remove(key).await }).await
    }

    /// As [`remove`](Self::remove) for each of `keys`, 64 at a time. The error names each peer that has missed
    /// one of them once.
    pub async fn remove_many(
        &self,
        keys: impl IntoIterator<Item = S::Key>,
    ) -> Result<(), WriteError> {
        let keys: Vec<_> = keys.into_iter().collect();
        for key in &keys {
            self.0.may_write(key, false)?;
        }
        let core = Arc::clone(&self.0);
        self.0.detached(async move { core.remove_many(keys).await }).await
    }

    /// What peers know it by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it has done and what it holds.
    pub fn stats(&self) -> GroupStats {
        self.0.stats()
    }

    /// Releases everyone who waits, forgets every value, and returns when its last task has ended.
    pub async fn close(&self) {
        self.0.hot.close().await;
        self.0.main.close().await;
    }

    pub(crate) fn served(&self) -> Weak<dyn Served> {
        let core: Weak<Core<S>> = Arc::downgrade(&self.0);
        core
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    #[inline]
    fn peek(&self, key: &S::Key) -> Option<Got<S::Value>> {
        self.main.peek(key).or_else(|| self.hot.peek(key)).map(|reply| Got(From::Cache(reply)))
    }

    /// The long way of a get that found nothing here.
    async fn miss(&self, key: &S::Key) -> Result<Got<S::Value>, Error<S::Error>> {
        self.tally.misses.fetch_add(1, Ordering::Relaxed);
        let is_remote = self.pool.members().remote_owner(key.as_bytes()).is_some();
        let mut stale = None;
        if is_remote && !self.is_buried(key) {
            self.tally.hot_asked.fetch_add(1, Ordering::Relaxed);
            self.heat.note_own(key.as_bytes(), self.pool.clock.now());
            match self.hot.get(key).await {
                Ok(reply) => match told(&reply) {
                    Told::Fresh => return Ok(Got(From::Cache(reply))),
                    Told::Said(missing @ Error::NotFound { .. }) => return Err(missing),
                    Told::Said(_) => return Ok(self.stale(reply)),
                    Told::Nothing => stale = Some(reply),
                },
                Err(error) => {
                    if let Some(error) = Error::of_owner(&error) {
                        return Err(error);
                    }
                }
            }
        }
        match (self.load(key).await, stale) {
            (Ok(got), _) => {
                if got.error().is_some() {
                    self.tally.stale.fetch_add(1, Ordering::Relaxed);
                }
                Ok(got)
            }
            (Err(Error::Load(_)), Some(stale)) => Ok(self.stale(stale)),
            (Err(error), _) => Err(error),
        }
    }

    /// A copy that has expired, because nobody has anything better.
    fn stale(&self, reply: Reply<Held<S::Value>>) -> Got<S::Value> {
        self.tally.stale.fetch_add(1, Ordering::Relaxed);
        Got(From::Cache(reply))
    }

    /// Loads by the source, whoever the owner is.
    async fn load(&self, key: &S::Key) -> Result<Got<S::Value>, Error<S::Error>> {
        self.tally.main_asked.fetch_add(1, Ordering::Relaxed);
        match self.main.get(key).await {
            Ok(reply) => Ok(Got(From::Cache(reply))),
            Err(larder_cache::Error::Absent) => Err(Error::NotFound { text: None }),
            Err(error) => Err(Error::Load(error)),
        }
    }

    /// Forgets the value and every copy of it that is here; what is being loaded or set is not kept.
    fn forget(&self, key: &S::Key) {
        // First the sets: one that ends after this keeps no copy, and the copy of one that ended before it
        // is forgotten here.
        self.forget_copy(key);
        self.main.invalidate(key);
    }

    fn forget_copy(&self, key: &S::Key) {
        self.writes().disturb(key);
        self.hot.invalidate(key);
    }

    /// Whether the value that is here was set less than so long ago.
    fn was_set_since(&self, key: &S::Key, ago: Duration) -> bool {
        self.main.peek(key).is_some_and(|held| held.was_set() && held.age() < ago)
    }

    /// Has the key loaded past its owner for a while.
    fn bury(&self, key: &S::Key, for_how_long: Duration) {
        let now = self.pool.clock.now();
        self.tombstones().bury(key.clone(), now.after(for_how_long), now);
    }

    fn is_buried(&self, key: &S::Key) -> bool {
        self.tombstones().is_buried(key, self.pool.clock.now())
    }

    fn writes(&self) -> MutexGuard<'_, Writes<S::Key>> {
        // A panic in a key's `Eq` or `Hash` leaves maps whole.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tombstones(&self) -> MutexGuard<'_, Tombstones<S::Key>> {
        self.tombstones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Got<V> {
    /// Why the value is older than it should be; none for one that holds. It is handed out all the same,
    /// because there is no better one: see [`GroupOptions::stale_if_error`]. It has [expired](Self::expiry),
    /// and its [age](Self::age) is what it says.
    pub fn error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.0 {
            From::Cache(reply) => reply.error(),
            From::Request(_) => None,
        }
    }

    /// Until when the value holds.
    pub fn expiry(&self) -> Expiry {
        self.held().expiry()
    }

    /// For how long this process has had it.
    pub fn age(&self) -> Duration {
        match &self.0 {
            From::Cache(reply) => reply.age(),
            From::Request(_) => Duration::ZERO,
        }
    }

    /// Whether it was in this process's memory.
    pub fn is_hit(&self) -> bool {
        matches!(&self.0, From::Cache(reply) if matches!(reply.origin(), Origin::Hit))
    }

    fn loose(held: Held<V>) -> Self {
        Self(From::Request(Arc::new(held)))
    }

    fn held(&self) -> &Held<V> {
        match &self.0 {
            From::Cache(reply) => reply,
            From::Request(held) => held,
        }
    }
}

impl<V> Deref for Got<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.held().value
    }
}

impl<V> Clone for Got<V> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            From::Cache(reply) => From::Cache(reply.clone()),
            From::Request(held) => From::Request(Arc::clone(held)),
        })
    }
}

impl<V: fmt::Debug> fmt::Debug for Got<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.age();
        f.debug_struct("Got").field("value", &**self).field("age", &age).finish_non_exhaustive()
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Clone for Group<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Group").field("name", &self.name()).field("stats", &stats).finish()
    }
}
