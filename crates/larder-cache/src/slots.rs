//! The side table: the keys that are loading, kept or subscribed. An idle entry has no part in it.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::aftermath::Aftermath;
use crate::crowd::Place;
use crate::engine::Outcome;
use crate::error::Error;
use crate::rounds::Rounds;
use crate::source::Source;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::topic::Topic;

/// The interleaving tests have few keys, which should meet.
const SHARDS: usize = if cfg!(shuttle) { 2 } else { 64 };

/// All slots, in shards.
pub(crate) struct Slots<S: Source> {
    shards: Box<[Mutex<Shard<S>>]>,
    hasher: RandomState,
}

/// The slots of one shard. Only ever locked for a few map operations, never across an await. What
/// changes a key's value does it under this lock, so that a fetch cannot land in the middle.
pub(crate) type Shard<S> = HashMap<<S as Source>::Key, Slot<S>, RandomState>;

/// What goes on for one key. It is there for as long as somebody flies it: the key's pilot, or a batch.
pub(crate) struct Slot<S: Source> {
    pub(crate) rounds: Rounds<Outcome<S>>,
    pub(crate) topic: Arc<Topic<S::Value, S::Error>>,
    /// Held while the key's pilot stays on as its keeper.
    pub(crate) keeper: Option<Place>,
    /// Held from when a caller asks for a fetch until that has landed.
    pub(crate) seat: Option<Place>,
    /// The fetch under way is part of a batch, and nobody else flies this key.
    pub(crate) has_no_pilot: bool,
}

impl<S: Source> Slots<S> {
    pub(crate) fn new() -> Self {
        let shard = || Mutex::new(Shard::<S>::default());
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        Self { shards, hasher: RandomState::default() }
    }

    /// Locks the shard that `key` belongs to.
    pub(crate) fn shard(&self, key: &S::Key) -> MutexGuard<'_, Shard<S>> {
        let hash = self.hasher.hash_one(key);
        // The low bits; the map inside has a hasher of its own.
        lock(&self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)])
    }

    /// Locks every shard, one after another.
    pub(crate) fn each_shard(&self, mut visit: impl FnMut(&mut Shard<S>)) {
        self.shards.iter().for_each(|shard| visit(&mut lock(shard)));
    }
}

impl<S: Source> Slot<S> {
    pub(crate) fn new() -> Self {
        let topic = Arc::new(Topic::default());
        Self { rounds: Rounds::default(), topic, keeper: None, seat: None, has_no_pilot: false }
    }

    /// Gives the seat back, unless somebody asks for a fetch that has not begun.
    pub(crate) fn free_seat(&mut self) {
        if !self.rounds.is_asked() {
            self.seat = None;
        }
    }

    /// Releases everyone who waits for this key: callers with `error`, subscribers with the end.
    pub(crate) fn release(&mut self, error: &Error<S::Error>, aftermath: &mut Aftermath<S>) {
        aftermath.wake(self.topic.close());
        self.rounds.end().for_each(|round| aftermath.tell(round, &Err(error.clone())));
    }
}
