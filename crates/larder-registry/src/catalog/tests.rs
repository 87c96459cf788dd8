use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Name, Status};

fn instance(service: &str, id: &str, status: Status) -> Instance {
    Instance { status, ..Instance::new(service, id) }
}

fn catalog() -> Catalog {
    Catalog::new(100, 1_000)
}

#[test]
fn every_change_moves_the_revision_by_one() {
    let mut catalog = catalog();
    assert_eq!(catalog.put(Instance::new("a", "1"), Action::Added, 5).revision, 101);
    assert_eq!(catalog.put(Instance::new("a", "1"), Action::Modified, 6).revision, 102);
    assert_eq!(catalog.remove(&Key::new("a", "1"), 7).map(|change| change.revision), Some(103));
    assert!(catalog.remove(&Key::new("a", "1"), 8).is_none());
    assert_eq!(catalog.snapshot().revision(), 103);
}

#[test]
fn a_snapshot_does_not_see_later_changes() {
    let mut catalog = catalog();
    catalog.put(instance("a", "1", Status::Up), Action::Added, 0);
    let before = catalog.snapshot();
    catalog.put(instance("a", "2", Status::Down), Action::Added, 0);
    catalog.remove(&Key::new("a", "1"), 0);
    let ids = |snapshot: &Snapshot| snapshot.instances().map(|i| i.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&before), before.counts().of(Status::Up)), (vec!["1".to_owned()], 1));
    assert_eq!(ids(&catalog.snapshot()), ["2"]);
}

#[test]
fn a_service_leaves_with_its_last_instance() {
    let mut catalog = catalog();
    catalog.put(Instance::new("a", "1"), Action::Added, 0);
    catalog.remove(&Key::new("A", "1"), 0);
    assert!(catalog.snapshot().service(&Name::new("a")).is_none());
    assert!(catalog.is_empty());
}

#[test]
fn a_service_is_quoted_as_its_first_registrant_wrote_it() {
    let mut catalog = catalog();
    catalog.put(Instance::new("Orders", "1"), Action::Added, 0);
    catalog.put(Instance::new("ORDERS", "2"), Action::Added, 0);
    let snapshot = catalog.snapshot();
    let names: Vec<_> = snapshot.services().map(|service| service.name().as_str()).collect();
    assert_eq!(names, ["Orders"]);
}

#[test]
fn a_change_to_one_service_leaves_the_revision_of_another() {
    let mut catalog = catalog();
    catalog.put(Instance::new("a", "1"), Action::Added, 0);
    catalog.put(Instance::new("b", "1"), Action::Added, 0);
    let snapshot = catalog.snapshot();
    let revision = |name| snapshot.service(&Name::new(name)).map(|service| service.revision());
    assert_eq!((revision("a"), revision("b")), (Some(101), Some(102)));
}

#[test]
fn a_removed_instance_is_told_with_the_time_of_its_end() {
    let mut catalog = catalog();
    let lease = Some(crate::model::Lease::default());
    catalog.put(Instance { lease, ..Instance::new("a", "1") }, Action::Added, 0);
    let gone = catalog.remove(&Key::new("a", "1"), 77).expect("it was there").instance;
    assert_eq!(gone.action, Some(Action::Deleted));
    assert_eq!((gone.updated_at, gone.lease.map(|lease| lease.evicted_at)), (77, Some(77)));
}

/// Eureka's `testCircularQueue`: what is beyond the bound is forgotten, oldest first.
#[test]
fn the_log_tells_every_change_after_a_revision_or_that_it_cannot() {
    let mut catalog = Catalog::new(100, 3);
    for wall in 1..=5 {
        catalog.put(Instance::new("a", "1"), Action::Added, wall);
    }
    let since = |revision| {
        let changes = catalog.changes_since(revision)?;
        Some(changes.map(|change| change.revision).collect::<Vec<_>>())
    };
    assert_eq!(since(105), Some(vec![]));
    assert_eq!(since(103), Some(vec![104, 105]));
    assert_eq!(since(102), Some(vec![103, 104, 105]));
    assert_eq!(since(101), None, "the change to 102 is forgotten");
    assert_eq!(since(106), None, "a revision of another run is ahead");
}

#[test]
fn the_log_tells_every_change_since_a_time_or_that_it_cannot() {
    let mut catalog = Catalog::new(100, 3);
    for wall in [10, 20, 30, 40] {
        catalog.put(Instance::new("a", "1"), Action::Added, wall);
    }
    let since = |wall| {
        let changes = catalog.changes_at_or_after(wall)?;
        Some(changes.map(|change| change.wall).collect::<Vec<_>>())
    };
    assert_eq!(since(41), Some(vec![]));
    assert_eq!(since(30), Some(vec![30, 40]));
    assert_eq!(since(11), Some(vec![20, 30, 40]));
    assert_eq!(since(10), None);
}

proptest! {
    #[test]
    fn counts_and_listings_agree_with_a_plain_map(
        steps in prop::collection::vec((0_usize..4, 0_usize..4, 0_usize..7), 1..100)
    ) {
        let mut catalog = catalog();
        let mut reference = BTreeMap::new();
        for (service, id, what) in steps {
            let (service, id) = (["a", "B", "c", "D"][service], ["1", "2", "3", "4"][id]);
            if let Some(status) = Status::ALL.get(what) {
                catalog.put(instance(service, id, *status), Action::Added, 0);
                reference.insert((service.to_lowercase(), id), *status);
            } else {
                catalog.remove(&Key::new(service, id), 0);
                reference.remove(&(service.to_lowercase(), id));
            }
            let snapshot = catalog.snapshot();
            let listed: Vec<_> = snapshot.instances()
                .map(|i| ((i.service.folded().to_owned(), i.id.clone()), i.status)).collect();
            let expected: Vec<_> = reference.iter()
                .map(|((service, id), status)| ((service.clone(), (*id).to_owned()), *status)).collect();
            prop_assert_eq!(listed, expected);
            for status in Status::ALL {
                let expected = reference.values().filter(|s| **s == status).count();
                prop_assert_eq!(snapshot.counts().of(status), expected);
            }
        }
    }
}

#[test]
fn counts_heed_the_checks() {
    use crate::model::{Check, Health, Probe};
    let mut catalog = catalog();
    let mut failing = Instance::new("a", "1");
    failing.checks = vec![Check::new("c", Probe::Tcp("h:1".to_owned()))];
    catalog.put(failing.clone(), Action::Added, 0);
    let counts = |catalog: &Catalog| {
        let snapshot = catalog.snapshot();
        let of = |status| snapshot.counts().of(status);
        let checks = Health::ALL.map(|health| snapshot.check_counts().of(health));
        (of(Status::Up), of(Status::Down), checks)
    };
    assert_eq!(counts(&catalog), (0, 1, [0, 0, 1]));
    failing.checks[0].health = Health::Passing;
    catalog.put(failing, Action::Modified, 0);
    assert_eq!(counts(&catalog), (1, 0, [1, 0, 0]));
    catalog.remove(&Key::new("a", "1"), 0);
    assert_eq!(counts(&catalog), (0, 0, [0, 0, 0]));
}
