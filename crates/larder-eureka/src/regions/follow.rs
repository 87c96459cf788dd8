//! One region, and the task that follows it.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use larder_cache::{Clock, Time};
use larder_registry::Error;
use larder_registry::catalog::{Change, Snapshot};

use super::copy::Copy;
use super::{Figures, Observer, WhiteList, lock};
use crate::client::pursuit::{News, Pursuit};
use crate::client::{Client, Options};

/// A region that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// In lower case.
    pub(super) name: String,
    client: Client,
    options: Options,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    copy: Copy,
    /// When the last good round ended.
    last: Option<Time>,
    failures: u64,
    /// Whether the last round failed: what begins or ends a time of failures is logged.
    is_failing: bool,
}

impl Followed {
    pub(super) fn new(
        name: String,
        client: Client,
        options: Options,
        white_list: WhiteList,
        clock: Clock,
    ) -> Self {
        let copy = Copy::new(white_list, clock.wall());
        let state = State { copy, last: None, failures: 0, is_failing: false };
        Self { name, client, options, clock, state: Mutex::new(state) }
    }

    /// Whether it was read at least once.
    pub(super) fn is_ready(&self) -> bool {
        lock(&self.state).last.is_some()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        lock(&self.state).copy.snapshot()
    }

    /// What changed at or after `wall`, and the state that it led to.
    pub(super) fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        let state = lock(&self.state);
        (state.copy.snapshot(), state.copy.changes_at_or_after(wall))
    }

    pub(super) fn figures(&self) -> Figures {
        let now = self.clock.now();
        let state = lock(&self.state);
        Figures {
            region: self.name.clone(),
            ready: state.last.is_some(),
            instances: state.copy.snapshot().len(),
            failures: state.failures,
            age: state.last.map(|last| now.since(last)),
        }
    }

    /// Ends the call that is under way, and the task.
    pub(super) fn close(&self) {
        self.client.close();
    }

    fn take(&self, news: News<'_>) -> Vec<Change> {
        lock(&self.state).copy.take(news, self.clock.wall())
    }

    fn note(&self, outcome: Result<(), Error>) {
        let mut state = lock(&self.state);
        let was_failing = state.is_failing;
        state.is_failing = outcome.is_err();
        match outcome {
            Ok(()) => {
                if state.last.is_none() || was_failing {
                    tracing::info!(region = %self.name, "the region is followed");
                }
                state.last = Some(self.clock.now());
            }
            Err(error) => {
                state.failures += 1;
                if !was_failing {
                    tracing::warn!(region = %self.name, %error, "the region is out of reach");
                }
            }
        }
    }
}

/// Flies rounds until the region is closed.
pub(super) async fn run(
    region: Arc<Followed>,
    place: usize,
    observers: Arc<Mutex<Vec<Weak<dyn Observer>>>>,
) {
    let mut pursuit = Pursuit::new(&region.options);
    let show = |news: News<'_>| {
        let changes = region.take(news);
        tell(&observers, place, &changes);
    };
    loop {
        // Cancel-safe: at the end nobody looks at what a round that is cut off has begun.
        let outcome = tokio::select! {
            biased;
            () = region.client.until_closed() => return,
            outcome = pursuit.fly(&region.client, &region.clock, show) => outcome,
        };
        let due = pursuit.note(&outcome, &region.clock);
        region.note(outcome.map_err(Error::from));
        // The clock's grain at least, so that no clock that is moved by hand makes this a busy loop.
        let wait = due.since(region.clock.now()).max(Duration::from_millis(1));
        // Cancel-safe: both only wait.
        tokio::select! {
            biased;
            () = region.client.until_closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Tells everybody who is still there. A region has one task, so that its changes are told in their order.
fn tell(observers: &Mutex<Vec<Weak<dyn Observer>>>, place: usize, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let present: Vec<Arc<dyn Observer>> = {
        let mut observers = lock(observers);
        observers.retain(|observer| observer.strong_count() > 0);
        observers.iter().filter_map(Weak::upgrade).collect()
    };
    for observer in present {
        observer.region_changed(place, changes);
    }
}
