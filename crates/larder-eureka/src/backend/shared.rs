//! What the backend's calls, its watches and its task have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_cache::Clock;
use larder_registry::catalog::{Catalog, Snapshot};
use larder_registry::model::{Action, Instance, Key};
use larder_registry::{Error, Phase};
use tokio::sync::{Notify, watch as progress};

use super::own_writes::OwnWrites;
use crate::client::reconcile::{Replica, is_same};
use crate::client::{Client, Options, unpack};

/// How many changes are remembered. A watch that falls further behind lists anew.
const LOG_LEN: usize = 65_536;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// How many watches there are: rounds are flown for them.
    watches: AtomicUsize,
    /// Told when a round may be wanted earlier than the task expects.
    pub(super) wanted: Notify,
    /// Told after every round, every own write, and at the end.
    pub(super) progress: progress::Sender<Progress>,
}

/// Something happened; what, the state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    events: u64,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) catalog: Catalog,
    pub(super) own: OwnWrites,
    /// How often somebody asked for a round that begins after they asked.
    asked: u64,
    /// Everybody who asked up to here has had one.
    pub(super) answered: u64,
    /// Why the last round failed, if it did.
    pub(super) trouble: Option<Error>,
    /// How many rounds failed.
    pub(super) failures: u64,
}

impl Shared {
    pub(super) fn new(client: Client, options: Options, clock: Clock) -> Self {
        let state = State {
            catalog: Catalog::new(clock.wall(), LOG_LEN),
            own: OwnWrites::new(options.lag, options.max_instances),
            asked: 0,
            answered: 0,
            trouble: None,
            failures: 0,
        };
        Self {
            client,
            options,
            clock,
            state: Mutex::new(state),
            watches: AtomicUsize::new(0),
            wanted: Notify::new(),
            progress: progress::Sender::new(Progress { events: 0, closed: false }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is applied in steps none of which leaves anything half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.client.close();
        self.progress.send_modify(|progress| progress.closed = true);
    }

    pub(super) fn tell(&self) {
        self.progress.send_modify(|progress| progress.events += 1);
    }

    /// Asks for a round that begins from now on; answers with its number.
    pub(super) fn ask(&self) -> u64 {
        let ticket = {
            let mut state = self.state();
            state.asked += 1;
            state.asked
        };
        self.wanted.notify_one();
        ticket
    }

    /// Everybody who asked until now.
    pub(super) fn asked(&self) -> u64 {
        self.state().asked
    }

    /// What there is, as of a round that begins after this call.
    pub(super) async fn fresh(&self, phase: Phase) -> Result<Snapshot, Error> {
        let mut progress = self.progress.subscribe();
        let ticket = self.ask();
        loop {
            if progress.borrow_and_update().closed {
                return Err(Error::Closed);
            }
            {
                let state = self.state();
                if state.answered >= ticket {
                    return match &state.trouble {
                        None => Ok(state.catalog.snapshot()),
                        Some(error) => Err(of_phase(error.clone(), phase)),
                    };
                }
            }
            progress.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// Shows what a write led to; hands it back as it is shown, so that whoever waits for it to appear
    /// recognises it.
    pub(super) fn wrote(&self, printed: &Arc<Instance>) -> Arc<Instance> {
        let (now, key) = (self.clock.now(), printed.key());
        let shown = {
            let mut state = self.state();
            state.own.wrote(printed, now);
            state.show(&key, Some(printed), self.clock.wall());
            state.catalog.get(&key).cloned()
        };
        self.tell();
        shown.unwrap_or_else(|| unpack(printed))
    }

    /// Shows no longer what was removed.
    pub(super) fn removed(&self, last: &Instance) {
        let now = self.clock.now();
        {
            let mut state = self.state();
            state.own.removed(last, now);
            state.show(&last.key(), None, self.clock.wall());
        }
        self.tell();
    }

    /// Shows what a round changed.
    pub(super) fn follow<'a>(
        &self,
        replica: &Replica,
        changed: &HashSet<Key>,
        heard: impl Iterator<Item = &'a Arc<Instance>>,
    ) {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut state = self.state();
        let mut touched = state.own.expire(now);
        touched.extend(heard.filter_map(|entry| state.own.hear(entry)));
        for key in changed.iter().chain(&touched) {
            state.show(key, replica.get(key), wall);
        }
    }

    /// A round ended, for everybody who asked up to `answered`.
    pub(super) fn ended(&self, answered: u64, outcome: Result<(), Error>) {
        {
            let mut state = self.state();
            state.answered = state.answered.max(answered);
            state.failures += u64::from(outcome.is_err());
            state.trouble = outcome.err();
        }
        self.tell();
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }

    pub(super) fn watch_began(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watch_ended(&self) {
        self.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// Whether somebody waits for a round.
    pub(super) fn is_asked(&self) -> bool {
        self.asked > self.answered
    }

    /// Puts in the catalog what is to be shown of an instance, of which the lists say `told`. That it was
    /// renewed is no change.
    fn show(&mut self, key: &Key, told: Option<&Arc<Instance>>, wall: u64) {
        let held = self.catalog.get(key);
        match self.own.shown(key, told).map(unpack) {
            Some(shown) => {
                if held.is_some_and(|held| is_same(held, &shown)) {
                    return;
                }
                let action = if held.is_some() { Action::Modified } else { Action::Added };
                self.catalog.put(Instance::clone(&shown), action, wall);
            }
            None => {
                self.catalog.remove(key, wall);
            }
        }
    }
}

/// The error, as that of the call that it is answered to.
fn of_phase(error: Error, phase: Phase) -> Error {
    match error {
        Error::Unavailable { reason, .. } => Error::Unavailable { phase, reason },
        Error::Denied { reason, .. } => Error::Denied { phase, reason },
        other => other,
    }
}
