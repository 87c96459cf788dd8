//! A get: from memory, from the owner, from the source.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use larder_peers::{Error, GroupError, GroupOptions, MembersError, Mode, PoolOptions};

use super::support::*;

const WIRES: [Mode; 4] = [Mode::MailgunV2, Mode::Golang, Mode::GroupcacheGoV3, Mode::Native];

#[tokio::test]
async fn each_key_is_loaded_once_in_the_ring_whoever_asks() {
    for mode in WIRES {
        let ring = ring(mode, 4).await;
        let keys: Vec<_> = (0..100).map(|n| format!("10.1.{n}.{}", n * 7 % 256)).collect();
        for node in &ring {
            for key in &keys {
                assert_eq!(node.text(key).await, format!("v:{key}"), "{mode:?}");
            }
        }
        let loads: Vec<_> = ring.iter().map(|node| node.source.all_loads()).collect();
        assert_eq!(loads.iter().sum::<usize>(), 100, "{mode:?}: {loads:?}");
        for key in &keys {
            let owners: HashSet<_> =
                ring.iter().map(|node| node.pool.owner(key.as_bytes())).collect();
            assert_eq!(owners.len(), 1, "they agree");
        }
    }
}

#[tokio::test]
async fn ten_gets_are_one_load() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "k");
    for _ in 0..10 {
        ring[0].text(&key).await;
    }
    assert_eq!(loads_of(&ring, &key), 1);
    let stats = ring[0].group.stats();
    assert_eq!((stats.gets, stats.cache_hits, stats.loads, stats.peer_loads), (10, 9, 1, 1));
    assert_eq!((stats.hot.items, stats.main.items, stats.hot.hits), (1, 0, 9));
    assert_eq!((stats.main.gets, stats.hot.gets, stats.loads_deduped), (10, 10, 1));
    let owner = ring[1].group.stats();
    assert_eq!((owner.server_requests, owner.local_loads, owner.main.items), (1, 1, 1));
    assert_eq!((stats.peer_latency.count, owner.load_latency.count), (1, 1));
    assert!(stats.peer_latency.max >= owner.load_latency.max);
}

#[tokio::test]
async fn a_hundred_callers_at_once_are_one_load() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[2], "slow");
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let (group, key) = (ring[n % 3].group.clone(), key_of(&key));
            tokio::spawn(async move { group.get(&key).await.map(|got| Bytes::clone(&got)) })
        })
        .collect();
    until(async || loads_of(&ring, &key) == 1).await;
    ring[2].source.open(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), format!("v:{key}"));
    }
    assert_eq!(loads_of(&ring, &key), 1);
}

#[tokio::test]
async fn keys_are_bytes_all_the_way() {
    let keys: [&[u8]; 12] = [
        b"",
        b".",
        b"..",
        b"a/b",
        b"a//b",
        b"a/../b",
        b"%",
        b"%2F",
        b"a+b",
        b"\xff\xfe",
        b"nul\0x",
        b"a b/c,d",
    ];
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let ring = ring(mode, 3).await;
        for key in keys {
            let key = Bytes::from(key);
            for node in &ring {
                let got = node.group.get(&key).await.unwrap();
                assert_eq!(&got[..], [b"v:", &key[..]].concat(), "{mode:?} {key:?}");
            }
            let loads: usize = ring.iter().map(|node| node.source.loads(&key)).sum();
            assert_eq!(loads, 1, "{mode:?} {key:?}");
        }
    }
}

#[tokio::test]
async fn in_a_golang_ring_a_space_arrives_as_a_plus_as_it_does_there() {
    let ring = ring(Mode::Golang, 2).await;
    let owned = keys_owned_by(&ring[1], "a ").next().unwrap();
    assert_eq!(ring[0].text(&owned).await, format!("v:{}", owned.replace(' ', "+")));
}

#[tokio::test]
async fn a_long_key_is_shared_up_to_what_a_path_holds_and_loaded_by_each_beyond() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let long = key_owned_by(&ring[1], &"k".repeat(60_000));
    assert_eq!(ring[0].text(&long).await, format!("v:{long}"));
    assert_eq!((ring[0].source.all_loads(), ring[1].source.all_loads()), (0, 1));
    let longer = key_owned_by(&ring[1], &"k".repeat(64 << 10));
    assert_eq!(ring[0].text(&longer).await, format!("v:{longer}"));
    assert_eq!((ring[0].source.all_loads(), ring[0].group.stats().peer_errors), (1, 1));
}

#[tokio::test]
async fn values_beyond_what_go_sends_in_one_piece_arrive_whole() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "big");
    assert_eq!(ring[0].group.get(&key_of(&key)).await.unwrap().len(), 3_000);
    assert_eq!(ring[0].group.stats().peer_loads, 1);
}

#[tokio::test]
async fn what_the_owner_says_of_a_missing_key_is_final() {
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let ring = ring(mode, 5).await;
        let asker = ring.iter().find(|node| node.pool.owner(b"nf") != node.pool.identity());
        let error = asker.unwrap().group.get(&key_of("nf")).await.unwrap_err();
        assert!(matches!(&error, Error::NotFound { text: Some(_) }), "{mode:?}: {error:?}");
        assert_eq!(
            (error.to_string().as_str(), loads_of(&ring, "nf")),
            ("there is no such key", 1)
        );
    }
}

#[tokio::test]
async fn what_the_owners_loader_says_is_final_and_arrives_word_for_word() {
    let ring = ring(Mode::MailgunV2, 5).await;
    let owner = ring[0].pool.owner(b"err");
    let asker = ring.iter().find(|node| node.pool.identity() != owner).unwrap();
    let error = asker.group.get(&key_of("err")).await.unwrap_err();
    let Error::Owner { peer, text } = &error else { panic!("{error:?}") };
    assert_eq!((peer, text.as_str()), (&owner, "plain err"));
    assert_eq!(loads_of(&ring, "err"), 1, "nobody tries once more");
    assert_eq!(asker.group.stats().peer_errors, 0);
}

#[tokio::test]
async fn in_a_golang_ring_every_error_of_the_owner_is_tried_here() {
    let ring = ring(Mode::Golang, 2).await;
    for key in ["nf", "err"] {
        for node in &ring {
            assert!(node.group.get(&key_of(key)).await.is_err());
        }
        assert!(loads_of(&ring, key) >= 2, "{key}");
    }
}

#[tokio::test]
async fn a_loader_that_panics_at_the_owner_lets_everyone_go_and_is_tried_here() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let owner = ring[0].pool.owner(b"panic");
    let asker = ring.iter().find(|node| node.pool.identity() != owner).unwrap();
    let callers = (0..10).map(|_| {
        let group = asker.group.clone();
        tokio::spawn(async move { group.get(&key_of("panic")).await.unwrap_err() })
    });
    for caller in callers.collect::<Vec<_>>() {
        let error = caller.await.unwrap();
        assert!(matches!(error, Error::Load(larder_cache::Error::Panicked)), "{error:?}");
    }
    assert_eq!(asker.text("other").await, "v:other", "and the next key is as before");
    assert!(asker.group.stats().peer_errors >= 1);
}

#[tokio::test]
async fn errors_are_not_remembered() {
    let node = node(options(Mode::MailgunV2), GroupOptions::default()).await;
    for key in ["err", "nf", "panic"] {
        for asked in 1..=6 {
            assert!(node.group.get(&key_of(key)).await.is_err());
            assert_eq!(node.source.loads(key.as_bytes()), asked, "{key}");
        }
    }
    assert_eq!(node.group.stats().local_load_errors, 18);
}

#[tokio::test]
async fn that_a_key_is_missing_is_remembered_if_asked_for_until_it_is_set() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let absent_ttl = Duration::from_secs(10);
    let node = node(pool, GroupOptions { absent_ttl, ..GroupOptions::default() }).await;
    for _ in 0..5 {
        assert!(matches!(node.group.get(&key_of("nf")).await, Err(Error::NotFound { .. })));
    }
    assert_eq!(node.source.loads(b"nf"), 1);
    hands.advance(absent_ttl);
    assert!(node.group.get(&key_of("nf")).await.is_err());
    assert_eq!(node.source.loads(b"nf"), 2);
    let (value, never) = (Bytes::from("set"), larder_peers::Expiry::NEVER);
    node.group.set(&key_of("nf"), value, never, larder_peers::HotCopy::Drop).await.unwrap();
    assert_eq!(node.text("nf").await, "set");
}

#[tokio::test]
async fn everybody_remembers_what_the_owner_said_of_a_missing_key_until_it_is_set() {
    let group = GroupOptions { absent_ttl: Duration::from_secs(60), ..GroupOptions::default() };
    let ring = ring_with(3, options(Mode::MailgunV2), group).await;
    let owner = ring[0].pool.owner(b"nf");
    let (asker, setter) = (ring.iter().find(|node| node.url != owner).unwrap(), &ring[0]);
    for _ in 0..5 {
        assert!(matches!(asker.group.get(&key_of("nf")).await, Err(Error::NotFound { .. })));
    }
    let requests: u64 = ring.iter().map(|node| node.group.stats().server_requests).sum();
    assert_eq!((requests, loads_of(&ring, "nf")), (1, 1), "five gets, one request, one load");
    super::set::set(setter, "nf", "found").await.unwrap();
    for node in &ring {
        assert_eq!(node.text("nf").await, "found");
    }
}

#[tokio::test]
async fn a_value_is_loaded_anew_at_the_very_moment_it_expires() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let ring = ring_with(2, pool, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].source.lasts(Duration::from_secs(60));
    for _ in 0..3 {
        ring[0].text(&key).await;
    }
    let got = ring[0].group.get(&key_of(&key)).await.unwrap();
    assert_eq!(got.expiry().nanos(), 1_060_000_000_000, "as its owner said");
    hands.advance(Duration::from_millis(59_999));
    ring[0].text(&key).await;
    assert_eq!(loads_of(&ring, &key), 1);
    hands.advance(Duration::from_millis(1));
    assert_eq!((ring[0].has(&key), ring[1].has(&key)), (None, None));
    ring[0].text(&key).await;
    assert_eq!(loads_of(&ring, &key), 2);
}

#[tokio::test]
async fn a_copy_lives_no_longer_than_the_owners_value() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let ring = ring_with(2, pool, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].source.lasts(Duration::from_secs(60));
    ring[1].text(&key).await;
    hands.advance(Duration::from_secs(50));
    ring[0].text(&key).await;
    hands.advance(Duration::from_secs(10));
    assert_eq!(ring[0].has(&key), None, "it had been there for ten seconds");
}

#[tokio::test]
async fn a_group_may_keep_values_for_less_than_its_source_says() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock), ..options(Mode::MailgunV2) };
    let ttl = Duration::from_secs(5);
    let node = node(pool, GroupOptions { ttl, ..GroupOptions::default() }).await;
    node.source.lasts(Duration::from_secs(60));
    let got = node.group.get(&key_of("k")).await.unwrap();
    assert_eq!(got.expiry().nanos(), 1_005_000_000_000);
    hands.advance(ttl);
    assert_eq!(node.has("k"), None);
}

#[tokio::test]
async fn a_waiter_has_its_own_deadline_and_outlives_the_caller_who_began_the_load() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "slow");
    let group = ring[0].group.clone();
    let (first, second) = (group.clone(), group.clone());
    let (one, other) = (key_of(&key), key_of(&key));
    let leader = tokio::spawn(async move { first.get(&one).await.map(drop) });
    until(async || loads_of(&ring, &key) == 1).await;
    let follower = tokio::spawn(async move { second.get(&other).await.map(|got| got.len()) });
    let began = Clock::running();
    let hurried = group.get_within(&key_of(&key), Duration::from_millis(50)).await;
    assert!(matches!(hurried, Err(Error::Impatient(_))), "{hurried:?}");
    assert!(began.uptime() < Duration::from_secs(2), "{:?}", began.uptime());
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    ring[1].source.open(1);
    assert_eq!(follower.await.unwrap().unwrap(), key.len() + 2);
    assert_eq!((loads_of(&ring, &key), ring[0].source.all_loads()), (1, 0), "no load here");
}

#[tokio::test]
async fn a_node_alone_owns_every_key() {
    let node = node(options(Mode::Galaxycache), GroupOptions::default()).await;
    assert_eq!(node.text("k").await, "v:k");
    let stats = node.group.stats();
    assert_eq!((stats.local_loads, stats.peer_loads, stats.main.items), (1, 0, 1));
}

#[tokio::test]
async fn two_pools_of_two_modes_live_in_one_process() {
    let (mailgun, native) = (ring(Mode::MailgunV2, 2).await, ring(Mode::Native, 2).await);
    for node in mailgun.iter().chain(&native) {
        assert_eq!(node.text("k").await, "v:k");
    }
    assert_eq!((loads_of(&mailgun, "k"), loads_of(&native, "k")), (1, 1));
}

#[tokio::test]
async fn a_name_is_taken_once_and_free_again_when_the_group_is_gone() {
    let node = node(options(Mode::MailgunV2), GroupOptions::default()).await;
    let again = |name: &str| node.pool.group(name, node.source.clone(), GroupOptions::default());
    assert_eq!(again(GROUP).unwrap_err(), GroupError::Taken(GROUP.to_owned()));
    for bad in ["", "a/b"] {
        assert_eq!(again(bad).unwrap_err(), GroupError::Name(bad.to_owned()));
    }
    drop(again("other").unwrap());
    assert!(again("other").is_ok());
}

#[tokio::test]
async fn a_list_of_peers_without_this_process_changes_nothing() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let before = ring[0].pool.peers();
    let error = ring[0].pool.set_peers([format!("{}/", ring[0].url)]).unwrap_err();
    assert_eq!(error, MembersError::SelfMissing(ring[0].url.clone()));
    assert_eq!(ring[0].pool.peers(), before);
}

#[tokio::test]
async fn only_keys_that_have_another_owner_are_loaded_anew_when_a_node_joins() {
    let options = options(Mode::Native);
    let ring = ring_with(2, options.clone(), GroupOptions::default()).await;
    let keys: Vec<_> = (0..300).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        ring[0].text(key).await;
    }
    let third = node(options, GroupOptions::default()).await;
    let all: Vec<_> = ring.iter().chain([&third]).map(|node| node.url.clone()).collect();
    for node in ring.iter().chain([&third]) {
        node.pool.set_peers(all.clone()).unwrap();
    }
    for key in &keys {
        assert_eq!(third.text(key).await, format!("v:{key}"));
    }
    let moved = keys.iter().filter(|key| third.pool.owner(key.as_bytes()) == third.url).count();
    assert!((60..140).contains(&moved), "{moved}: about a third");
    assert_eq!(third.source.all_loads(), moved);
    let loaded: usize = ring.iter().map(|node| node.source.all_loads()).sum();
    assert_eq!(loaded, 300, "nothing that stayed was loaded again");
}

#[tokio::test]
async fn a_request_that_is_under_way_survives_a_change_of_the_ring() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "slow");
    let group = ring[0].group.clone();
    let asked = key_of(&key);
    let asking = tokio::spawn(async move { group.get(&asked).await.map(|got| got.len()) });
    until(async || loads_of(&ring, &key) == 1).await;
    ring[0].pool.set_peers([ring[0].url.clone()]).unwrap();
    ring[1].source.open(1);
    assert_eq!(asking.await.unwrap().unwrap(), key.len() + 2);
    assert_eq!(ring[0].source.all_loads(), 0);
}

#[tokio::test]
async fn a_closed_group_lets_its_waiters_go() {
    let node = node(options(Mode::MailgunV2), GroupOptions::default()).await;
    let group = node.group.clone();
    let waiting = tokio::spawn(async move { group.get(&key_of("slow")).await.map(drop) });
    until(async || node.source.loads(b"slow") == 1).await;
    node.group.close().await;
    assert!(waiting.await.unwrap().is_err());
    node.pool.close().await;
    assert!(node.group.get(&key_of("k")).await.is_err());
}

#[tokio::test]
async fn a_thousand_callers_of_one_cold_key_over_four_nodes_are_one_load() {
    let ring = ring(Mode::Native, 4).await;
    let begun = std::sync::atomic::AtomicUsize::new(0);
    let callers = (0..1_000).map(|n| {
        let node = &ring[n % 4];
        let begun = &begun;
        async move {
            begun.fetch_add(1, Ordering::Relaxed);
            node.text("cold").await
        }
    });
    let values = futures_util::future::join_all(callers).await;
    assert!(values.iter().all(|value| value == "v:cold"));
    assert_eq!((begun.into_inner(), loads_of(&ring, "cold")), (1_000, 1));
}
