//! A [`SyncSource`] as the source of a cache that fetches many keys at a time.

use std::sync::Arc;
use std::time::Duration;

use super::roster::{Resident, Roster};
use super::source::{OneSynced, SyncSource, Synced, Tracked};
use super::stats::Departures;
use crate::entry::Versioned;
use crate::keep::batch::desk::Desk;
use crate::keep::batch::{FetchMany, OneOfMany};
use crate::source::{Attempt, Blame, Fetched, Fresh, Removal, Source};
use crate::sync::Mutex;

pub(super) struct Syncing<R: SyncSource> {
    source: R,
    terminal_ttl: Option<Duration>,
    desk: Arc<Desk<R::Id, R::Item>>,
    /// Lock order: the roster, then the shard of an item.
    pub(super) roster: Mutex<Roster<R::Id>>,
    pub(super) departures: Departures,
}

impl<R: SyncSource> Syncing<R> {
    pub(super) fn new(
        source: R,
        terminal_ttl: Option<Duration>,
        desk: Arc<Desk<R::Id, R::Item>>,
    ) -> Self {
        let (roster, departures) = (Mutex::new(Roster::new()), Departures::default());
        Self { source, terminal_ttl, desk, roster, departures }
    }

    pub(super) fn fresh(&self, id: &R::Id, item: R::Item) -> Fresh<R::Item> {
        let terminal = self.source.is_terminal(id, &item);
        let fresh = Fresh::new(item);
        match self.terminal_ttl {
            _ if !terminal => fresh,
            None => fresh.terminal(),
            Some(ttl) => fresh.terminal().ttl(ttl),
        }
    }
}

impl Resident {
    pub(super) fn of<T>(entry: &Versioned<T>) -> Self {
        Self { terminal: entry.standing().is_terminal(), read_at: entry.read_at() }
    }
}

impl<R: SyncSource> Source for Syncing<R> {
    type Key = R::Id;
    type Value = R::Item;
    type Error = R::Error;

    async fn fetch(&self, _: &R::Id, _: Attempt<R::Item>) -> Result<Fetched<R::Item>, R::Error> {
        // Items come from their creators: what nobody has created is not there.
        Ok(Fetched::Absent { remember_for: None })
    }

    fn blame(&self, error: &R::Error) -> Blame {
        self.source.blame(error)
    }

    fn removed(&self, id: &R::Id, item: &R::Item, cause: Removal) {
        if cause == Removal::Replaced {
            return;
        }
        let terminal = self.source.is_terminal(id, item);
        self.departures.count(cause, terminal);
        if terminal {
            self.desk.note_departed();
        }
        self.source.removed(id, item, cause);
    }
}

impl<R: SyncSource> FetchMany for Syncing<R> {
    async fn fetch_many(
        &self,
        batch: Vec<(R::Id, Attempt<R::Item>)>,
    ) -> Result<Vec<OneOfMany<Self>>, R::Error> {
        let tracked =
            |(id, attempt): (R::Id, Attempt<R::Item>)| Some((id, Tracked(attempt.into_entry()?)));
        let answers = self.source.sync(batch.into_iter().filter_map(tracked).collect()).await?;
        let fetched = |(id, answer): OneSynced<R>| {
            let fetched = answer.map(|synced| match synced {
                Synced::Unchanged => Fetched::NotModified { ttl: None },
                Synced::Updated(item) => self.fresh(&id, item).into(),
                Synced::Gone => Fetched::Absent { remember_for: None },
            });
            (id, fetched)
        };
        Ok(answers.into_iter().map(fetched).collect())
    }

    fn period(&self, id: &R::Id, item: &R::Item) -> Option<Duration> {
        self.source.period(id, item)
    }

    fn finished(&self, id: &R::Id, item: &R::Item) {
        self.source.finished(id, item);
    }
}
