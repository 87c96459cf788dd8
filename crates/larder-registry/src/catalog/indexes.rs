//! Indexes over one service's instances: made when they are asked for often, and gone with the snapshot.
//!
//! A question to a large service is answered by going through its instances, until it has been asked so
//! often that the way through all of them would have paid for an index; then that is made, once for all who
//! share the snapshot. One that nobody asks, or few, costs a pointer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::Service;
use crate::model::Instance;

/// Services with fewer instances are gone through: it takes a microsecond at most.
pub(super) const SMALLEST: usize = 64;

/// With which question about a snapshot the index is made. To make one takes as long as two to eight ways
/// through all instances.
pub(super) const PATIENCE: u8 = 8;

/// What an instance is looked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Version,
    Label,
    Tag,
    Endpoint,
}

/// The indexes of a service, or rather the place where they will be. A clone starts without.
#[derive(Debug, Default)]
pub(super) struct Indexes(OnceLock<Box<Index>>);

impl Clone for Indexes {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Debug, Default)]
struct Index {
    asked: [AtomicU8; 4],
    /// In the order of their ids.
    instances: OnceLock<Box<[Arc<Instance>]>>,
    postings: [OnceLock<Postings>; 4],
}

/// The hash of something, and the place of an instance that has it; in order.
type Postings = Box<[(u64, u32)]>;

impl Indexes {
    /// The instances of `service` that may have what is looked for, in the order of their ids; none if it
    /// has to be gone through. Texts with the same hash are not told apart.
    pub(super) fn find<'a>(
        &'a self,
        service: &Service,
        kind: Kind,
        wanted: (&str, &str),
    ) -> Option<impl Iterator<Item = &'a Arc<Instance>> + use<'a>> {
        if service.len() < SMALLEST {
            return None;
        }
        let index = self.0.get_or_init(Box::default);
        if !index.is_worth_making(kind) {
            return None;
        }
        let instances = index.instances.get_or_init(|| service.instances().cloned().collect());
        let postings = index.postings[kind as usize].get_or_init(|| postings(instances, kind));
        let wanted = hash(wanted);
        let start = postings.partition_point(|(hash, _)| *hash < wanted);
        let found = postings[start..].iter().take_while(move |(hash, _)| *hash == wanted);
        Some(found.filter_map(|(_, place)| instances.get(*place as usize)))
    }

    #[cfg(test)]
    fn is_made(&self, kind: Kind) -> bool {
        self.0.get().is_some_and(|index| index.postings[kind as usize].get().is_some())
    }
}

impl Index {
    fn is_worth_making(&self, kind: Kind) -> bool {
        let asked = &self.asked[kind as usize];
        // Two who ask at once may count as one: the index is made a little later.
        let before = asked.load(Ordering::Relaxed);
        if before + 1 < PATIENCE {
            asked.store(before + 1, Ordering::Relaxed);
        }
        before + 1 >= PATIENCE
    }
}

fn postings(instances: &[Arc<Instance>], kind: Kind) -> Postings {
    let mut postings: Vec<(u64, u32)> = Vec::new();
    for (instance, place) in instances.iter().zip(0..) {
        let mut post = |wanted| postings.push((hash(wanted), place));
        match kind {
            Kind::Version => post((&instance.version, "")),
            Kind::Label => instance.metadata.iter().for_each(|(key, value)| post((key, value))),
            Kind::Tag => instance.tags.iter().for_each(|tag| post((tag, ""))),
            Kind::Endpoint => {
                instance.endpoints.iter().for_each(|endpoint| post((&endpoint.name, "")));
            }
        }
    }
    postings.sort_unstable();
    postings.dedup();
    postings.into()
}

/// Whoever makes texts collide makes their own look-ups as slow as going through all instances.
fn hash(wanted: (&str, &str)) -> u64 {
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::model::Name;

    fn service(count: usize) -> Service {
        let instances = (0..count).map(|number| {
            let version = (number % 3).to_string();
            Arc::new(Instance { version, ..Instance::new("orders", &format!("{number:04}")) })
        });
        Service::new(Name::new("orders"), 1, instances)
    }

    fn ask(service: &Service, times: u8) {
        (0..times).for_each(|_| assert!(service.version("1").next().is_some()));
    }

    #[test]
    fn an_index_is_made_for_what_is_asked_often_and_for_nothing_else() {
        let service = service(SMALLEST);
        ask(&service, PATIENCE - 1);
        assert!(!service.indexes().is_made(Kind::Version));
        ask(&service, 1);
        assert!(service.indexes().is_made(Kind::Version));
        for kind in [Kind::Label, Kind::Tag, Kind::Endpoint] {
            assert!(!service.indexes().is_made(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_service_nobody_asks_or_a_small_one_pays_a_pointer() {
        let small = service(SMALLEST - 1);
        ask(&small, 10 * PATIENCE);
        assert!(small.indexes().0.get().is_none());
        assert_eq!(size_of::<Indexes>(), 2 * size_of::<usize>());
    }

    #[test]
    fn a_changed_service_starts_without_an_index() {
        let mut service = service(SMALLEST);
        ask(&service, PATIENCE);
        let before = service.clone();
        assert!(!before.indexes().is_made(Kind::Version));
        let late = Instance { version: "1".to_owned(), ..Instance::new("orders", "late") };
        service.put(Arc::new(late), 2);
        assert_eq!(service.version("1").count(), before.version("1").count() + 1);
        ask(&service, PATIENCE);
        assert!(service.take("late", 3));
        assert_eq!(service.version("1").count(), before.version("1").count());
    }
}
