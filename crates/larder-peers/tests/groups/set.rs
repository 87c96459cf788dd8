//! A set: at the owner, and what becomes of everybody's copies.

use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use larder_peers::{
    CallError, Expiry, GroupOptions, HotCopy, Missed, Mode, PoolOptions, TellError, WriteError,
};

use super::support::*;

pub(super) async fn set(node: &Node, key: &str, value: &'static str) -> Result<(), WriteError> {
    node.group.set(&key_of(key), Bytes::from(value), Expiry::NEVER, HotCopy::Drop).await
}

#[tokio::test]
async fn everybody_reads_what_was_set_wherever_it_was_set() {
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let ring = ring(mode, 3).await;
        for setter in 0..3 {
            let value = ["one", "two", "three"][setter];
            set(&ring[setter], "k", value).await.unwrap();
            for node in &ring {
                assert_eq!(node.text("k").await, value, "{mode:?}: a copy is outdated");
            }
        }
        assert_eq!(loads_of(&ring, "k"), 0);
    }
}

#[tokio::test]
async fn who_sets_keeps_a_copy_if_it_says_so() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "k");
    set(&ring[0], &key, "one").await.unwrap();
    assert_eq!(ring[0].has(&key), None);
    let (asked, two) = (key_of(&key), Bytes::from("two"));
    ring[0].group.set(&asked, two, Expiry::NEVER, HotCopy::Keep).await.unwrap();
    assert_eq!(ring[0].has(&key).as_deref(), Some("two"));
    assert_eq!(ring[1].has(&key).as_deref(), Some("two"));
    let stats = ring[0].group.stats();
    assert_eq!((stats.hot.items, stats.main.items), (1, 0));
}

#[tokio::test]
async fn a_set_value_expires_when_it_was_said_to() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let ring = ring_with(2, pool, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "k");
    let expiry = Expiry::after(1_000_000, Duration::from_millis(1_100));
    ring[0].group.set(&key_of(&key), Bytes::from("x"), expiry, HotCopy::Keep).await.unwrap();
    hands.advance(Duration::from_millis(1_099));
    let got = ring[0].group.get(&key_of(&key)).await.unwrap();
    assert_eq!((&got[..], got.expiry()), (&b"x"[..], expiry));
    let later = Expiry::after(1_000_000, Duration::from_secs(60));
    ring[0].group.set(&key_of(&key), Bytes::from("y"), later, HotCopy::Keep).await.unwrap();
    hands.advance(Duration::from_secs(30));
    assert_eq!(ring[0].text(&key).await, "y", "the old time does not count any more");
    hands.advance(Duration::from_secs(30));
    assert_eq!(ring[0].text(&key).await, format!("v:{key}"));
}

#[tokio::test]
async fn an_owner_keeps_what_a_peer_sets_for_no_longer_than_its_own_ttl() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let with = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let ttl = Duration::from_secs(10);
    let owner = node(with.clone(), GroupOptions { ttl, ..GroupOptions::default() }).await;
    // Without a ttl of its own, as Go's peers are.
    let setter = node(with, GroupOptions::default()).await;
    for node in [&owner, &setter] {
        node.pool.set_peers([owner.url.clone(), setter.url.clone()]).unwrap();
    }
    let key = key_owned_by(&owner, "k");
    let day = Expiry::after(1_000_000, Duration::from_secs(86_400));
    for (expiry, now) in [(Expiry::NEVER, 1_000_000), (day, 1_010_000)] {
        let value = Bytes::from("set");
        setter.group.set(&key_of(&key), value, expiry, HotCopy::Drop).await.unwrap();
        let got = setter.group.get(&key_of(&key)).await.unwrap();
        assert_eq!((&got[..], got.expiry()), (&b"set"[..], Expiry::after(now, ttl)));
        hands.advance(ttl);
        assert_eq!(setter.text(&key).await, format!("v:{key}"));
    }
}

#[tokio::test]
async fn a_value_that_has_expired_already_is_not_kept_and_replaces_what_there_was() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "k");
    set(&ring[0], &key, "old").await.unwrap();
    for past in [Expiry::from_nanos(1), Expiry::from_nanos(-1), Expiry::from_nanos(i64::MIN)] {
        for node in &ring {
            let done = node.group.set(&key_of(&key), Bytes::from("x"), past, HotCopy::Keep).await;
            assert_eq!((done, node.has(&key)), (Ok(()), None));
        }
    }
    let far = Expiry::from_nanos(i64::MAX);
    ring[0].group.set(&key_of(&key), Bytes::from("far"), far, HotCopy::Keep).await.unwrap();
    let got = ring[1].group.get(&key_of(&key)).await.unwrap();
    assert_eq!((&got[..], got.expiry()), (&b"far"[..], far));
}

#[tokio::test]
async fn of_two_sets_at_once_each_counts_and_everybody_ends_with_the_same() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[2], "k");
    for round in 0..50 {
        let sets = (0..6).map(|n| {
            let (node, key) = (&ring[n % 2], key_of(&key));
            let value = Bytes::from(format!("{round}-{n}"));
            async move { node.group.set(&key, value, Expiry::NEVER, HotCopy::Keep).await }
        });
        for done in futures_util::future::join_all(sets).await {
            done.unwrap();
        }
        let owned = ring[2].has(&key).unwrap();
        assert!(owned.starts_with(&format!("{round}-")), "{owned}");
        assert_eq!(ring[0].text(&key).await, owned);
        assert_eq!(ring[1].text(&key).await, owned);
    }
    // One of each node would do where they are taken for one and the same.
    assert_eq!(ring[2].group.stats().server_requests.min(300), 300);
}

#[tokio::test]
async fn the_empty_key_is_not_set() {
    let node = node(options(Mode::MailgunV2), GroupOptions::default()).await;
    let error = set(&node, "", "x").await.unwrap_err();
    assert_eq!(error, WriteError::EmptyKey);
    assert_eq!(node.text("").await, "v:", "but it is loaded");
}

#[tokio::test]
async fn there_is_no_set_and_no_remove_where_go_servers_take_them_for_a_get() {
    let ring = ring(Mode::Golang, 2).await;
    for node in &ring {
        let refused = WriteError::NotInThisMode(Mode::Golang);
        assert_eq!(set(node, "k", "x").await, Err(refused.clone()));
        assert_eq!(node.group.remove(&key_of("k")).await, Err(refused));
    }
    assert_eq!(loads_of(&ring, "k"), 0, "nobody was asked");
}

#[tokio::test]
async fn a_set_whose_owner_is_away_is_an_error_and_changes_nothing_elsewhere() {
    let mut ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[2], "k");
    ring[1].text(&key).await;
    ring[2].goes_away().await;
    let error = set(&ring[0], &key, "x").await.unwrap_err();
    let WriteError::Owner(Missed { peer, error }) = error else { panic!("{error:?}") };
    assert_eq!(peer, ring[2].url);
    assert!(matches!(error, TellError::Call(CallError::Unreachable(_))), "{error:?}");
    assert_eq!(ring[1].has(&key), Some(format!("v:{key}")));
}

#[tokio::test]
async fn a_value_too_large_for_its_owner_is_refused_and_costs_nobody_its_place() {
    let small = GroupOptions { max_bytes: 8 << 10, ..GroupOptions::default() };
    let ring = ring_with(2, options(Mode::MailgunV2), small).await;
    let key = key_owned_by(&ring[1], "k");
    let others: Vec<_> = keys_owned_by(&ring[1], "o").take(10).collect();
    for other in &others {
        ring[1].text(other).await;
    }
    for node in &ring {
        let large = Bytes::from(vec![0; 100_000]);
        let done = node.group.set(&key_of(&key), large, Expiry::NEVER, HotCopy::Drop).await;
        assert_eq!(done, Err(WriteError::TooLarge));
    }
    assert!(others.iter().all(|other| ring[1].has(other).is_some()));
    assert_eq!(ring[1].group.stats().main.rejected, 2);
}

#[tokio::test]
async fn a_set_goes_on_when_its_caller_gives_up() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "k");
    let asked = key_of(&key);
    let set = ring[0].group.set(&asked, Bytes::from("x"), Expiry::NEVER, HotCopy::Drop);
    // Polled once, and dropped.
    assert!(futures_util::FutureExt::now_or_never(set).is_none());
    until(async || ring[1].has(&key).as_deref() == Some("x")).await;
}

#[tokio::test]
async fn a_value_of_just_the_most_that_there_may_be_is_set_and_read_everywhere() {
    for mode in [Mode::MailgunV2, Mode::Native] {
        let bounded = PoolOptions { max_value: 1_000_000, ..options(mode) };
        let ring = ring_with(2, bounded, GroupOptions::default()).await;
        let key = key_of(&key_owned_by(&ring[1], "k"));
        let large = Bytes::from(vec![7; 1_000_000]);
        ring[0].group.set(&key, large.clone(), Expiry::NEVER, HotCopy::Drop).await.unwrap();
        assert!(ring[0].group.get(&key).await.unwrap()[..] == large, "{mode:?}");
        assert_eq!(ring[0].source.all_loads(), 0, "{mode:?}: it was not loaded past its owner");
    }
}

#[tokio::test]
async fn a_value_that_no_peer_would_take_in_is_not_sent() {
    let small = PoolOptions { max_value: 1_000, ..options(Mode::MailgunV2) };
    let ring = ring_with(2, small, GroupOptions::default()).await;
    let key = key_of(&key_owned_by(&ring[1], "k"));
    for _ in 0..5 {
        let large = Bytes::from(vec![0; 2_000_000]);
        let done = ring[0].group.set(&key, large, Expiry::NEVER, HotCopy::Drop).await;
        assert_eq!(done, Err(WriteError::TooLarge));
    }
    assert_eq!(ring[0].pool.resting().len(), 0, "which is no fault of the peer's");
    assert_eq!(ring[1].group.stats().server_requests, 0);
}
