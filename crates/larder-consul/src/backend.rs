//! The [`Backend`]: a Consul as a registry.
//!
//! What is written goes to the agent in use, which passes it on to Consul's servers; what is read is what those
//! list. How an instance stands there, the [`mapping`] says. A lease is a check with a ttl that renewals pass;
//! where it ran out, the instance is not shown any more, and Consul removes it a minute and a half later at
//! most. Consul's agents run the checks that they can run; nobody here does.
//!
//! An agent holds what was registered with it alone. So an instance is renewed, changed and deregistered through
//! the agent that it was registered with; another one does not know it ([`Error::NotFound`]), and a registrant
//! that registers there is listed once: the younger entry counts, and the lease of the older runs out. What
//! others registered with the same agent can be taken out and deregistered, too.

mod calls;
mod options;
mod picture;
mod reading;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_cache::Clock;
use larder_registry::catalog::Service;
use larder_registry::model::{CheckKey, Instance, Key, Name, Probe, Status};
use larder_registry::registrar::rules;
use larder_registry::{Backend, BoxFuture, Error, OverrideChange, Report, Reporter, Watch};
use tokio::sync::watch as signal;

pub use options::{Options, OptionsError};

use crate::client::Client;
use crate::mapping::{self, Listed};
use crate::remote::Agent;
use calls::Calls;
use watch::ConsulWatch;

/// The registry of a Consul. See the [module](self) for what can be relied on.
#[derive(Debug)]
pub struct ConsulClient {
    calls: Calls,
    agent: Arc<Agent>,
    /// Whether the agent and the client are closed with this.
    owns_agent: bool,
    clock: Clock,
    hidden: Arc<BTreeSet<Name>>,
    max_services: usize,
    closed: signal::Sender<bool>,
}

impl ConsulClient {
    /// The registry of the Consul that `options` name. Nothing is sent before the first call, so that it need
    /// not be there yet. Whoever gives the clock keeps it moving. Must be called inside a tokio runtime.
    pub fn connect(options: &Options, clock: &Clock) -> Result<Self, OptionsError> {
        let client = Client::new(&options.client)?;
        let agent = Arc::new(Agent::new(&client, options.keeping.clone(), clock)?);
        Ok(Self { owns_agent: true, ..Self::sharing(client, agent, options, clock) })
    }

    /// As [`connect`](Self::connect), over a client and copies that others use as well, and close.
    pub fn sharing(client: Client, agent: Arc<Agent>, options: &Options, clock: &Clock) -> Self {
        Self {
            calls: Calls { client },
            agent,
            owns_agent: false,
            clock: clock.clone(),
            hidden: Arc::new(options.hidden.iter().map(|name| Name::new(name)).collect()),
            max_services: options.max_services.max(1),
            closed: signal::Sender::new(false),
        }
    }

    fn open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(Error::Closed) } else { Ok(()) }
    }

    /// What the agent holds; an instance whose lease ran out is not held any more.
    async fn held(&self, key: &Key) -> Result<Option<Listed>, Error> {
        let held = self.calls.held(key).await?;
        Ok(held.filter(|listed| !listed.has_lapsed))
    }

    async fn read_back(&self, key: &Key) -> Result<Arc<Instance>, Error> {
        // Somebody may have removed it at the same moment.
        let held = self.held(key).await?.ok_or_else(|| not_found(key))?;
        Ok(Arc::new(held.instance))
    }

    async fn register_instance(&self, instance: Instance) -> Result<Arc<Instance>, Error> {
        let key = instance.key();
        check_form(&key)?;
        let held = self.held(&key).await?.filter(|listed| listed.is_larders);
        let before = held.as_ref().map(|listed| &listed.instance);
        let settled = match before {
            Some(held) if rules::is_outdated(&instance, held) => held.clone(),
            before => rules::settle(instance, before, self.clock.wall()),
        };
        if let Some(held) = &held
            && rules::says_the_same(&held.instance, &settled)
        {
            // To write it again would tell everyone who waits for news of a service that has none.
            if settled.lease.is_none() || self.calls.renew(&held.service_id).await? {
                return Ok(Arc::new(held.instance.clone()));
            }
        }
        let body = mapping::agent_registration(&settled)?;
        self.calls.register(body).await?;
        match self.held(&key).await? {
            Some(held) => Ok(Arc::new(held.instance)),
            None => Ok(Arc::new(settled)),
        }
    }

    async fn renew_lease(&self, key: &Key, dirty_at: Option<u64>) -> Result<Arc<Instance>, Error> {
        let held = self.held(key).await?.ok_or_else(|| not_found(key))?;
        rules::may_renew(&held.instance)?;
        if held.is_larders
            && held.instance.lease.is_some()
            && !self.calls.renew(&held.service_id).await?
        {
            return Err(not_found(key));
        }
        rules::is_up_to_date(&held.instance, dirty_at)?;
        Ok(Arc::new(held.instance))
    }

    async fn remove(&self, key: &Key) -> Result<Arc<Instance>, Error> {
        let held = self.held(key).await?.ok_or_else(|| not_found(key))?;
        if !self.calls.deregister(&held.service_id).await? {
            return Err(not_found(key));
        }
        Ok(Arc::new(held.instance))
    }

    async fn change_override(
        &self,
        key: &Key,
        change: OverrideChange,
    ) -> Result<Arc<Instance>, Error> {
        let held = self.held(key).await?.ok_or_else(|| not_found(key))?;
        if !held.is_larders {
            return self.maintain(key, &held, change).await;
        }
        match rules::overridden(&held.instance, change, self.clock.wall()) {
            None => Ok(Arc::new(held.instance)),
            Some(changed) => {
                self.calls.register(mapping::agent_registration(&changed)?).await?;
                self.read_back(key).await
            }
        }
    }

    /// Overrides what somebody else registered, as far as Consul can: by its maintenance mode.
    async fn maintain(
        &self,
        key: &Key,
        held: &Listed,
        change: OverrideChange,
    ) -> Result<Arc<Instance>, Error> {
        let enable = match change.to {
            None | Some(Status::Up) => false,
            Some(Status::OutOfService) => true,
            Some(other) => {
                return Err(Error::Invalid(format!(
                    "Consul can take out of service what others registered, and nothing else: override it \
                     with {} in place of {other}",
                    Status::OutOfService
                )));
            }
        };
        if !self.calls.maintain(&held.service_id, enable).await? {
            return Err(not_found(key));
        }
        self.read_back(key).await
    }

    async fn report_check(&self, key: &CheckKey, report: Report) -> Result<Arc<Instance>, Error> {
        let unknown = || Error::NotFound(key.to_string());
        let held = self.held(&key.instance).await?.ok_or_else(unknown)?;
        let check = held.instance.check(&key.id).ok_or_else(unknown)?;
        match (&report.from, &check.probe) {
            // Consul's agents run these, and would contradict.
            (Reporter::Prober(_), _) => return Err(unknown()),
            (Reporter::Registrant, Probe::Ttl(_)) => {}
            (Reporter::Registrant, _) => return Err(Error::Probed(key.clone())),
        }
        let id = if held.is_larders {
            mapping::check_id(&held.service_id, &key.id)
        } else {
            key.id.to_string()
        };
        if !self.calls.report(&id, report.health, &report.output).await? {
            return Err(unknown());
        }
        self.read_back(&key.instance).await
    }
}

impl Backend for ConsulClient {
    fn kind(&self) -> &'static str {
        "consul"
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
            check_key(key)?;
            self.renew_lease(key, dirty_at).await
        })
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            check_key(key)?;
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
            check_key(key)?;
            self.change_override(key, change).await
        })
    }

    /// Of checks with a ttl alone: all others are run by Consul's agents.
    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.open()?;
            check_key(&check.instance)?;
            self.report_check(check, report).await
        })
    }

    /// As Consul's servers list it after this was called. The revision is Consul's index.
    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async move {
            self.open()?;
            if self.hidden.contains(name) || !is_addressable(name.folded()) {
                return Err(Error::NotFound(name.to_string()));
            }
            let (instances, index) = self.calls.service(name).await?;
            // As the first registrant writes it, and not as it was asked for.
            let Some(first) = instances.first() else {
                return Err(Error::NotFound(name.to_string()));
            };
            let written = first.service.clone();
            let instances = instances.into_iter().map(Arc::new);
            Ok(Arc::new(Service::new(written, index, instances)))
        })
    }

    /// As Consul's servers list them after this was called. A service all of whose leases ran out is listed
    /// until Consul removes it.
    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async move {
            self.open()?;
            let names = self.calls.names().await?;
            Ok(names.into_iter().filter(|name| !self.hidden.contains(name)).collect())
        })
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async move {
            self.open()?;
            let closed = self.closed.subscribe();
            let (agent, hidden) = (self.agent.clone(), self.hidden.clone());
            let service = service.as_ref();
            let watch = ConsulWatch::new(agent, closed, service, hidden, self.max_services)?;
            let watch: Box<dyn Watch> = Box::new(watch);
            Ok(watch)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.send_replace(true);
        Box::pin(async move {
            if self.owns_agent {
                self.calls.client.close();
                self.agent.close().await;
            }
        })
    }
}

fn not_found(key: &Key) -> Error {
    Error::NotFound(key.to_string())
}

/// What has no form in Consul's paths is not registered there. Such a key is not asked for either.
fn check_key(key: &Key) -> Result<(), Error> {
    if has_form(key) { Ok(()) } else { Err(not_found(key)) }
}

fn check_form(key: &Key) -> Result<(), Error> {
    if has_form(key) {
        return Ok(());
    }
    let says = "the service's name and the id must not be empty, nor hold empty parts, . or .. between \
                slashes, nor control characters";
    Err(Error::Invalid(says.to_owned()))
}

fn has_form(key: &Key) -> bool {
    is_addressable(key.service.folded()) && is_addressable(&key.id)
}

/// Whether it can be written in a path, and read again: an agent takes dots between slashes for a way up, and
/// refuses what cannot be printed.
fn is_addressable(text: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    text.split('/').all(is_part) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_form_in_a_path_is_refused_with_what_to_change() {
        for (service, id) in [("web", "1"), ("a/b", "h:80"), ("web", "a.b"), ("web", "..a")] {
            assert!(check_form(&Key::new(service, id)).is_ok(), "{service} {id}");
        }
        for (service, id) in
            [("", "1"), ("web", ""), ("web", ".."), ("a//b", "1"), ("web", "a/./b"), ("web", "a\n")]
        {
            let key = Key::new(service, id);
            assert!(matches!(check_form(&key), Err(Error::Invalid(_))), "{service} {id}");
            assert!(matches!(check_key(&key), Err(Error::NotFound(_))), "{service} {id}");
        }
    }
}
