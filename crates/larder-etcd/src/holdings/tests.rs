use std::collections::BTreeMap;

use larder_registry::model::{Key, Status};
use proptest::prelude::*;

use super::*;
use crate::keys::{Keys, Place};

/// A key of `place` that speaks of `service` and `id`, written at `revision`.
fn stored(place: Place, service: &str, id: &str, revision: i64) -> Stored {
    let mut instance = Instance::new(service, id);
    instance.dirty_at = revision.unsigned_abs();
    instance.status = if place == Place::Open { Status::Up } else { Status::Down };
    let key = Keys::new("/r").of(place, service, id).expect("it has a key");
    Stored { key, created: revision, revision, lease: 0, instance: Arc::new(instance) }
}

fn put(stored: Stored) -> Change {
    Change { group: group_of(&stored.key), key: stored.key.clone(), now: Some(stored) }
}

fn delete(key: &str) -> Change {
    Change { group: group_of(key), key: key.to_owned(), now: None }
}

fn group_of(key: &str) -> String {
    group(&Keys::new("/r").parse(key.as_bytes()).expect("it is a key"))
}

/// `+` or `-`, the instance and the revision that it is of.
fn said(told: &[Told]) -> Vec<String> {
    let line =
        |sign, instance: &Instance| format!("{sign}{}@{}", instance.key(), instance.dirty_at);
    let lines = told.iter().map(|told| match told {
        Told::Apply(instance) => line('+', instance),
        Told::Delete(instance) => line('-', instance),
    });
    lines.collect()
}

fn apply(holdings: &mut Holdings, changes: Vec<Change>) -> Vec<String> {
    said(&holdings.apply(changes).expect("there is room"))
}

#[test]
fn a_key_comes_changes_and_goes() {
    let mut holdings = Holdings::new(10);
    let open = |revision| put(stored(Place::Open, "web", "1", revision));
    assert_eq!(apply(&mut holdings, vec![open(1)]), ["+web/1@1"]);
    assert_eq!(apply(&mut holdings, vec![open(2)]), ["+web/1@2"]);
    assert_eq!(apply(&mut holdings, vec![delete("/r/web/1")]), ["-web/1@2"]);
    assert_eq!(apply(&mut holdings, vec![delete("/r/web/1")]), [""; 0], "only what was there");
}

#[test]
fn a_put_of_the_same_is_no_news() {
    let mut holdings = Holdings::new(10);
    let once = stored(Place::Open, "web", "1", 1);
    let again = Stored { revision: 2, ..once.clone() };
    apply(&mut holdings, vec![put(once)]);
    assert_eq!(apply(&mut holdings, vec![put(again)]), [""; 0]);
}

#[test]
fn a_move_between_places_is_one_change() {
    let mut holdings = Holdings::new(10);
    apply(&mut holdings, vec![put(stored(Place::Open, "web", "1", 1))]);
    let aside = put(stored(Place::Aside, "web", "1", 2));
    assert_eq!(apply(&mut holdings, vec![delete("/r/web/1"), aside]), ["+web/1@2"]);
}

#[test]
fn two_spellings_are_one_instance_until_both_are_gone() {
    let mut holdings = Holdings::new(10);
    assert_eq!(apply(&mut holdings, vec![put(stored(Place::Open, "web", "1", 1))]), ["+web/1@1"]);
    assert_eq!(apply(&mut holdings, vec![put(stored(Place::Open, "WEB", "1", 2))]), ["+WEB/1@2"]);
    assert_eq!(apply(&mut holdings, vec![delete("/r/WEB/1")]), ["+web/1@1"]);
    assert_eq!(apply(&mut holdings, vec![delete("/r/web/1")]), ["-web/1@1"]);
}

#[test]
fn an_id_that_takes_anothers_key_ends_the_other() {
    let mut holdings = Holdings::new(10);
    apply(&mut holdings, vec![put(stored(Place::Open, "web", "a/1", 1))]);
    let dashed = put(stored(Place::Open, "web", "a-1", 2));
    assert_eq!(apply(&mut holdings, vec![dashed]), ["-web/a/1@1", "+web/a-1@2"]);
    // Rubbish over an instance is the instance's end.
    assert_eq!(apply(&mut holdings, vec![delete("/r/web/a-1")]), ["-web/a-1@2"]);
}

#[test]
fn no_more_keys_are_held_than_may_be() {
    let mut holdings = Holdings::new(1);
    apply(&mut holdings, vec![put(stored(Place::Open, "web", "1", 1))]);
    let second = vec![put(stored(Place::Open, "web", "2", 2))];
    assert_eq!(holdings.apply(second), Err(TooMany));
}

proptest! {
    /// Whoever does what is told holds what a fresh look at the keys shows.
    #[test]
    fn what_is_told_leads_to_what_is_there(
        steps in prop::collection::vec(
            prop::collection::vec((any::<bool>(), 0..3_usize, 0..3_usize, any::<bool>()), 1..4),
            0..40,
        ),
    ) {
        let (services, ids) = (["a/b", "A-B", "a-b"], ["x/1", "x-1", "y"]);
        let mut holdings = Holdings::new(1_000);
        let mut keys: BTreeMap<String, Stored> = BTreeMap::new();
        let mut seen: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
        for (revision, step) in (1..).zip(steps) {
            let mut changes = Vec::new();
            for (is_put, service, id, is_open) in step {
                let place = if is_open { Place::Open } else { Place::Aside };
                let stored = stored(place, services[service], ids[id], revision);
                if is_put {
                    keys.insert(stored.key.clone(), stored.clone());
                    changes.push(put(stored));
                } else {
                    keys.remove(&stored.key);
                    changes.push(delete(&stored.key));
                }
            }
            for told in holdings.apply(changes).expect("there is room") {
                match told {
                    Told::Apply(instance) => { seen.insert(instance.key(), instance); }
                    Told::Delete(instance) => {
                        prop_assert!(seen.remove(&instance.key()).is_some(), "only what was there");
                    }
                }
            }
            let there: BTreeMap<Key, Arc<Instance>> = shown(keys.values())
                .into_iter()
                .map(|stored| (stored.instance.key(), stored.instance.clone()))
                .collect();
            prop_assert_eq!(seen.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
            let held: BTreeMap<Key, Arc<Instance>> =
                holdings.instances().map(|instance| (instance.key(), instance.clone())).collect();
            prop_assert_eq!(held.len(), there.len());
        }
    }
}
