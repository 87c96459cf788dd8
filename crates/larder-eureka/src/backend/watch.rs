//! A watch: a listing as of a round that began after it was opened, then every change in order.
//!
//! It keeps no queue of its own: it remembers the last revision that it told and reads on from the log.
//! While rounds fail it tells so, once for each, and nothing else: what was known may be wrong by then.

use std::sync::Arc;

use larder_registry::catalog::{Change, Snapshot};
use larder_registry::model::{Action, Name};
use larder_registry::{BoxFuture, Error, Event, EventQueue, Watch};
use tokio::sync::watch as progress;

use super::shared::{Progress, Shared};

/// Where a consumer is. What it has been handed but not yet taken is at most one listing or one log.
#[derive(Debug)]
pub(super) struct EurekaWatch {
    shared: Arc<Shared>,
    progress: progress::Receiver<Progress>,
    service: Option<Name>,
    /// The round that the listing waits for.
    ticket: u64,
    /// Everything up to here is told or in `ready`; none before the first listing.
    told: Option<u64>,
    /// How many failed rounds it knows of.
    failures: u64,
    /// Whether it told of one since it last told anything else.
    is_cut: bool,
    ready: EventQueue,
}

impl EurekaWatch {
    pub(super) fn new(shared: Arc<Shared>, service: Option<Name>) -> Self {
        let progress = shared.progress.subscribe();
        shared.watch_began();
        let failures = shared.state().failures;
        let ticket = shared.ask();
        let (told, is_cut, ready) = (None, false, EventQueue::default());
        Self { shared, progress, service, ticket, told, failures, is_cut, ready }
    }

    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            // Marked as seen *before* the state is read: a change between the two is seen again, and
            // none is slept through.
            let closed = self.progress.borrow_and_update().closed;
            if closed {
                return None;
            }
            if let Some(event) = self.ready.pop() {
                return Some(Ok(event));
            }
            if let Some(error) = self.look() {
                return Some(Err(error));
            }
            if self.ready.is_empty() {
                self.progress.changed().await.ok()?;
            }
        }
    }

    /// Makes events ready, or hands back why there are none.
    fn look(&mut self) -> Option<Error> {
        let shared = self.shared.clone();
        let state = shared.state();
        if let Some(trouble) = &state.trouble {
            // One of an earlier round than this watch waits for is no news.
            let is_news = state.failures > self.failures && state.answered >= self.ticket;
            self.failures = state.failures;
            self.is_cut |= is_news;
            return is_news.then(|| trouble.clone());
        }
        self.failures = state.failures;
        let Some(told) = self.told else {
            if state.answered >= self.ticket {
                self.list(&state.catalog.snapshot());
            }
            return None;
        };
        if std::mem::take(&mut self.is_cut) {
            self.ready.push(Event::Resumed);
        }
        match state.catalog.changes_since(told) {
            None => self.list(&state.catalog.snapshot()),
            Some(changes) => {
                let service = self.service.as_ref();
                let wanted =
                    |change: &&Change| service.is_none_or(|it| *it == change.instance.service);
                // A round is put in the catalog under one lock, and in between are states that no server was
                // in. So all that there is to tell is one step, as of its end.
                let revision = state.catalog.snapshot().revision();
                self.ready.extend(changes.filter(wanted).map(|change| event(change, revision)));
                self.told = Some(revision);
            }
        }
        None
    }

    fn list(&mut self, snapshot: &Snapshot) {
        self.is_cut = false;
        self.told = Some(snapshot.revision());
        self.ready.push(Event::Init);
        match &self.service {
            None => self.ready.extend(snapshot.instances().cloned().map(Event::InitApply)),
            Some(name) => {
                let instances = snapshot.service(name).into_iter().flat_map(|it| it.instances());
                self.ready.extend(instances.cloned().map(Event::InitApply));
            }
        }
        self.ready.push(Event::InitDone { revision: snapshot.revision() });
    }
}

impl Drop for EurekaWatch {
    fn drop(&mut self) {
        self.shared.watch_ended();
    }
}

impl Watch for EurekaWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(self.next_event())
    }

    /// What a round changed, and what changed before the consumer came for it, is one step.
    fn is_amid_step(&self) -> bool {
        self.ready.is_amid_step()
    }
}

fn event(change: &Change, revision: u64) -> Event {
    let instance = change.instance.clone();
    match change.action {
        Action::Added | Action::Modified => Event::Apply { revision, instance },
        Action::Deleted => Event::Delete { revision, instance },
    }
}
