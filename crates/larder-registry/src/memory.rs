//! The registry in memory: the embedded default, and what tests use in place of a fake.
//!
//! A thin shell around [`Registrar`]: it adds a lock, the clock, a task that does what is due,
//! and watches.

mod expiry;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use larder_cache::Clock;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::backend::{
    Backend, BoxFuture, Error, Observer, OverrideChange, Report, Tally, View, Watch,
};
use crate::catalog::{Catalog, Change, Service, Snapshot};
use crate::held::{Held, Keeps, Locked};
use crate::lease::LeaseTime;
use crate::log_watch::LogWatch;
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
    held: Arc<Held<Registrar>>,
    /// Told when something may be due earlier than the expiry task expects.
    earlier_expiry: Notify,
}

impl Keeps for Registrar {
    fn catalog(&self) -> &Catalog {
        self.catalog()
    }
}

impl Memory {
    /// Starts an empty registry, whose revisions begin at the clock's time of day. Must be called
    /// inside a tokio runtime; [`close`](Backend::close) joins what it spawns, dropping it aborts.
    pub fn start(options: Options, clock: Clock) -> Self {
        let catalog = Catalog::new(clock.wall(), options.log_len);
        let mut registrar =
            Registrar::new(catalog, options.max_instances.max(1)).lease_time(options.lease_time);
        if let Some(options) = options.self_preservation {
            let at = Moment { now: clock.now(), wall: clock.wall() };
            registrar = registrar.self_preservation(options, at);
        }
        let shared = Arc::new(Shared {
            clock,
            held: Arc::new(Held::new(registrar)),
            earlier_expiry: Notify::new(),
        });
        let expiry = tokio::spawn(expiry::run(shared.clone()));
        Self { shared, expiry: Mutex::new(Some(expiry)) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.held.close();
        if let Some(task) = take(&self.expiry) {
            task.abort();
        }
    }
}

impl Shared {
    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), wall: self.clock.wall() }
    }

    /// Runs `decide` under the lock and tells everyone what changed before it answers.
    fn write(
        &self,
        decide: impl FnOnce(&mut Registrar, Moment) -> Result<Outcome, Error>,
    ) -> Result<Arc<Instance>, Error> {
        if self.held.is_closed() {
            return Err(Error::Closed);
        }
        let mut registrar = self.held.lock();
        // Taken inside the lock: two writes in a row never carry times in the other order.
        let at = self.moment();
        let expiry_before = registrar.next_expiry(at.now);
        let outcome = decide(&mut registrar, at)?;
        self.tell(&registrar, outcome.change.as_slice());
        let expiry_after = registrar.next_expiry(at.now);
        if expiry_after.is_some_and(|after| expiry_before.is_none_or(|before| after < before)) {
            self.earlier_expiry.notify_one();
        }
        Ok(outcome.instance)
    }

    fn tell(&self, registrar: &Locked<'_, Registrar>, changes: &[Change]) {
        if !changes.is_empty() {
            self.held.tell(registrar, changes);
        }
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
        if self.shared.held.is_closed() {
            return ready(Err(Error::Closed));
        }
        let found = self.snapshot().service(name).cloned();
        ready(found.ok_or_else(|| Error::NotFound(name.to_string())))
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        if self.shared.held.is_closed() {
            return ready(Err(Error::Closed));
        }
        ready(Ok(self.snapshot().services().map(|service| service.name().clone()).collect()))
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        if self.shared.held.is_closed() {
            return ready(Err(Error::Closed));
        }
        ready(Ok(Box::new(LogWatch::new(self.shared.held.clone(), service))))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.held.close();
        let task = take(&self.expiry);
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
        self.shared.held.snapshot()
    }

    fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.shared.held.lock().instance(key)
    }

    fn changes_since(&self, revision: u64) -> Option<Vec<Change>> {
        self.shared.held.changes_since(revision)
    }

    fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        self.shared.held.recent_changes(wall)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.shared.held.observe(observer);
    }

    fn tally(&self) -> Tally {
        self.shared.held.lock().tally()
    }

    fn self_preservation(&self) -> Option<Explained> {
        let mut registrar = self.shared.held.lock();
        let at = self.shared.moment();
        registrar.explain(at)
    }

    fn confirm_expired(&self) -> usize {
        let mut registrar = self.shared.held.lock();
        let at = self.shared.moment();
        let confirmed = registrar.confirm(at);
        self.shared.earlier_expiry.notify_one();
        confirmed
    }
}

fn take(task: &Mutex<Option<JoinHandle<()>>>) -> Option<JoinHandle<()>> {
    // It is taken or not, and nothing between.
    task.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

#[cfg(test)]
mod tests;
