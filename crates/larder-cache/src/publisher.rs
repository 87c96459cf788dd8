//! One stream that feeds many keys: a watch on a whole registry, say.

use std::collections::HashSet;
use std::sync::Arc;

use crate::aftermath::Aftermath;
use crate::cache::{Cache, Put};
use crate::engine::Engine;
use crate::source::{Fresh, Removal, Source};
use crate::stats::Event;
use crate::sync::Ordering;

/// The one writer of a cache whose entries come from one stream.
///
/// What it publishes has no age for as long as it is in contact: its stream would tell if the value
/// changed. When it [loses contact](Self::lose_contact), or is dropped, its entries begin to age. Readers
/// keep using the cache, and subscriptions of it; whatever is not published is fetched.
///
/// It remembers the keys that it has published, which its stream bounds.
pub struct Publisher<S: Source> {
    engine: Arc<Engine<S>>,
    keys: HashSet<S::Key>,
    in_contact: bool,
}

impl<S: Source> Cache<S> {
    /// Becomes the cache's publisher; `None` if there is one already. It is meant for caches that refresh by
    /// [`Pushed`](crate::Refresh::Pushed): where pilots wait at the source or follow its stream, they take
    /// the contact away when they lose theirs.
    pub fn publisher(&self) -> Option<Publisher<S>> {
        let taken = self.engine.published.swap(true, Ordering::AcqRel);
        let engine = Arc::clone(&self.engine);
        (!taken).then(|| Publisher { engine, keys: HashSet::new(), in_contact: true })
    }
}

impl<S: Source> Publisher<S> {
    /// Publishes a value.
    pub fn publish(&mut self, key: &S::Key, value: impl Into<Fresh<S::Value>>) -> Put {
        let (put, entry) = self.engine.put(key, value.into(), |_| false);
        if put == Put::Stored {
            self.keys.insert(key.clone());
            self.engine.counters.count(Event::Streamed);
            if let Some(entry) = entry.filter(|_| self.in_contact) {
                entry.connect();
            }
        } else {
            self.keys.remove(key);
        }
        put
    }

    /// Says that the owner no longer has a key: that it is absent is remembered like an answer of the
    /// source.
    pub fn remove(&mut self, key: &S::Key) {
        self.keys.remove(key);
        self.engine.counters.count(Event::Streamed);
        self.engine.put_absent(key);
    }

    /// Publishes a whole list: what was published and is not in it is removed. Keys that stay are never
    /// without a value meanwhile.
    pub fn replace_all(&mut self, values: impl IntoIterator<Item = (S::Key, Fresh<S::Value>)>) {
        let mut gone = std::mem::take(&mut self.keys);
        self.in_contact = true;
        for (key, fresh) in values {
            gone.remove(&key);
            let _ = self.publish(&key, fresh);
        }
        for key in &gone {
            self.remove(key);
        }
    }

    /// The stream is broken: from now on the published entries age, and are served for as long as the
    /// cache's ttl and staleness bounds say. [`replace_all`](Self::replace_all) restores the contact.
    pub fn lose_contact(&mut self) {
        self.in_contact = false;
        let now = self.engine.clock.now();
        for key in &self.keys {
            if let Some(entry) = self.engine.store.peek(key) {
                entry.disconnect(now, self.engine.options.ttl);
            }
        }
    }

    /// The keys that are published.
    pub fn keys(&self) -> impl Iterator<Item = &S::Key> {
        self.keys.iter()
    }
}

impl<S: Source> Engine<S> {
    /// As an answer of the source that a key is absent. A fetch that is under way cannot undo it.
    pub(crate) fn put_absent(&self, key: &S::Key) {
        let mut aftermath = Aftermath::new();
        let mut shard = self.slots.shard(key);
        if !self.tasks.is_closing() {
            self.forget(key, &mut shard, Removal::Absent, &mut aftermath);
            self.become_absent(key, shard.get(key), None, &mut aftermath);
        }
        drop(shard);
        aftermath.settle(self);
    }
}

impl<S: Source> Drop for Publisher<S> {
    fn drop(&mut self) {
        self.lose_contact();
        self.engine.published.store(false, Ordering::Release);
    }
}

impl<S: Source> std::fmt::Debug for Publisher<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("keys", &self.keys.len())
            .field("in_contact", &self.in_contact)
            .finish_non_exhaustive()
    }
}
