//! What a cache, its pilots and its subscriptions share, and the changes they make to it.
//!
//! Lock order: a shard of the side table, then a shard of the store, a topic or a signal. Nothing here
//! waits.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::aftermath::Aftermath;
use crate::budget::Holder;
use crate::cache::Put;
use crate::clock::{Clock, Ticker, Time};
use crate::crowd::Places;
use crate::entry::{Entry, Freshness, Versioned};
use crate::error::Error;
use crate::keep::batch::Enlist;
use crate::keep::watch::Follow;
use crate::options::Options;
use crate::pace::Rate;
use crate::slots::{Shard, Slot, Slots};
use crate::source::{Fresh, Removal, Source};
use crate::standing::{Standing, Trouble};
use crate::stats::{Counters, Event};
use crate::store::{Admission, Store, Weighted};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, lock};
use crate::tasks::Tasks;
use crate::upstream::Upstream;

/// One fetch's outcome, shared by all who wait for it.
pub(crate) type Outcome<S> = Result<Arrival<<S as Source>::Value>, Error<<S as Source>::Error>>;

/// A value that came from the source.
pub(crate) struct Arrival<V> {
    pub(crate) entry: Entry<V>,
    pub(crate) at: Time,
}

pub(crate) struct Engine<S: Source> {
    pub(crate) source: S,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) store: Store<S::Key, Entry<S::Value>>,
    pub(crate) standings: Store<S::Key, Standing<S::Error>>,
    pub(crate) slots: Slots<S>,
    pub(crate) counters: Counters,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) upstream: Upstream,
    pub(crate) crowds: Crowds,
    /// How to follow the source's stream, if it has one.
    pub(crate) follow: Option<Follow<S>>,
    /// How to enlist a key for batches, if they are the way of refreshing.
    pub(crate) enlist: Option<Enlist<S::Key>>,
    /// There is a publisher.
    pub(crate) published: AtomicBool,
    rate: Mutex<Option<Rate>>,
    /// Moves the clock, if it is the cache's own.
    ticker: Mutex<Option<Ticker>>,
    dice: RandomState,
}

/// Of whom there may be how many.
pub(crate) struct Crowds {
    pub(crate) flights: Arc<Places>,
    pub(crate) waiters: Arc<Places>,
    pub(crate) keepers: Arc<Places>,
    pub(crate) subscriptions: Arc<Places>,
    pub(crate) connected: AtomicUsize,
    pub(crate) failing: AtomicUsize,
}

/// How a cache came by its capabilities.
pub(crate) struct Capabilities<S: Source> {
    pub(crate) follow: Option<Follow<S>>,
    pub(crate) enlist: Option<Enlist<S::Key>>,
}

impl<V> Clone for Arrival<V> {
    fn clone(&self) -> Self {
        Self { entry: Entry::clone(&self.entry), at: self.at }
    }
}

impl<V> Weighted for Entry<V> {
    #[inline]
    fn weight(&self) -> u64 {
        Versioned::weight(self)
    }
}

impl<S: Source> Engine<S> {
    /// `options` are valid.
    pub(crate) fn new(source: S, options: Options, capabilities: Capabilities<S>) -> Self {
        let given = options.upstream.as_ref().map(|upstream| upstream.clock().clone());
        let (clock, ticker) = options.clock.clone().or(given).map_or_else(
            || {
                let clock = Clock::running();
                (clock.clone(), Ticker::start_unless_modelled(clock))
            },
            |clock| (clock, None),
        );
        let limits = options.limits;
        Self {
            source,
            store: Store::new(options.capacity, options.expected_entries, options.ghost_allocation),
            standings: Store::new(u64::from(limits.troubles), limits.troubles as usize, 0.0),
            slots: Slots::new(),
            counters: Counters::new(),
            tasks: Arc::new(Tasks::new()),
            upstream: options.upstream.clone().unwrap_or_else(|| Upstream::new(clock.clone())),
            crowds: Crowds {
                flights: Places::new(limits.flights),
                waiters: Places::new(limits.waiters),
                keepers: Places::new(limits.keepers),
                subscriptions: Places::new(limits.subscriptions),
                connected: AtomicUsize::new(0),
                failing: AtomicUsize::new(0),
            },
            follow: capabilities.follow,
            enlist: capabilities.enlist,
            published: AtomicBool::new(false),
            rate: Mutex::new(options.rate),
            ticker: Mutex::new(ticker),
            dice: RandomState::default(),
            clock,
            options,
        }
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        *lock(&self.rate)
    }

    pub(crate) fn set_rate(&self, rate: Option<Rate>) -> bool {
        let mut current = lock(&self.rate);
        let changed = *current != rate;
        *current = rate;
        changed
    }

    /// The value that the next one follows. The shard is locked.
    pub(crate) fn previous(&self, key: &S::Key, slot: Option<&Slot<S>>) -> Option<Entry<S::Value>> {
        // A subscribed value may have been evicted: its subscribers still have it.
        self.store.peek(key).or_else(|| slot.and_then(|slot| slot.topic.entry()))
    }

    /// Makes an entry of a value that arrives at `now` and follows `previous`.
    pub(crate) fn entry(
        &self,
        fresh: Fresh<S::Value>,
        weight: u64,
        previous: Option<&Entry<S::Value>>,
        now: Time,
    ) -> Entry<S::Value> {
        let freshness = Freshness::new(now, fresh.age, self.ttl(fresh.ttl));
        let lead = previous.map_or(0, |previous| previous.next_lead(fresh.index));
        // Beyond four billion it is as heavy as can be told, which no shard holds.
        let weight = u32::try_from(weight.max(1)).unwrap_or(u32::MAX);
        let entry = Versioned::new(fresh.value, fresh.index, lead, weight, freshness);
        match previous {
            Some(previous) => entry.inherit_read(previous),
            None => entry.touch(now),
        }
        Entry::new(entry)
    }

    /// A source's ttl, or the cache's if that is shorter.
    pub(crate) fn ttl(&self, ttl: Option<Duration>) -> Duration {
        ttl.map_or(self.options.ttl, |ttl| ttl.min(self.options.ttl))
    }

    /// Stores an entry in place of what there was, and posts it; says whether it was light enough. The
    /// shard is locked.
    pub(crate) fn publish(
        &self,
        key: &S::Key,
        slot: Option<&Slot<S>>,
        entry: &Entry<S::Value>,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        if let Some(slot) = slot {
            aftermath.wake(slot.topic.post_value(entry));
        }
        self.admit(key, entry, aftermath)
    }

    /// Stores an entry; says whether it was light enough. The shard is locked.
    pub(crate) fn admit(
        &self,
        key: &S::Key,
        entry: &Entry<S::Value>,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        match self.store.insert(key, Entry::clone(entry)) {
            Admission::Admitted(gone) => {
                for (other, old) in gone {
                    let replaced = other == *key;
                    let cause = if replaced { Removal::Replaced } else { Removal::Evicted };
                    if !replaced {
                        self.counters.count(Event::Eviction);
                    }
                    aftermath.removed(other, old, cause);
                }
                if let Some(enlist) = &self.enlist {
                    aftermath.wake(enlist.key(key));
                }
                true
            }
            Admission::TooHeavy(old) => {
                self.counters.count(Event::Refused);
                if let Some((key, old)) = old {
                    aftermath.removed(key, old, Removal::TooHeavy);
                }
                false
            }
        }
    }

    /// Sets a value from outside, unless `keep_old` says otherwise; hands back the entry, if it was made.
    pub(crate) fn put(
        &self,
        key: &S::Key,
        fresh: Fresh<S::Value>,
        keep_old: impl FnOnce(&Self) -> bool,
    ) -> (Put, Option<Entry<S::Value>>) {
        // Foreign code runs before the lock is taken.
        let weight = self.source.weigh(key, &fresh.value);
        let mut aftermath = Aftermath::new();
        let mut shard = self.slots.shard(key);
        if self.tasks.is_closing() {
            return (Put::Closed, None);
        }
        if keep_old(self) {
            return (Put::Present, None);
        }
        let mut slot = shard.get_mut(key);
        self.advance(key, slot.as_deref_mut(), &mut aftermath);
        let previous = self.previous(key, slot.as_deref());
        let entry = self.entry(fresh, weight, previous.as_ref(), self.clock.now());
        let stored = self.publish(key, slot.as_deref(), &entry, &mut aftermath);
        drop(shard);
        aftermath.settle(self);
        (if stored { Put::Stored } else { Put::TooHeavy }, Some(entry))
    }

    /// Advances `key`'s generation, and forgets its absence. The failures stay: they belong to the
    /// source. The shard is locked.
    pub(crate) fn advance(
        &self,
        key: &S::Key,
        slot: Option<&mut Slot<S>>,
        after: &mut Aftermath<S>,
    ) {
        if let Some(slot) = slot {
            slot.rounds.outdate();
            after.wake(slot.topic.beacon.raise());
        }
        self.standings.remove_if(key, Standing::is_absent);
    }

    /// Forgets a value; says whether there was one. The shard is locked.
    pub(crate) fn forget(
        &self,
        key: &S::Key,
        shard: &mut Shard<S>,
        cause: Removal,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        let slot = shard.get_mut(key);
        if let Some(slot) = &slot {
            // Held until the aftermath, so as not to be dropped under the lock.
            if let Some(entry) = slot.topic.forget()
                && !self.store.contains(key)
            {
                aftermath.removed(key.clone(), entry, cause);
            }
        }
        self.advance(key, slot, aftermath);
        let Some((key, entry)) = self.store.remove(key) else { return false };
        aftermath.removed(key, entry, cause);
        true
    }

    /// The record of a key, to be changed and given back. The shard is locked.
    pub(crate) fn standing(&self, key: &S::Key) -> Standing<S::Error> {
        self.standings.peek(key).unwrap_or_default()
    }

    pub(crate) fn set_standing(&self, key: &S::Key, standing: Standing<S::Error>) {
        // What it replaces or evicts is dropped here, with the errors in it. An error's drop is foreign
        // code, but one that asks its own cache something is not worth an aftermath.
        let _ = self.standings.insert(key, standing);
    }

    /// Remembers that the owner has no such thing.
    pub(crate) fn remember_absent(&self, key: &S::Key, remember_for: Option<Duration>, now: Time) {
        let ttl = self.options.absent_ttl;
        let ttl = remember_for.map_or(ttl, |shorter| shorter.min(ttl));
        let trouble = Some(Trouble::Absent { since: now, until: now.after(ttl) });
        let pace = self.standing(key).pace;
        self.set_standing(key, Standing { pace, trouble });
    }

    /// Jitter needs no better randomness than a seeded hash.
    pub(crate) fn throw_dice(&self, key: &S::Key, salt: u64) -> u64 {
        self.dice.hash_one((key, salt))
    }

    /// Ends every flight, refuses new ones, and forgets everything.
    pub(crate) fn shut(&self) {
        self.tasks.close();
        // Whoever saw the cache open under a shard's lock is through once that lock was taken here;
        // whoever takes it later sees the cache closed. So nothing is stored after this.
        let mut aftermath = Aftermath::new();
        self.slots.each_shard(|shard| {
            for slot in shard.values_mut() {
                slot.release(&Error::Closed, &mut aftermath);
            }
        });
        for (key, entry) in self.store.clear() {
            aftermath.removed(key, entry, Removal::Closed);
        }
        drop(self.standings.clear());
        aftermath.settle(self);
    }

    pub(crate) fn take_ticker(&self) -> Option<Ticker> {
        lock(&self.ticker).take()
    }

    /// Hands what left the store to the listener.
    pub(crate) fn dispose(
        &self,
        gone: Vec<(S::Key, Entry<S::Value>)>,
        cause: Removal,
        event: Event,
    ) {
        self.counters.add(event, gone.len() as u64);
        let mut aftermath = Aftermath::new();
        for (key, entry) in gone {
            aftermath.removed(key, entry, cause);
        }
        aftermath.settle(self);
    }
}

impl<S: Source> Holder for Engine<S> {
    fn weight(&self) -> u64 {
        self.store.weight()
    }

    fn confine(&self, capacity: u64) {
        let gone = self.store.resize(capacity.min(self.options.capacity));
        self.counters.add(Event::Eviction, gone.len() as u64);
        for (key, entry) in gone {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.source.removed(&key, entry.value(), Removal::Evicted);
            }))
            .inspect_err(|_| self.counters.count(Event::ListenerPanic));
        }
    }

    fn release(&self) {
        if self.store.capacity() < self.options.capacity {
            self.store.resize(self.options.capacity);
        }
    }
}
