//! The data of the store, and what every change does to it and to its indexes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::graves::Graves;
use super::{Delete, Put, Refused, Scope};

/// How much a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most keys. 100,000 by default.
    pub max_entries: usize,
    /// The most bytes of keys and values together. 256 MiB by default.
    pub max_bytes: usize,
    /// The longest key, in bytes. 4 KiB by default.
    pub max_key: usize,
    /// The longest value, in bytes: Consul's `kv_max_value_size`. 512 KiB by default.
    pub max_value: usize,
    /// The most deleted keys of which is known when they were deleted. 10,000 by default.
    pub max_tombstones: usize,
    /// The most bytes of such keys. 4 MiB by default.
    pub max_tombstone_bytes: usize,
    /// The most readers that wait at a time. 100,000 by default.
    pub max_waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_bytes: 256 * 1024 * 1024,
            max_key: 4 * 1024,
            max_value: 512 * 1024,
            max_tombstones: 10_000,
            max_tombstone_bytes: 4 * 1024 * 1024,
            max_waiting: 100_000,
        }
    }
}

/// A key with its value. Cheap to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Arc<str>,
    /// Its value.
    pub value: Bytes,
    /// What its writer keeps with it.
    pub flags: u64,
    /// When it was created.
    pub create_index: u64,
    /// When it was last changed.
    pub modify_index: u64,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// It.
    pub value: T,
    /// Its index, to wait for the next change with.
    pub index: u64,
}

/// What a write has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Whether its condition held, if it had one.
    pub is_done: bool,
    /// The keys whose entries are not what they were.
    pub changed: Vec<Arc<str>>,
}

/// Keys and their values, in their order.
#[derive(Debug)]
pub struct Table {
    entries: BTreeMap<Arc<str>, Entry>,
    graves: Graves,
    /// Of the last change of all.
    index: u64,
    bytes: usize,
    limits: Limits,
}

impl Table {
    /// An empty table, whose indexes begin above `start`.
    pub fn new(limits: Limits, start: u64) -> Self {
        // An index of zero would mean that nobody has asked yet.
        let index = start.max(1);
        let graves = Graves::new(limits.max_tombstones, limits.max_tombstone_bytes, index);
        Self { entries: BTreeMap::new(), graves, index, bytes: 0, limits }
    }

    /// When anything was last changed.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Bytes of keys and values together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Read<Option<Entry>> {
        let value = self.entries.get(key).cloned();
        let index = value.as_ref().map_or(self.index, |entry| entry.modify_index);
        Read { value, index }
    }

    /// The entries of all keys that begin with `prefix`.
    pub fn list(&self, prefix: &str) -> Read<Vec<Entry>> {
        let value: Vec<_> = self.below(prefix).cloned().collect();
        let latest = value.iter().map(|entry| entry.modify_index).max();
        Read { index: self.told(latest, prefix), value }
    }

    /// The keys that begin with `prefix`, each cut behind the first `separator` after it and told once.
    pub fn keys(&self, prefix: &str, separator: &str) -> Read<Vec<Box<str>>> {
        let mut value: Vec<Box<str>> = Vec::new();
        let mut latest = None;
        for entry in self.below(prefix) {
            latest = latest.max(Some(entry.modify_index));
            let key = cut(&entry.key, prefix.len(), separator);
            // Keys with the same beginning are neighbours.
            if value.last().is_none_or(|last| **last != *key) {
                value.push(key.into());
            }
        }
        Read { value, index: self.told(latest, prefix) }
    }

    /// When what is asked for was last changed itself: unlike the index of an answer, it stays as it is when
    /// something else changes. To be compared with the index of an answer by
    /// [`is_due`](crate::blocking::is_due).
    pub fn own_index(&self, scope: &Scope) -> u64 {
        let floor = self.graves.floor();
        match scope {
            Scope::Key(key) => match self.entries.get(&**key) {
                Some(entry) => entry.modify_index,
                None => self.graves.of(key).unwrap_or(floor),
            },
            Scope::Prefix(prefix) => {
                let latest = self.below(prefix).map(|entry| entry.modify_index).max();
                latest.max(self.graves.latest(prefix)).unwrap_or(floor).max(floor)
            }
        }
    }

    /// Stores a value. A put that changes nothing moves no index.
    pub fn put(&mut self, key: &str, value: &[u8], put: Put) -> Result<Done, Refused> {
        let Limits { max_key, max_value: max, .. } = self.limits;
        if key.is_empty() {
            return Err(Refused::NoKey);
        }
        if key.len() > max_key {
            return Err(Refused::KeyTooLong { max: max_key });
        }
        if value.len() > max {
            return Err(Refused::ValueTooLong { length: value.len(), max });
        }
        let before = self.entries.get(key);
        let version = before.map_or(0, |entry| entry.modify_index);
        if put.cas.is_some_and(|cas| cas != version) {
            return Ok(Done { is_done: false, changed: Vec::new() });
        }
        if before.is_some_and(|entry| entry.flags == put.flags && *entry.value == *value) {
            return Ok(Done { is_done: true, changed: Vec::new() });
        }
        self.store(key, value, put.flags)
    }

    fn store(&mut self, key: &str, value: &[u8], flags: u64) -> Result<Done, Refused> {
        let Limits { max_entries, max_bytes, .. } = self.limits;
        let before = self.entries.get(key);
        let released = before.map_or(0, size);
        let bytes = self.bytes - released + key.len() + value.len();
        if before.is_none() && self.entries.len() >= max_entries {
            return Err(Refused::TooManyKeys { max: max_entries });
        }
        // What does not grow may always be written: it may be what makes room.
        if bytes > max_bytes && bytes > self.bytes {
            return Err(Refused::TooLarge { max: max_bytes });
        }
        let name = before.map_or_else(|| key.into(), |entry| Arc::clone(&entry.key));
        let created = before.map(|entry| entry.create_index);
        self.index += 1;
        self.bytes = bytes;
        self.graves.fill(key);
        let entry = Entry {
            key: Arc::clone(&name),
            // A copy, so that it does not hold on to all that came with the request.
            value: Bytes::copy_from_slice(value),
            flags,
            create_index: created.unwrap_or(self.index),
            modify_index: self.index,
        };
        self.entries.insert(Arc::clone(&name), entry);
        Ok(Done { is_done: true, changed: vec![name] })
    }

    /// Deletes a key, or all that begin with it. What deletes nothing moves no index.
    pub fn delete(&mut self, key: &str, delete: Delete) -> Done {
        let nothing = |is_done| Done { is_done, changed: Vec::new() };
        let before = self.entries.get(key);
        match delete {
            Delete::Cas(cas) if before.is_some_and(|entry| entry.modify_index != cas) => {
                nothing(false)
            }
            Delete::Key | Delete::Cas(_) => match before {
                Some(entry) => self.bury(vec![Arc::clone(&entry.key)]),
                None => nothing(true),
            },
            Delete::Prefix => {
                self.bury(self.below(key).map(|entry| Arc::clone(&entry.key)).collect())
            }
        }
    }

    fn bury(&mut self, keys: Vec<Arc<str>>) -> Done {
        self.index += u64::from(!keys.is_empty());
        for key in &keys {
            if let Some(entry) = self.entries.remove(key) {
                self.bytes -= size(&entry);
                self.graves.dig(key, self.index);
            }
        }
        Done { is_done: true, changed: keys }
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> + 'a {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys =
            self.entries.range::<str, _>(from).take_while(move |(key, _)| key.starts_with(prefix));
        keys.map(|(_, entry)| entry)
    }

    /// The index that an answer about a prefix tells, if the `latest` change of one of its keys is known.
    fn told(&self, latest: Option<u64>, prefix: &str) -> u64 {
        let latest = latest.max(self.graves.latest(prefix));
        latest.map_or(self.index, |latest| latest.max(self.graves.floor()))
    }
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

fn cut<'a>(key: &'a str, from: usize, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    key[from..].find(separator).map_or(key, |at| &key[..from + at + separator.len()])
}

#[cfg(test)]
mod tests;
