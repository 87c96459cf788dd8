//! The mass-removal guard: when much of a service or of the whole registry vanishes at once, more likely the
//! registry lies than the services do. What vanished is held on to until there is more to say so.
//!
//! Eureka's self-preservation, for any backend: a partition, a restored backup, a cluster of etcd that came
//! back empty or let every lease run out look like a mass removal to whoever follows them. The risk is the
//! other error: while a removal that was meant is held, callers are sent to instances that are gone, and
//! must try another one. So it says what it holds ([`Guarded::held`]), logs it, and lets go
//!
//! - when the removal is told again: by an event of its own, or by the next listing;
//! - after [`Options::hold`];
//! - when an operator says so ([`Guarded::confirm`]).

mod watch;
mod watchman;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_cache::Clock;
use tokio::sync::Notify;

use crate::backend::{Backend, BoxFuture, Error, OverrideChange, Report, Watch};
use crate::catalog::Service;
use crate::model::{CheckKey, Instance, Key, Name};

use watch::GuardedWatch;

/// What a mass removal is, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What to do about it. Defaults to: [`Mode::Warn`].
    pub mode: Mode,
    /// More than this share of the instances of a service, or of all, is a mass. Defaults to: 0.5. Range: 0
    /// to 1.
    pub share: f64,
    /// Fewer than this many are none. Defaults to: 5. Range: from 1.
    pub at_least: usize,
    /// Within this time: a listing counts as one moment. Defaults to: 10 s. Range: any.
    pub window: Duration,
    /// For how long it is held on to what vanished. Defaults to: 90 s, a lease of Eureka's. Range: any.
    pub hold: Duration,
}

/// What to do about a mass removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Say so in the log.
    Warn,
    /// Say so, and hold on to what vanished.
    On,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Warn,
            share: 0.5,
            at_least: 5,
            window: Duration::from_secs(10),
            hold: Duration::from_secs(90),
        }
    }
}

/// A backend whose watches are guarded. What it reads on demand is as the backend says.
#[derive(Debug)]
pub struct Guarded {
    backend: Arc<dyn Backend>,
    options: Options,
    clock: Clock,
    shared: Arc<Shared>,
}

/// What all watches of a guarded backend have in common.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Confirmations>,
    confirmed: Notify,
}

#[derive(Debug, Default)]
struct Confirmations {
    /// How often an operator has confirmed.
    count: u64,
    /// How many instances are held, by all watches.
    held: usize,
}

impl Guarded {
    /// Guards the watches of `backend`.
    pub fn new(backend: Arc<dyn Backend>, options: Options, clock: Clock) -> Self {
        Self { backend, options, clock, shared: Arc::default() }
    }

    /// How many instances are held on to, by all watches together.
    pub fn held(&self) -> usize {
        self.shared.state().held
    }

    /// Lets go of everything that is held: the removal was meant.
    pub fn confirm(&self) {
        self.shared.state().count += 1;
        self.shared.confirmed.notify_waiters();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Confirmations> {
        // Two numbers, each set in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Guarded {
    fn kind(&self) -> &'static str {
        self.backend.kind()
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        self.backend.register(instance)
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.backend.renew(key, dirty_at)
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.backend.deregister(key)
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.backend.set_override(key, change)
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.backend.report(check, report)
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        self.backend.service(name)
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        self.backend.services()
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async {
            let watch = self.backend.watch(service).await?;
            if self.options.mode == Mode::Off {
                return Ok(watch);
            }
            let (clock, shared) = (self.clock.clone(), self.shared.clone());
            let watch = GuardedWatch::new(watch, self.options, clock, shared);
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.backend.close()
    }
}

#[cfg(test)]
mod tests;
