//! One immutable state of a catalog.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::indexes::Indexes;
use crate::model::{Health, Instance, Key, Name, Status};

/// One service: its instances in the order of their ids.
#[derive(Debug, Clone)]
pub struct Service {
    name: Name,
    revision: u64,
    instances: RedBlackTreeSetSync<ById>,
    /// Of just these instances: emptied by every change.
    indexes: Indexes,
}

/// An instance as an element of a set: it is its id that is compared, which needs no copy so.
#[derive(Debug, Clone)]
struct ById(Arc<Instance>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Service {
    fn empty(name: Name) -> Self {
        let instances = RedBlackTreeSetSync::new_sync();
        Self { name, revision: 0, instances, indexes: Indexes::default() }
    }

    /// A service of these instances, as read from a system that keeps a catalog of its own. Of two
    /// instances with one id the later stays.
    pub fn new(
        name: Name,
        revision: u64,
        instances: impl IntoIterator<Item = Arc<Instance>>,
    ) -> Self {
        let instances = instances.into_iter().map(ById).collect();
        Self { name, revision, instances, indexes: Indexes::default() }
    }

    /// The name, as the first registrant wrote it.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The revision of the last change to this service.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The instances in the order of their ids.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.iter().map(|ById(instance)| instance)
    }

    /// The instance with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Instance>> {
        self.instances.get(id).map(|ById(instance)| instance)
    }

    /// Puts an instance in, as of `revision`. What was shared before stays as it was.
    pub fn put(&mut self, instance: Arc<Instance>, revision: u64) {
        self.revision = revision;
        self.indexes = Indexes::default();
        self.instances.insert_mut(ById(instance));
    }

    /// Takes the instance with this id out, as of `revision`; says whether there was one.
    pub fn take(&mut self, id: &str, revision: u64) -> bool {
        let was_there = self.instances.remove_mut(id);
        if was_there {
            self.revision = revision;
            self.indexes = Indexes::default();
        }
        was_there
    }

    /// This service with just these instances, as of `revision`. Of two instances with one id the later
    /// stays. What is the same `Arc` as before is shared with this one, so that whoever drops this one last has
    /// little to do.
    pub(crate) fn relisted(
        &self,
        name: Name,
        revision: u64,
        mut instances: Vec<Arc<Instance>>,
    ) -> Self {
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        let mut next = Self { name, revision, ..self.clone() };
        let mut held = self.instances().peekable();
        for instance in instances {
            while let Some(gone) = held.next_if(|held| held.id < instance.id) {
                next.instances.remove_mut(gone.id.as_str());
            }
            let before = held.next_if(|held| held.id == instance.id);
            if before.is_none_or(|before| !Arc::ptr_eq(before, &instance)) {
                next.instances.insert_mut(ById(instance));
            }
        }
        for gone in held {
            next.instances.remove_mut(gone.id.as_str());
        }
        next
    }

    /// Whether the instances are the same, whatever the revision.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Instance>, &Arc<Instance>)| {
            Arc::ptr_eq(one, other) || one == other
        };
        self.len() == other.len() && self.instances().zip(other.instances()).all(same)
    }

    pub(super) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// How many instances there are; never zero in a snapshot.
    pub fn len(&self) -> usize {
        self.instances.size()
    }

    /// Whether there are no instances; never in a snapshot.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

/// The whole catalog as of one revision. Cloning costs a reference count.
#[derive(Debug, Clone)]
pub struct Snapshot {
    revision: u64,
    services: RedBlackTreeMapSync<Name, Arc<Service>>,
    counts: StatusCounts,
    checks: CheckCounts,
}

impl Snapshot {
    pub(super) fn empty(revision: u64) -> Self {
        Self {
            revision,
            services: RedBlackTreeMapSync::new_sync(),
            counts: StatusCounts::default(),
            checks: CheckCounts::default(),
        }
    }

    /// The revision of the last change in this snapshot.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The services that have an instance, in the order of their folded names.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The service of this name.
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The instance with this key.
    pub fn instance(&self, key: &Key) -> Option<&Arc<Instance>> {
        self.service(&key.service)?.get(&key.id)
    }

    /// Every instance, service by service.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.services().flat_map(|service| service.instances())
    }

    /// How many instances there are in each [effective status](Instance::effective_status).
    pub fn counts(&self) -> StatusCounts {
        self.counts
    }

    /// How many checks there are in each health.
    pub fn check_counts(&self) -> CheckCounts {
        self.checks
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.counts.total()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Puts the instance in; returns the one that it replaces.
    pub(crate) fn put(&mut self, instance: Arc<Instance>) -> Option<Arc<Instance>> {
        self.revision += 1;
        let mut service = match self.services.get(&instance.service) {
            Some(service) => Service::clone(service),
            None => Service::empty(instance.service.clone()),
        };
        let before = service.get(&instance.id).cloned();
        if let Some(before) = &before {
            self.uncount(before);
        }
        self.counts.add(instance.effective_status());
        self.checks.add(&instance);
        service.revision = self.revision;
        service.instances.insert_mut(ById(instance));
        self.services.insert_mut(service.name.clone(), Arc::new(service));
        before
    }

    /// Takes the instance out, and its service with the last one.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Instance>> {
        let service = self.services.get(&key.service)?;
        let before = service.get(&key.id)?.clone();
        let mut service = Service::clone(service);
        self.revision += 1;
        self.uncount(&before);
        service.revision = self.revision;
        service.instances.remove_mut(&*key.id);
        if service.is_empty() {
            self.services.remove_mut(&key.service);
        } else {
            self.services.insert_mut(service.name.clone(), Arc::new(service));
        }
        Some(before)
    }

    fn uncount(&mut self, before: &Instance) {
        self.counts.subtract(before.effective_status());
        self.checks.subtract(before);
    }
}

/// How many checks there are in each health, kept along with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckCounts([usize; Health::ALL.len()]);

impl CheckCounts {
    /// How many checks say this.
    pub fn of(&self, health: Health) -> usize {
        self.0[health as usize]
    }

    fn add(&mut self, instance: &Instance) {
        instance.checks.iter().for_each(|check| self.0[check.health as usize] += 1);
    }

    fn subtract(&mut self, instance: &Instance) {
        instance.checks.iter().for_each(|check| self.0[check.health as usize] -= 1);
    }
}

/// How many instances there are in each status, kept along with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusCounts([usize; Status::ALL.len()]);

impl StatusCounts {
    /// How many instances are in this status.
    pub fn of(&self, status: Status) -> usize {
        self.0[status as usize]
    }

    /// How many instances there are.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Counts one more instance.
    pub fn add(&mut self, status: Status) {
        self.0[status as usize] += 1;
    }

    /// Counts one fewer; none of a status that was not counted is none still.
    pub fn subtract(&mut self, status: Status) {
        let count = &mut self.0[status as usize];
        *count = count.saturating_sub(1);
    }
}
