//! Tracking many things that somebody else owns, in batches and under a rate limit, until each of them is
//! terminal: flyte's and nebula's AutoRefresh cache, as a [`Cache`] that fetches many keys at a time.
//!
//! What it adds to that cache is small: nothing is fetched that nobody has created, somebody leaves when
//! there are too many (see [`roster`]), and what callers may do to an item.

mod capacity;
mod options;
mod roster;
mod source;
mod stats;
mod syncing;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::cache::Cache;
use crate::engine::Engine;
use crate::error::Error;
use crate::keep::Refresh;
use crate::keep::batch::desk::{Desk, Phase};
use crate::keep::batch::plan::{Divide, First, Plan};
use crate::options::{Limits, Options, OutOfRange};
use crate::reply::{Origin, Reply};
use crate::source::{Blame, Fresh, Removal};
use crate::stats::Event;
use crate::sync::lock;

pub use capacity::Capacity;
pub(crate) use capacity::Load;
pub use options::{AutoRefreshOptions, Batches, Overflow};
pub use source::{OneSynced, SyncSource, Synced, Tracked};
pub use stats::AutoRefreshStats;

use roster::{Resident, Roster};
use syncing::Syncing;

/// Tracks items that `R` owns: callers create them, and each is asked about in the background until it is
/// terminal. Clones are handles on the same items.
///
/// An item that was accepted leaves only because it is deleted, because its owner does not know it any
/// more, because it was terminal for the [`terminal_ttl`](AutoRefreshOptions::terminal_ttl), or because it
/// was evicted; each is counted apart and told to [`SyncSource::removed`].
///
/// The bounds: [`size`](AutoRefreshOptions::size) items, each at most once in the queue,
/// [`workers`](AutoRefreshOptions::workers) syncs at a time. An item that was deleted or replaced stays in
/// memory until it would have been synced next, or until there are more such than two for each that is
/// tracked, and at the latest until the [`stop`](Self::stop): who counts bytes counts it twice. A sync that panics, fails or hangs costs its
/// items a [back-off](AutoRefreshOptions::backoff), and nobody else anything. Dropping the last handle
/// ends everything; [`stop`](Self::stop) and [`close`](Self::close) also wait for the end.
///
/// ```
/// use larder_cache::{AutoRefresh, AutoRefreshOptions, OneSynced, SyncSource, Synced, Tracked};
///
/// /// Counts to three.
/// struct Counters;
///
/// impl SyncSource for Counters {
///     type Id = &'static str;
///     type Item = u8;
///     type Error = std::io::Error;
///
///     async fn sync(&self, batch: Vec<(&'static str, Tracked<u8>)>) -> Result<Vec<OneSynced<Self>>, std::io::Error> {
///         Ok(batch.into_iter().map(|(id, count)| (id, Ok(Synced::Updated(*count + 1)))).collect())
///     }
///
///     fn is_terminal(&self, _: &&'static str, count: &u8) -> bool {
///         *count >= 3
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counters = AutoRefresh::new(Counters, AutoRefreshOptions::default())?;
/// counters.start()?;
/// assert_eq!(*counters.get_or_create(&"a", 0)?.item, 0);
/// while *counters.get(&"a").ok_or("it was evicted")? < 3 {
///     tokio::time::sleep(std::time::Duration::from_secs(10)).await;
/// }
/// counters.close().await;
/// # Ok(())
/// # }
/// ```
pub struct AutoRefresh<R: SyncSource> {
    cache: Cache<Syncing<R>>,
    desk: Arc<Desk<R::Id, R::Item>>,
    size: usize,
    overflow: Overflow,
}

/// What [`AutoRefresh::get_or_create`] has found or made.
#[derive(Debug, Clone)]
pub struct Creation<T> {
    /// The item: everyone who creates the same id at a time gets the same one.
    pub item: Reply<T>,
    /// This call has created it.
    pub is_new: bool,
}

/// Why an item was not created. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is no room, and nothing that may be evicted. Delete items, wait until some are terminal, or
    /// raise the size.
    #[error("{size} items are tracked, the most that may be, and none of them is terminal")]
    Full {
        /// The most items there may be.
        size: usize,
    },
    /// It was stopped: nobody would ask about the item.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The [`AutoRefresh`] was stopped, and cannot be started again. Make another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the items are not refreshed any more: their tracking was stopped")]
pub struct Stopped;

/// What became of an [`AutoRefresh::update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Updated {
    /// The item is what was given. A sync that is under way cannot undo it.
    Stored,
    /// There is no such item, and none was created.
    NotFound,
    /// The item is terminal, and stays as it is.
    Terminal,
}

impl<R: SyncSource> AutoRefresh<R> {
    /// Tracks nothing yet, and asks nobody until it is [started](Self::start). Its tasks run on the tokio
    /// runtime that this is called in; outside of one it panics.
    pub fn new(source: R, options: AutoRefreshOptions<R::Id, R::Item>) -> Result<Self, OutOfRange> {
        options.validate()?;
        let (size, overflow, ttl) = (options.size, options.overflow, options.terminal_ttl);
        let (engine_options, plan) = (engine_options(&options), plan::<R>(options));
        let desk = Arc::new(Desk::new(plan.throughput(), Phase::Waiting));
        let syncing = Syncing::new(source, ttl, Arc::clone(&desk));
        let cache = Cache::driven(syncing, engine_options, plan, Arc::clone(&desk))?;
        Ok(Self { cache, desk, size, overflow })
    }

    /// Has the items synced from now on. Starting it twice does nothing more.
    pub fn start(&self) -> Result<(), Stopped> {
        self.desk.enter(Phase::Running);
        self.check_not_stopped()
    }

    /// The item as it is known now, if there is one; its [age](Reply::age) is the time since its owner
    /// last spoke of it. Only reading an item, creating it, or updating it makes it recently used.
    #[inline]
    pub fn get(&self, id: &R::Id) -> Option<Reply<R::Item>> {
        let found = self.cache.peek(id);
        if found.is_none() {
            self.engine().counters.count(Event::Miss);
        }
        found
    }

    /// The item as it is known, or else `item`, which is tracked from now on. Of several callers who
    /// create an id at the same time, one wins, and all get its item.
    ///
    /// An item that [is to be deleted](Self::delete_delayed) makes room for the new one at once.
    pub fn get_or_create(
        &self,
        id: &R::Id,
        item: R::Item,
    ) -> Result<Creation<R::Item>, CreateError> {
        let engine = self.engine();
        // Foreign code runs before a lock is taken.
        let fresh = engine.source.fresh(id, item);
        let mut aftermath = Aftermath::new();
        let created = self.create(id, fresh, &mut aftermath);
        aftermath.settle(engine);
        created
    }

    /// Replaces an item that is there and not terminal.
    pub fn update(&self, id: &R::Id, item: R::Item) -> Updated {
        let engine = self.engine();
        let fresh = engine.source.fresh(id, item);
        let terminal = fresh.terminal;
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(id);
        // Under the shard's lock, as in a creation.
        let entry = engine.store.peek(id).filter(|_| !engine.tasks.is_closing());
        let updated = match entry {
            None => Updated::NotFound,
            Some(entry) if entry.standing().is_terminal() => {
                aftermath.hold(Some(entry));
                Updated::Terminal
            }
            Some(entry) => {
                aftermath.hold(Some(entry));
                let (_, entry) = engine.put_in(id, fresh, 1, &mut shard, &mut aftermath);
                entry.touch(engine.clock.now());
                aftermath.hold(Some(entry));
                Updated::Stored
            }
        };
        drop(shard);
        if terminal && updated == Updated::Stored {
            self.desk.note_ended(id);
        }
        aftermath.settle(engine);
        updated
    }

    /// Deletes an item; says whether there was one. A sync that is under way cannot bring it back.
    pub fn delete(&self, id: &R::Id) -> bool {
        let engine = self.engine();
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(id);
        let found = engine.forget(id, &mut shard, Removal::Deleted, &mut aftermath);
        drop(shard);
        aftermath.settle(engine);
        found
    }

    /// Deletes an item when its running sync has ended, or else at the next whole
    /// [period](AutoRefreshOptions::period) since the tracking was made; until then it can be read. Says
    /// whether there is one.
    ///
    /// It is this item that is deleted: one that is created under the same id meanwhile takes its place at
    /// once, and stays. Before the start nothing leaves, and after the stop everything at once.
    pub fn delete_delayed(&self, id: &R::Id) -> bool {
        let engine = self.engine();
        if self.check_not_stopped().is_err() {
            return self.delete(id);
        }
        let mut aftermath = Aftermath::new();
        let shard = engine.slots.shard(id);
        let entry = engine.store.peek(id);
        let found = entry.is_some();
        // Once is enough: each time it would be given a later tick.
        if let Some(entry) = entry.as_ref().filter(|entry| !entry.standing().is_doomed()) {
            entry.standing().doom();
            engine.enlist(id, None, &mut aftermath);
        }
        aftermath.hold(entry);
        drop(shard);
        aftermath.settle(engine);
        found
    }

    /// Why the item's last sync failed; `None` if it did not, or there is no such item.
    pub fn last_error(&self, id: &R::Id) -> Option<Error<R::Error>> {
        let engine = self.engine();
        let trouble = engine.trouble(id).filter(|_| engine.store.contains(id))?;
        trouble.failing().map(|failing| failing.error.clone())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.engine().store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets the running syncs end, at most for the [`sync_timeout`](AutoRefreshOptions::sync_timeout), and
    /// starts no more of them. The items stay, and can be read, updated and deleted; none can be created.
    pub async fn stop(&self) {
        self.desk.enter(Phase::Draining);
        self.desk.over().await;
    }

    /// Stops, lets all items go, and returns when the last task has ended.
    pub async fn close(&self) {
        self.stop().await;
        self.cache.close().await;
    }

    /// What it has done and how it is.
    pub fn stats(&self) -> AutoRefreshStats {
        let engine = self.engine();
        let total = |event| engine.counters.total(event);
        let departed = &engine.source.departures;
        let now = engine.clock.now();
        let schedule = self.desk.schedule();
        let mut stats = AutoRefreshStats {
            queued: schedule.len() as u64,
            due: schedule.due(now) as u64,
            overdue: schedule.overdue(now),
            waiting_first: schedule.waiting_first() as u64,
            backing_off: schedule.failing() as u64,
            ..AutoRefreshStats::default()
        };
        drop(schedule);
        stats.hits = total(Event::Hit);
        stats.misses = total(Event::Miss);
        stats.items = engine.store.len() as u64;
        stats.terminal = self.desk.terminal() as u64;
        stats.in_flight = self.desk.keys() as u64;
        stats.syncs_running = self.desk.batches() as u64;
        stats.syncs = self.desk.latency.count();
        stats.sync_time = self.desk.latency.total();
        stats.longest_sync = self.desk.latency.longest();
        stats.updated = total(Event::Fetched);
        stats.unchanged = total(Event::Unmodified);
        stats.failed = total(Event::Failed);
        stats.timed_out = total(Event::TimedOut);
        stats.panicked = total(Event::Panicked);
        stats.evicted_live = departed.evicted_live.load(Ordering::Relaxed);
        stats.evicted_terminal = departed.evicted_terminal.load(Ordering::Relaxed);
        stats.deleted = departed.deleted.load(Ordering::Relaxed);
        stats.gone = departed.gone.load(Ordering::Relaxed);
        stats.expired = departed.expired.load(Ordering::Relaxed);
        stats.refused = departed.refused.load(Ordering::Relaxed);
        stats.strays = total(Event::Stray);
        stats.misdivided = total(Event::Misdivided);
        stats.listener_panics = total(Event::ListenerPanic);
        stats.capacity = self.desk.capacity(engine.store.len());
        stats
    }

    fn engine(&self) -> &Arc<Engine<Syncing<R>>> {
        &self.cache.engine
    }

    fn check_not_stopped(&self) -> Result<(), Stopped> {
        let stopped = self.engine().tasks.is_closing()
            || matches!(self.desk.phase(), Phase::Draining | Phase::Over);
        if stopped { Err(Stopped) } else { Ok(()) }
    }

    fn create(
        &self,
        id: &R::Id,
        fresh: Fresh<R::Item>,
        aftermath: &mut Aftermath<Syncing<R>>,
    ) -> Result<Creation<R::Item>, CreateError> {
        let engine = self.engine();
        // Creations go one after another: whoever has room still has it at the end.
        let mut roster = lock(&engine.source.roster);
        self.check_not_stopped()?;
        if let Some(item) = self.found(id, aftermath) {
            return Ok(Creation { item, is_new: false });
        }
        engine.counters.count(Event::Miss);
        self.enter_ended(&mut roster, aftermath);
        while engine.store.len() >= self.size {
            let victim = roster.victim(self.overflow == Overflow::Evict, |id| {
                let entry = engine.store.peek(id)?;
                let resident = Resident::of(&entry);
                // Somebody may delete it meanwhile: its drop, foreign code, is not for under a lock.
                aftermath.hold(Some(entry));
                Some(resident)
            });
            let Some(victim) = victim else {
                engine.source.departures.refused.fetch_add(1, Ordering::Relaxed);
                return Err(CreateError::Full { size: self.size });
            };
            let mut shard = engine.slots.shard(&victim);
            engine.forget(&victim, &mut shard, Removal::Evicted, aftermath);
        }
        let mut shard = engine.slots.shard(id);
        // Under the shard's lock, or it could be stored behind the back of whoever closes the cache.
        if engine.tasks.is_closing() {
            return Err(Stopped.into());
        }
        // Its predecessor's failures are not its own: a refusal would end it before its first sync.
        aftermath.forgotten(engine.troubles.remove_if(id, |_| true));
        let (_, entry) = engine.put_in(id, fresh, 1, &mut shard, aftermath);
        // Also while its predecessor is in flight, whose landing would give it a place as of then.
        engine.enlist(id, None, aftermath);
        drop(shard);
        let mut resident = Resident::of(&entry);
        if std::mem::take(&mut resident.terminal) {
            self.desk.note_ended(id);
        } else {
            roster.enter(id.clone(), resident, engine.store.len(), |id| engine.store.contains(id));
        }
        Ok(Creation { item: Reply::new(entry, engine.clock.now(), Origin::Hit), is_new: true })
    }

    /// The item that a creation finds, unless it is to be deleted: then it is gone now.
    fn found(&self, id: &R::Id, aftermath: &mut Aftermath<Syncing<R>>) -> Option<Reply<R::Item>> {
        let engine = self.engine();
        let mut shard = engine.slots.shard(id);
        let now = engine.clock.now();
        let old = engine.store.get(id)?;
        let cause = if old.standing().is_doomed() {
            Removal::Deleted
        } else if old.fresh_until() <= now {
            Removal::Expired
        } else {
            old.touch(now);
            engine.counters.count(Event::Hit);
            return Some(Reply::new(old, now, Origin::Hit));
        };
        engine.forget(id, &mut shard, cause, aftermath);
        aftermath.hold(Some(old));
        None
    }

    /// Takes note of the items that have become terminal: they are the first to be evicted.
    fn enter_ended(&self, roster: &mut Roster<R::Id>, aftermath: &mut Aftermath<Syncing<R>>) {
        let store = &self.engine().store;
        for id in self.desk.take_ended() {
            if let Some(entry) = store.peek(&id) {
                let resident = Resident::of(&entry);
                roster.enter(id, resident, store.len(), |id| store.contains(id));
                aftermath.hold(Some(entry));
            }
        }
    }
}

fn engine_options<I, T>(options: &AutoRefreshOptions<I, T>) -> Options {
    Options {
        // The roster sees to the bound: the store must never choose who leaves.
        capacity: u64::from(u32::MAX) << 16,
        expected_entries: options.size,
        ghost_allocation: 0.0,
        ttl: Duration::MAX,
        stale_if_error: Duration::ZERO,
        absent_ttl: Duration::ZERO,
        fetch_timeout: options.sync_timeout,
        backoff: options.backoff,
        refresh: Refresh::Batch {
            every: options.period,
            size: options.batches.size,
            parallel: options.workers,
        },
        idle: Duration::MAX,
        rate: None,
        limits: Limits {
            troubles: u32::try_from(options.size).unwrap_or(u32::MAX).clamp(1, 1_000_000),
            keepers: 1,
            ..Limits::default()
        },
        clock: options.clock.clone(),
        ..Options::default()
    }
}

fn plan<R: SyncSource>(options: AutoRefreshOptions<R::Id, R::Item>) -> Plan<Syncing<R>> {
    let at_once = First::AtOnce(options.create_rate);
    Plan {
        every: options.period,
        size: options.batches.size as usize,
        divide: options.batches.divide.map(|divide| divide as Divide<Syncing<R>>),
        parallel: options.workers as usize,
        rate: options.refresh_rate,
        first: if options.sync_on_create { at_once } else { First::Later },
        silence: Blame::Entry,
        tracks: true,
    }
}

impl<R: SyncSource> Clone for AutoRefresh<R> {
    fn clone(&self) -> Self {
        let (cache, desk) = (self.cache.clone(), Arc::clone(&self.desk));
        Self { cache, desk, size: self.size, overflow: self.overflow }
    }
}

impl<R: SyncSource> fmt::Debug for AutoRefresh<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoRefresh").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
