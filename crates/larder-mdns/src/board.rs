//! What this backend publishes, and what of it is yet to be said.
//!
//! A change is said at once, and again a second later: what is lost once is rarely lost twice. What
//! changes meanwhile is said as it is then.
//!
//! Pure. Holds a record for each instance that is registered here; and a row for each that changed in
//! the last second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_registry::model::Key;

use crate::message::Wanted;
use crate::names::Place;
use crate::record::Record;

/// How often a change is said.
const TIMES: u8 = 2;

/// How long after the first time it is said again: what RFC 6762 asks for.
const PAUSE: Duration = Duration::from_secs(1);

/// What is published.
#[derive(Debug, Default)]
pub(crate) struct Board {
    shown: BTreeMap<Key, Arc<Record>>,
    due: BTreeMap<Key, Due>,
}

#[derive(Debug)]
struct Due {
    at: Time,
    left: u8,
    /// Under which name it is no longer to be found.
    farewell: Option<Arc<Record>>,
}

/// Something to tell everybody.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// An instance is there.
    Here(Arc<Record>),
    /// An instance is gone.
    Gone(Arc<Record>),
}

/// Something to answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// About an instance.
    Instance(Arc<Record>),
    /// About the service of an instance.
    Service(Arc<Record>),
}

impl Board {
    /// Publishes a record, or the absence of one.
    pub(crate) fn set(&mut self, key: &Key, record: Option<Record>, now: Time) {
        let record = record.map(Arc::new);
        let before = match &record {
            Some(record) => self.shown.insert(key.clone(), record.clone()),
            None => self.shown.remove(key),
        };
        if before == record {
            return;
        }
        let unsaid = self.due.remove(key).and_then(|due| due.farewell);
        let stays = |old: &Arc<Record>| record.as_ref().is_some_and(|new| new.name == old.name);
        let farewell = before.filter(|old| !stays(old)).or(unsaid.filter(|old| !stays(old)));
        self.due.insert(key.clone(), Due { at: now, left: TIMES, farewell });
    }

    /// What is to be said by `now`: first what is there, so that an instance which moved is never
    /// missing.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<News> {
        let mut news = Vec::new();
        for (key, due) in self.due.iter_mut().filter(|(_, due)| due.at <= now) {
            news.extend(self.shown.get(key).cloned().map(News::Here));
            news.extend(due.farewell.clone().map(News::Gone));
            due.left -= 1;
            due.at = now.after(PAUSE);
        }
        self.due.retain(|_, due| due.left > 0);
        news
    }

    /// When something is to be said next.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.values().map(|due| due.at).min()
    }

    /// Everything leaves: what is to be said at the end.
    pub(crate) fn clear(&mut self) -> Vec<News> {
        self.due.clear();
        std::mem::take(&mut self.shown).into_values().map(News::Gone).collect()
    }

    /// What there is to answer: each instance once, and each service once.
    pub(crate) fn answers(&self, about: &[Wanted]) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut listed: BTreeSet<(Place, &str)> = BTreeSet::new();
        let about: Vec<(&Wanted, String)> =
            about.iter().map(|wanted| (wanted, wanted.name.folded())).collect();
        for record in self.shown.values() {
            let here = || about.iter().filter(|(wanted, _)| wanted.name.place == record.place);
            if here().any(|(wanted, folded)| is_about(record, wanted, folded)) {
                answers.push(Answer::Instance(record.clone()));
            }
            let wants_services =
                here().any(|(wanted, _)| wanted.pointers && wanted.name.is_services());
            let service = (record.place, record.key.service.folded());
            if wants_services && listed.insert(service) {
                answers.push(Answer::Service(record.clone()));
            }
        }
        answers
    }
}

fn is_about(record: &Record, wanted: &Wanted, folded: &str) -> bool {
    (wanted.pointers && record.key.service.folded() == folded) || record.folded_name == folded
}

#[cfg(test)]
mod tests;
