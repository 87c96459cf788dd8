//! What clients make of deltas with regions.

use std::collections::HashSet;
use std::time::Duration;

use larder_eureka::client::reconcile::{Replica, Verdict};
use larder_registry::OverrideChange;
use larder_registry::model::{Action, Key, Status};

use crate::node::{Node, PATIENCE, region};

/// `testGetAppsDeltaFromAllRemoteRegions`.
#[tokio::test]
async fn a_delta_tells_what_changed_here_and_there_with_the_hash_of_both() {
    let east = Node::start(vec![]).await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps?regions=east", &[]).await;
    here.add("local", "1").await;
    assert_eq!(here.list("apps/delta").await.hash, "UP_1_");
    east.add("remote", "2").await;
    here.until("apps/delta?regions=east", &["1", "2"]).await;
    for path in ["apps/delta", "apps/delta?regions=EAST"] {
        let delta = here.list(path).await;
        assert_eq!((delta.apps.len(), &*delta.hash), (2, "UP_2_"));
        assert!(delta.apps.iter().all(|app| app.instances.len() == 1));
    }
    assert_eq!(here.ids("apps/delta?regions=mars").await, ["1"]);
    here.stop().await;
    east.stop().await;
}

/// `testAppsHashCodeAfterRefresh`.
#[tokio::test]
async fn the_hash_counts_what_registers_here_beside_what_is_there() {
    let east = Node::start(vec![]).await;
    east.add("remote", "2").await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps?regions=east", &["2"]).await;
    assert_eq!(here.list("apps").await.hash, "UP_1_");
    here.add("local", "1").await;
    assert_eq!(here.list("apps").await.hash, "UP_2_");
    assert_eq!(here.list("apps/delta").await.hash, "UP_2_");
    here.stop().await;
    east.stop().await;
}

/// A client that fetches everything once and then deltas alone has what the server has, whatever comes, goes
/// and changes, here and in the regions.
#[tokio::test]
async fn a_client_that_applies_deltas_never_drifts() {
    let (east, west) = (Node::start(vec![]).await, Node::start(vec![]).await);
    let regions = vec![region("east", east.address), region("west", west.address)];
    let here = Node::start(regions).await;
    here.until("apps?regions=east,west", &[]).await;
    let mut client = Replica::new(1_000);
    client.list(&here.list("apps").await).expect("there is room");
    let mut version = 0;
    let nodes = [&here, &east, &west];
    for step in 0..60_usize {
        let node = nodes[step % 3];
        let id = format!("{}-{}", step % 3, step * 7 % 5);
        let key = Key::new("web", &id);
        if node.registry.snapshot().instance(&key).is_none() {
            node.add("web", &id).await;
        } else if step % 2 == 0 {
            node.remove("web", &id).await;
        } else {
            let to = Some(if step % 4 == 1 { Status::Down } else { Status::OutOfService });
            let change = OverrideChange { to, fallback: Status::Up, dirty_at: None };
            node.registry.set_override(&key, change).await.expect("it is there");
        }
        let delta = here.list("apps/delta").await;
        assert!(delta.version >= version, "{} after {version}", delta.version);
        version = delta.version;
        let applied = client.delta(&delta).expect("there is room");
        assert_eq!(applied.verdict, Verdict::Agrees, "step {step}");
    }
    // Everything that is under way arrives, and the client has it by deltas alone. One look may be too early: a
    // region that lags shows a state from some steps before, which may have the same ids.
    let mut expected = HashSet::new();
    for node in nodes {
        expected.extend(node.registry.snapshot().instances().map(|held| held.key()));
    }
    let arrives = async {
        loop {
            let delta = here.list("apps/delta").await;
            let applied = client.delta(&delta).expect("there is room");
            assert_eq!(applied.verdict, Verdict::Agrees);
            let has_all = expected.iter().all(|key| client.get(key).is_some());
            if has_all && client.len() == expected.len() {
                return delta;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let delta = tokio::time::timeout(PATIENCE, arrives).await.expect("it arrives");
    let mut told = delta.apps.iter().flat_map(|app| &app.instances);
    assert!(told.any(|held| held.action == Some(Action::Deleted)));
    for node in [here, east, west] {
        node.stop().await;
    }
}
