//! The source of the read-write tier: encodes what a snapshot of the registry holds.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use larder_cache::{Attempt, Clock, Fetched, Fresh, Source};
use larder_registry::View;
use larder_registry::catalog::{Service, Snapshot, StatusCounts};
use larder_registry::model::Instance;

use super::invalidation::names_in;
use super::{Encoding, Entity, Format, Key};
use crate::apps_hash::apps_hash;
use crate::delta::delta;
use crate::wire::{Application, Applications, json, xml};

/// How long a list is fresh without a change.
pub(super) fn ttl(key: &Key) -> Duration {
    match key.entity {
        Entity::Delta => DELTA_TTL,
        _ => Duration::MAX,
    }
}

/// For how long a delta tells of a change: Eureka's `retentionTimeInMSInDeltaQueue`.
const DELTA_RETENTION: Duration = Duration::from_secs(180);

/// How long a delta is kept without a change: it holds what changed lately, and grows old by itself.
/// Eureka looks at its queue as often.
const DELTA_TTL: Duration = Duration::from_secs(30);

/// Encodes lists of applications from a registry. Cloning gives another handle on the same registry.
#[derive(Debug, Clone)]
pub struct Encoder {
    registry: Arc<dyn View>,
    clock: Clock,
}

impl Encoder {
    /// Encodes what `registry` holds.
    pub fn new(registry: Arc<dyn View>, clock: Clock) -> Self {
        Self { registry, clock }
    }

    fn list(&self, entity: &Entity) -> Option<List> {
        Some(match entity {
            Entity::Apps => List::Apps(everything(&self.registry.snapshot())),
            Entity::Delta => List::Apps(self.delta()),
            Entity::App(name) => List::App(application(self.registry.snapshot().service(name)?)),
            Entity::Vip(vip) => List::Apps(self.with_vip(|held| held.vips.plain.as_deref(), vip)),
            Entity::SecureVip(vip) => {
                List::Apps(self.with_vip(|held| held.vips.secure.as_deref(), vip))
            }
        })
    }

    /// What changed within the retention, with the hash of everything. If the registry no longer knows
    /// all of that, the delta is empty, so that its hash makes clients fetch everything.
    fn delta(&self) -> Applications {
        let retention = u64::try_from(DELTA_RETENTION.as_millis()).unwrap_or(u64::MAX);
        let since = self.clock.wall().saturating_sub(retention);
        let (snapshot, changes) = self.registry.recent_changes(since);
        let apps = delta(&changes.unwrap_or_default());
        Applications {
            // Changes with the content, is the same in every format, and is never below 1: clients
            // tell deltas apart by it, and fetch everything if it is −1.
            version: i64::try_from(snapshot.revision()).unwrap_or(i64::MAX),
            hash: apps_hash(&snapshot.counts()),
            apps: apps
                .into_iter()
                .map(|(name, instances)| Application { name: name.to_string(), instances })
                .collect(),
        }
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

/// What is encoded: many applications under one root, or one.
enum List {
    Apps(Applications),
    App(Application),
}

fn everything(snapshot: &Snapshot) -> Applications {
    Applications {
        version: 1,
        hash: apps_hash(&snapshot.counts()),
        apps: snapshot.services().map(|service| application(service)).collect(),
    }
}

fn application(service: &Service) -> Application {
    let instances = service.instances().cloned().collect();
    Application { name: service.name().to_string(), instances }
}

impl List {
    fn encode(&self, key: &Key) -> Vec<u8> {
        match (self, key.format) {
            (Self::Apps(apps), Format::Json) => json::applications(apps),
            (Self::Apps(apps), Format::Xml) => xml::applications(apps, key.version),
            (Self::App(app), Format::Json) => json::application(app),
            (Self::App(app), Format::Xml) => xml::application(app, key.version),
        }
    }
}

fn compress(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::default());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .expect("writing to a vector cannot fail")
}

/// A list with more instances than this is encoded on a thread where nobody waits for a turn.
const LONG_LIST: usize = 100;

impl Source for Encoder {
    type Key = Key;
    type Value = Bytes;
    type Error = Infallible;

    async fn fetch(&self, key: &Key, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Infallible> {
        let (this, wanted) = (self.clone(), key.clone());
        let encode = move || {
            let text = this.list(&wanted.entity)?.encode(&wanted);
            let bytes = match wanted.encoding {
                Encoding::Identity => text,
                Encoding::Gzip => compress(&text),
            };
            Some(Bytes::from(bytes))
        };
        let bytes = if self.registry.snapshot().len() <= LONG_LIST {
            encode()
        } else {
            match tokio::task::spawn_blocking(encode).await {
                Ok(bytes) => bytes,
                // A panic of the encoder is a failure of this fetch, like any panic of a source.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        };
        Ok(match bytes {
            None => Fetched::Absent { remember_for: None },
            Some(bytes) => Fresh::new(bytes).ttl(ttl(key)).into(),
        })
    }

    fn weigh(&self, key: &Key, bytes: &Bytes) -> u64 {
        let name = match &key.entity {
            Entity::Apps | Entity::Delta => 0,
            Entity::App(name) => 2 * name.as_str().len(),
            Entity::Vip(vip) | Entity::SecureVip(vip) => vip.len(),
        };
        (bytes.len() + name + size_of::<Key>()) as u64
    }
}
