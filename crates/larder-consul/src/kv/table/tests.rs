use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::blocking::is_due;

const SMALL: Limits = Limits {
    max_entries: 3,
    max_bytes: 40,
    max_key: 4,
    max_value: 20,
    max_tombstones: 2,
    max_tombstone_bytes: 100,
    max_waiting: 0,
};

fn table() -> Table {
    Table::new(Limits::default(), 100)
}

fn put(table: &mut Table, key: &str, value: &str) -> bool {
    table.put(key, value.as_bytes(), Put::default()).expect("there is room").is_done
}

fn cas(table: &mut Table, key: &str, value: &str, cas: u64) -> bool {
    table
        .put(key, value.as_bytes(), Put { flags: 0, cas: Some(cas) })
        .expect("there is room")
        .is_done
}

fn keys(table: &Table, prefix: &str, separator: &str) -> Vec<String> {
    table.keys(prefix, separator).value.into_iter().map(String::from).collect()
}

/// What Consul 1.20.6 answers to the same requests, with its indexes moved to ours.
#[test]
fn indexes_are_consuls() {
    let mut table = table();
    assert_eq!(table.get("a").index, 100);
    assert_eq!(table.list("p").index, 100);
    assert!(put(&mut table, "a", "1"));
    assert!(put(&mut table, "p/b", "2"));
    assert_eq!(
        (table.get("a").index, table.get("p/b").index, table.get("zz").index),
        (101, 102, 102)
    );
    assert_eq!(
        (table.list("p").index, table.list("q").index, table.keys("", "").index),
        (102, 102, 102)
    );

    // A put that changes nothing.
    assert!(put(&mut table, "a", "1"));
    assert_eq!((table.get("a").index, table.get("zz").index), (101, 102));
    // Flags are a change.
    assert!(table.put("a", b"1", Put { flags: 7, cas: None }).expect("there is room").is_done);
    let entry = table.get("a").value.expect("it is there");
    assert_eq!((entry.flags, entry.create_index, entry.modify_index), (7, 101, 103));

    table.delete("p/b", Delete::Key);
    assert_eq!(
        (table.list("p").index, table.get("p/b").index, table.get("a").index),
        (104, 104, 103)
    );
    assert_eq!(table.list("").index, 104);
    for delete in [Delete::Key, Delete::Prefix, Delete::Cas(0), Delete::Cas(5)] {
        assert_eq!(table.delete("nope", delete), Done { is_done: true, changed: vec![] });
    }
    assert_eq!(table.get("zz").index, 104);
}

#[test]
fn a_condition_is_the_index_of_the_last_change() {
    let mut table = table();
    assert!(!cas(&mut table, "a", "1", 7));
    assert!(cas(&mut table, "a", "1", 0));
    assert!(!cas(&mut table, "a", "2", 0));
    assert!(!cas(&mut table, "a", "1", 100));
    assert!(cas(&mut table, "a", "2", 101));
    assert!(!cas(&mut table, "a", "3", 101));
    assert_eq!((table.get("a").index, table.index()), (102, 102));

    assert!(!table.delete("a", Delete::Cas(0)).is_done);
    assert!(!table.delete("a", Delete::Cas(101)).is_done);
    assert!(table.delete("a", Delete::Cas(102)).is_done);
    assert_eq!((table.get("a").value, table.index()), (None, 103));
}

#[test]
fn keys_are_cut_behind_the_separator_and_told_once() {
    let mut table = table();
    for key in ["x/1", "x/2/3", "x/2/4", "xy", "x/", "a"] {
        put(&mut table, key, "v");
    }
    assert_eq!(keys(&table, "x", ""), ["x/", "x/1", "x/2/3", "x/2/4", "xy"]);
    assert_eq!(keys(&table, "x", "/"), ["x/", "xy"]);
    assert_eq!(keys(&table, "x/", "/"), ["x/", "x/1", "x/2/"]);
    assert_eq!(keys(&table, "", "/"), ["a", "x/", "xy"]);
    assert_eq!(keys(&table, "x/", "2"), ["x/", "x/1", "x/2"]);
    assert_eq!(keys(&table, "", "2/"), ["a", "x/", "x/1", "x/2/", "xy"]);
}

#[test]
fn all_that_begin_alike_are_deleted_at_one_index() {
    let mut table = table();
    for key in ["x/1", "x/2", "xy", "y"] {
        put(&mut table, key, "v");
    }
    let done = table.delete("x", Delete::Prefix);
    assert_eq!(done.changed.iter().map(|key| &**key).collect::<Vec<_>>(), ["x/1", "x/2", "xy"]);
    assert_eq!((table.index(), table.list("x/1").index, table.list("y").index), (105, 105, 104));
    assert_eq!((table.len(), table.bytes()), (1, 2));
}

#[test]
fn what_is_too_much_is_refused_and_changes_nothing() {
    let mut table = Table::new(SMALL, 100);
    let mut refused =
        |key: &str, value: &str| table.put(key, value.as_bytes(), Put::default()).err();
    assert_eq!(refused("", "v"), Some(Refused::NoKey));
    assert_eq!(refused("abcde", "v"), Some(Refused::KeyTooLong { max: 4 }));
    let long = "v".repeat(21);
    assert_eq!(refused("a", &long), Some(Refused::ValueTooLong { length: 21, max: 20 }));
    assert_eq!(refused("a", &long[..20]), None);
    assert_eq!(refused("b", &long[..19]), Some(Refused::TooLarge { max: 40 }));
    assert_eq!(refused("b", &long[..18]), None);
    assert_eq!(refused("c", ""), Some(Refused::TooLarge { max: 40 }));
    assert_eq!(refused("a", ""), None);
    assert_eq!(refused("c", ""), None);
    assert_eq!(refused("d", ""), Some(Refused::TooManyKeys { max: 3 }));
    assert_eq!(refused("a", "w"), None);
    assert_eq!((table.index(), table.len(), table.bytes()), (105, 3, 22));
}

#[test]
fn statuses_say_what_to_do() {
    assert_eq!(Refused::ValueTooLong { length: 2, max: 1 }.status(), 413);
    assert_eq!(Refused::TooLarge { max: 1 }.status(), 507);
    assert_eq!(Refused::TooManyWaiting { max: 1 }.status(), 429);
    let sentence = Refused::ValueTooLong { length: 524_289, max: 524_288 }.to_string();
    assert_eq!(sentence, "Request body(524289 bytes) too large, max size: 524288 bytes.");
}

#[test]
fn a_forgotten_deletion_is_still_heard_of() {
    let mut table = Table::new(SMALL, 100);
    for key in ["a", "b", "c"] {
        put(&mut table, key, "");
    }
    for key in ["a", "b", "c"] {
        table.delete(key, Delete::Key);
    }
    // Of three, two are remembered.
    assert_eq!((table.graves.len(), table.graves.floor()), (2, 104));
    let a = Scope::Prefix("a".into());
    assert!(is_due(101, table.own_index(&a), table.index()));
    assert_eq!(table.list("a").index, 106);
    assert!(!is_due(106, table.own_index(&a), table.index()));
    // And one that is back has no grave.
    put(&mut table, "b", "");
    assert_eq!((table.graves.len(), table.own_index(&Scope::Key("b".into()))), (1, 107));
}

#[test]
fn tombstones_are_bounded_by_their_bytes_as_well() {
    let mut table =
        Table::new(Limits { max_tombstones: 100, max_tombstone_bytes: 5, ..SMALL }, 100);
    for key in ["aaa", "bbb"] {
        put(&mut table, key, "");
        table.delete(key, Delete::Key);
    }
    assert_eq!((table.graves.len(), table.graves.floor()), (1, 102));
}

#[test]
fn an_index_of_a_former_run_is_answered_at_once() {
    let table = table();
    for scope in [Scope::Key("a".into()), Scope::Prefix("a".into())] {
        let own = table.own_index(&scope);
        assert!(is_due(99, own, table.index()) && is_due(101, own, table.index()));
        assert!(!is_due(100, own, table.index()));
    }
    assert_eq!(Table::new(SMALL, 0).get("a").index, 1);
}

#[derive(Debug, Clone)]
enum Write {
    Put(String, Vec<u8>, Put),
    Delete(String, Delete),
}

fn key() -> impl Strategy<Value = String> {
    "[ab/]{1,3}"
}

/// A condition that often holds: how many changes ago the last one may have been.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let cas = proptest::option::weighted(0.2, prop_oneof![Just(0), 101_u64..110]);
    let put = (key(), "[xy]{0,2}", 0_u64..2, cas);
    let put = put.prop_map(|(key, value, flags, cas)| {
        Write::Put(key, value.into_bytes(), Put { flags, cas })
    });
    let delete =
        prop_oneof![Just(Delete::Key), (0_u64..110).prop_map(Delete::Cas), Just(Delete::Prefix)];
    let delete = ("[ab/]{0,2}", delete).prop_map(|(key, delete)| Write::Delete(key, delete));
    proptest::collection::vec(prop_oneof![3 => put, 2 => delete], 0..40)
}

/// A store that never forgets: what is there, and when each key was last touched.
#[derive(Debug, Default)]
struct Reference {
    entries: BTreeMap<String, (Vec<u8>, u64, u64, u64)>,
    touched: BTreeMap<String, u64>,
    index: u64,
}

impl Reference {
    fn apply(&mut self, write: &Write) -> (bool, BTreeSet<String>) {
        let version = |key: &str| self.entries.get(key).map(|entry| entry.3);
        let changed: Vec<String> = match write {
            Write::Put(key, value, put) => {
                if put.cas.is_some_and(|cas| version(key).unwrap_or(0) != cas) {
                    return (false, BTreeSet::new());
                }
                let same =
                    |entry: &(Vec<u8>, u64, u64, u64)| (&entry.0, entry.1) == (value, put.flags);
                if self.entries.get(key).is_some_and(same) { vec![] } else { vec![key.clone()] }
            }
            Write::Delete(key, Delete::Cas(cas))
                if version(key).is_some_and(|version| version != *cas) =>
            {
                return (false, BTreeSet::new());
            }
            Write::Delete(prefix, Delete::Prefix) => {
                self.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
            }
            Write::Delete(key, _) => {
                self.entries.keys().filter(|own| *own == key).cloned().collect()
            }
        };
        self.index += u64::from(!changed.is_empty());
        for key in &changed {
            self.touched.insert(key.clone(), self.index);
            match write {
                Write::Put(_, value, put) => {
                    let created = self.entries.get(key).map_or(self.index, |entry| entry.2);
                    self.entries
                        .insert(key.clone(), (value.clone(), put.flags, created, self.index));
                }
                Write::Delete(..) => drop(self.entries.remove(key)),
            }
        }
        (true, changed.into_iter().collect())
    }

    fn told(&self, scope: &Scope) -> u64 {
        match scope {
            Scope::Key(key) => self.entries.get(&**key).map_or(self.index, |entry| entry.3),
            Scope::Prefix(prefix) => {
                let touched = self.touched.iter().filter(|(key, _)| key.starts_with(&**prefix));
                touched.map(|(_, index)| *index).max().unwrap_or(self.index)
            }
        }
    }
}

fn told(table: &Table, scope: &Scope) -> u64 {
    match scope {
        Scope::Key(key) => table.get(key).index,
        Scope::Prefix(prefix) => {
            let index = table.list(prefix).index;
            assert_eq!(table.keys(prefix, "/").index, index);
            index
        }
    }
}

fn is_of(scope: &Scope, key: &str) -> bool {
    match scope {
        Scope::Key(own) => **own == *key,
        Scope::Prefix(prefix) => key.starts_with(&**prefix),
    }
}

proptest! {
    /// With tombstones for everything, indexes are those of the reference; with few, they are never below.
    /// Either way they never go backwards, and whoever waits hears of its changes.
    #[test]
    fn it_is_a_store_that_never_forgets(writes in writes(), max_tombstones in prop_oneof![Just(1_000_usize), 0_usize..4]) {
        let limits = Limits { max_tombstones, ..Limits::default() };
        let mut table = Table::new(limits, 100);
        let mut reference = Reference { index: 100, ..Reference::default() };
        let scopes: Vec<Scope> = ["", "a", "b", "/", "ab", "a/", "a/b", "zz"]
            .iter()
            .flat_map(|name| [Scope::Key((*name).into()), Scope::Prefix((*name).into())])
            .collect();
        for write in &writes {
            let before: Vec<u64> = scopes.iter().map(|scope| told(&table, scope)).collect();
            let floor = table.graves.floor();
            let done = match write {
                Write::Put(key, value, put) => table.put(key, value, *put).unwrap(),
                Write::Delete(key, delete) => table.delete(key, *delete),
            };
            let (is_done, changed) = reference.apply(write);
            prop_assert_eq!(done.is_done, is_done);
            let keys: BTreeSet<_> = done.changed.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&keys, &changed);
            prop_assert_eq!(table.index(), reference.index);
            prop_assert!(table.graves.len() <= max_tombstones);

            for (scope, before) in scopes.iter().zip(before) {
                let now = told(&table, scope);
                prop_assert!(now >= before, "{:?} went from {} to {}", scope, before, now);
                prop_assert!(now >= reference.told(scope) && now <= table.index());
                if max_tombstones == 1_000 {
                    prop_assert_eq!(now, reference.told(scope));
                }
                let is_woken = is_due(before, table.own_index(scope), table.index());
                if changed.iter().any(|key| is_of(scope, key)) {
                    prop_assert!(is_woken, "{:?} slept through it", scope);
                } else if table.graves.floor() == floor {
                    prop_assert!(!is_woken || before < floor, "{:?} was woken for nothing", scope);
                }
            }
        }
        let entries = table.list("").value;
        let entries = entries.into_iter().map(|entry| {
            let Entry { key, value, flags, create_index, modify_index } = entry;
            (key.to_string(), (value.to_vec(), flags, create_index, modify_index))
        });
        prop_assert_eq!(table.bytes(), reference.entries.iter().map(|(key, entry)| key.len() + entry.0.len()).sum::<usize>());
        prop_assert_eq!(entries.collect::<BTreeMap<_, _>>(), reference.entries);
    }
}
