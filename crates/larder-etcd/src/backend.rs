//! The [`Backend`]: reads, then writes on the condition that nobody else wrote meanwhile.

use std::sync::Arc;

use larder_cache::Clock;
use larder_micro::mapping;
use larder_registry::catalog::Service;
use larder_registry::model::{Action, Instance, Key, Name, Status};
use larder_registry::registrar::rules;
use larder_registry::{Backend, BoxFuture, Error, OverrideChange, Phase, Watch};

use crate::api::{
    Compare, CompareTarget, DeleteRangeRequest, KeepAlive, PutRequest, Request, RequestOp,
    TxnRequest,
};
use crate::connection::Connection;
use crate::holdings::{Stored, shown};
use crate::keys::Place;
use crate::options::{Options, OptionsError};
use crate::store::{Listing, Located, Store};
use crate::watch::EtcdWatch;

/// How often a write is tried while others change the same instance.
const TRIES_MAX: u32 = 8;

/// A registry in etcd. See the [crate's documentation](crate) for what it keeps there, and how.
///
/// Runs nothing in the background but its connections: watches do their work when they are asked for
/// events. Closing, or dropping, ends the connections.
#[derive(Debug)]
pub struct Etcd {
    store: Arc<Store>,
}

impl Etcd {
    /// A registry in the etcd that `options` name. Nothing is sent before the first call, so that etcd
    /// need not be there yet. Must be called inside a tokio runtime.
    pub fn connect(options: Options, clock: Clock) -> Result<Self, OptionsError> {
        check(&options)?;
        let connection = Connection::new(&options)?;
        Ok(Self { store: Arc::new(Store::new(connection, options, clock)) })
    }

    /// How often a value below the prefix was met that is no instance, and was skipped. One that stays
    /// there is met at every reading.
    pub fn skipped(&self) -> u64 {
        self.store.skipped()
    }

    fn open(&self) -> Result<(), Error> {
        if self.store.connection.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    async fn register_instance(&self, instance: Instance) -> Result<Arc<Instance>, Error> {
        let key = instance.key();
        for _ in 0..TRIES_MAX {
            let Some(located) = self.store.locate(Phase::Write, &key).await? else {
                return Err(Error::Invalid(
                    "the service's name and the id must be 1 to 1024 bytes, and not . or ..".into(),
                ));
            };
            let held = newest(&located).cloned();
            let wall = self.store.clock.wall();
            if let Some(held) = &held
                && let Some(repeated) = repeats(&instance, held, wall)
            {
                if self.keep_alive(held).await? == KeepAlive::Renewed {
                    return Ok(repeated);
                }
                // It has just expired: register it anew.
                continue;
            }
            let before = held.as_ref().map(|held| &*held.instance);
            let mut settled = rules::settle(instance.clone(), before, wall);
            (settled.updated_at, settled.action) = (wall, Some(Action::Added));
            if let Some(registered) = self.put_with_lease(settled, &located).await? {
                self.revoke(held.iter()).await;
                return Ok(registered);
            }
        }
        Err(Error::Contended(key))
    }

    /// None if others wrote meanwhile.
    async fn put_with_lease(
        &self,
        instance: Instance,
        located: &Located,
    ) -> Result<Option<Arc<Instance>>, Error> {
        let put = put(&self.store, &instance)?;
        let lease = match instance.lease {
            Some(lease) => self.store.connection.grant(lease.duration_secs).await?,
            None => 0,
        };
        // If there is no answer the lease may be keeping something already: it is left alone.
        if self.write(PutRequest { lease, ..put }, located).await? {
            return Ok(Some(Arc::new(instance)));
        }
        self.revoke_lease(lease).await;
        Ok(None)
    }

    async fn renew_lease(&self, key: &Key, dirty_at: Option<u64>) -> Result<Arc<Instance>, Error> {
        let located = self.store.locate(Phase::Renew, key).await?;
        let located = located.ok_or_else(|| not_found(key))?;
        let held = newest(&located).ok_or_else(|| not_found(key))?;
        rules::may_renew(&held.instance)?;
        if self.keep_alive(held).await? == KeepAlive::Lost {
            return Err(not_found(key));
        }
        rules::is_up_to_date(&held.instance, dirty_at)?;
        Ok(held.instance.clone())
    }

    async fn remove(&self, key: &Key) -> Result<Arc<Instance>, Error> {
        for _ in 0..TRIES_MAX {
            let located = self.store.locate(Phase::Write, key).await?;
            let located = located.ok_or_else(|| not_found(key))?;
            let last = newest(&located).ok_or_else(|| not_found(key))?.instance.clone();
            let deletes = located.held.iter().map(|held| delete(&held.key)).collect();
            if self.commit(&located, deletes).await? {
                self.revoke(&located.held).await;
                return Ok(last);
            }
        }
        Err(Error::Contended(key.clone()))
    }

    async fn change_override(
        &self,
        key: &Key,
        change: OverrideChange,
    ) -> Result<Arc<Instance>, Error> {
        for _ in 0..TRIES_MAX {
            let located = self.store.locate(Phase::Write, key).await?;
            let located = located.ok_or_else(|| not_found(key))?;
            let held = newest(&located).ok_or_else(|| not_found(key))?;
            // As Eureka does. If the lease is lost, so is the instance: the next look will tell.
            if self.keep_alive(held).await? == KeepAlive::Lost {
                continue;
            }
            let wall = self.store.clock.wall();
            let Some(mut instance) = rules::overridden(&held.instance, change, wall) else {
                return Ok(held.instance.clone());
            };
            (instance.updated_at, instance.action) = (wall, Some(Action::Modified));
            let put = PutRequest { lease: held.lease, ..put(&self.store, &instance)? };
            if self.write(put, &located).await? {
                return Ok(Arc::new(instance));
            }
        }
        Err(Error::Contended(key.clone()))
    }

    /// Puts one key and deletes the others that speak of the same instance. False if others wrote
    /// meanwhile, or the lease is gone.
    async fn write(&self, put: PutRequest, located: &Located) -> Result<bool, Error> {
        let written = located.seen.iter().filter(|(_, revision)| **revision != 0);
        let others = written.filter(|(key, _)| key.as_bytes() != put.key);
        let mut changes: Vec<RequestOp> = others.map(|(key, _)| delete(key)).collect();
        changes.push(RequestOp { request: Some(Request::Put(put)) });
        self.commit(located, changes).await
    }

    async fn commit(&self, located: &Located, success: Vec<RequestOp>) -> Result<bool, Error> {
        let compare =
            located.seen.iter().map(|(key, revision)| unchanged(key, *revision)).collect();
        let question = TxnRequest { compare, success };
        match self.store.connection.write(question).await {
            Ok(answer) => Ok(answer.succeeded),
            Err(fault) if fault.is_lease_lost() => Ok(false),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn keep_alive(&self, held: &Stored) -> Result<KeepAlive, Error> {
        match held.lease {
            0 => Ok(KeepAlive::Renewed),
            lease => Ok(self.store.connection.keep_alive(lease).await?),
        }
    }

    /// Revokes the leases of what is no more: only those that were granted here, for one instance
    /// each. Others may be keeping more by theirs; left alone they end by themselves.
    async fn revoke(&self, gone: impl IntoIterator<Item = &Stored>) {
        for held in gone.into_iter().filter(|held| held.instance.lease.is_some()) {
            self.revoke_lease(held.lease).await;
        }
    }

    async fn revoke_lease(&self, lease: i64) {
        if lease == 0 {
            return;
        }
        if let Err(fault) = self.store.connection.revoke(lease).await {
            tracing::debug!(lease, error = %Error::from(fault), "left a lease to end by itself");
        }
    }

    async fn names(&self) -> Result<Vec<Name>, Error> {
        let listing = self.store.list().await?;
        Ok(service_names(&listing).into_iter().map(|(name, _)| name).collect())
    }
}

impl Backend for Etcd {
    fn kind(&self) -> &'static str {
        "etcd"
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

    /// Linearizable. The service's revision is the store's when it was read.
    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async move {
            self.open()?;
            let listing = self.store.service(name).await?;
            let (name, _) =
                service_names(&listing).pop().ok_or_else(|| Error::NotFound(name.to_string()))?;
            let instances = shown(&listing.stored);
            let instances = instances.into_iter().map(|stored| stored.instance.clone());
            let revision = listing.revision.unsigned_abs();
            Ok(Arc::new(Service::new(name, revision, instances)))
        })
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async move {
            self.open()?;
            self.names().await
        })
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async move {
            self.open()?;
            let watch: Box<dyn Watch> = Box::new(EtcdWatch::new(self.store.clone(), service));
            Ok(watch)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.store.connection.close();
        Box::pin(std::future::ready(()))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.store.connection.close();
    }
}

fn check(options: &Options) -> Result<(), OptionsError> {
    let zeros = [
        ("connect_timeout", options.connect_timeout.is_zero()),
        ("call_timeout", options.call_timeout.is_zero()),
        ("idle_timeout", options.idle_timeout.is_zero()),
        ("max_instances", options.max_instances == 0),
    ];
    match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(OptionsError::Zero(name)),
        None => Ok(()),
    }
}

/// The instance as the key that was written last says.
fn newest(located: &Located) -> Option<&Stored> {
    located.held.iter().max_by_key(|held| held.revision)
}

/// What is held already, if the registration adds nothing to it.
fn repeats(instance: &Instance, held: &Stored, wall: u64) -> Option<Arc<Instance>> {
    let known = &held.instance;
    let adds_nothing = rules::is_outdated(instance, known)
        || rules::says_the_same(known, &rules::settle(instance.clone(), Some(known), wall));
    adds_nothing.then(|| known.clone())
}

/// Where go-micro's clients look, or aside.
fn place(status: Status) -> Place {
    if status == Status::Up { Place::Open } else { Place::Aside }
}

fn put(store: &Store, instance: &Instance) -> Result<PutRequest, Error> {
    let value = mapping::encode(instance).map_err(|unfit| Error::Invalid(unfit.to_string()))?;
    let key = store.keys.of(place(instance.status), instance.service.as_str(), &instance.id);
    let key = key.ok_or_else(|| not_found(&instance.key()))?.into_bytes();
    Ok(PutRequest { key, value, lease: 0 })
}

fn delete(key: &str) -> RequestOp {
    let request = DeleteRangeRequest { key: key.into() };
    RequestOp { request: Some(Request::Delete(request)) }
}

fn unchanged(key: &str, revision: i64) -> Compare {
    const EQUAL: i32 = 0;
    const MOD_REVISION: i32 = 2;
    Compare {
        result: EQUAL,
        target: MOD_REVISION,
        key: key.into(),
        target_union: Some(CompareTarget::ModRevision(revision)),
    }
}

fn not_found(key: &Key) -> Error {
    Error::NotFound(key.to_string())
}

/// The names of the services in a listing, in the order of their folded names, each as whoever came
/// first wrote it.
fn service_names(listing: &Listing) -> Vec<(Name, i64)> {
    let mut names: Vec<(Name, i64)> = listing
        .stored
        .iter()
        .map(|stored| (stored.instance.service.clone(), stored.created))
        .collect();
    names.sort();
    names.dedup_by(|later, first| later.0 == first.0);
    names
}
