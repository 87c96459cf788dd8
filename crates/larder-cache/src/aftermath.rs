//! What a change leaves to be done once the shard is unlocked: waking others, and running code that is
//! not ours.

use std::sync::Arc;

use crate::engine::{Engine, Outcome};
use crate::entry::Entry;
use crate::rounds::Round;
use crate::signal::Wakers;
use crate::slots::Slot;
use crate::source::{Removal, Source};

type Told<S> = (Arc<Round<Outcome<S>>>, Outcome<S>);

/// Collected under a shard's lock, settled after it.
#[must_use = "those who wait are told when it is settled"]
pub(crate) struct Aftermath<S: Source> {
    told: Vec<Told<S>>,
    wakers: Vec<Wakers>,
    removed: Vec<(S::Key, Entry<S::Value>, Removal)>,
    ended: Vec<(S::Key, Slot<S>)>,
    evicting: bool,
}

impl<S: Source> Aftermath<S> {
    pub(crate) fn new() -> Self {
        let (told, wakers, removed, ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { told, wakers, removed, ended, evicting: false }
    }

    pub(crate) fn tell(&mut self, round: Arc<Round<Outcome<S>>>, outcome: &Outcome<S>) {
        self.told.push((round, outcome.clone()));
    }

    pub(crate) fn wake(&mut self, wakers: Wakers) {
        self.wakers.push(wakers);
    }

    pub(crate) fn removed(&mut self, key: S::Key, entry: Entry<S::Value>, cause: Removal) {
        self.evicting |= cause == Removal::Evicted;
        self.removed.push((key, entry, cause));
    }

    /// Takes a slot that has ended: its key's drop is foreign code.
    pub(crate) fn ended(&mut self, slot: Option<(S::Key, Slot<S>)>) {
        self.ended.extend(slot);
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
        drop(self.ended);
        if let Some(share) = &engine.options.share {
            share.settle(self.evicting);
        }
    }
}
