//! What a cache, its pilots and its subscriptions share, and the changes they make to it.
//!
//! Lock order: a shard of the side table, then a shard of the store, a topic or a signal. Nothing here
//! waits.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::aftermath::Aftermath;
use crate::budget::Holder;
use crate::cache::Put;
use crate::clock::{Clock, Ticker, Time};
use crate::crowd::{Census, Places};
use crate::entry::{Entry, Freshness, Versioned};
use crate::error::Error;
use crate::keep::batch::desk::Enlist;
use crate::keep::watch::Follow;
use crate::lead::Lead;
use crate::options::Options;
use crate::pace::{Pace, Rate};
use crate::slots::{Shard, Slot, Slots};
use crate::source::{Fresh, Removal, Source};
use crate::stats::{Counters, Event};
use crate::store::{Admission, Notes, Store, Weighted};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::tasks::Tasks;
use crate::trouble::Trouble;
use crate::upstream::{Condition, Upstream};

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
    pub(crate) troubles: Notes<S::Key, Trouble<S::Error>>,
    /// Of keys that are fetched often. Apart from the troubles, so as not to push those out.
    pub(crate) paces: Notes<S::Key, Pace>,
    /// As it was set last; a budget may confine the store to less.
    capacity: AtomicU64,
    pub(crate) slots: Slots<S>,
    pub(crate) counters: Counters,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) upstream: Upstream,
    pub(crate) crowds: Crowds,
    /// How to follow the source's stream, if it has one.
    pub(crate) follow: Option<Follow<S>>,
    /// How to enlist a key for batches, if they are the way of refreshing.
    pub(crate) enlist: Option<Enlist<S::Key, S::Value>>,
    /// As the source says, asked once: nothing of the source's runs under a lock.
    pub(crate) vouches_while_waiting: bool,
    /// There is a publisher.
    pub(crate) published: AtomicBool,
    pub(crate) rate: Mutex<Option<Rate>>,
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
    pub(crate) counted: Census,
}

/// How a cache came by its capabilities.
pub(crate) struct Capabilities<S: Source> {
    pub(crate) follow: Option<Follow<S>>,
    pub(crate) enlist: Option<Enlist<S::Key, S::Value>>,
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

    fn leave(&self) {
        self.standing().leave();
    }
}

impl<S: Source> Engine<S> {
    /// `options` are valid.
    pub(crate) fn new(source: S, options: Options, capabilities: Capabilities<S>) -> Self {
        let shared = options.upstream.as_ref().map(|upstream| upstream.clock().clone());
        let clock = options.clock.clone().or(shared).unwrap_or_else(Clock::running);
        let owns_tick = options.clock.is_none();
        let ticker = owns_tick.then(|| Ticker::start_unless_modelled(clock.clone())).flatten();
        let limits = options.limits;
        // Nothing that is kept may lose its back-off or its rate limit to others.
        let notes = 2 * (u64::from(limits.troubles) + u64::from(limits.keepers));
        Self {
            store: Store::new(options.capacity, options.expected_entries, options.ghost_allocation),
            troubles: Notes::new(notes, limits.troubles),
            paces: Notes::new(notes, limits.troubles),
            capacity: AtomicU64::new(options.capacity),
            slots: Slots::new(),
            counters: Counters::new(),
            tasks: Arc::new(Tasks::new()),
            upstream: options.upstream.clone().unwrap_or_else(|| Upstream::new(clock.clone())),
            crowds: Crowds {
                flights: Places::new(limits.flights),
                waiters: Places::new(limits.waiters),
                keepers: Places::new(limits.keepers),
                subscriptions: Places::new(limits.subscriptions),
                counted: Census::default(),
            },
            follow: capabilities.follow,
            enlist: capabilities.enlist,
            vouches_while_waiting: source.vouches_while_waiting(),
            published: AtomicBool::new(false),
            rate: Mutex::new(options.rate),
            ticker: Mutex::new(ticker),
            dice: RandomState::default(),
            clock,
            options,
            source,
        }
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
        slot: Option<&Slot<S>>,
        now: Time,
    ) -> Entry<S::Value> {
        let freshness = Freshness::new(now, fresh.age, self.ttl(fresh.ttl));
        // Without a previous value, as after an invalidation, subscribers still know an index.
        let seen = slot.map_or(0, |slot| slot.topic.highest_index());
        let lead = previous.map_or_else(
            || match seen.saturating_sub(fresh.index) {
                0 => Lead::default(),
                behind => Lead::at_least(behind.saturating_add(1)),
            },
            |previous| previous.next_lead(fresh.index),
        );
        // Beyond four billion it is as heavy as can be told, which no shard holds.
        let weight = u32::try_from(weight.max(1)).unwrap_or(u32::MAX);
        let entry = Versioned::new(fresh.value, fresh.index, lead, weight, freshness);
        let entry = if fresh.terminal { entry.terminal() } else { entry };
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
        // First the store: whoever sees the post finds the value there.
        let admitted = self.admit(key, slot, entry, aftermath);
        if let Some(slot) = slot {
            slot.topic.note_index(entry.index());
            aftermath.posted(slot.topic.post_value(entry));
        }
        admitted
    }

    /// Stores an entry; says whether it was light enough. The shard is locked.
    pub(crate) fn admit(
        &self,
        key: &S::Key,
        slot: Option<&Slot<S>>,
        entry: &Entry<S::Value>,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        match self.store.insert(key, Entry::clone(entry)) {
            Admission::Admitted(gone) => {
                for (other, old) in gone {
                    // The store may have no room for the newcomer itself.
                    let replaced = other == *key && !Entry::ptr_eq(&old, entry);
                    if replaced && entry.standing().inherit(old.standing()) {
                        self.strike();
                    }
                    let cause = if replaced { Removal::Replaced } else { Removal::Evicted };
                    if !replaced {
                        self.counters.count(Event::Eviction);
                    }
                    aftermath.removed(other, old, cause);
                }
                aftermath.has_grown();
                self.enlist(key, slot, aftermath);
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

    /// Has a key refreshed in batches from now on. A batch puts its own keys back itself.
    pub(crate) fn enlist(
        &self,
        key: &S::Key,
        slot: Option<&Slot<S>>,
        aftermath: &mut Aftermath<S>,
    ) {
        if let Some(enlist) = &self.enlist
            && !slot.is_some_and(|slot| slot.has_no_pilot)
        {
            aftermath.wake(enlist.note_change(key));
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
        let (stored, entry) = self.put_in(key, fresh, weight, &mut shard, &mut aftermath);
        drop(shard);
        aftermath.settle(self);
        (if stored { Put::Stored } else { Put::TooHeavy }, Some(entry))
    }

    /// Sets a value from outside; says whether it was light enough. The shard is locked.
    pub(crate) fn put_in(
        &self,
        key: &S::Key,
        fresh: Fresh<S::Value>,
        weight: u64,
        shard: &mut Shard<S>,
        aftermath: &mut Aftermath<S>,
    ) -> (bool, Entry<S::Value>) {
        let mut slot = shard.get_mut(key);
        self.advance(key, slot.as_deref_mut(), aftermath);
        let previous = self.previous(key, slot.as_deref());
        let now = self.clock.now();
        let entry = self.entry(fresh, weight, previous.as_ref(), slot.as_deref(), now);
        let stored = self.publish(key, slot.as_deref(), &entry, aftermath);
        aftermath.hold(previous);
        (stored, entry)
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
        after.forgotten(self.troubles.remove_if(key, Trouble::is_absent));
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
            // Held until the aftermath, so as not to be dropped under the lock. If only subscribers still
            // had it, the listener was told when it left the store.
            aftermath.hold(slot.topic.forget());
        }
        self.advance(key, slot, aftermath);
        let Some((key, entry)) = self.store.remove(key) else { return false };
        aftermath.removed(key, entry, cause);
        true
    }

    /// Why a key is not fetched for a while, if there is a reason.
    pub(crate) fn trouble(&self, key: &S::Key) -> Option<Trouble<S::Error>> {
        self.troubles.peek(key)
    }

    /// Until when a batch leaves it alone; [`Time::MAX`] if none fetches it again.
    pub(crate) fn rests_until(&self, key: &S::Key) -> Time {
        // Rows that back off come up one by one, of which one is the probe: if none did while the
        // upstream is down, all would be due at once when it is back.
        let upstream = Condition { is_down: false, ..self.upstream.condition() };
        self.trouble(key).map_or(Time::ZERO, |trouble| trouble.rests_until(upstream))
    }

    /// The owner says that there is no such thing. The shard is locked.
    pub(crate) fn become_absent(
        &self,
        key: &S::Key,
        slot: Option<&Slot<S>>,
        remember_for: Option<Duration>,
        aftermath: &mut Aftermath<S>,
    ) {
        if let Some((key, entry)) = self.store.remove(key) {
            aftermath.removed(key, entry, Removal::Absent);
        }
        self.remember_absent(key, remember_for, aftermath);
        if let Some(slot) = slot {
            aftermath.posted(slot.topic.post_absent());
        }
    }

    fn remember_absent(
        &self,
        key: &S::Key,
        remember_for: Option<Duration>,
        aftermath: &mut Aftermath<S>,
    ) {
        let now = self.clock.now();
        let ttl = self.options.absent_ttl;
        let ttl = remember_for.map_or(ttl, |shorter| shorter.min(ttl));
        self.set_trouble(key, Trouble::Absent { since: now, until: now.after(ttl) }, aftermath);
    }

    pub(crate) fn set_trouble(
        &self,
        key: &S::Key,
        trouble: Trouble<S::Error>,
        aftermath: &mut Aftermath<S>,
    ) {
        aftermath.forgotten(self.troubles.insert(key, trouble));
    }

    /// Ends a slot that needs no pilot any more. When the cache is closing, whoever still waits is told.
    pub(crate) fn end_slot(
        &self,
        shard: &mut Shard<S>,
        key: &S::Key,
        error: &Error<S::Error>,
        aftermath: &mut Aftermath<S>,
    ) {
        if self.tasks.is_closing() {
            aftermath.end_slot(shard, key, error);
        } else {
            aftermath.ended(shard.remove_entry(key));
        }
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
        drop(self.troubles.retain(|_| false));
        drop(self.paces.retain(|_| false));
        aftermath.settle(self);
        if let Some(enlist) = &self.enlist {
            let rows = enlist.0.schedule().clear();
            self.let_fall(rows);
        }
    }

    pub(crate) fn take_ticker(&self) -> Option<Ticker> {
        lock(&self.ticker).take()
    }

    /// Changes the capacity; evicts what no longer fits.
    pub(crate) fn resize(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::Relaxed);
        self.dispose(self.store.resize(capacity), Removal::Evicted, Event::Eviction);
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

    /// An entry has left: its source hears of it, and its keeper, which has nothing to keep any more. No
    /// lock may be held.
    pub(crate) fn part_with(&self, key: &S::Key, entry: &Entry<S::Value>, cause: Removal) {
        use Removal::{Evicted, Expired, Idle, Invalidated};
        if matches!(cause, Evicted | Idle | Expired | Invalidated) {
            self.alert(key);
        }
        if let Some(enlist) = self.enlist.as_ref().filter(|_| cause != Removal::Replaced) {
            enlist.has_left(key, entry.standing().part());
        }
        let listener = || self.source.removed(key, entry.value(), cause);
        // Unwind-safe: a listener that panics leaves behind what it likes, but nothing of ours.
        if catch_unwind(AssertUnwindSafe(listener)).is_err() {
            self.counters.count(Event::ListenerPanic);
        }
    }

    /// Has a key's keeper look again. Without this, one that waits at the source would go on for as long
    /// as the source lets it wait.
    fn alert(&self, key: &S::Key) {
        if !self.options.refresh.keeps_what_is_read() {
            return;
        }
        let shard = self.slots.shard(key);
        let beacon = shard.get(key).map(|slot| slot.topic.beacon.raise());
        drop(shard);
        if let Some(beacon) = beacon {
            beacon.wake(&self.tasks);
        }
    }
}

impl<S: Source> Holder for Engine<S> {
    fn weight(&self) -> u64 {
        self.store.weight()
    }

    fn confine(&self, capacity: u64) {
        let capacity = capacity.min(self.capacity.load(Ordering::Relaxed));
        self.dispose(self.store.resize(capacity), Removal::Evicted, Event::Eviction);
    }

    fn release(&self) {
        let capacity = self.capacity.load(Ordering::Relaxed);
        if self.store.capacity() < capacity {
            // More room evicts nobody.
            drop(self.store.resize(capacity));
        }
    }
}
