//! A catalog that is held in memory behind one lock, with those who must hear of its changes: what a
//! registry of one's own and a copy of another one have in common, and answer alike.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch as progress;

use crate::backend::Observer;
use crate::catalog::{Catalog, Change, Snapshot};
use crate::log_watch::{Log, Progress};

/// What keeps a catalog.
pub(crate) trait Keeps: Debug + Send {
    fn catalog(&self) -> &Catalog;

    /// Whether there is a state to tell: a copy has none before the first reading.
    fn is_known(&self) -> bool {
        true
    }
}

/// The lock, and who hears of what changes behind it.
#[derive(Debug)]
pub(crate) struct Held<T> {
    state: Mutex<State<T>>,
    /// Told after every change, and at the end.
    progress: progress::Sender<Progress>,
}

#[derive(Debug)]
struct State<T> {
    keeper: T,
    observers: Vec<Weak<dyn Observer>>,
}

/// What is held, locked.
#[derive(Debug)]
pub(crate) struct Locked<'a, T>(MutexGuard<'a, State<T>>);

impl<T: Keeps> Held<T> {
    pub(crate) fn new(keeper: T) -> Self {
        let revision = keeper.catalog().snapshot().revision();
        let state = Mutex::new(State { keeper, observers: Vec::new() });
        Self { state, progress: progress::Sender::new(Progress { revision, closed: false }) }
    }

    /// Locks, also after a panic elsewhere: every change is applied in one step that cannot stop half-way,
    /// so that what a panicking observer leaves behind is whole.
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        Locked(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells observers and watches of what has led to the present state. The lock is held, so that
    /// observers hear of changes in their order, and nobody takes a snapshot with a change that an
    /// observer does not know of.
    pub(crate) fn tell(&self, state: &Locked<'_, T>, changes: &[Change]) {
        if !changes.is_empty() {
            for observer in state.0.observers.iter().filter_map(Weak::upgrade) {
                observer.changed(changes);
            }
        }
        let revision = state.catalog().snapshot().revision();
        self.progress.send_modify(|progress| progress.revision = revision);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.progress.borrow().closed
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// What tells of changes.
    pub(crate) fn subscribe(&self) -> progress::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().catalog().snapshot()
    }

    pub(crate) fn changes_since(&self, revision: u64) -> Option<Vec<Change>> {
        Some(self.lock().catalog().changes_since(revision)?.cloned().collect())
    }

    pub(crate) fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        let state = self.lock();
        let changes = state.catalog().changes_at_or_after(wall);
        let changes = changes.map(|changes| changes.cloned().collect());
        (state.catalog().snapshot(), changes)
    }

    pub(crate) fn observe(&self, observer: Weak<dyn Observer>) {
        let observers = &mut self.lock().0.observers;
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
    }
}

impl<T: Keeps> Log for Held<T> {
    fn progress(&self) -> progress::Receiver<Progress> {
        self.subscribe()
    }

    fn read(&self, told: Option<u64>) -> Option<(Snapshot, Option<Vec<Change>>)> {
        let state = self.lock();
        if !state.is_known() {
            return None;
        }
        let changes = told.and_then(|told| state.catalog().changes_since(told));
        Some((state.catalog().snapshot(), changes.map(|changes| changes.cloned().collect())))
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.keeper
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.keeper
    }
}
