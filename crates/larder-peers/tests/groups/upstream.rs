//! What Go's own tests check and no other test here does: `tests/CHECKLIST.md` has all of them.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use larder_cache::Clock;
use larder_peers::{
    CallError, Expiry, GroupOptions, HotCopy, Mode, PoolOptions, TellError, WriteError,
};

use super::support::*;

/// `Peers`.
#[tokio::test]
async fn of_two_hundred_keys_each_is_loaded_by_its_owner_and_by_the_asker_if_that_is_down() {
    let mut ring = ring(Mode::MailgunV2, 4).await;
    let keys = |of: &str| -> Vec<_> { (0..200).map(|n| format!("10.{of}.{n}.{n}")).collect() };
    let owned = |ring: &[Node], keys: &[String]| -> Vec<_> {
        let mut loads = vec![0; ring.len()];
        for key in keys {
            let owner = ring[0].pool.owner(key.as_bytes());
            loads[ring.iter().position(|node| node.url == owner).unwrap()] += 1;
        }
        loads
    };
    let first = keys("1");
    for _ in 0..2 {
        for key in &first {
            assert_eq!(ring[0].text(key).await, format!("v:{key}"));
        }
        let loads: Vec<_> = ring.iter().map(|node| node.source.all_loads()).collect();
        assert_eq!(loads, owned(&ring, &first), "and nothing the second time");
    }
    let asked = ring[0].group.stats().peer_loads;
    assert_eq!(asked, 200 - owned(&ring, &first)[0] as u64, "copies are always kept");
    ring[3].goes_away().await;
    let (second, before) = (keys("2"), ring[0].source.all_loads());
    for key in &second {
        assert_eq!(ring[0].text(key).await, format!("v:{key}"));
    }
    let mine = owned(&ring, &second);
    assert_eq!(ring[0].source.all_loads() - before, mine[0] + mine[3]);
    assert_eq!(ring[0].group.stats().peer_errors, mine[3] as u64);
}

/// `CachingWithExpiry`: ten gets, 31 seconds apart, of what lasts a minute.
#[tokio::test]
async fn ten_gets_of_which_every_other_finds_the_value_expired_are_five_loads() {
    let (clock, hands) = Clock::by_hand(1_000_000);
    let pool = PoolOptions { clock: Some(clock.clone()), ..options(Mode::MailgunV2) };
    let ring = ring_with(2, pool, GroupOptions::default()).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].source.lasts(Duration::from_secs(60));
    for _ in 0..10 {
        let got = ring[0].group.get(&key_of(&key)).await.unwrap();
        assert!(!got.expiry().is_past(clock.wall()));
        hands.advance(Duration::from_secs(31));
    }
    assert_eq!(loads_of(&ring, &key), 5);
}

/// `CacheEviction`.
#[tokio::test]
async fn what_a_flood_has_evicted_is_loaded_once_more() {
    let small = GroupOptions { max_bytes: 32 << 10, ..GroupOptions::default() };
    let node = node(options(Mode::MailgunV2), small).await;
    let keys: Vec<_> = (0..2_000).map(|n| format!("flood-{n}")).collect();
    for key in &keys {
        node.text(key).await;
    }
    assert!(node.group.stats().main.evictions > 0);
    let evicted = keys.iter().find(|key| node.has(key).is_none()).unwrap();
    node.text(evicted).await;
    node.text(evicted).await;
    assert_eq!(node.source.loads(evicted.as_bytes()), 2);
}

/// `GetsParallelManyKeysWithGoroutines`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_that_get_and_change_many_keys_end() {
    let ring = ring(Mode::Native, 2).await;
    let work = (0..16_usize).map(|worker| {
        let group = ring[worker % 2].group.clone();
        tokio::spawn(async move {
            for n in 0..400_usize {
                let key = key_of(&format!("k{}", n * (worker + 1) % 50));
                match n % 40 {
                    7 => group.remove(&key).await.unwrap(),
                    9 => {
                        let value = Bytes::from([b"v:", &key[..]].concat());
                        group.set(&key, value, Expiry::NEVER, HotCopy::Keep).await.unwrap();
                    }
                    _ => assert_eq!(group.get(&key).await.unwrap()[2..], key[..]),
                }
            }
        })
    });
    let all = futures_util::future::try_join_all(work.collect::<Vec<_>>());
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("a deadlock").unwrap();
}

/// R's tests of peers that come and go.
#[tokio::test]
async fn who_has_left_gets_no_requests_any_more_and_who_is_new_does() {
    let ring = ring(Mode::Native, 3).await;
    let two = [ring[0].url.clone(), ring[1].url.clone()];
    let asked = |node: &Node| node.group.stats().server_requests;
    ring[0].pool.set_peers(two).unwrap();
    for n in 0..50 {
        ring[0].text(&format!("a{n}")).await;
    }
    assert_eq!(asked(&ring[2]), 0);
    assert!(asked(&ring[1]) > 10);
    // One that nothing listens for does not keep the others out.
    let all: Vec<_> = ring.iter().map(|node| node.url.clone()).collect();
    ring[0].pool.set_peers(all.into_iter().chain(["http://127.0.0.1:1".into()])).unwrap();
    for n in 0..50 {
        assert_eq!(ring[0].text(&format!("b{n}")).await, format!("v:b{n}"));
    }
    assert!(asked(&ring[2]) > 5);
}

/// Section 5.5: keys both ways, for what changes them.
#[tokio::test]
async fn whatever_a_key_looks_like_it_is_set_and_removed_at_its_owner() {
    let strange: [&[u8]; 11] =
        [b".", b"..", b"a/b", b"a//b", b"a/../b", b"%", b"%2F", b"a+b", b"\xff\xfe", b"\0", b"a b"];
    let long = vec![b'k'; 60_000];
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let ring = ring(mode, 3).await;
        for key in strange.into_iter().chain([&long[..]]) {
            let key = Bytes::copy_from_slice(key);
            for node in &ring {
                let value = Bytes::from("set");
                node.group.set(&key, value, Expiry::NEVER, HotCopy::Drop).await.unwrap();
                for reader in &ring {
                    assert_eq!(&reader.group.get(&key).await.unwrap()[..], b"set", "{key:?}");
                }
                node.group.remove(&key).await.unwrap();
                assert!(ring.iter().all(|node| node.group.peek(&key).is_none()), "{key:?}");
            }
            assert_eq!(ring.iter().map(|node| node.source.loads(&key)).sum::<usize>(), 0);
        }
    }
}

#[tokio::test]
async fn a_key_that_no_path_holds_is_not_set_elsewhere_and_who_may_have_it_is_named() {
    let ring = ring(Mode::MailgunV2, 2).await;
    let key = key_of(&key_owned_by(&ring[1], &"k".repeat(64 << 10)));
    let set = ring[0].group.set(&key, Bytes::from("x"), Expiry::NEVER, HotCopy::Keep).await;
    let Err(WriteError::Owner(missed)) = set else { panic!("{set:?}") };
    assert_eq!(missed.error, TellError::Call(CallError::KeyTooLong));
    assert!(ring[0].group.peek(&key).is_none());
    ring[0].group.get(&key).await.unwrap();
    let removed = ring[0].group.remove(&key).await;
    let Err(WriteError::Missed(missed)) = removed else { panic!("{removed:?}") };
    assert_eq!((missed.len(), &missed[0].peer), (1, &ring[1].url));
    assert!(ring[0].group.peek(&key).is_none(), "but here it is gone");
    assert!(ring[0].pool.resting().is_empty(), "which is no fault of the peer's");
}

/// The sources of this crate, of its tests, and of the cache.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_of_the_checklist_is_there() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    for folder in ["src", "tests", "../larder-cache/src", "../larder-cache/tests"] {
        sources(&crate_folder.join(folder), &mut all);
    }
    let list = include_str!("../CHECKLIST.md");
    let names = list.split('`').skip(1).step_by(2);
    // Names of tests are longer than those of anything else in there.
    let names: HashSet<_> = names.filter(|name| name.matches('_').count() > 2).collect();
    let missing: Vec<_> =
        names.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(names.len() > 90, "{}", names.len());
}
