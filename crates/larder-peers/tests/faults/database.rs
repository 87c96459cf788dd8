//! What all nodes load from: versions of keys, with moods.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Attempt, Fetched, Fresh, Source};

use super::dice::fate;
use super::history::{Birth, History};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Takes up to three seconds, which is longer than a load may.
    Slow,
    /// Fails every other time.
    Failing,
}

/// The database, as one life of a node sees it.
pub(crate) struct Database {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) history: History,
}

#[derive(Debug, thiserror::Error)]
#[error("the database is not well")]
pub(crate) struct Unwell;

/// A load that is under way, and is not any more once this is gone.
struct Loading<'a>(&'a Database, Bytes);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.history.lock().load_ended(self.0.node, self.0.life, &self.1);
    }
}

impl Source for Database {
    type Key = Bytes;
    type Value = Bytes;
    type Error = Unwell;

    async fn fetch(&self, key: &Bytes, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Unwell> {
        let (version, chance, mood, began) = {
            let mut history = self.history.lock();
            let serial = history.load_begun(self.node, self.life, key);
            let chance = fate(&[history.seed, serial, 77]);
            (history.version(key), chance, history.mood, history.moment())
        };
        let _loading = Loading(self, key.clone());
        let takes = match mood {
            Mood::Well | Mood::Failing => chance % 60,
            Mood::Slow => chance % 3_000,
        };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        if mood == Mood::Failing && chance & (1 << 40) != 0 {
            return Err(Unwell);
        }
        let mut history = self.history.lock();
        let ttl = history.ttl;
        let birth = Birth { version, at: history.now(), ttl, set: None };
        let value = history.born(key, birth);
        history.load_succeeded(self.node, self.life, key, began);
        Ok(Fresh::new(value).ttl(ttl).into())
    }
}

/// The versions of keys, as the database has them.
pub(crate) type Versions = HashMap<Bytes, u64>;
