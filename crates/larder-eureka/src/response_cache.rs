//! Eureka's response cache: two tiers over the engine.
//!
//! The *read-write tier* is a cache whose source is the [`Encoder`] over a snapshot of the registry.
//! The *read-only tier* is a cache whose source is the read-write tier. Changes invalidate the
//! read-write tier; what they do to the read-only tier is its [`mode`](ReadOnlyTier).
//!
//! Unlike Eureka's, both tiers are bounded, an unknown application is remembered for a moment only, and
//! a payload that was encoded from a state before a change can never be stored after it.

mod asked;
mod effort;
mod encoder;
mod invalidation;
mod key;
mod ropes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Attempt, Cache, Clock, Error, Fetched, OutOfRange, Reply, Source, Stats};
use larder_registry::catalog::Change;
use larder_registry::{Observer, View};

pub use effort::Effort;
pub use encoder::Encoder;
pub(crate) use key::media_type;
pub use key::{Encoding, Entity, Key};

use crate::payload::Payload;
use crate::regions::{self, RegionSet, Regions};
use asked::Asked;
use effort::Efforts;

/// What the read-only tier does about changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyTier {
    /// A change is visible at once: it invalidates both tiers. The default.
    Push,
    /// A change is visible at the next multiple of this interval of the time of day, as with Eureka's
    /// default of 30 s. At least 1 s.
    Timer(Duration),
    /// There is none; readers are served from the read-write tier.
    Off,
}

/// What can be set about a response cache.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The mode of the read-only tier. Defaults to [`ReadOnlyTier::Push`].
    pub read_only_tier: ReadOnlyTier,
    /// How many bytes of payloads each tier holds at most; the tiers share the bytes of a payload that
    /// both hold. A payload larger than this is encoded anew for every reader. At least 1 MiB, defaults
    /// to 256 MiB.
    pub capacity: u64,
    /// How long a payload is kept without a change; Eureka's `responseCacheAutoExpirationInSeconds`.
    /// Defaults to 180 s.
    pub ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only_tier: ReadOnlyTier::Push,
            capacity: 256 << 20,
            ttl: Duration::from_secs(180),
        }
    }
}

/// Encoded answers, kept until what they are made from changes. Bounded by [`Options::capacity`].
#[derive(Debug)]
pub struct ResponseCache {
    efforts: Arc<Efforts>,
    read_write: Cache<Encoder>,
    read_only: Option<Cache<Tier>>,
    mode: ReadOnlyTier,
    regions: Option<Arc<Regions>>,
    asked: Asked,
}

/// An answer could not be had: the encoder is overloaded, took too long, or is closed. Retry later.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be encoded: {0}")]
pub struct Unavailable(String);

fn answer<E: std::fmt::Display>(
    outcome: Result<Reply<Payload>, Error<E>>,
) -> Result<Option<Payload>, Unavailable> {
    match outcome {
        Ok(reply) => Ok(Some(Payload::clone(&reply))),
        Err(Error::Absent) => Ok(None),
        Err(error) => Err(Unavailable(error.to_string())),
    }
}

impl ResponseCache {
    /// A cache of what is encoded from `registry`, whose changes it observes from now on.
    pub fn observing(
        registry: &Arc<dyn larder_registry::Registry>,
        options: Options,
        clock: Clock,
    ) -> Result<Arc<Self>, OutOfRange> {
        Self::with_regions(registry, None, options, clock)
    }

    /// A cache of what is encoded from `registry` and, where they are asked for or shown unasked, from
    /// `regions`; the changes of all of them are observed from now on.
    pub fn with_regions(
        registry: &Arc<dyn larder_registry::Registry>,
        regions: Option<Arc<Regions>>,
        options: Options,
        clock: Clock,
    ) -> Result<Arc<Self>, OutOfRange> {
        let view: Arc<dyn View> = registry.clone();
        let encoder = Encoder::new(view, regions.clone(), clock.clone());
        let efforts = encoder.efforts();
        let read_write = Cache::new(encoder, tier(&options, clock.clone()))?;
        let interval = match options.read_only_tier {
            ReadOnlyTier::Off => None,
            ReadOnlyTier::Push => Some(None),
            ReadOnlyTier::Timer(interval) => Some(Some(interval)),
        };
        let read_only = interval
            .map(|interval| {
                let source = Tier { of: read_write.clone(), interval, clock: clock.clone() };
                Cache::new(source, tier(&options, clock))
            })
            .transpose()?;
        let (mode, asked) = (options.read_only_tier, Asked::default());
        let responses = Arc::new(Self { efforts, read_write, read_only, mode, regions, asked });
        let observer: Arc<dyn Observer> = responses.clone();
        registry.observe(Arc::downgrade(&observer));
        if let Some(regions) = &responses.regions {
            let observer: Arc<dyn regions::Observer> = responses.clone();
            regions.observe(Arc::downgrade(&observer));
        }
        Ok(responses)
    }

    /// The regions that answers may be of, if there are any.
    pub fn regions(&self) -> Option<&Arc<Regions>> {
        self.regions.as_ref()
    }

    /// The answer for `key`; none if there is nothing of this name.
    pub async fn get(&self, key: &Key) -> Result<Option<Payload>, Unavailable> {
        self.efforts.asked(&key.entity);
        let is_asked = key.entity.is_of_any_regions() && !key.regions.is_local();
        let _reading = is_asked.then(|| {
            self.asked.enter(key.regions, |set| {
                self.forget(&Entity::Apps, set);
                self.forget(&Entity::Delta, set);
            })
        });
        match &self.read_only {
            Some(read_only) => answer(read_only.get(key).await),
            None => answer(self.read_write.get(key).await),
        }
    }

    /// What happened in the read-write tier.
    pub fn read_write_stats(&self) -> Stats {
        self.read_write.stats()
    }

    /// What happened in the read-only tier, if there is one.
    pub fn read_only_stats(&self) -> Option<Stats> {
        self.read_only.as_ref().map(Cache::stats)
    }

    /// How much was encoded so far, by the kind of list.
    pub fn efforts(&self) -> impl Iterator<Item = Effort> {
        self.efforts.so_far().into_iter()
    }

    /// Ends every encoding, releases everyone who waits, and joins every task.
    pub async fn close(&self) {
        if let Some(read_only) = &self.read_only {
            read_only.close().await;
        }
        self.read_write.close().await;
    }
}

impl ResponseCache {
    /// Forgets every answer about `entity` and these regions.
    fn forget(&self, entity: &Entity, regions: RegionSet) {
        let push = self.read_only.as_ref().filter(|_| self.mode == ReadOnlyTier::Push);
        for key in Key::every(entity, regions) {
            // In this order: a load of the read-only tier that begins in between finds the read-write
            // tier invalidated already.
            self.read_write.invalidate(&key);
            if let Some(read_only) = push {
                read_only.invalidate(&key);
            }
        }
    }

    /// Forgets what these changes make wrong, in every set of regions that `concerns` picks.
    fn forget_after(&self, changes: &[Change], concerns: impl Fn(RegionSet) -> bool) {
        let stale = invalidation::stale_after(changes);
        let Some(regions) = &self.regions else {
            for entity in &stale {
                self.forget(entity, RegionSet::LOCAL);
            }
            return;
        };
        // What clients name no regions for is only ever of those that are shown unasked.
        let fixed = stale.iter().filter(|entity| !entity.is_of_any_regions());
        let unasked = regions.unasked();
        fixed.filter(|_| concerns(unasked)).for_each(|entity| self.forget(entity, unasked));
        let lists = || stale.iter().filter(|entity| entity.is_of_any_regions());
        if concerns(RegionSet::LOCAL) {
            lists().for_each(|entity| self.forget(entity, RegionSet::LOCAL));
        }
        self.asked.take_out(concerns, |set| lists().for_each(|entity| self.forget(entity, set)));
    }
}

impl Observer for ResponseCache {
    fn changed(&self, changes: &[Change]) {
        self.forget_after(changes, |_| true);
    }
}

impl regions::Observer for ResponseCache {
    fn region_changed(&self, place: usize, changes: &[Change]) {
        self.forget_after(changes, |set| set.has(place));
    }
}

/// How long it is remembered that an application is unknown. A registration ends it at once.
const ABSENCE: Duration = Duration::from_secs(30);

/// How long encoding may take: a large registry on a busy machine.
const ENCODING: Duration = Duration::from_secs(30);

/// The options of one tier. Payloads are few and heavy: so few are expected that the store is in one
/// piece, and the largest has room.
fn tier(options: &Options, clock: Clock) -> larder_cache::Options {
    let ttl = match options.read_only_tier {
        ReadOnlyTier::Timer(interval) => options.ttl.max(interval),
        ReadOnlyTier::Push | ReadOnlyTier::Off => options.ttl,
    };
    larder_cache::Options {
        capacity: options.capacity.max(1 << 20),
        expected_entries: 32,
        ghost_allocation: 1.0,
        // As often as the registry changes and somebody reads: encoding is no burden to anyone else.
        rate: None,
        ttl,
        absent_ttl: ABSENCE,
        fetch_timeout: ENCODING,
        clock: Some(clock),
        ..larder_cache::Options::default()
    }
}

/// The source of the read-only tier.
#[derive(Debug)]
struct Tier {
    of: Cache<Encoder>,
    interval: Option<Duration>,
    clock: Clock,
}

impl Source for Tier {
    type Key = Key;
    type Value = Payload;
    type Error = Error<Infallible>;

    async fn fetch(
        &self,
        key: &Key,
        attempt: Attempt<Payload>,
    ) -> Result<Fetched<Payload>, Self::Error> {
        let ttl = match self.interval {
            None => encoder::ttl(key),
            Some(interval) => until_next_multiple(self.clock.wall(), interval),
        };
        Ok(match self.of.fetch(key, attempt).await? {
            Fetched::Fresh(fresh) => fresh.ttl(ttl).into(),
            Fetched::Absent { .. } => Fetched::Absent { remember_for: Some(ttl) },
            not_modified @ Fetched::NotModified { .. } => not_modified,
        })
    }

    fn weigh(&self, key: &Key, payload: &Payload) -> u64 {
        self.of.weigh(key, payload)
    }
}

/// How long it is from `wall`, in milliseconds since 1970, until the next multiple of `interval`.
fn until_next_multiple(wall: u64, interval: Duration) -> Duration {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1_000);
    Duration::from_millis(interval - wall % interval)
}

#[cfg(test)]
mod tests;
