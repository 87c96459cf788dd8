//! The [`Backend`]: what is written goes to the server and is read back; what is read is what the
//! rounds brought.

mod follower;
mod own_writes;
mod shared;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use larder_cache::Clock;
use larder_registry::catalog::Service;
use larder_registry::model::{Instance, Key, Name, Status};
use larder_registry::registrar::rules;
use larder_registry::{Backend, BoxFuture, Error, OverrideChange, Phase, Watch};
use tokio::task::JoinHandle;

use crate::client::carried::pack;
use crate::client::{Client, Options, OptionsError, unpack};
use shared::Shared;
use watch::EurekaWatch;

/// The registry of a Eureka cluster. See the [crate's documentation](crate#a-eureka-cluster-as-a-backend)
/// for what of the model it keeps, and what can be relied on.
///
/// Runs one task, which asks the cluster what changed while somebody watches, and whenever somebody
/// reads. [`close`](Backend::close) joins it; dropping aborts it.
#[derive(Debug)]
pub struct EurekaClient {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl EurekaClient {
    /// The registry of the cluster that `options` name. Nothing is sent before the first call, so that
    /// the cluster need not be there yet. Must be called inside a tokio runtime.
    pub fn connect(options: Options, clock: Clock) -> Result<Self, OptionsError> {
        let client = Client::new(&options)?;
        let shared = Arc::new(Shared::new(client, options, clock));
        let task = tokio::spawn(follower::run(shared.clone()));
        Ok(Self { shared, task: Mutex::new(Some(task)) })
    }

    fn open(&self) -> Result<(), Error> {
        if self.shared.client.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    async fn register_instance(&self, instance: Instance) -> Result<Arc<Instance>, Error> {
        check(&instance)?;
        let sent = pack(instance);
        self.shared.client.register(&sent).await?;
        match self.shared.client.instance(&sent.key()).await? {
            Some(held) => Ok(self.shared.wrote(&held)),
            // It left at the same moment, or the answer is of another server, which has not heard of it
            // yet.
            None => Ok(unpack(&Arc::new(sent))),
        }
    }

    async fn renew_lease(&self, key: &Key, dirty_at: Option<u64>) -> Result<Arc<Instance>, Error> {
        check_key(key)?;
        if self.shared.client.renew(key, dirty_at).await? {
            let known = self.shared.state().catalog.get(key).cloned();
            return match known {
                Some(known) => Ok(known),
                None => self.held(key).await,
            };
        }
        // Eureka has one answer for what is gone, for what changed and for what nobody knows the status
        // of; whoever renews is to register again in each case, and told why.
        let held = self.held(key).await?;
        rules::is_up_to_date(&held, dirty_at)?;
        Err(not_found(key))
    }

    async fn remove(&self, key: &Key) -> Result<Arc<Instance>, Error> {
        check_key(key)?;
        let last = self.shared.client.instance(key).await?;
        if !self.shared.client.leave(key).await? {
            return Err(not_found(key));
        }
        let Some(last) = last else {
            // It came between the two; nobody knows how it was.
            return Ok(Arc::new(Instance::new(key.service.as_str(), &key.id)));
        };
        self.shared.removed(&last);
        Ok(unpack(&last))
    }

    async fn change_override(
        &self,
        key: &Key,
        change: OverrideChange,
    ) -> Result<Arc<Instance>, Error> {
        check_key(key)?;
        let client = &self.shared.client;
        let OverrideChange { to, fallback, dirty_at } = change;
        let found = match to.filter(|to| *to != Status::Unknown) {
            Some(to) => client.set_status(key, to, dirty_at).await?,
            None => client.lift_status(key, fallback, dirty_at).await?,
        };
        if !found {
            return Err(not_found(key));
        }
        let held = client.instance(key).await?.ok_or_else(|| not_found(key))?;
        Ok(self.shared.wrote(&held))
    }

    /// The instance as the server holds it now.
    async fn held(&self, key: &Key) -> Result<Arc<Instance>, Error> {
        let held = self.shared.client.instance(key).await?;
        held.map(|held| unpack(&held)).ok_or_else(|| not_found(key))
    }
}

impl Backend for EurekaClient {
    fn kind(&self) -> &'static str {
        "eureka"
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.register_instance(instance).await
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.renew_lease(key, dirty_at).await
        })
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.remove(key).await
        })
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.change_override(key, change).await
        })
    }

    /// Asks the server what changed first. The revision is this client's own.
    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async move {
            self.open()?;
            let snapshot = self.shared.fresh(Phase::Read).await?;
            let found = snapshot.service(name).cloned();
            found.ok_or_else(|| Error::NotFound(name.to_string()))
        })
    }

    /// Asks the server what changed first.
    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async move {
            self.open()?;
            let snapshot = self.shared.fresh(Phase::List).await?;
            Ok(snapshot.services().map(|service| service.name().clone()).collect())
        })
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async move {
            self.open()?;
            let watch: Box<dyn Watch> = Box::new(EurekaWatch::new(self.shared.clone(), service));
            Ok(watch)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            // It ends by itself; a panic in it has nowhere better to go than the log.
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "the task that follows the Eureka server failed");
            }
        })
    }
}

impl Drop for EurekaClient {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

fn not_found(key: &Key) -> Error {
    Error::NotFound(key.to_string())
}

/// What has no form in Eureka is not registered there. Such a key is not asked for either.
fn check_key(key: &Key) -> Result<(), Error> {
    if is_addressable(key) { Ok(()) } else { Err(not_found(key)) }
}

fn check(instance: &Instance) -> Result<(), Error> {
    let invalid = |says: &str| Err(Error::Invalid(says.to_owned()));
    if !is_addressable(&instance.key()) {
        return invalid(
            "the service's name and the id must not be empty, and not . or .., and the name must be \
             the same name in upper case, as Eureka writes it",
        );
    }
    if !instance.checks.is_empty() {
        return invalid("Eureka keeps no health checks: register the instance without");
    }
    if instance.address.host.is_none() && instance.address.ip.is_none() {
        return invalid("Eureka wants to know a host or an IP address: give the instance one");
    }
    Ok(())
}

/// Whether it can be written in a path, and read again. A URL takes a segment of dots for a way up.
fn is_addressable(key: &Key) -> bool {
    let name = key.service.as_str();
    let is_segment = |text: &str| !matches!(text, "" | "." | "..");
    is_segment(name) && is_segment(&key.id) && Name::new(&name.to_uppercase()) == key.service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_form_in_eureka_is_refused_with_what_to_change() {
        let with = |service, id| {
            let mut instance = Instance::new(service, id);
            instance.address.ip = Some("10.0.0.1".to_owned());
            instance
        };
        assert!(check(&with("orders", "1")).is_ok());
        for (service, id) in
            [("", "1"), ("a", ""), ("a", "."), ("a", ".."), ("..", "1"), ("ß", "1")]
        {
            let refused = check(&with(service, id));
            assert!(matches!(refused, Err(Error::Invalid(_))), "{service:?} {id:?}: {refused:?}");
            let key = Key::new(service, id);
            assert!(matches!(check_key(&key), Err(Error::NotFound(_))), "{key}");
        }
        let nowhere = check(&Instance::new("a", "1")).expect_err("it has no address").to_string();
        assert!(nowhere.contains("a host or an IP address"), "{nowhere}");
    }
}
