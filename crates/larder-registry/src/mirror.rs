//! A whole registry, copied from another one and followed: what a server reads from that stands in front
//! of it.
//!
//! One task follows a watch of everything. A listing is compared with what is held aside, and put in place
//! at once: readers never see half of it, and what has not changed is not told. While the registry behind
//! cannot be reached, what is held stays, and says how old it is. Writes go through, and are answered once
//! they show here.

mod follow;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use larder_cache::{Clock, Time};
use tokio::sync::watch as progress;
use tokio::task::JoinHandle;

use crate::backend::{
    Backend, BoxFuture, Copied, Error, Observer, OverrideChange, Phase, Report, View, Watch,
};
use crate::catalog::{Catalog, Change, Service, Snapshot};
use crate::log_watch::{Held, LogWatch, Progress};
use crate::model::{CheckKey, Instance, Key, Name};

/// How long a write waits until it shows. A write that was done is never answered with an error: after
/// this, readers see it a little later than its writer hears of it.
const VISIBLE_WITHIN: Duration = Duration::from_millis(500);

/// A registry in memory that follows another one.
///
/// Its revisions are its own and only grow, whatever those of the registry behind do.
#[derive(Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
    behind: Arc<dyn Backend>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// Told after every change, and at the end.
    progress: progress::Sender<Progress>,
}

#[derive(Debug)]
struct State {
    catalog: Catalog,
    observers: Vec<Weak<dyn Observer>>,
    contact: Contact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Never,
    Now,
    Lost(Time),
}

impl Mirror {
    /// Starts to follow `behind`, and remembers up to `log_len` changes. Must be called inside a tokio
    /// runtime; [`close`](Backend::close) joins what it spawns, dropping it aborts.
    pub fn start(behind: Arc<dyn Backend>, log_len: usize, clock: Clock) -> Self {
        let revision = clock.wall();
        let state = State {
            catalog: Catalog::new(revision, log_len),
            observers: Vec::new(),
            contact: Contact::Never,
        };
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new(state),
            progress: progress::Sender::new(Progress { revision, closed: false }),
        });
        let task = tokio::spawn(follow::run(shared.clone(), behind.clone()));
        Self { shared, behind, task: Mutex::new(Some(task)) }
    }

    /// Waits until everything was read once, at most for `patience`; says whether it was.
    pub async fn wait_until_ready(&self, patience: Duration) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let ready = async {
            while self.shared.state().contact == Contact::Never {
                if self.shared.is_closed() || progress.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        // Cancel-safe: it only looks.
        tokio::time::timeout(patience, ready).await.unwrap_or(false)
    }

    fn check_ready(&self) -> Result<(), Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        match self.shared.state().contact {
            Contact::Never => Err(Error::Unavailable {
                phase: Phase::List,
                reason: "it has not been reached since this server was started".to_owned(),
            }),
            Contact::Now | Contact::Lost(_) => Ok(()),
        }
    }

    /// Returns once `shows` says so of what is held, or after a while.
    async fn until_it_shows(&self, shows: impl Fn(&Snapshot) -> bool) {
        let mut progress = self.shared.progress.subscribe();
        let visible = async {
            while !shows(&self.snapshot()) {
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        // Cancel-safe: it only looks.
        let _ = tokio::time::timeout(VISIBLE_WITHIN, visible).await;
    }

    async fn until_held(&self, written: Arc<Instance>) -> Arc<Instance> {
        let key = written.key();
        self.until_it_shows(|snapshot| {
            snapshot.instance(&key).is_some_and(|held| follow::is_same(held, &written))
        })
        .await;
        written
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn is_closed(&self) -> bool {
        self.progress.borrow().closed
    }

    fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }
}

impl Held for Shared {
    fn progress(&self) -> progress::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn read(&self, told: Option<u64>) -> Option<(Snapshot, Option<Vec<Change>>)> {
        let state = self.state();
        if state.contact == Contact::Never {
            return None;
        }
        let changes = told.and_then(|told| state.catalog.changes_since(told));
        Some((state.catalog.snapshot(), changes.map(|changes| changes.cloned().collect())))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Backend for Mirror {
    fn kind(&self) -> &'static str {
        self.behind.kind()
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        if !instance.checks.is_empty() {
            let why = "health checks are kept by a registry of this server's own, and not by the one behind \
                       it: register the instance without";
            return Box::pin(std::future::ready(Err(Error::Invalid(why.to_owned()))));
        }
        Box::pin(async { Ok(self.until_held(self.behind.register(instance).await?).await) })
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.behind.renew(key, dirty_at)
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            let gone = self.behind.deregister(key).await?;
            self.until_it_shows(|snapshot| snapshot.instance(key).is_none()).await;
            Ok(gone)
        })
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(
            async move { Ok(self.until_held(self.behind.set_override(key, change).await?).await) },
        )
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.behind.report(check, report)
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        let found = self.check_ready().and_then(|()| {
            let found = self.snapshot().service(name).cloned();
            found.ok_or_else(|| Error::NotFound(name.to_string()))
        });
        Box::pin(std::future::ready(found))
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        let names = self
            .check_ready()
            .map(|()| self.snapshot().services().map(|service| service.name().clone()).collect());
        Box::pin(std::future::ready(names))
    }

    /// Begins once there is something to tell.
    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        let watch = || Box::new(LogWatch::new(self.shared.clone(), service)) as Box<dyn Watch>;
        let watch = if self.shared.is_closed() { Err(Error::Closed) } else { Ok(watch()) };
        Box::pin(std::future::ready(watch))
    }

    /// Ends the following, and closes the registry behind.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close();
        let task = lock(&self.task).take();
        Box::pin(async move {
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "the task that follows the registry failed");
            }
            self.behind.close().await;
        })
    }
}

impl View for Mirror {
    fn snapshot(&self) -> Snapshot {
        self.shared.state().catalog.snapshot()
    }

    /// As of its last change: renewals are not told.
    fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.shared.state().catalog.get(key).cloned()
    }

    fn changes_since(&self, revision: u64) -> Option<Vec<Change>> {
        let state = self.shared.state();
        Some(state.catalog.changes_since(revision)?.cloned().collect())
    }

    fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        let state = self.shared.state();
        let changes = state.catalog.changes_at_or_after(wall);
        let changes = changes.map(|changes| changes.cloned().collect());
        (state.catalog.snapshot(), changes)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        let observers = &mut self.shared.state().observers;
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
    }

    fn copy(&self) -> Option<Copied> {
        Some(match self.shared.state().contact {
            Contact::Never => Copied::Nothing,
            Contact::Now => Copied::Connected,
            Contact::Lost(since) => Copied::Stale(self.shared.clock.now().since(since)),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is applied in one step that cannot stop half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
