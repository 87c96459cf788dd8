//! Peers that disagree: about owners, about groups, about the time.

use std::time::Duration;

use larder_cache::Clock;
use larder_peers::{GroupOptions, Mode, Peer, PoolOptions, RemoteAddr};
use tower::Service;

use super::support::*;

/// Has the two take each other for the owner of a key; says which.
fn cross(one: &Node, other: &Node) -> String {
    let (a, b) = (one.url.clone(), other.url.clone());
    // As each sees it, the other one has a name that owns the key.
    one.pool.set_peers([Peer::new(&a), Peer::new("http://x:1").at(&b)]).unwrap();
    other.pool.set_peers([Peer::new(&b), Peer::new("http://y:1").at(&a)]).unwrap();
    let away = |node: &Node, key: &String| node.pool.owner(key.as_bytes()) != node.url;
    let mut keys = (0..).map(|n| format!("10.{}.{}.7", n / 256, n % 256));
    keys.find(|key| away(one, key) && away(other, key)).unwrap()
}

async fn asked_by_a_peer(node: &Node, key: &str) {
    let mut request = http::Request::new(http_body_util::Full::new(bytes::Bytes::new()));
    *request.uri_mut() = format!("/_groupcache/{GROUP}/{key}").parse().unwrap();
    request.extensions_mut().insert(RemoteAddr(([127, 0, 0, 1], 1).into()));
    assert_eq!(node.pool.service().call(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_copy_is_not_passed_on_from_one_to_the_other_for_ever() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let with = PoolOptions { clock: Some(clock), ..options(Mode::Golang) };
    let ttl = Duration::from_secs(60);
    let ring = ring_with(2, with, GroupOptions { ttl, ..GroupOptions::default() }).await;
    let key: &'static str = Box::leak(cross(&ring[0], &ring[1]).into_boxed_str());
    asked_by_a_peer(&ring[1], key).await;
    hands.advance(Duration::from_secs(50));
    ring[0].text(key).await;
    assert_eq!((ring[0].source.all_loads(), ring[1].source.all_loads()), (0, 1), "it has a copy");
    for node in &ring {
        node.source.becomes(key, "new");
    }
    // Each has forgotten its own when it asks, and would find the other's copy.
    for _ in 0..5 {
        hands.advance(Duration::from_secs(20));
        ring[1].text(key).await;
        hands.advance(Duration::from_secs(45));
        ring[0].text(key).await;
    }
    for node in &ring {
        assert_eq!(node.text(key).await, "new", "two times to live are over");
    }
}

#[tokio::test]
async fn two_who_take_each_other_for_the_owner_answer_and_do_not_wait_for_each_other() {
    let ring = ring(Mode::MailgunV2, 2).await;
    // A asks B, which would ask A.
    let key = cross(&ring[0], &ring[1]);
    let both = async { tokio::join!(ring[0].text(&key), ring[1].text(&key)) };
    let both = tokio::time::timeout(Duration::from_secs(4), both).await.expect("a deadlock");
    assert_eq!(both, (format!("v:{key}"), format!("v:{key}")));
    assert!(loads_of(&ring, &key) <= 2);
    for node in &ring {
        assert!(node.group.stats().server_requests <= 1, "nothing was passed on");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_know_the_group_yet_makes_no_key_missing() {
    for mode in [Mode::MailgunV2, Mode::Native] {
        let ring = ring(mode, 2).await;
        let late = "late";
        let key = key_of(&key_owned_by(&ring[1], "k"));
        let options = GroupOptions::default();
        let here = ring[0].pool.group(late, ring[0].source.clone(), options.clone()).unwrap();
        assert_eq!(here.get(&key).await.unwrap().len(), key.len() + 2, "{mode:?}: loaded here");
        assert_eq!((here.stats().peer_errors, ring[0].source.loads(&key)), (1, 1));
        let there = ring[1].pool.group(late, ring[1].source.clone(), options).unwrap();
        here.remove(&key).await.unwrap();
        here.get(&key).await.unwrap();
        assert_eq!((there.stats().local_loads, here.stats().peer_loads), (1, 1), "{mode:?}");
    }
}

#[tokio::test]
async fn a_value_that_has_expired_by_this_clock_is_loaded_here() {
    // The owner's clock is an hour behind.
    let (behind, _hands) = Clock::by_hand(1_000_000);
    let (ahead, _hands) = Clock::by_hand(1_000_000 + 3_600_000);
    let with = |clock| PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let owner = node(with(behind), GroupOptions::default()).await;
    let asker = node(with(ahead), GroupOptions::default()).await;
    let urls = [owner.url.clone(), asker.url.clone()];
    owner.pool.set_peers(urls.clone()).unwrap();
    asker.pool.set_peers(urls).unwrap();
    owner.source.lasts(Duration::from_secs(60));
    let key = key_owned_by(&owner, "k");
    assert_eq!(asker.text(&key).await, format!("v:{key}"));
    let stats = asker.group.stats();
    assert_eq!((stats.peer_errors, stats.local_loads, stats.hot.items), (1, 1, 0));
}

#[tokio::test]
async fn a_slow_owner_is_not_waited_for_beyond_the_time_that_a_peer_has() {
    let patience = Duration::from_millis(200);
    let options = PoolOptions { peer_timeout: patience, ..options(Mode::MailgunV2) };
    let ring = ring_with(2, options, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "slow");
    ring[0].source.open(1);
    assert_eq!(ring[0].text(&key).await, format!("v:{key}"));
    assert_eq!((ring[0].source.all_loads(), ring[0].group.stats().peer_errors), (1, 1));
    ring[1].source.open(1);
}

#[tokio::test]
async fn a_callers_deadline_while_an_owner_is_slow_starts_no_load_here() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_of(&key_owned_by(&ring[1], "slow"));
    let got = ring[0].group.get_within(&key, Duration::from_millis(100)).await;
    assert!(matches!(got, Err(larder_peers::Error::Impatient(_))));
    assert_eq!(ring[0].source.all_loads(), 0);
    ring[1].source.open(1);
}

#[tokio::test]
async fn a_lost_owner_costs_one_load_for_each_key_where_there_is_a_second_one() {
    for (second_owner, loads) in [(true, 50), (false, 150)] {
        for mode in [Mode::MailgunV2, Mode::Native] {
            let options = PoolOptions { second_owner, ..options(mode) };
            let mut ring = ring_with(4, options, GroupOptions::default()).await;
            let keys: Vec<_> = keys_owned_by(&ring[3], "k").take(50).collect();
            ring[3].goes_away().await;
            for node in &ring[..3] {
                for key in &keys {
                    assert_eq!(node.text(key).await, format!("v:{key}"));
                }
            }
            let loaded: usize = ring.iter().map(|node| node.source.all_loads()).sum();
            assert_eq!(loaded, loads, "{mode:?}, second owner: {second_owner}");
            // And what was removed is so at the second owner, too.
            let _ = ring[0].group.remove(&key_of(&keys[0])).await;
            assert!(ring[..3].iter().all(|node| node.has(&keys[0]).is_none()));
        }
    }
}
