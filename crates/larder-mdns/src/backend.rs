//! The [`Backend`]: what is registered here is kept in memory and published; what is elsewhere is asked
//! for.

use std::sync::{Arc, Mutex, PoisonError};

use larder_cache::Clock;
use larder_registry::catalog::{Service, Snapshot};
use larder_registry::model::{CheckKey, Instance, Key, Name};
use larder_registry::{
    Backend, BoxFuture, Error, Memory, Observer, OverrideChange, Phase, Report, View, Watch, memory,
};
use tokio::task::JoinHandle;

use crate::names::Domain;
use crate::options::{Options, StartError, check};
use crate::record::Record;
use crate::shared::{Shared, seen};
use crate::watch::MdnsWatch;
use crate::{sockets, tasks};

/// A registry over multicast DNS. See the [crate's documentation](crate) for what can be relied on.
///
/// Runs three tasks and a registry in memory of what is registered through it.
/// [`close`](Backend::close) says good-bye for all of that and joins the tasks; dropping aborts them,
/// and others find out after two minutes.
#[derive(Debug)]
pub struct Mdns {
    shared: Arc<Shared>,
    own: Memory,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Mdns {
    /// Starts to take part. Must be called inside a tokio runtime.
    pub fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        check(&options)?;
        let domain = Domain::new(&options.domain)
            .ok_or_else(|| StartError::Domain(options.domain.clone()))?;
        let socket = sockets::listening(&options).map_err(|reason| StartError::Listen {
            interface: sockets::interface(&options),
            port: options.port,
            reason,
        })?;
        let max_instances = options.max_instances;
        let shared = Arc::new(Shared::new(options, domain, clock.clone(), socket));
        let own =
            Memory::start(memory::Options { max_instances, ..memory::Options::default() }, clock);
        let observer: Arc<dyn Observer> = shared.clone();
        own.observe(Arc::downgrade(&observer));
        let tasks = vec![
            tokio::spawn(tasks::respond(shared.clone())),
            tokio::spawn(tasks::announce(shared.clone())),
            tokio::spawn(tasks::browse(shared.clone())),
        ];
        Ok(Self { shared, own, tasks: Mutex::new(tasks) })
    }

    /// How often something arrived that is no message, or a description in this domain that is none of
    /// an instance, and was skipped. What stays on the network arrives again with every question.
    pub fn skipped(&self) -> u64 {
        self.shared.skipped()
    }

    fn open(&self) -> Result<(), Error> {
        if self.shared.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    async fn instances(&self, name: &Name) -> Result<Arc<Service>, Error> {
        let heard = self.shared.ask_service(name, Phase::Read).await?;
        let snapshot = self.own.snapshot();
        let own = snapshot.service(name);
        let revision = self.shared.state().picture.revision();
        let others = seen(heard).filter(|seen| is_others(&snapshot, &seen.instance));
        let others: Vec<Arc<Instance>> = others.map(|seen| seen.instance).collect();
        let written = own.map(|own| own.name().clone());
        let written = written.or_else(|| others.first().map(|other| other.service.clone()));
        let written = written.ok_or_else(|| Error::NotFound(name.to_string()))?;
        let own = own.into_iter().flat_map(|own| own.instances().cloned());
        Ok(Arc::new(Service::new(written, revision, own.chain(others))))
    }

    async fn names(&self) -> Result<Vec<Name>, Error> {
        let listed = self.shared.ask_services(Phase::List).await?;
        let snapshot = self.own.snapshot();
        let own = snapshot.services().map(|service| service.name().clone());
        let mut names: Vec<Name> = own.chain(listed.iter().map(|name| Name::new(name))).collect();
        // Stable: of two spellings the one that is registered here stays.
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn start_watch(&self, service: Option<Name>) -> Result<Box<dyn Watch>, Error> {
        let interest = self.shared.state().interest(service);
        let asked_at = self.shared.clock.now();
        let heard = match &*interest {
            Some(name) => self.shared.ask_service(name, Phase::Watch).await?,
            None => self.shared.ask_all(Phase::Watch).await?,
        };
        self.shared.hear(heard, Some(asked_at));
        Ok(Box::new(MdnsWatch::new(self.shared.clone(), interest)))
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.shared.progress.send_modify(|progress| progress.closed = true);
    }
}

/// Whether somebody else published it. What is registered here answers here as well.
fn is_others(own: &Snapshot, instance: &Instance) -> bool {
    own.instance(&instance.key()).is_none()
}

impl Backend for Mdns {
    fn kind(&self) -> &'static str {
        "mdns"
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            Record::check(&self.shared.domain, &instance)
                .map_err(|unfit| Error::Invalid(unfit.to_string()))?;
            self.own.register(instance).await
        })
    }

    /// Only of what is registered here.
    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.own.renew(key, dirty_at)
    }

    /// Only of what is registered here.
    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.own.deregister(key)
    }

    /// Only of what is registered here.
    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.own.set_override(key, change)
    }

    /// Only about what is registered here.
    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.own.report(check, report)
    }

    /// Asks everybody, and takes as long as [`Options::query_timeout`]; up to three times as long for a
    /// service that nobody has in this spelling.
    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.instances(name).await
        })
    }

    /// Asks everybody, and takes as long as [`Options::query_timeout`].
    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.names().await
        })
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.start_watch(service).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.own.close().await;
            self.shared.progress.send_modify(|progress| progress.closed = true);
            let tasks =
                std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task of multicast DNS failed");
                }
            }
            let farewells = self.shared.state().board.clear();
            tasks::tell(&self.shared, farewells).await;
        })
    }
}
