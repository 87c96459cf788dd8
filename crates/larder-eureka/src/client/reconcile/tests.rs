use larder_registry::catalog::Catalog;
use larder_registry::model::Status;
use proptest::prelude::*;

use super::*;
use crate::delta::Window;
use crate::wire::{Application, Form, json};

fn instance(id: &str, status: Status, updated_at: u64, action: Action) -> Instance {
    let mut instance = Instance::new("A", id);
    instance.address.host = Some("h".to_owned());
    (instance.status, instance.updated_at, instance.action) = (status, updated_at, Some(action));
    instance
}

fn up(id: &str, updated_at: u64) -> Instance {
    instance(id, Status::Up, updated_at, Action::Added)
}

fn apps(hash: &str, instances: Vec<Instance>) -> Applications {
    let instances = instances.into_iter().map(Arc::new).collect();
    let apps = vec![Application { name: "A".to_owned(), instances }];
    Applications { version: 1, hash: hash.to_owned(), apps }
}

fn holding(instances: Vec<Instance>) -> Replica {
    let mut replica = Replica::new(10);
    replica.list(&apps("", instances)).expect("there is room");
    replica
}

fn ids(applied: &Applied) -> Vec<&str> {
    let mut ids: Vec<&str> = applied.changed.iter().map(|key| &*key.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_list_replaces_everything_and_tells_what_that_changed() {
    let mut replica = holding(vec![up("same", 1), up("other", 1), up("gone", 1)]);
    let down = instance("other", Status::Down, 2, Action::Modified);
    let applied = replica.list(&apps("DOWN_1_UP_2_", vec![up("same", 1), down, up("new", 2)]));
    let applied = applied.expect("there is room");
    assert_eq!(ids(&applied), ["gone", "new", "other"]);
    assert_eq!((applied.verdict, replica.len()), (Verdict::Agrees, 3));
}

#[test]
fn what_was_added_or_modified_is_put_in_and_what_was_deleted_taken_out() {
    let mut replica = holding(vec![up("1", 1), up("2", 1)]);
    let applied = replica.delta(&apps(
        "DOWN_1_UP_1_",
        vec![
            instance("1", Status::Down, 2, Action::Modified),
            instance("2", Status::Up, 2, Action::Deleted),
            up("3", 2),
        ],
    ));
    let applied = applied.expect("there is room");
    assert_eq!(ids(&applied), ["1", "2", "3"]);
    assert_eq!((applied.verdict, replica.hash().as_str()), (Verdict::Agrees, "DOWN_1_UP_1_"));
    assert!(replica.get(&Key::new("a", "2")).is_none(), "names are compared without case");
}

#[test]
fn an_entry_without_an_action_is_put_in() {
    let mut replica = holding(vec![]);
    let entry = Instance { action: None, ..up("1", 1) };
    let applied = replica.delta(&apps("UP_1_", vec![entry])).expect("there is room");
    assert_eq!((ids(&applied), &applied.verdict), (vec!["1"], &Verdict::Agrees));
}

#[test]
fn deltas_overlap_and_one_that_is_repeated_changes_nothing() {
    let mut replica = holding(vec![up("1", 1)]);
    let gone = instance("1", Status::Up, 2, Action::Deleted);
    let delta = apps("UP_1_", vec![up("2", 2), gone]);
    assert_eq!(ids(&replica.delta(&delta).expect("there is room")), ["1", "2"]);
    let again = replica.delta(&delta).expect("there is room");
    assert_eq!(again, Applied { changed: vec![], verdict: Verdict::Agrees });
}

#[test]
fn another_hash_says_that_something_was_missed() {
    let mut replica = holding(vec![up("1", 1)]);
    let applied = replica.delta(&apps("UP_3_", vec![up("2", 2)])).expect("there is room");
    let verdict = Verdict::Differs { held: "UP_2_".to_owned(), told: "UP_3_".to_owned() };
    assert_eq!(applied.verdict, verdict);
}

#[test]
fn the_hash_of_a_server_that_came_back_empty_is_empty() {
    let mut replica = holding(vec![up("1", 1)]);
    let nothing = Applications { version: 1, hash: String::new(), apps: vec![] };
    let delta = replica.delta(&nothing).expect("there is room");
    assert!(matches!(delta.verdict, Verdict::Differs { .. }), "{delta:?}");
    let list = replica.list(&nothing).expect("there is room");
    assert_eq!((ids(&list), &list.verdict), (vec!["1"], &Verdict::Agrees));
    assert!(replica.is_empty());
}

#[test]
fn an_entry_that_is_older_than_what_is_held_is_skipped() {
    let mut replica = holding(vec![instance("1", Status::Down, 5, Action::Modified)]);
    let late = apps("DOWN_1_", vec![up("1", 4)]);
    let applied = replica.delta(&late).expect("there is room");
    assert_eq!(applied, Applied { changed: vec![], verdict: Verdict::Agrees });
    let late = apps("DOWN_1_", vec![instance("1", Status::Up, 4, Action::Deleted)]);
    assert_eq!(replica.delta(&late).expect("there is room").changed, []);
}

#[test]
fn a_heartbeat_is_no_change_nor_are_the_times_that_another_server_keeps() {
    let leased = |lease| Instance { lease: Some(lease), ..up("1", 1) };
    let mut replica = holding(vec![leased(Lease::default())]);
    for lease in [
        Lease { renewed_at: 2, ..Lease::default() },
        Lease { registered_at: 2, up_since: 2, ..Lease::default() },
    ] {
        let applied = replica.list(&apps("UP_1_", vec![leased(lease)])).expect("there is room");
        assert_eq!(applied.changed, []);
    }
    let longer = Lease { duration_secs: 91, ..Lease::default() };
    let applied = replica.list(&apps("UP_1_", vec![leased(longer)])).expect("there is room");
    assert_eq!(ids(&applied), ["1"]);
}

#[test]
fn the_hash_counts_statuses_as_they_are_printed() {
    let all = Status::ALL.map(|status| instance(status.as_str(), status, 1, Action::Added));
    let replica = holding(all.to_vec());
    assert_eq!(replica.hash(), "DOWN_1_OUT_OF_SERVICE_1_STARTING_1_UNKNOWN_1_UP_1_");
}

#[test]
fn more_than_may_be_held_is_refused() {
    let many = |n: u64| (0..n).map(|n| up(&n.to_string(), 1)).collect::<Vec<_>>();
    let mut replica = holding(many(10));
    assert_eq!(replica.list(&apps("", many(11))), Err(TooMany { limit: 10 }));
    assert_eq!(replica.delta(&apps("", vec![up("more", 1)])), Err(TooMany { limit: 10 }));
    assert_eq!(replica.len(), 10);
}

/// What happens at a server, and when its client looks.
#[derive(Debug, Clone)]
enum Step {
    Register { app: u8, id: u8, status: Status },
    Leave { app: u8, id: u8 },
    Wait { millis: u64 },
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = proptest::sample::select(Status::ALL.to_vec());
    let step = prop_oneof![
        4 => (0..3_u8, 0..6_u8, status)
            .prop_map(|(app, id, status)| Step::Register { app, id, status }),
        2 => (0..3_u8, 0..6_u8).prop_map(|(app, id)| Step::Leave { app, id }),
        2 => (0..20_000_u64).prop_map(|millis| Step::Wait { millis }),
        2 => Just(Step::Poll),
    ];
    proptest::collection::vec(step, 0..120)
}

/// As the server does it: encoded and decoded, with what the delta of this crate tells.
fn delta_of(catalog: &Catalog, wall: u64) -> Applications {
    let since = wall.saturating_sub(180_000);
    let changes: Vec<_> =
        catalog.changes_at_or_after(since).into_iter().flatten().cloned().collect();
    let mut window = Window::default();
    for change in &changes {
        window.add(change);
    }
    let apps = changes.iter().filter(|change| window.tells(change)).map(|change| Application {
        name: change.instance.service.to_string(),
        instances: vec![change.instance.clone()],
    });
    sent(catalog, apps.collect())
}

fn list_of(catalog: &Catalog) -> Applications {
    let snapshot = catalog.snapshot();
    let apps = snapshot.services().map(|service| Application {
        name: service.name().to_string(),
        instances: service.instances().cloned().collect(),
    });
    sent(catalog, apps.collect())
}

fn sent(catalog: &Catalog, apps: Vec<Application>) -> Applications {
    let hash = apps_hash(&catalog.snapshot().counts());
    let text = Form::Json.list(&Applications { version: 1, hash, apps });
    json::decode_applications(&text).expect("it was just written")
}

fn state_of(catalog: &Catalog) -> Vec<(Key, Status, u64)> {
    let snapshot = catalog.snapshot();
    let mut state: Vec<_> =
        snapshot.instances().map(|held| (held.key(), held.status, held.updated_at)).collect();
    state.sort_unstable();
    state
}

fn state_held(replica: &Replica) -> Vec<(Key, Status, u64)> {
    let held = replica.held.iter();
    let mut state: Vec<_> =
        held.map(|(key, held)| (key.clone(), held.status, held.updated_at)).collect();
    state.sort_unstable();
    state
}

proptest! {
    /// However the two are interleaved: as long as the client looks while the server still remembers.
    #[test]
    fn a_client_that_applies_our_own_servers_deltas_always_reconciles(steps in steps()) {
        let mut catalog = Catalog::new(0, 10_000);
        let (mut wall, mut polled) = (1_000_000, 1_000_000);
        let mut replica = Replica::new(100);
        replica.list(&list_of(&catalog)).expect("there is room");
        for step in steps.into_iter().chain([Step::Poll]) {
            let mut is_poll = false;
            match step {
                Step::Register { app, id, status } => {
                    let mut instance = Instance::new(&format!("app{app}"), &id.to_string());
                    instance.address.host = Some("h".to_owned());
                    instance.status = status;
                    catalog.put(instance, Action::Added, wall);
                }
                Step::Leave { app, id } => {
                    let key = Key::new(&format!("app{app}"), &id.to_string());
                    catalog.remove(&key, wall);
                }
                Step::Wait { millis } => {
                    wall += millis;
                    is_poll = wall - polled > 150_000;
                }
                Step::Poll => is_poll = true,
            }
            if is_poll {
                let before = state_held(&replica);
                let applied = replica.delta(&delta_of(&catalog, wall)).expect("there is room");
                prop_assert_eq!(applied.verdict, Verdict::Agrees);
                let after = state_held(&replica);
                prop_assert_eq!(&after, &state_of(&catalog));
                for (key, ..) in before.iter().filter(|held| !after.contains(held)) {
                    let is_told = applied.changed.contains(key);
                    let is_renewal = after.iter().any(|(held, ..)| held == key);
                    prop_assert!(is_told || is_renewal, "{} left without a word", key);
                }
                polled = wall;
            }
        }
    }
}
