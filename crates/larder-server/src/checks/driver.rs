//! Has every active check of the registry probed, and tells the registry what came out.
//!
//! A task follows a watch of the registry, and keeps the checks that are tracked the same as those that
//! are registered; when and where they are probed is [`AutoRefresh`]'s to say.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use larder_cache::{
    AutoRefresh, AutoRefreshOptions, AutoRefreshStats, Clock, OneSynced, Overflow, Removal,
    SyncSource, Synced, Tracked,
};
use larder_registry::model::{CheckKey, Health};
use larder_registry::{Error, Registry, Report, Reporter, Watch};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::figures::Figures;
use super::follow::{Following, Probed, Step, Target};
use super::probe::{Finding, MAX_TIMEOUT, Prober};
use crate::config::Checks as Config;
use crate::shutdown::Stopping;

/// Longer than a probe may take, which keeps its own time: only a bug reaches this.
const SYNC_TIMEOUT: Duration = MAX_TIMEOUT.saturating_mul(2);

type Probing = AutoRefresh<Probes>;

/// Probes the checks of a registry until it is closed.
#[derive(Debug)]
pub(crate) struct Checks {
    figures: Figures,
    probing: Probing,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Checks {
    /// Begins with what is registered already. Must be called inside a tokio runtime.
    pub(crate) async fn start(
        config: Config,
        registry: Arc<dyn Registry>,
        clock: Clock,
        stopping: Stopping,
    ) -> Result<Self, StartError> {
        let figures = Figures::default();
        let probes = Probes {
            prober: Prober::new(config.allow)?,
            registry: registry.clone(),
            figures: figures.clone(),
            clock: clock.clone(),
            stopping: stopping.clone(),
        };
        let probing = Probing::new(probes, options(config.workers, config.limit, clock))?;
        probing.start().map_err(|_| StartError::Closed)?;
        let watch = registry.watch(None).await.map_err(|_| StartError::Closed)?;
        let follower = Follower {
            following: Following::new(config.limit),
            registry,
            probing: probing.clone(),
            figures: figures.clone(),
        };
        let follower = Mutex::new(Some(tokio::spawn(follower.run(watch, stopping))));
        Ok(Self { figures, probing, follower })
    }

    /// What is counted.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// How the probing goes.
    pub(crate) fn stats(&self) -> AutoRefreshStats {
        self.probing.stats()
    }

    /// Waits for the end of everything that was started; comes after `stopping` was told.
    pub(crate) async fn close(&self) {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower
            && let Err(error) = follower.await
        {
            tracing::error!(%error, "the task that follows the registry failed");
        }
        self.probing.close().await;
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        let follower = self.follower.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = follower.take() {
            follower.abort();
        }
    }
}

/// Why checks cannot be probed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Options(#[from] larder_cache::OutOfRange),
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    #[error("the registry is shutting down")]
    Closed,
}

fn options(workers: usize, limit: usize, clock: Clock) -> AutoRefreshOptions<Probed, Job> {
    AutoRefreshOptions {
        size: limit,
        // Never full: those beyond the limit are not created.
        overflow: Overflow::Refuse,
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
        // Every check names its own interval; the workers bound what runs at a time.
        refresh_rate: None,
        create_rate: None,
        sync_timeout: SYNC_TIMEOUT,
        clock: Some(clock),
        ..AutoRefreshOptions::default()
    }
}

/// What there is to do about a check.
#[derive(Debug)]
struct Job {
    target: Target,
    /// Told when nobody wants to know any more.
    is_over: watch::Sender<bool>,
}

impl Job {
    fn new(target: Target) -> Self {
        Self { target, is_over: watch::Sender::new(false) }
    }

    /// Waits until nobody wants to know any more. Safe to cancel.
    async fn over(&self) {
        // An error cannot come: the sender lives as long as this.
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }
}

/// What a sync of a check is: a probe, and a report.
#[derive(Debug)]
struct Probes {
    prober: Prober,
    registry: Arc<dyn Registry>,
    figures: Figures,
    clock: Clock,
    stopping: Stopping,
}

impl SyncSource for Probes {
    type Id = Probed;
    type Item = Job;
    /// A probe that fails has found something.
    type Error = Infallible;

    async fn sync(
        &self,
        batch: Vec<(Probed, Tracked<Job>)>,
    ) -> Result<Vec<OneSynced<Self>>, Infallible> {
        let probes = batch.into_iter().map(|(probed, job)| async move {
            self.look(&probed.check, &job).await;
            (probed, Ok(Synced::Unchanged))
        });
        Ok(join_all(probes).await)
    }

    fn is_terminal(&self, _: &Probed, _: &Job) -> bool {
        false
    }

    fn period(&self, _: &Probed, job: &Job) -> Option<Duration> {
        Some(job.target.interval)
    }

    /// A probe of what has gone is cut off: it would hold a worker for nothing.
    fn removed(&self, _: &Probed, job: &Job, _: Removal) {
        job.is_over.send_replace(true);
    }
}

impl Probes {
    async fn look(&self, key: &CheckKey, job: &Job) {
        let target = &job.target;
        let begun = self.clock.now();
        let mut stopping = self.stopping.clone();
        // cancel-safe: a probe that is cut off has found nothing, and the others only wait.
        let finding = tokio::select! {
            finding = self.prober.probe(&target.probe, target.timeout) => finding,
            () = job.over() => return,
            () = stopping.wait() => return,
        };
        self.figures.count(finding.health, self.clock.now().since(begun));
        report(&*self.registry, key, target, finding).await;
    }
}

/// Keeps what is tracked the same as what is registered.
struct Follower {
    following: Following,
    registry: Arc<dyn Registry>,
    probing: Probing,
    figures: Figures,
}

impl Follower {
    async fn run(mut self, mut watch: Box<dyn Watch>, mut stopping: Stopping) {
        loop {
            // cancel-safe: a dropped call for the next event loses none.
            let event = tokio::select! {
                event = watch.next() => event,
                () = stopping.wait() => return,
            };
            let steps = match event {
                None | Some(Err(Error::Closed)) => return,
                Some(Ok(event)) => self.following.hear(&event),
                Some(Err(error)) => {
                    tracing::warn!(%error, "the watch of the checks was interrupted");
                    continue;
                }
            };
            for step in steps {
                self.apply(step).await;
            }
            self.figures.set_waiting(self.following.waiting());
        }
    }

    async fn apply(&self, step: Step) {
        match step {
            Step::Track(probed, target) => {
                if let Err(error) = self.probing.get_or_create(&probed, Job::new(target)) {
                    tracing::error!(check = %probed.check, %error, "a check is not probed");
                }
            }
            Step::Forget(probed) => {
                self.probing.delete(&probed);
            }
            Step::Refuse(key, target) => {
                let says = "not probed: as many checks are probed as may be (checks.limit)";
                tracing::warn!(check = %key, says);
                let finding = Finding { health: Health::Critical, output: says.to_owned() };
                report(&*self.registry, &key, &target, finding).await;
            }
        }
    }
}

/// Tells the registry. An instance that has left or changed meanwhile is no failure: whoever follows the
/// registry hears of it.
async fn report(registry: &dyn Registry, key: &CheckKey, target: &Target, finding: Finding) {
    let Finding { health, output } = finding;
    let report = Report { from: Reporter::Prober(target.probe.clone()), health, output };
    match registry.report(key, report).await {
        Ok(_) | Err(Error::NotFound(_) | Error::Closed) => {}
        Err(error) => tracing::warn!(check = %key, %error, "cannot report it"),
    }
}
