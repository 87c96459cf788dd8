//! The source of the read-write tier: encodes what a snapshot of the registry holds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Attempt, Clock, Fetched, Fresh, Source};
use larder_registry::View;
use larder_registry::catalog::Service;
use larder_registry::model::Instance;

use super::effort::Efforts;
use super::invalidation::names_in;
use super::ropes::{DELTA_RETENTION_MS, Ropes};
use super::{Encoding, Entity, Key};
use crate::apps_hash::apps_hash;
use crate::payload::{Payload, compressed};
use crate::regions::{Merged, Regions};
use crate::wire::Application;

/// How long a list is fresh without a change.
pub(super) fn ttl(key: &Key) -> Duration {
    match key.entity {
        Entity::Delta => DELTA_TTL,
        _ => Duration::MAX,
    }
}

/// How long a delta is kept without a change: it holds what changed lately, and grows old by itself.
/// Eureka looks at its queue as often.
const DELTA_TTL: Duration = Duration::from_secs(30);

/// Encodes lists of applications from a registry, and from regions. Cloning gives another handle on the same
/// registry.
#[derive(Debug, Clone)]
pub struct Encoder {
    registry: Arc<dyn View>,
    regions: Option<Arc<Regions>>,
    clock: Clock,
    ropes: Arc<Ropes>,
    efforts: Arc<Efforts>,
}

impl Encoder {
    /// Encodes what `registry` holds, and what is shown of `regions`.
    pub fn new(registry: Arc<dyn View>, regions: Option<Arc<Regions>>, clock: Clock) -> Self {
        let (ropes, efforts) = (Arc::default(), Arc::default());
        Self { registry, regions, clock, ropes, efforts }
    }

    pub(super) fn efforts(&self) -> Arc<Efforts> {
        self.efforts.clone()
    }

    fn encode_counted(&self, key: &Key) -> Option<Payload> {
        let began = self.clock.now();
        let payload = self.encode(key);
        self.efforts.spent(&key.entity, self.clock.now().since(began));
        payload
    }

    fn encode(&self, key: &Key) -> Option<Payload> {
        let regions = self.regions.as_ref().filter(|_| !key.regions.is_local());
        match (&key.entity, regions) {
            (Entity::Apps, None) => Some(self.apps(key)),
            (Entity::Delta, None) => Some(self.delta(key)),
            (Entity::Delta, Some(regions)) => {
                let since = self.clock.wall().saturating_sub(DELTA_RETENTION_MS);
                let (merged, recent) = regions.recent(&*self.registry, key.regions, since);
                Some(whole(key, key.form.list(&merged.delta(&recent))))
            }
            (_, Some(regions)) => of(&regions.merged(&*self.registry, key.regions), key),
            (_, None) => of(&Merged(vec![self.registry.snapshot()]), key),
        }
    }

    /// All applications that are registered here.
    fn apps(&self, key: &Key) -> Payload {
        let (now, rope) = self.ropes.apps(key.form, &*self.registry, &self.clock);
        // Never −1, which makes Java's client fetch everything each time.
        rope.payload(key.encoding, 1, apps_hash(&now.counts()))
    }

    /// What changed here lately.
    fn delta(&self, key: &Key) -> Payload {
        let (now, rope) = self.ropes.delta(key.form, &*self.registry, &self.clock);
        // Changes with the content, and is the same in every form: clients tell deltas apart by it.
        let version = i64::try_from(now.revision()).unwrap_or(i64::MAX);
        rope.payload(key.encoding, version, apps_hash(&now.counts()))
    }
}

/// What is encoded whole. None for an application that there is not; a virtual address that nobody has is an
/// empty list, not an absence, as in Eureka: clients that want one address store the answer.
fn of(merged: &Merged, key: &Key) -> Option<Payload> {
    let with = |list: fn(&Instance) -> Option<&str>, vip: &str| {
        let has_vip = |held: &Instance| list(held).into_iter().flat_map(names_in).any(|v| v == vip);
        merged.list(-1, has_vip)
    };
    let text = match &key.entity {
        Entity::Apps | Entity::Delta => key.form.list(&merged.list(1, |_| true)),
        Entity::App(name) => key.form.app(&application(merged.service(name)?)),
        Entity::Vip(vip) => key.form.list(&with(|held| held.vips.plain.as_deref(), vip)),
        Entity::SecureVip(vip) => key.form.list(&with(|held| held.vips.secure.as_deref(), vip)),
    };
    Some(whole(key, text))
}

fn application(service: &Service) -> Application {
    let instances = service.instances().cloned().collect();
    Application { name: service.name().to_string(), instances }
}

/// A text in one piece.
fn whole(key: &Key, text: Vec<u8>) -> Payload {
    match key.encoding {
        Encoding::Identity => text.into(),
        Encoding::Gzip => Payload::new(compressed(&text)),
    }
}

/// A list with more instances than this is encoded on a thread where nobody waits for a turn.
const LONG_LIST: usize = 100;

impl Source for Encoder {
    type Key = Key;
    type Value = Payload;
    type Error = Infallible;

    async fn fetch(&self, key: &Key, _: Attempt<Payload>) -> Result<Fetched<Payload>, Infallible> {
        let (this, wanted) = (self.clone(), key.clone());
        let encode = move || this.encode_counted(&wanted);
        let merged = self.regions.as_ref().map(|all| all.merged(&*self.registry, key.regions));
        let len = merged.map_or_else(|| self.registry.snapshot().len(), |merged| merged.len());
        let payload = if len <= LONG_LIST {
            encode()
        } else {
            match tokio::task::spawn_blocking(encode).await {
                Ok(payload) => payload,
                // A panic of the encoder is a failure of this fetch, like any panic of a source.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        };
        Ok(match payload {
            None => Fetched::Absent { remember_for: None },
            Some(payload) => Fresh::new(payload).ttl(ttl(key)).into(),
        })
    }

    fn weigh(&self, key: &Key, payload: &Payload) -> u64 {
        let name = match &key.entity {
            Entity::Apps | Entity::Delta => 0,
            Entity::App(name) => 2 * name.as_str().len(),
            Entity::Vip(vip) | Entity::SecureVip(vip) => vip.len(),
        };
        (payload.len() + name + size_of::<Key>()) as u64
    }
}
