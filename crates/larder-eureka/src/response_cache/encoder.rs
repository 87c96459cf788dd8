//! The source of the read-write tier: encodes what a snapshot of the registry holds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Attempt, Clock, Fetched, Fresh, Source};
use larder_registry::View;
use larder_registry::catalog::{Service, StatusCounts};
use larder_registry::model::{Instance, Name};

use super::effort::Efforts;
use super::invalidation::names_in;
use super::ropes::Ropes;
use super::{Encoding, Entity, Key};
use crate::apps_hash::apps_hash;
use crate::payload::{Payload, compressed};
use crate::wire::{Application, Applications, Form};

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

/// Encodes lists of applications from a registry. Cloning gives another handle on the same registry.
#[derive(Debug, Clone)]
pub struct Encoder {
    registry: Arc<dyn View>,
    clock: Clock,
    ropes: Arc<Ropes>,
    efforts: Arc<Efforts>,
}

impl Encoder {
    /// Encodes what `registry` holds.
    pub fn new(registry: Arc<dyn View>, clock: Clock) -> Self {
        Self { registry, clock, ropes: Arc::default(), efforts: Arc::default() }
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
        Some(match &key.entity {
            Entity::Apps => {
                let (now, rope) = self.ropes.apps(key.form, &*self.registry, &self.clock);
                // Never −1, which makes Java's client fetch everything each time.
                rope.payload(key.encoding, 1, apps_hash(&now.counts()))
            }
            Entity::Delta => {
                let (now, rope) = self.ropes.delta(key.form, &*self.registry, &self.clock);
                // Changes with the content, and is the same in every form: clients tell deltas apart
                // by it.
                let version = i64::try_from(now.revision()).unwrap_or(i64::MAX);
                rope.payload(key.encoding, version, apps_hash(&now.counts()))
            }
            Entity::App(name) => whole(key, self.app(key.form, name)?),
            Entity::Vip(vip) => {
                whole(key, key.form.list(&self.with_vip(|held| held.vips.plain.as_deref(), vip)))
            }
            Entity::SecureVip(vip) => {
                whole(key, key.form.list(&self.with_vip(|held| held.vips.secure.as_deref(), vip)))
            }
        })
    }

    fn app(&self, form: Form, name: &Name) -> Option<Vec<u8>> {
        Some(form.app(&application(self.registry.snapshot().service(name)?)))
    }

    /// The instances whose list of virtual addresses has this name. None is an empty list, not an
    /// absence, as in Eureka: clients that want one address store the answer.
    fn with_vip(&self, list: fn(&Instance) -> Option<&str>, vip: &str) -> Applications {
        let snapshot = self.registry.snapshot();
        let mut counts = StatusCounts::default();
        let has_vip = |held: &Instance| list(held).into_iter().flat_map(names_in).any(|v| v == vip);
        let mut apps = Vec::new();
        for service in snapshot.services() {
            let instances: Vec<_> =
                service.instances().filter(|held| has_vip(held)).cloned().collect();
            for held in &instances {
                counts.add(held.effective_status());
            }
            if !instances.is_empty() {
                apps.push(Application { name: service.name().to_string(), instances });
            }
        }
        Applications { version: -1, hash: apps_hash(&counts), apps }
    }
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
        let payload = if self.registry.snapshot().len() <= LONG_LIST {
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
