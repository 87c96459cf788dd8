//! What a change leaves to be done once the shard is unlocked: waking others, and running code that is
//! not ours.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::engine::{Engine, Outcome};
use crate::entry::Entry;
use crate::error::Error;
use crate::guarded::drop_each;
use crate::rounds::Round;
use crate::signal::Wakers;
use crate::slots::{Shard, Slot};
use crate::source::{Removal, Source};
use crate::stats::Event;
use crate::topic::{News, Posted};
use crate::trouble::Trouble;

type Told<S> = (Arc<Round<Outcome<S>>>, Outcome<S>);

/// Collected under a shard's lock, settled after it.
#[must_use = "those who wait are told when it is settled"]
pub(crate) struct Aftermath<S: Source> {
    told: Vec<Told<S>>,
    wakers: Vec<Wakers>,
    removed: Vec<(S::Key, Entry<S::Value>, Removal)>,
    /// Only to be dropped: their drops are foreign code.
    ended: Vec<(S::Key, Slot<S>)>,
    held: Vec<Entry<S::Value>>,
    forgotten: Vec<(S::Key, Trouble<S::Error>)>,
    replaced: Vec<News<S::Value, S::Error>>,
    /// The weight of the store has changed.
    grown: bool,
    evicting: bool,
}

impl<S: Source> Aftermath<S> {
    pub(crate) fn new() -> Self {
        Self {
            told: Vec::new(),
            wakers: Vec::new(),
            removed: Vec::new(),
            ended: Vec::new(),
            held: Vec::new(),
            forgotten: Vec::new(),
            replaced: Vec::new(),
            grown: false,
            evicting: false,
        }
    }

    pub(crate) fn tell(&mut self, round: Arc<Round<Outcome<S>>>, outcome: &Outcome<S>) {
        self.told.push((round, outcome.clone()));
    }

    pub(crate) fn wake(&mut self, wakers: Wakers) {
        if !wakers.is_empty() {
            self.wakers.push(wakers);
        }
    }

    /// Drops an entry later, if this turns out to be its last holder.
    pub(crate) fn hold(&mut self, entry: Option<Entry<S::Value>>) {
        self.held.extend(entry);
    }

    pub(crate) fn posted(&mut self, posted: Posted<S::Value, S::Error>) {
        self.wake(posted.wakers);
        self.replaced.extend(posted.replaced);
    }

    pub(crate) fn forgotten(
        &mut self,
        troubles: impl IntoIterator<Item = (S::Key, Trouble<S::Error>)>,
    ) {
        self.forgotten.extend(troubles);
    }

    /// The store holds more than before.
    pub(crate) fn has_grown(&mut self) {
        self.grown = true;
    }

    pub(crate) fn removed(&mut self, key: S::Key, entry: Entry<S::Value>, cause: Removal) {
        self.evicting |= cause == Removal::Evicted;
        self.removed.push((key, entry, cause));
    }

    /// Ends a slot, and tells everyone who waits or is subscribed.
    pub(crate) fn end_slot(&mut self, shard: &mut Shard<S>, key: &S::Key, error: &Error<S::Error>) {
        let mut ended = shard.remove_entry(key);
        if let Some((_, slot)) = &mut ended {
            slot.release(error, self);
        }
        self.ended(ended);
    }

    pub(crate) fn ended(&mut self, slot: Option<(S::Key, Slot<S>)>) {
        self.ended.extend(slot);
    }

    /// As [`settle`](Self::settle), for a task on which all keys depend: a value that panics as it is dropped
    /// does not end it.
    pub(crate) fn settle_guarded(self, engine: &Engine<S>) {
        // Unwind-safe: what a drop has left half-done is its own.
        if catch_unwind(AssertUnwindSafe(|| self.settle(engine))).is_err() {
            engine.counters.count(Event::ListenerPanic);
        }
    }

    /// Does it all. No lock may be held.
    pub(crate) fn settle(self, engine: &Engine<S>) {
        for (round, outcome) in self.told {
            round.tell(outcome).wake(&engine.tasks);
        }
        self.wakers.into_iter().for_each(|wakers| wakers.wake(&engine.tasks));
        for (key, entry, cause) in self.removed {
            engine.part_with(&key, &entry, cause);
        }
        if let Some(share) = engine.options.share.as_ref().filter(|_| self.grown) {
            share.settle(self.evicting);
        }
    }
}

impl<S: Source> Engine<S> {
    /// Drops entries, or what has some, that may be the last holders of their values. No lock may be held.
    pub(crate) fn let_fall<T>(&self, things: impl IntoIterator<Item = T>) {
        let panics = drop_each(things);
        if panics > 0 {
            self.counters.add(Event::ListenerPanic, panics);
        }
    }
}
