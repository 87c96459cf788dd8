//! A watch that reads a catalog's log.
//!
//! It keeps no queue of its own: it remembers the last revision that it told and reads on from the log, so
//! that a slow consumer costs nobody anything. One that falls behind the log gets a new listing.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::watch as progress;

use crate::backend::{BoxFuture, Error, Watch};
use crate::catalog::{Change, Snapshot};
use crate::event::Event;
use crate::model::{Action, Name};

/// A catalog with its log.
pub(crate) trait Log: Debug + Send + Sync {
    /// What tells of changes.
    fn progress(&self) -> progress::Receiver<Progress>;

    /// The present state, and the changes after `told` that lead to it; none if the log does not reach
    /// back so far. None at all before there is a state to tell.
    fn read(&self, told: Option<u64>) -> Option<(Snapshot, Option<Vec<Change>>)>;
}

/// How far a held catalog has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) revision: u64,
    pub(crate) closed: bool,
}

/// Where a consumer is in the log. What it has been handed but not yet taken is at most one listing
/// or one log.
#[derive(Debug)]
pub(crate) struct LogWatch {
    log: Arc<dyn Log>,
    progress: progress::Receiver<Progress>,
    service: Option<Name>,
    /// Everything up to here is told or in `ready`; none before the first listing.
    told: Option<u64>,
    ready: VecDeque<Event>,
}

impl LogWatch {
    pub(crate) fn new(log: Arc<dyn Log>, service: Option<Name>) -> Self {
        let progress = log.progress();
        Self { log, progress, service, told: None, ready: VecDeque::new() }
    }

    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Marked as seen *before* the log is read: a change between the two is seen again, and
            // none is slept through.
            let closed = self.progress.borrow_and_update().closed;
            if closed {
                return None;
            }
            self.read();
            if self.ready.is_empty() {
                self.progress.changed().await.ok()?;
            }
        }
    }

    fn read(&mut self) {
        let Some((snapshot, changes)) = self.log.read(self.told) else { return };
        self.told = Some(snapshot.revision());
        match changes {
            Some(changes) => {
                let wanted =
                    changes.into_iter().filter(|change| wants(self.service.as_ref(), change));
                self.ready.extend(wanted.map(event));
            }
            None => self.list(&snapshot),
        }
    }

    fn list(&mut self, snapshot: &Snapshot) {
        self.ready.push_back(Event::Init);
        match &self.service {
            None => self.ready.extend(snapshot.instances().cloned().map(Event::InitApply)),
            Some(name) => {
                let instances = snapshot.service(name).into_iter().flat_map(|s| s.instances());
                self.ready.extend(instances.cloned().map(Event::InitApply));
            }
        }
        self.ready.push_back(Event::InitDone { revision: snapshot.revision() });
    }
}

impl Watch for LogWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(async { self.next_event().await.map(Ok) })
    }
}

fn wants(service: Option<&Name>, change: &Change) -> bool {
    service.is_none_or(|name| *name == change.instance.service)
}

fn event(change: Change) -> Event {
    let Change { revision, action, instance, .. } = change;
    match action {
        Action::Added | Action::Modified => Event::Apply { revision, instance },
        Action::Deleted => Event::Delete { revision, instance },
    }
}
