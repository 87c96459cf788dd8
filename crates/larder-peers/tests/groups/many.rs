//! Many keys at once.

use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use larder_peers::{Error, GroupOptions, Mode, PoolOptions};

use super::set::set;
use super::support::*;

fn keys(names: impl IntoIterator<Item = String>) -> Vec<Bytes> {
    names.into_iter().map(Bytes::from).collect()
}

async fn texts(node: &Node, keys: &[Bytes]) -> Vec<String> {
    let got = node.group.get_many(keys).await.into_iter();
    let text = |got: &larder_peers::Got<Bytes>| String::from_utf8_lossy(got).into_owned();
    got.map(|got| got.as_ref().map_or_else(ToString::to_string, text)).collect()
}

fn expected(keys: &[Bytes]) -> Vec<String> {
    keys.iter().map(|key| format!("v:{}", String::from_utf8_lossy(key))).collect()
}

#[tokio::test]
async fn a_hundred_keys_are_one_request_to_each_owner_and_one_load_each() {
    let ring = ring(Mode::Native, 4).await;
    let keys = keys((0..100).map(|n| format!("user:{n}")));
    assert_eq!(texts(&ring[0], &keys).await, expected(&keys));
    let stats = ring[0].group.stats();
    assert_eq!((stats.batches, stats.gets, stats.loads, stats.peer_errors), (3, 100, 100, 0));
    assert_eq!(stats.peer_loads + stats.local_loads, 100);
    let loads: usize = ring.iter().map(|node| node.source.all_loads()).sum();
    assert_eq!(loads, 100);
    assert_eq!(texts(&ring[0], &keys).await, expected(&keys));
    let stats = ring[0].group.stats();
    assert_eq!((stats.batches, stats.cache_hits), (3, 100), "copies are kept");
    for key in &keys {
        assert_eq!(ring[0].group.get(key).await.unwrap().len(), key.len() + 2);
    }
}

#[tokio::test]
async fn a_batch_is_far_cheaper_than_as_many_gets() {
    let ring = ring(Mode::Native, 2).await;
    let of = |prefix| keys(keys_owned_by(&ring[1], prefix).take(1_000));
    let (together, apart) = (of("t"), of("a"));
    // The owner has them all.
    ring[1].group.get_many(&together).await;
    ring[1].group.get_many(&apart).await;
    let clock = Clock::running();
    let began = clock.uptime();
    assert_eq!(texts(&ring[0], &together).await, expected(&together));
    let batch = clock.uptime().saturating_sub(began);
    let began = clock.uptime();
    for key in &apart {
        ring[0].group.get(key).await.unwrap();
    }
    let gets = clock.uptime().saturating_sub(began);
    println!("1,000 keys: {batch:?} by one request, {gets:?} one by one");
    assert!(batch * 3 < gets, "{batch:?} by one request, {gets:?} one by one");
}

#[tokio::test]
async fn in_a_ring_with_go_peers_keys_are_asked_for_one_by_one() {
    for mode in [Mode::MailgunV2, Mode::Golang, Mode::GroupcacheGoV3] {
        let ring = ring(mode, 3).await;
        let keys = keys((0..40).map(|n| format!("10.3.{n}.{n}")));
        assert_eq!(texts(&ring[0], &keys).await, expected(&keys), "{mode:?}");
        assert_eq!(ring[0].group.stats().batches, 0);
        let loads: usize = ring.iter().map(|node| node.source.all_loads()).sum();
        assert_eq!(loads, 40, "{mode:?}");
    }
}

#[tokio::test]
async fn each_key_has_its_own_outcome() {
    let ring = ring(Mode::Native, 3).await;
    let asked = keys(["nf", "one", "err", "two", "panic", "", "one"].map(str::to_owned));
    for node in &ring {
        let got = node.group.get_many(&asked).await;
        assert!(matches!(got[0], Err(Error::NotFound { .. })), "{:?}", got[0]);
        assert_eq!(&got[1].as_ref().unwrap()[..], b"v:one");
        assert_eq!(got[2].as_ref().unwrap_err().to_string(), "plain err");
        assert_eq!(&got[3].as_ref().unwrap()[..], b"v:two");
        assert!(got[4].is_err(), "tried here as well");
        assert_eq!(&got[5].as_ref().unwrap()[..], b"v:");
        assert_eq!(&got[6].as_ref().unwrap()[..], b"v:one");
    }
    assert!(ring[0].group.get_many(&[]).await.is_empty());
}

#[tokio::test]
async fn an_owner_that_is_away_costs_loads_and_no_answers() {
    let mut ring = ring(Mode::Native, 3).await;
    ring[1].goes_away().await;
    let keys = keys((0..60).map(|n| format!("user:{n}")));
    assert_eq!(texts(&ring[0], &keys).await, expected(&keys));
    let owned = |key: &&Bytes| ring[0].pool.owner(key) == ring[1].url;
    let lost = keys.iter().filter(owned).count() as u64;
    let stats = ring[0].group.stats();
    assert_eq!((stats.peer_errors, stats.gets), (lost, 60));
}

#[tokio::test]
async fn more_keys_and_more_bytes_than_a_request_holds_are_divided() {
    let small = PoolOptions { max_value: 60_000, ..options(Mode::Native) };
    let ring = ring_with(2, small, GroupOptions::default()).await;
    let many = keys(keys_owned_by(&ring[1], "k").take(2_500));
    assert_eq!(texts(&ring[0], &many).await, expected(&many));
    assert_eq!(ring[0].group.stats().batches, 3);
    // Three thousand bytes each: twenty of them fit into an answer, the rest is asked for alone.
    let big = keys(keys_owned_by(&ring[1], "big").take(50));
    let got = ring[0].group.get_many(&big).await;
    assert!(got.iter().all(|got| got.as_ref().unwrap().len() == 3_000));
    assert_eq!((ring[0].source.all_loads(), ring[1].source.all_loads()), (0, 2_550));
}

#[tokio::test]
async fn an_answer_whose_values_are_just_the_most_that_there_may_be_is_read() {
    let bounded = PoolOptions { max_value: 60_000, ..options(Mode::Native) };
    let ring = ring_with(2, bounded, GroupOptions::default()).await;
    let big = keys(keys_owned_by(&ring[1], "big").take(20));
    let got = ring[0].group.get_many(&big).await;
    assert!(got.iter().all(|got| got.as_ref().unwrap().len() == 3_000));
    assert_eq!(ring[1].group.stats().server_requests, 20, "each was asked for once");
}

#[tokio::test]
async fn what_is_removed_or_set_while_it_is_asked_for_is_not_kept() {
    for is_set in [false, true] {
        let ring = ring(Mode::Native, 3).await;
        let key: &'static str = Box::leak(key_owned_by(&ring[1], "slow").into_boxed_str());
        ring[1].source.becomes(key, "old");
        let (group, asked) = (ring[0].group.clone(), vec![key_of(key)]);
        let asking = tokio::spawn(async move { group.get_many(&asked).await.remove(0) });
        until(async || loads_of(&ring, key) == 1).await;
        ring[1].source.becomes(key, "new");
        if is_set {
            set(&ring[2], key, "new").await.unwrap();
        } else {
            ring[2].group.remove(&key_of(key)).await.unwrap();
        }
        ring[1].source.open(10);
        assert_eq!(&asking.await.unwrap().unwrap()[..], b"old", "as it was when it was asked for");
        assert_eq!(ring[0].has(key), None);
        assert_eq!(ring[0].text(key).await, "new");
    }
}

#[tokio::test]
async fn a_copy_from_a_batch_expires_with_its_owners_value() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::Native) };
    let ring = ring_with(2, pool, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].source.lasts(Duration::from_secs(60));
    let got = ring[0].group.get_many(&[key_of(&key)]).await.remove(0).unwrap();
    assert_eq!(got.expiry().nanos(), 1_060_000_000_000);
    hands.advance(Duration::from_millis(59_999));
    assert!(ring[0].has(&key).is_some());
    hands.advance(Duration::from_millis(1));
    assert_eq!(ring[0].has(&key), None);
}
