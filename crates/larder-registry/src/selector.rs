//! Whom to call: one instance of a service, and another one if that cannot be reached.
//!
//! A [`Selector`] picks from the snapshot of a service that the caller holds, which a
//! [`RegistryCache`](crate::RegistryCache) gives out. A [`Filter`] says who may be picked, a [`Strategy`]
//! who is, and what the selector remembers of the calls before has a say in both: where requests are
//! outstanding, whose turn it is, and who could not be reached. Nothing here talks or waits.
//!
//! 1. Those that the filter matches are split by whether they are *marked*: [`Marking`] says when an instance
//!    is, and for how long. Marks put others first; they never leave the caller with nobody.
//! 2. Of the available ones those in the own zone come first, while they are enough
//!    ([`Options::zone_percent`]).
//! 3. The strategy picks one of the first that there are. A retry ([`Selection::next`]) picks from those that
//!    this call has not tried.
//!
//! The first two steps are done once for a snapshot and a filter, and again when a mark begins or ends, so
//! that a call costs the same at one instance and at a thousand
//! ([`LeastOutstanding`](Strategy::LeastOutstanding) excepted).

mod filter;
mod lineup;
mod marks;
mod rota;
mod selection;
mod strategy;
mod zone;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_cache::{Clock, Time};

use crate::catalog::Service;
use crate::model::{Key, Name};

pub use filter::Filter;
pub use marks::Marking;
pub use rota::FILTERS_PER_SERVICE;
pub use selection::{Pick, Selection};
pub use strategy::Strategy;
pub use zone::{ZONE_KEY, zone_of};

use lineup::Rules;
use rota::Rota;

/// How a [`Selector`] picks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who is picked from those that may be.
    ///
    /// Defaults to: [`Strategy::PowerOfTwoChoices`].
    pub strategy: Strategy,
    /// The zone of the caller, whose instances are preferred.
    ///
    /// Defaults to: none; no zone is preferred.
    pub zone: Option<String>,
    /// The key of the metadata that says in which zone an instance is; see [`zone_of`].
    ///
    /// Defaults to: [`ZONE_KEY`].
    pub zone_key: String,
    /// Which share of the available instances of all zones, in percent, must be in the own one for it to be
    /// preferred. Below it requests go to all zones alike, so that the few that are left near are not
    /// run over: where each of `n` zones sends as much as the others, an instance near gets at most
    /// `100 / (n × zone_percent)` times its fair share.
    ///
    /// Defaults to: 20, which up to five zones of equal size reach. Range: 0 (as long as there is one) to
    /// 100 (only if there is no other zone).
    pub zone_percent: u8,
    /// When an instance that cannot be reached is left alone.
    pub marking: Marking,
    /// How many services are remembered. At one more, the eighth of them that was selected from longest ago
    /// is forgotten: their rounds begin anew, their marks are gone, and requests under way to them no
    /// longer count.
    ///
    /// Defaults to: 10,000. Range: from 1; 0 counts as 1.
    pub services: usize,
    /// The clock to live by.
    ///
    /// Defaults to: none; one is made.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            zone: None,
            zone_key: ZONE_KEY.to_owned(),
            zone_percent: 20,
            marking: Marking::default(),
            services: 10_000,
            clock: None,
        }
    }
}

/// Nobody may be picked: the service has no instance that the filter matches, or, with
/// [`Strategy::Weighted`], none with a weight. Ask for less, or wait for a change of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of the {instances} instances of {service} may be picked: ask for less, or wait for a change"
)]
pub struct NoneAvailable {
    /// The service.
    pub service: Name,
    /// How many instances it has.
    pub instances: usize,
}

/// What a selector knows of an instance, for people to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Requests under way to it.
    pub outstanding: u32,
    /// Failures to reach it in a row, since the last success.
    pub failures: u32,
    /// Until when it is marked, by the selector's clock; none if it is not.
    pub marked_until: Option<Time>,
}

/// Picks the instances to call. One for all the services of one registry; cloning gives another handle on the
/// same.
///
/// What it remembers is bounded: of [`Options::services`] services, the instances of the snapshot that it
/// was shown last (those that left are forgotten with it), and [`FILTERS_PER_SERVICE`] filters.
///
/// ```
/// use std::sync::Arc;
/// use larder_registry::catalog::Service;
/// use larder_registry::model::{Instance, Name};
/// use larder_registry::selector::{Filter, Options, Selector};
///
/// # fn send(_: &Instance) -> std::io::Result<()> { Ok(()) }
/// let instances = ["a", "b"].map(|id| Arc::new(Instance::new("orders", id)));
/// let orders = Arc::new(Service::new(Name::new("orders"), 1, instances));
///
/// let selector = Selector::new(Options::default());
/// let mut selection = selector.select(&orders, &Filter::default())?;
/// for _ in 0..3 {
///     let pick = selection.next();
///     match send(pick.instance()) {
///         Ok(()) => return Ok(pick.succeeded()),
///         Err(_) => pick.failed(),
///     }
/// }
/// # Ok::<(), larder_registry::selector::NoneAvailable>(())
/// ```
#[derive(Clone)]
pub struct Selector(Arc<Desk>);

/// What all the handles, selections and picks of a selector share.
struct Desk {
    rules: Rules,
    capacity: usize,
    clock: Clock,
    dice: RandomState,
    throws: AtomicU64,
    services: Mutex<Services>,
}

#[derive(Default)]
struct Services {
    rotas: HashMap<Name, Used>,
    selections: u64,
}

struct Used {
    rota: Arc<Mutex<Rota>>,
    /// The last selection from it.
    last: u64,
}

impl Selector {
    /// A selector that has seen nothing yet.
    pub fn new(options: Options) -> Self {
        let Options { strategy, zone, zone_key, zone_percent, marking, services, clock } = options;
        Self(Arc::new(Desk {
            rules: Rules { strategy, zone, zone_key, zone_percent, marking },
            capacity: services.max(1),
            clock: clock.unwrap_or_else(Clock::running),
            dice: RandomState::new(),
            throws: AtomicU64::new(0),
            services: Mutex::default(),
        }))
    }

    /// Whom a call to `service` may be sent to.
    ///
    /// Hand in the same `Arc` while the snapshot is the same, as a
    /// [`RegistryCache`](crate::RegistryCache) does: for another one the instances are gone through again.
    pub fn select(
        &self,
        service: &Arc<Service>,
        filter: &Filter,
    ) -> Result<Selection, NoneAvailable> {
        let desk = &self.0;
        let rota = lock(&desk.services).rota(service.name(), desk.capacity);
        let now = desk.clock.now();
        let (view, lineup) = lock(&rota).lineup(service, filter, &desk.rules, now);
        if lineup.len() == 0 {
            let (service, instances) = (service.name().clone(), service.len());
            return Err(NoneAvailable { service, instances });
        }
        Ok(Selection { desk: desk.clone(), rota, view, at: now, lineup, tried: Vec::new() })
    }

    /// What is known of an instance; none if nobody selected from its service since it joined.
    pub fn standing(&self, key: &Key) -> Option<Standing> {
        let rota = lock(&self.0.services).rotas.get(&key.service)?.rota.clone();
        let (outstanding, trouble) = lock(&rota).of(&key.id)?;
        let now = self.0.clock.now();
        Some(Standing {
            outstanding,
            failures: trouble.map_or(0, |trouble| trouble.failures),
            marked_until: trouble.filter(|held| held.is_marked(now)).map(|held| held.until),
        })
    }

    /// How many services are remembered.
    pub fn len(&self) -> usize {
        lock(&self.0.services).rotas.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Desk {
    /// Balance needs no better randomness than a seeded hash.
    fn throw_dice(&self) -> u64 {
        self.dice.hash_one(self.throws.fetch_add(1, Ordering::Relaxed))
    }
}

impl Services {
    /// What is remembered of the service, from now on at least.
    fn rota(&mut self, name: &Name, capacity: usize) -> Arc<Mutex<Rota>> {
        self.selections += 1;
        if let Some(used) = self.rotas.get_mut(name) {
            used.last = self.selections;
            return used.rota.clone();
        }
        if self.rotas.len() >= capacity {
            self.forget(capacity.div_ceil(8));
        }
        let rota = Arc::<Mutex<Rota>>::default();
        self.rotas.insert(name.clone(), Used { rota: rota.clone(), last: self.selections });
        rota
    }

    /// Forgets the `count` services that were selected from longest ago.
    fn forget(&mut self, count: usize) {
        let mut uses: Vec<u64> = self.rotas.values().map(|used| used.last).collect();
        let (_, newest_to_go, _) = uses.select_nth_unstable(count - 1);
        self.rotas.retain(|_, used| used.last > *newest_to_go);
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("rules", &self.rules).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
