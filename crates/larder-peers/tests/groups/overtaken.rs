//! Loads that are overtaken: what is set or removed meanwhile counts, and the load does not.

use bytes::Bytes;
use larder_peers::{Expiry, Group, HotCopy, Mode};
use tokio::task::JoinHandle;

use super::set::set;
use super::support::*;

fn asking(group: &Group<Counting>, key: &str) -> JoinHandle<String> {
    let (group, key) = (group.clone(), key_of(key));
    tokio::spawn(
        async move { String::from_utf8_lossy(&group.get(&key).await.unwrap()).into_owned() },
    )
}

/// A load at the owner that has begun with the value `old`, asked for by everyone.
async fn loading(ring: &[Node], key: &'static str, owner: usize) -> Vec<JoinHandle<String>> {
    ring[owner].source.becomes(key, "old");
    let asking: Vec<_> = ring.iter().map(|node| asking(&node.group, key)).collect();
    until(async || ring[owner].source.loads(key.as_bytes()) == 1).await;
    // All of the others wait for it by now.
    let others = ring.len() as u64 - 1;
    until(async || ring[owner].group.stats().server_requests == others).await;
    ring[owner].source.becomes(key, "new");
    asking
}

fn leaked(key: String) -> &'static str {
    Box::leak(key.into_boxed_str())
}

#[tokio::test]
async fn a_removal_during_a_load_leaves_nothing_of_it_anywhere() {
    for remover in 0..3 {
        let ring = ring(Mode::MailgunV2, 3).await;
        let key = leaked(key_owned_by(&ring[1], "slow"));
        let asking = loading(&ring, key, 1).await;
        ring[remover].group.remove(&key_of(key)).await.unwrap();
        ring[1].source.open(10);
        for asked in asking {
            assert_eq!(asked.await.unwrap(), "old", "who asked before gets what was then");
        }
        assert!(ring.iter().all(|node| node.has(key) != Some("old".into())), "{remover}");
        for node in &ring {
            assert_eq!(node.text(key).await, "new", "{remover}");
        }
    }
}

#[tokio::test]
async fn who_asks_after_a_removal_does_not_join_a_load_from_before_it() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = leaked(key_owned_by(&ring[1], "slow"));
    let before = loading(&ring, key, 1).await;
    ring[0].group.remove(&key_of(key)).await.unwrap();
    let after = asking(&ring[0].group, key);
    ring[1].source.open(10);
    assert_eq!(after.await.unwrap(), "new");
    for asked in before {
        assert_eq!(asked.await.unwrap(), "old");
    }
}

#[tokio::test]
async fn a_set_during_a_load_counts_and_the_load_does_not() {
    for setter in 0..3 {
        let ring = ring(Mode::MailgunV2, 3).await;
        let key = leaked(key_owned_by(&ring[1], "slow"));
        let asking = loading(&ring, key, 1).await;
        set(&ring[setter], key, "set").await.unwrap();
        assert_eq!(ring[1].text(key).await, "set", "at once");
        ring[1].source.open(10);
        for asked in asking {
            asked.await.unwrap();
        }
        for node in &ring {
            assert_eq!(node.text(key).await, "set", "{setter}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_was_kept_by_a_set_falls_to_a_removal_from_elsewhere() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[2], "k");
    for _ in 0..100 {
        let set = key_of(&key);
        let keep = ring[0].group.set(&set, Bytes::from("set"), Expiry::NEVER, HotCopy::Keep);
        let (one, other) = tokio::join!(keep, async { ring[1].group.remove(&key_of(&key)).await });
        one.unwrap();
        other.unwrap();
        // Whatever came last at the owner, a copy is of that.
        if let Some(copy) = ring[0].has(&key) {
            assert_eq!(ring[2].has(&key), Some(copy));
        }
    }
}
