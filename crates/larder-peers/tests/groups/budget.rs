//! Memory: main and hot under one budget.

use bytes::Bytes;
use larder_peers::{Expiry, GroupOptions, HotCopy, Mode};

use super::support::*;

fn small(max_bytes: u64) -> GroupOptions {
    GroupOptions { max_bytes, ..GroupOptions::default() }
}

async fn put(node: &Node, key: &str, value: usize) {
    let value = Bytes::from(vec![b'x'; value]);
    node.group.set(&key_of(key), value, Expiry::NEVER, HotCopy::Drop).await.unwrap();
}

#[tokio::test]
async fn replacing_a_value_counts_the_new_one_and_is_no_eviction() {
    let node = node(options(Mode::MailgunV2), small(1 << 20)).await;
    let bytes = || node.group.stats().main.bytes;
    put(&node, "key", 6).await;
    let one = bytes();
    put(&node, "yek", 7).await;
    assert_eq!(bytes(), 2 * one + 1);
    put(&node, "key", 2).await;
    assert_eq!(bytes(), 2 * one - 3, "shorter by four");
    put(&node, "key", 24).await;
    assert_eq!(bytes(), 2 * one + 19);
    let stats = node.group.stats();
    assert_eq!((stats.main.items, stats.main.evictions), (2, 0));
}

#[tokio::test]
async fn a_flood_evicts_and_stays_within_the_budget() {
    let budget = 64 << 10;
    let ring = ring_with(2, options(Mode::MailgunV2), small(budget)).await;
    ring[0].text("first").await;
    let (mine, theirs) = (keys_owned_by(&ring[0], "m"), keys_owned_by(&ring[1], "t"));
    for (mine, theirs) in mine.zip(theirs).take(2_000) {
        ring[0].text(&mine).await;
        ring[0].text(&theirs).await;
        let stats = ring[0].group.stats();
        let total = stats.main.bytes + stats.hot.bytes;
        assert!(total <= budget + budget / 50, "{total}: {stats:?}");
    }
    let stats = ring[0].group.stats();
    assert!(stats.main.evictions > 0 && stats.hot.evictions > 0, "{stats:?}");
    let eighth = stats.main.bytes / 8;
    assert!(stats.hot.bytes <= eighth + eighth / 4, "hot is an eighth: {stats:?}");
    assert!(stats.main.bytes > budget / 2, "and main has the rest: {stats:?}");
}

#[tokio::test]
async fn copies_may_take_all_that_the_rest_leaves() {
    let budget = 64 << 10;
    let ring = ring_with(2, options(Mode::MailgunV2), small(budget)).await;
    for key in keys_owned_by(&ring[1], "t").take(200) {
        ring[0].text(&key).await;
    }
    let stats = ring[0].group.stats();
    assert_eq!((stats.hot.items, stats.main.items), (200, 0));
    assert!(stats.hot.bytes > budget / 2);
}

#[tokio::test]
async fn a_value_larger_than_the_budget_is_handed_over_and_costs_nobody_its_place() {
    let node = node(options(Mode::MailgunV2), small(4 << 10)).await;
    for n in 0..10 {
        node.text(&format!("k{n}")).await;
    }
    for _ in 0..3 {
        let key = Bytes::from([&b"big"[..], &[b'k'; 3_000]].concat());
        assert_eq!(node.group.get(&key).await.unwrap().len(), 3_000);
    }
    let stats = node.group.stats();
    assert_eq!((stats.main.items, stats.main.evictions, stats.main.rejected), (10, 0, 3));
}

#[tokio::test]
async fn a_group_without_a_budget_keeps_nothing_and_still_tells_others() {
    let ring = ring_with(2, options(Mode::MailgunV2), small(0)).await;
    let key = key_owned_by(&ring[1], "k");
    for asked in 1..=3 {
        assert_eq!(ring[0].text(&key).await, format!("v:{key}"));
        assert_eq!(ring[1].source.loads(key.as_bytes()), asked);
    }
    put(&ring[0], &key, 3).await;
    ring[0].group.remove(&key_of(&key)).await.unwrap();
    let stats = ring[0].group.stats();
    assert_eq!((stats.main.items, stats.hot.items, ring[1].has(&key)), (0, 0, None));
}

#[tokio::test]
async fn many_callers_of_one_key_leave_one_entry() {
    let node = node(options(Mode::MailgunV2), small(1 << 20)).await;
    let asking: Vec<_> = (0..10_000)
        .map(|_| {
            let group = node.group.clone();
            tokio::spawn(async move { group.get(&key_of("slow")).await.map(drop) })
        })
        .collect();
    until(async || node.source.loads(b"slow") == 1).await;
    node.source.open(1);
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    let stats = node.group.stats();
    assert_eq!((stats.main.items, stats.gets, stats.loads_deduped), (1, 10_000, 1));
}
