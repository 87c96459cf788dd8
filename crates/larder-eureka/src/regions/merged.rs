//! What is registered here and in some regions, as one list.
//!
//! Pure. Where several have an instance of one application and id, the first counts: what is registered here,
//! then the regions in the order of their configuration. A client knows an instance by these two, so that
//! showing both would make its hash differ from ours for ever.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use larder_registry::catalog::{Change, Service, Snapshot, StatusCounts};
use larder_registry::model::{Instance, Key, Name};

use crate::apps_hash::apps_hash;
use crate::delta::Window;
use crate::wire::{Application, Applications};

/// Several registries, the one that counts first in front.
#[derive(Debug)]
pub(crate) struct Merged(pub(crate) Vec<Snapshot>);

impl Merged {
    /// Grows with every change of one of them, and is another one after it: revisions never go back.
    pub(crate) fn revision(&self) -> i64 {
        let sum = self.0.iter().fold(0_u64, |sum, one| sum.saturating_add(one.revision()));
        i64::try_from(sum).unwrap_or(i64::MAX)
    }

    /// How many instances there are, those that are hidden included.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Snapshot::len).sum()
    }

    fn instance(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.0.iter().find_map(|one| one.instance(key))
    }

    /// The service of this name, of the first that has it: as Netflix's server falls back.
    pub(crate) fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.0.iter().find_map(|one| one.service(name))
    }

    /// Every instance that is not hidden and that `chosen` picks, by application.
    pub(crate) fn list(&self, version: i64, chosen: impl Fn(&Instance) -> bool) -> Applications {
        let mut apps: BTreeMap<&Name, Application> = BTreeMap::new();
        let mut counts = StatusCounts::default();
        for (place, one) in self.0.iter().enumerate() {
            for held in self.seen(place, one).filter(|held| chosen(held)) {
                counts.add(held.effective_status());
                let named = || Application { name: held.service.to_string(), instances: vec![] };
                apps.entry(&held.service).or_insert_with(named).instances.push(held.clone());
            }
        }
        Applications { version, hash: apps_hash(&counts), apps: apps.into_values().collect() }
    }

    /// The instances of one that none before it hides.
    fn seen<'a>(
        &'a self,
        place: usize,
        one: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Arc<Instance>> {
        let before = &self.0[..place];
        let hides = |one: &Snapshot, held: &Instance| {
            one.service(&held.service).is_some_and(|service| service.get(&held.id).is_some())
        };
        one.instances().filter(move |held| !before.iter().any(|one| hides(one, held)))
    }

    fn hash(&self) -> String {
        let mut counts = StatusCounts::default();
        for (place, one) in self.0.iter().enumerate() {
            self.seen(place, one).for_each(|held| counts.add(held.effective_status()));
        }
        apps_hash(&counts)
    }

    /// What changed, by the changes of each: of every instance its present state, whichever of them has it.
    /// Nothing, if changes of one are missing or there are more than a delta tells: the hash then makes
    /// clients fetch everything.
    pub(crate) fn delta(&self, recent: &[Option<Vec<Change>>]) -> Applications {
        let apps = self.told(recent).unwrap_or_default();
        Applications { version: self.revision(), hash: self.hash(), apps }
    }

    fn told(&self, recent: &[Option<Vec<Change>>]) -> Option<Vec<Application>> {
        let mut told = HashSet::new();
        let mut apps: BTreeMap<Name, Application> = BTreeMap::new();
        for changes in recent {
            for change in changes.as_ref()?.iter().rev() {
                let key = change.instance.key();
                if told.contains(&key) {
                    continue;
                }
                let entry = self.instance(&key).unwrap_or(&change.instance).clone();
                let name = entry.service.to_string();
                let app = apps.entry(entry.service.clone());
                app.or_insert(Application { name, instances: vec![] }).instances.push(entry);
                told.insert(key);
                if told.len() > Window::MAX_TOLD {
                    return None;
                }
            }
        }
        Some(apps.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use larder_registry::catalog::Catalog;
    use larder_registry::model::{Action, Status};

    use super::*;

    fn catalog(instances: &[(&str, &str, Status)]) -> Catalog {
        let mut catalog = Catalog::new(100, 100);
        for (service, id, status) in instances {
            let instance = Instance { status: *status, ..Instance::new(service, id) };
            catalog.put(instance, Action::Added, 7);
        }
        catalog
    }

    fn merged(catalogs: &[&Catalog]) -> Merged {
        Merged(catalogs.iter().map(|one| one.snapshot()).collect())
    }

    fn recent(catalogs: &[&Catalog]) -> Vec<Option<Vec<Change>>> {
        let of = |one: &&Catalog| Some(one.changes_at_or_after(0)?.cloned().collect());
        catalogs.iter().map(of).collect()
    }

    fn ids(apps: &[Application]) -> Vec<(String, Vec<String>)> {
        let ids = |app: &Application| app.instances.iter().map(|held| held.id.clone()).collect();
        apps.iter().map(|app| (app.name.clone(), ids(app))).collect()
    }

    /// Eureka's `testGetAppsFromBothRegions`, `testGetAppsFromAllRemoteRegions`.
    #[test]
    fn an_application_in_two_regions_is_one_with_the_instances_of_both() {
        let here = catalog(&[("web", "1", Status::Up)]);
        let there = catalog(&[("WEB", "2", Status::Down), ("db", "3", Status::Up)]);
        let list = merged(&[&here, &there]).list(1, |_| true);
        let of = |name: &str, ids: &[&str]| {
            (name.to_owned(), ids.iter().map(ToString::to_string).collect())
        };
        assert_eq!(ids(&list.apps), [of("db", &["3"]), of("web", &["1", "2"])]);
        assert_eq!(list.hash, "DOWN_1_UP_2_");
    }

    #[test]
    fn of_two_instances_with_one_key_the_first_is_shown_and_counted() {
        let here = catalog(&[("web", "1", Status::Up)]);
        let there = catalog(&[("web", "1", Status::Down), ("web", "2", Status::Up)]);
        let both = merged(&[&here, &there]);
        let list = both.list(1, |_| true);
        assert_eq!(list.hash, "UP_2_");
        assert_eq!(list.apps[0].instances.len(), 2);
        assert_eq!(both.delta(&recent(&[&here, &there])).hash, list.hash);
    }

    #[test]
    fn what_left_here_and_is_in_a_region_is_told_as_the_regions() {
        let mut here = catalog(&[("web", "1", Status::Up)]);
        let there = catalog(&[("web", "1", Status::Down)]);
        here.remove(&Key::new("web", "1"), 8);
        let delta = merged(&[&here, &there]).delta(&recent(&[&here, &there]));
        let told = &delta.apps[0].instances;
        assert_eq!((told.len(), told[0].status, &*delta.hash), (1, Status::Down, "DOWN_1_"));
        assert_eq!(told[0].action, Some(Action::Added));
    }

    #[test]
    fn what_left_everywhere_is_told_as_deleted() {
        let here = catalog(&[("web", "1", Status::Up)]);
        let mut there = catalog(&[("db", "2", Status::Up)]);
        there.remove(&Key::new("db", "2"), 8);
        let delta = merged(&[&here, &there]).delta(&recent(&[&here, &there]));
        let actions: Vec<_> = delta.apps.iter().map(|app| app.instances[0].action).collect();
        assert_eq!(actions, [Some(Action::Deleted), Some(Action::Added)]);
        assert_eq!(delta.hash, "UP_1_");
    }

    #[test]
    fn a_delta_that_misses_changes_tells_nothing_but_the_hash() {
        let (here, there) = (catalog(&[("web", "1", Status::Up)]), catalog(&[]));
        let delta = merged(&[&here, &there]).delta(&[recent(&[&here]).remove(0), None]);
        assert_eq!((delta.apps.len(), &*delta.hash), (0, "UP_1_"));
    }

    #[test]
    fn any_change_of_one_moves_the_version() {
        let (mut here, mut there) = (catalog(&[]), catalog(&[]));
        let mut last = merged(&[&here, &there]).revision();
        for n in 0..10 {
            let one = if n % 3 == 0 { &mut here } else { &mut there };
            one.put(Instance::new("web", "1"), Action::Modified, 9);
            let now = merged(&[&here, &there]).revision();
            assert!(now > last);
            last = now;
        }
    }
}
