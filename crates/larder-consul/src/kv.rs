//! The key-value store: bounded, in memory, with the indexes of Consul's.
//!
//! A [`Table`] is the data and decides; a [`Kv`] puts a lock around it and lets readers wait for a key or for
//! all keys with a prefix. Sessions and locks are not kept: see [`Refused::Locks`].
//!
//! | asked for | index of the answer |
//! |---|---|
//! | a key that is there | when it was last changed |
//! | a key that is not there | when anything was last changed |
//! | keys with a prefix | when one of them was last changed or deleted |
//! | keys with a prefix, of which there are none | when anything was last changed |
//!
//! Of what is deleted, a tombstone keeps the index, as with Consul. When there are too many, the oldest is
//! forgotten, and its index becomes a floor under every prefix and every missing key: an index never goes
//! backwards, nobody sleeps through a deletion, and some are told once that nothing has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::futures::OwnedNotified;

use crate::blocking::is_due;

mod graves;
mod refused;
mod table;
mod waiting;
mod write;

pub use self::refused::Refused;
pub use self::table::{Done, Entry, Limits, Read, Table};
use self::waiting::{Slot, Waiting};
pub use self::write::{Delete, Put};

/// What one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A key.
    Key(Box<str>),
    /// All keys that begin like this.
    Prefix(Box<str>),
}

/// A [`Table`] that many tasks read and write, and that they can wait for.
#[derive(Debug)]
pub struct Kv {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Table,
    waiting: Waiting,
}

/// A place among those who wait; dropping it gives it back.
struct Place<'a> {
    kv: &'a Kv,
    scope: &'a Scope,
    slot: Slot,
}

impl Kv {
    /// An empty store, whose indexes begin above `start`: milliseconds since 1970, so that they are above
    /// those of every former run.
    pub fn new(limits: Limits, start: u64) -> Self {
        let waiting = Waiting::new(limits.max_waiting);
        Self { state: Mutex::new(State { table: Table::new(limits, start), waiting }) }
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Read<Option<Entry>> {
        self.lock().table.get(key)
    }

    /// The entries of all keys that begin with `prefix`, in their order.
    pub fn list(&self, prefix: &str) -> Read<Vec<Entry>> {
        self.lock().table.list(prefix)
    }

    /// The keys that begin with `prefix`, in their order, each cut behind the first `separator` after the
    /// prefix and told once; whole if the separator is empty.
    pub fn keys(&self, prefix: &str, separator: &str) -> Read<Vec<Box<str>>> {
        self.lock().table.keys(prefix, separator)
    }

    /// Stores a value. False if `put` has a condition that does not hold.
    pub fn put(&self, key: &str, value: &[u8], put: Put) -> Result<bool, Refused> {
        let mut state = self.lock();
        let done = state.table.put(key, value, put)?;
        Ok(Self::tell(state, &done))
    }

    /// Deletes a key, or all that begin with it. False if `delete` has a condition that does not hold.
    pub fn delete(&self, key: &str, delete: Delete) -> bool {
        let mut state = self.lock();
        let done = state.table.delete(key, delete);
        Self::tell(state, &done)
    }

    /// Waits until `scope` has changed since an answer with the index `seen`: at once if it has already, if
    /// `seen` is zero, or if it is above every index that there is.
    ///
    /// A change of anything else wakes nobody. For how long to wait is the caller's business. Cancel-safe: it
    /// takes nothing but a place, which it gives back at once when it is dropped. An error says that too many
    /// wait already.
    pub async fn wait(&self, scope: &Scope, seen: u64) -> Result<(), Refused> {
        if let Some((place, changed)) = self.park(scope, seen)? {
            changed.await;
            drop(place);
        }
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes keys and values take together.
    pub fn bytes(&self) -> usize {
        self.lock().table.bytes()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// A place to wait in; none if there is nothing to wait for.
    ///
    /// The look at the index and the place are under one lock, under which every change takes the places it
    /// has to wake: a change is seen by the look, or it finds the place. What it finds it takes out, so that
    /// who comes after the change and before the waking is not woken by it.
    fn park<'a>(
        &'a self,
        scope: &'a Scope,
        seen: u64,
    ) -> Result<Option<(Place<'a>, OwnedNotified)>, Refused> {
        let mut state = self.lock();
        if is_due(seen, state.table.own_index(scope), state.table.index()) {
            return Ok(None);
        }
        let slot = state.waiting.enter(scope)?;
        // Hears of what happens from here on, polled or not.
        let changed = slot.changed();
        Ok(Some((Place { kv: self, scope, slot }, changed)))
    }

    fn tell(mut state: MutexGuard<'_, State>, done: &Done) -> bool {
        let woken: Vec<Slot> =
            done.changed.iter().flat_map(|key| state.waiting.take(key)).collect();
        drop(state);
        woken.iter().for_each(Slot::wake);
        done.is_done
    }

    /// Locks, also after a panic elsewhere: a change is made in steps that cannot fail.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.kv.lock().waiting.leave(self.scope, &self.slot);
    }
}

#[cfg(test)]
mod tests;
