//! A whole registry, copied from another one and followed: what a server reads from that stands in front
//! of it.
//!
//! One task follows a watch of everything. A listing is compared with what is held aside, and put in place
//! at once: readers never see half of it, and what has not changed is not told. While the registry behind
//! cannot be reached, what is held stays, and says how old it is. Writes go through, and are answered once
//! they show here.

mod follow;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use larder_cache::{Clock, Time};
use tokio::sync::watch as wake;
use tokio::task::JoinHandle;

use crate::backend::{
    Backend, BoxFuture, Copied, Error, Observer, OverrideChange, Phase, Report, View, Watch,
};
use crate::catalog::{Catalog, Change, Service, Snapshot};
use crate::held::{Held, Keeps};
use crate::log_watch::LogWatch;
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
    held: Arc<Held<Followed>>,
    /// Whether somebody wants to know.
    awake: wake::Sender<bool>,
}

#[derive(Debug)]
struct Followed {
    catalog: Catalog,
    contact: Contact,
}

impl Keeps for Followed {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn is_known(&self) -> bool {
        self.contact != Contact::Never
    }
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
        let mirror = Self::dormant(behind, log_len, clock);
        mirror.wake();
        mirror
    }

    /// As [`start`](Self::start), but asks nobody before it is [woken](Self::wake): until then it has read
    /// nothing.
    pub fn dormant(behind: Arc<dyn Backend>, log_len: usize, clock: Clock) -> Self {
        let catalog = Catalog::new(clock.wall(), log_len);
        let held = Arc::new(Held::new(Followed { catalog, contact: Contact::Never }));
        let shared = Arc::new(Shared { clock, held, awake: wake::Sender::new(false) });
        let task = tokio::spawn(follow::run(shared.clone(), behind.clone()));
        Self { shared, behind, task: Mutex::new(Some(task)) }
    }

    /// Somebody wants to know: it is followed from now on.
    pub fn wake(&self) {
        self.shared.awake.send_if_modified(|awake| !std::mem::replace(awake, true));
    }

    /// Waits until everything was read once, at most for `patience`; says whether it was.
    pub async fn wait_until_ready(&self, patience: Duration) -> bool {
        let mut progress = self.shared.held.subscribe();
        let ready = async {
            while self.shared.held.lock().contact == Contact::Never {
                if self.shared.held.is_closed() || progress.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        // Cancel-safe: it only looks.
        tokio::time::timeout(patience, ready).await.unwrap_or(false)
    }

    fn check_ready(&self) -> Result<(), Error> {
        if self.shared.held.is_closed() {
            return Err(Error::Closed);
        }
        match self.shared.held.lock().contact {
            Contact::Never => Err(Error::Unavailable {
                phase: Phase::List,
                reason: "it has not been reached since this server was started".to_owned(),
            }),
            Contact::Now | Contact::Lost(_) => Ok(()),
        }
    }

    /// Returns once `shows` says so of what is held, or after a while.
    async fn until_it_shows(&self, shows: impl Fn(&Snapshot) -> bool) {
        let mut progress = self.shared.held.subscribe();
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

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.held.close();
        if let Some(task) = take(&self.task) {
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
        let watch = || Box::new(LogWatch::new(self.shared.held.clone(), service)) as Box<dyn Watch>;
        let watch = if self.shared.held.is_closed() { Err(Error::Closed) } else { Ok(watch()) };
        Box::pin(std::future::ready(watch))
    }

    /// Ends the following, and closes the registry behind.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.held.close();
        let task = take(&self.task);
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
        self.shared.held.snapshot()
    }

    /// As of its last change: renewals are not told.
    fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.shared.held.lock().catalog.get(key).cloned()
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

    fn copy(&self) -> Option<Copied> {
        Some(match self.shared.held.lock().contact {
            Contact::Never => Copied::Nothing,
            Contact::Now => Copied::Connected,
            Contact::Lost(since) => Copied::Stale(self.shared.clock.now().since(since)),
        })
    }
}

fn take(task: &Mutex<Option<JoinHandle<()>>>) -> Option<JoinHandle<()>> {
    // It is taken or not, and nothing between.
    task.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests;
