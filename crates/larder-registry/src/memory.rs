//! The registry in memory: the embedded default, and what tests use in place of a fake.
//!
//! A thin shell around [`Registrar`]: it adds a lock, the clock, a task that does what is due,
//! and watches.

mod expiry;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use larder_cache::Clock;
use tokio::sync::Notify;
use tokio::sync::watch as progress;
use tokio::task::JoinHandle;

use crate::backend::{
    Backend, BoxFuture, Error, Observer, OverrideChange, Report, Tally, View, Watch,
};
use crate::catalog::{Catalog, Change, Service, Snapshot};
use crate::lease::LeaseTime;
use crate::log_watch::{Held, LogWatch, Progress};
use crate::model::{CheckKey, Instance, Key, Name};
use crate::registrar::self_preservation::{self, Explained};
use crate::registrar::{Moment, Outcome, Registrar};

/// How large a [`Memory`] may grow.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many instances it holds at most; a new one beyond that is refused with [`Error::Full`].
    /// 1 or more. Defaults to 100,000.
    pub max_instances: usize,
    /// How many changes it remembers for watches and deltas. Defaults to 65,536.
    pub log_len: usize,
    /// How long a lease lasts after it was renewed. Defaults to [`LeaseTime::Strict`].
    pub lease_time: LeaseTime,
    /// When leases that ran out are held on to. Never by default.
    pub self_preservation: Option<self_preservation::Options>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_instances: 100_000,
            log_len: 65_536,
            lease_time: LeaseTime::Strict,
            self_preservation: None,
        }
    }
}

/// A registry in memory.
///
/// ```
/// use larder_cache::Clock;
/// use larder_registry::model::{Instance, Name};
/// use larder_registry::{Backend, Memory, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder_registry::Error> {
/// let registry = Memory::start(memory::Options::default(), Clock::running());
/// registry.register(Instance::new("orders", "orders-1")).await?;
/// let orders = registry.service(&Name::new("ORDERS")).await?;
/// assert_eq!(orders.len(), 1);
/// registry.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    expiry: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Told after every change, and at the end.
    progress: progress::Sender<Progress>,
    /// Told when something may be due earlier than the expiry task expects.
    earlier_expiry: Notify,
}

#[derive(Debug)]
struct State {
    registrar: Registrar,
    observers: Vec<Weak<dyn Observer>>,
}

impl Memory {
    /// Starts an empty registry, whose revisions begin at the clock's time of day. Must be called
    /// inside a tokio runtime; [`close`](Backend::close) joins what it spawns, dropping it aborts.
    pub fn start(options: Options, clock: Clock) -> Self {
        let revision = clock.wall();
        let catalog = Catalog::new(revision, options.log_len);
        let mut registrar =
            Registrar::new(catalog, options.max_instances.max(1)).lease_time(options.lease_time);
        if let Some(options) = options.self_preservation {
            let at = Moment { now: clock.now(), wall: clock.wall() };
            registrar = registrar.self_preservation(options, at);
        }
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new(State { registrar, observers: Vec::new() }),
            progress: progress::Sender::new(Progress { revision, closed: false }),
            earlier_expiry: Notify::new(),
        });
        let expiry = tokio::spawn(expiry::run(shared.clone()));
        Self { shared, expiry: Mutex::new(Some(expiry)) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(task) = lock(&self.expiry).take() {
            task.abort();
        }
    }
}

impl Shared {
    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), wall: self.clock.wall() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn is_closed(&self) -> bool {
        self.progress.borrow().closed
    }

    fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// Runs `decide` under the lock and tells everyone what changed before it answers.
    fn write(
        &self,
        decide: impl FnOnce(&mut Registrar, Moment) -> Result<Outcome, Error>,
    ) -> Result<Arc<Instance>, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let mut state = self.state();
        // Taken inside the lock: two writes in a row never carry times in the other order.
        let at = self.moment();
        let expiry_before = state.registrar.next_expiry(at.now);
        let outcome = decide(&mut state.registrar, at)?;
        self.tell(&state, outcome.change.as_slice());
        let expiry_after = state.registrar.next_expiry(at.now);
        if expiry_after.is_some_and(|after| expiry_before.is_none_or(|before| after < before)) {
            self.earlier_expiry.notify_one();
        }
        Ok(outcome.instance)
    }

    /// Tells observers and watches. The lock is held, so that observers hear of changes in their
    /// order, and nobody takes a snapshot with a change that an observer does not know of.
    fn tell(&self, state: &State, changes: &[Change]) {
        let Some(last) = changes.last() else { return };
        for observer in state.observers.iter().filter_map(Weak::upgrade) {
            observer.changed(changes);
        }
        self.progress.send_modify(|progress| progress.revision = last.revision);
    }
}

impl Held for Shared {
    fn progress(&self) -> progress::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn read(&self, told: Option<u64>) -> Option<(Snapshot, Option<Vec<Change>>)> {
        let state = self.state();
        let catalog = state.registrar.catalog();
        let changes = told.and_then(|told| catalog.changes_since(told));
        Some((catalog.snapshot(), changes.map(|changes| changes.cloned().collect())))
    }
}

impl Backend for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| registrar.register(instance, at)))
    }

    fn adopt(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| registrar.adopt(instance, at)))
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| {
            let instance = registrar.renew(key, dirty_at, at)?;
            Ok(Outcome { instance, change: None })
        }))
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| registrar.deregister(key, at)))
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| registrar.set_override(key, change, at)))
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        ready(self.shared.write(|registrar, at| registrar.report(check, report, at)))
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        if self.shared.is_closed() {
            return ready(Err(Error::Closed));
        }
        let found = self.snapshot().service(name).cloned();
        ready(found.ok_or_else(|| Error::NotFound(name.to_string())))
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        if self.shared.is_closed() {
            return ready(Err(Error::Closed));
        }
        ready(Ok(self.snapshot().services().map(|service| service.name().clone()).collect()))
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        if self.shared.is_closed() {
            return ready(Err(Error::Closed));
        }
        ready(Ok(Box::new(LogWatch::new(self.shared.clone(), service))))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close();
        let task = lock(&self.expiry).take();
        Box::pin(async move {
            // The task ends by itself; a panic in it has nowhere better to go than the log.
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "the expiry task failed");
            }
        })
    }
}

impl View for Memory {
    fn snapshot(&self) -> Snapshot {
        self.shared.state().registrar.catalog().snapshot()
    }

    fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.shared.state().registrar.instance(key)
    }

    fn changes_since(&self, revision: u64) -> Option<Vec<Change>> {
        let state = self.shared.state();
        Some(state.registrar.catalog().changes_since(revision)?.cloned().collect())
    }

    fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        let state = self.shared.state();
        let catalog = state.registrar.catalog();
        let changes = catalog.changes_at_or_after(wall).map(|changes| changes.cloned().collect());
        (catalog.snapshot(), changes)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        let observers = &mut self.shared.state().observers;
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
    }

    fn tally(&self) -> Tally {
        self.shared.state().registrar.tally()
    }

    fn self_preservation(&self) -> Option<Explained> {
        let mut state = self.shared.state();
        let at = self.shared.moment();
        state.registrar.explain(at)
    }

    fn confirm_expired(&self) -> usize {
        let mut state = self.shared.state();
        let at = self.shared.moment();
        let confirmed = state.registrar.confirm(at);
        self.shared.earlier_expiry.notify_one();
        confirmed
    }
}

/// Locks, also after a panic elsewhere: every write is applied in one step that cannot stop half-way,
/// so that what a panicking observer leaves behind is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

#[cfg(test)]
mod tests;
