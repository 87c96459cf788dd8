//! A watch that reads the catalog's log.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch as progress;

use super::{Progress, Shared};
use crate::backend::{BoxFuture, Error, Watch};
use crate::catalog::{Change, Snapshot};
use crate::event::Event;
use crate::model::{Action, Name};

/// Where a consumer is in the log. What it has been handed but not yet taken is at most one listing
/// or one log.
#[derive(Debug)]
pub(super) struct LogWatch {
    shared: Arc<Shared>,
    progress: progress::Receiver<Progress>,
    service: Option<Name>,
    /// Everything up to here is told or in `ready`; none before the first listing.
    told: Option<u64>,
    ready: VecDeque<Event>,
}

impl LogWatch {
    pub(super) fn new(shared: Arc<Shared>, service: Option<Name>) -> Self {
        let progress = shared.progress.subscribe();
        Self { shared, progress, service, told: None, ready: VecDeque::new() }
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
        let (snapshot, changes) = {
            let state = self.shared.state();
            let catalog = state.registrar.catalog();
            let changes: Option<Vec<Change>> = self
                .told
                .and_then(|told| catalog.changes_since(told))
                .map(|changes| changes.filter(|change| self.wants(change)).cloned().collect());
            (catalog.snapshot(), changes)
        };
        self.told = Some(snapshot.revision());
        match changes {
            Some(changes) => self.ready.extend(changes.into_iter().map(event)),
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

    fn wants(&self, change: &Change) -> bool {
        self.service.as_ref().is_none_or(|name| *name == change.instance.service)
    }
}

impl Watch for LogWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(async { self.next_event().await.map(Ok) })
    }
}

fn event(change: Change) -> Event {
    let Change { revision, action, instance, .. } = change;
    match action {
        Action::Added | Action::Modified => Event::Apply { revision, instance },
        Action::Deleted => Event::Delete { revision, instance },
    }
}
