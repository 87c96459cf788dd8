//! Other regions: what is registered with Eureka servers elsewhere, shown beside what is registered here.
//!
//! Each region is followed by a task of its own, as a client follows a cluster: everything once, then deltas,
//! everything anew when the hashes differ. What was read last is shown for as long as the region is out of
//! reach. Nothing of a region is ever written to: clients of both register with their own servers.
//!
//! | asked | answered |
//! | --- | --- |
//! | `apps?regions=a,b`, `apps/delta?regions=a,b` | what is registered here and in those regions; 403 until each of them was read once |
//! | `apps`, `apps/delta`, `vips/…`, `svips/…` | what is registered here and in all regions, as far as they were read; here alone without [`fallback`](Options::fallback), and for whoever follows this server as a region |
//! | `apps/{app}` | the application of here; else, with fallback, of the first region that has it |
//! | single instances | those that are registered here |
//!
//! Eureka's servers show each other's copies: two that follow each other keep alive for ever what one of them
//! copied from the other. Larder's do not: they know a follower by the word `RemoteRegion` in its
//! `User-Agent`, and tell it what is registered with them alone.
//!
//! Bounded: [`MAX_REGIONS`] regions, so many instances of each as the [client's options](crate::Options) say.

mod copy;
mod follow;
mod merged;
mod names;
mod set;
mod white_list;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use larder_cache::Clock;
use larder_registry::View;
use larder_registry::catalog::Change;
use tokio::task::JoinHandle;

use crate::OptionsError;
use crate::client::{self, Client};
use follow::Followed;
pub(crate) use merged::Merged;
use names::Logged;
pub use set::{MAX_REGIONS, RegionSet};
pub use white_list::WhiteList;

/// Which regions there are.
#[derive(Debug, Clone)]
pub struct Options {
    /// The regions, the one that is preferred first. Up to [`MAX_REGIONS`]; none by default.
    pub regions: Vec<Region>,
    /// Whether they are shown to those who do not ask for them; Eureka's
    /// `remoteRegion.disable.transparent.fallback`, the other way round. Defaults to: yes, as with Eureka.
    pub fallback: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { regions: Vec::new(), fallback: true }
    }
}

/// One region, and how it is reached.
#[derive(Debug, Clone)]
pub struct Region {
    /// As clients name it in `regions=`, in any case; without commas.
    pub name: String,
    /// Its servers; one is asked at a time, the next when it fails. Asked every
    /// [`poll`](client::Options::poll).
    pub servers: client::Options,
    /// Which of its applications are shown.
    pub white_list: WhiteList,
}

/// Why regions cannot be followed as they are configured. Not retried: correct the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegionsError {
    /// There are too many.
    #[error("there are {0} regions: name {MAX_REGIONS} at most")]
    TooMany(usize),
    /// A name cannot be asked for, or is another region's.
    #[error("{0:?} cannot name a region: names are not empty, have no comma, and differ")]
    Name(String),
    /// How one is reached.
    #[error("region {region}: {reason}")]
    Servers {
        /// Its name.
        region: String,
        /// What is wrong.
        reason: OptionsError,
    },
}

/// Somebody who must know what changed in a region: a cache that forgets what it had encoded.
pub(crate) trait Observer: fmt::Debug + Send + Sync {
    /// Called with the changes of the region at this place, in their order, after the region shows them. Must
    /// not block.
    fn region_changed(&self, place: usize, changes: &[Change]);
}

/// How one region is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Its name, in lower case.
    pub region: String,
    /// Whether it was read at least once.
    pub ready: bool,
    /// How many of its instances are shown.
    pub instances: usize,
    /// How many rounds failed.
    pub failures: u64,
    /// How long ago the last good round ended; none if there was none.
    pub age: Option<Duration>,
}

/// What is shown of other regions. Runs one task for each; [`close`](Self::close) joins them, dropping aborts
/// them.
#[derive(Debug)]
pub struct Regions {
    followed: Vec<Arc<Followed>>,
    fallback: bool,
    observers: Arc<Mutex<Vec<Weak<dyn Observer>>>>,
    logged: Mutex<Logged>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Regions {
    /// Begins to follow the regions; they need not be there yet. Must be called inside a tokio runtime.
    pub fn start(options: Options, clock: &Clock) -> Result<Self, RegionsError> {
        let Options { regions, fallback } = options;
        if regions.len() > MAX_REGIONS {
            return Err(RegionsError::TooMany(regions.len()));
        }
        let mut followed: Vec<Arc<Followed>> = Vec::new();
        for Region { name, servers, white_list } in regions {
            let folded = names::folded(&name);
            let is_taken = followed.iter().any(|other| *other.name == *folded);
            if folded.is_empty() || folded.contains(',') || is_taken {
                return Err(RegionsError::Name(name));
            }
            let client = Client::of_region(&servers)
                .map_err(|reason| RegionsError::Servers { region: name, reason })?;
            followed.push(Arc::new(Followed::new(
                folded,
                client,
                servers,
                white_list,
                clock.clone(),
            )));
        }
        let observers = Arc::default();
        let tasks = followed.iter().enumerate().map(|(place, region)| {
            tokio::spawn(follow::run(region.clone(), place, Arc::clone(&observers)))
        });
        let tasks = Mutex::new(tasks.collect());
        Ok(Self { followed, fallback, observers, logged: Mutex::default(), tasks })
    }

    /// The regions that are shown to those who ask for none: all of them, or none without fallback.
    pub fn unasked(&self) -> RegionSet {
        if self.fallback { RegionSet::first(self.followed.len()) } else { RegionSet::LOCAL }
    }

    /// The regions that the value of a parameter `regions` names; none if it names nothing. A name that no
    /// region has is skipped, and logged once.
    pub fn named(&self, value: &str) -> Option<RegionSet> {
        let place_of = |name: &str| self.followed.iter().position(|one| *one.name == *name);
        let (set, unknown) = names::read(value, place_of)?;
        for name in unknown {
            if lock(&self.logged).is_new(name) {
                tracing::info!(region = %name, "a client asks for a region that is not configured");
            }
        }
        Some(set)
    }

    /// The names of those among these regions that were never read.
    pub fn unread(&self, set: RegionSet) -> Vec<String> {
        let regions = set.places().filter_map(|place| self.followed.get(place));
        regions.filter(|region| !region.is_ready()).map(|region| region.name.clone()).collect()
    }

    /// How each is followed, in their order.
    pub fn figures(&self) -> Vec<Figures> {
        self.followed.iter().map(|region| region.figures()).collect()
    }

    /// What is registered here, and in these regions.
    pub(crate) fn merged(&self, here: &dyn View, set: RegionSet) -> Merged {
        let regions = set.places().filter_map(|place| self.followed.get(place));
        let snapshots = regions.map(|region| region.snapshot());
        Merged(std::iter::once(here.snapshot()).chain(snapshots).collect())
    }

    /// The same, and what changed in each at or after `wall`.
    pub(crate) fn recent(
        &self,
        here: &dyn View,
        set: RegionSet,
        wall: u64,
    ) -> (Merged, Vec<Option<Vec<Change>>>) {
        let regions = set.places().filter_map(|place| self.followed.get(place));
        let all = regions.map(|region| region.recent_changes(wall));
        let all = std::iter::once(here.recent_changes(wall)).chain(all);
        let (snapshots, changes) = all.unzip();
        (Merged(snapshots), changes)
    }

    /// Calls `observer` for every change from now on, as long as somebody else keeps it alive.
    pub(crate) fn observe(&self, observer: Weak<dyn Observer>) {
        lock(&self.observers).push(observer);
    }

    /// Ends every call that is under way, and joins every task. What was read stays.
    pub async fn close(&self) {
        for region in &self.followed {
            region.close();
        }
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            // It ends by itself; a panic in it has nowhere better to go than the log.
            if let Err(error) = task.await {
                tracing::error!(%error, "the task that follows a region failed");
            }
        }
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// What is held is whole after every step.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        let servers = client::Options::default();
        Region { name: name.to_owned(), servers, white_list: WhiteList::ALL }
    }

    fn start(names: &[&str]) -> Result<Regions, RegionsError> {
        let regions = names.iter().map(|name| region(name)).collect();
        Regions::start(Options { regions, ..Options::default() }, &Clock::running())
    }

    #[tokio::test]
    async fn names_that_cannot_be_asked_for_are_refused() {
        for names in [&["a,b"][..], &[""], &["a", "A"]] {
            let refused = start(names);
            assert!(matches!(refused, Err(RegionsError::Name(_))), "{names:?}: {refused:?}");
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(|name| &**name).collect();
        assert_eq!(start(&many).err(), Some(RegionsError::TooMany(17)));
        assert!(start(&many[..16]).is_ok());
    }

    #[tokio::test]
    async fn a_region_that_was_never_read_is_named() {
        let regions = start(&["East", "west"]).expect("they differ");
        let both = regions.named("WEST,east").expect("they are named");
        assert_eq!(both, regions.unasked());
        assert_eq!(regions.unread(both), ["east", "west"]);
        assert_eq!(regions.unread(RegionSet::LOCAL), [""; 0]);
        assert_eq!(regions.named("mars"), Some(RegionSet::LOCAL));
        assert_eq!(regions.named(","), None);
        regions.close().await;
    }
}
