//! A removal: everywhere, whoever is away.

use std::time::Duration;

use bytes::Bytes;
use larder_peers::{Expiry, GroupOptions, HotCopy, Mode, Peer, PoolOptions, WriteError};

use super::set::set;
use super::support::*;
use super::wires::{Wired, World, ms, secs, world};

#[tokio::test]
async fn after_a_removal_nobody_has_it_and_each_key_is_loaded_once_more() {
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native] {
        let ring = ring(mode, 4).await;
        for remover in 0..4 {
            for node in &ring {
                node.text("k").await;
            }
            assert_eq!(loads_of(&ring, "k"), remover + 1);
            ring[remover].group.remove(&key_of("k")).await.unwrap();
            assert!(ring.iter().all(|node| node.has("k").is_none()), "{mode:?}");
        }
        let requests: u64 = ring.iter().map(|node| node.group.stats().removals).sum();
        assert_eq!(requests, 4);
    }
}

#[tokio::test]
async fn the_owner_does_not_send_itself_a_request() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].group.remove(&key_of(&key)).await.unwrap();
    let heard: Vec<_> = ring.iter().map(|node| node.group.stats().server_requests).collect();
    assert_eq!(heard, [1, 0, 1]);
}

#[tokio::test]
async fn all_who_are_away_are_reported_and_the_rest_forget() {
    let mut ring = ring(Mode::MailgunV2, 5).await;
    let key = key_owned_by(&ring[4], "k");
    for node in &ring {
        node.text(&key).await;
    }
    ring[1].goes_away().await;
    ring[2].goes_away().await;
    let error = ring[0].group.remove(&key_of(&key)).await.unwrap_err();
    let WriteError::Missed(missed) = &error else { panic!("{error:?}") };
    let mut names: Vec<_> = missed.iter().map(|missed| missed.peer.clone()).collect();
    names.sort();
    let mut away = vec![ring[1].url.clone(), ring[2].url.clone()];
    away.sort();
    assert_eq!(names, away);
    assert_eq!(error.to_string().lines().count(), 2, "one for each: {error}");
    for here in [0, 3, 4] {
        assert_eq!(ring[here].has(&key), None);
    }
}

#[tokio::test]
async fn who_was_away_hears_of_it_when_it_is_back() {
    let mut ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[0], "k");
    for node in &ring {
        node.text(&key).await;
    }
    ring[2].goes_away().await;
    ring[0].group.remove(&key_of(&key)).await.unwrap_err();
    assert_eq!(ring[0].pool.retries().pending, 1);
    assert!(ring[2].has(&key).is_some());
    ring[2].comes_back().await;
    until(async || ring[2].has(&key).is_none()).await;
    until(async || ring[0].pool.retries().pending == 0).await;
    assert_eq!(ring[0].pool.retries().completed, 1);
}

#[tokio::test]
async fn while_the_owner_is_cut_off_from_the_remover_nobody_who_heard_reads_the_old_value() {
    // The owner stays up; it is the remover alone that cannot reach it.
    let options = PoolOptions { tombstone: Duration::from_secs(30), ..options(Mode::MailgunV2) };
    let ring = ring_with(3, options, GroupOptions::default()).await;
    let key = key_owned_by(&ring[2], "slowly");
    for node in &ring {
        node.source.open(100);
    }
    for node in &ring {
        node.text(&key).await;
    }
    let names = || ring.iter().map(|node| node.url.clone());
    // Nothing listens at port 1.
    let cut = names().map(|name| {
        let is_owner = name == ring[2].url;
        let peer = Peer::new(name);
        if is_owner { peer.at("127.0.0.1:1") } else { peer }
    });
    ring[0].pool.set_peers(cut).unwrap();
    let key: &'static str = Box::leak(key.into_boxed_str());
    for node in &ring {
        node.source.becomes(key, "new");
    }
    ring[0].group.remove(&key_of(key)).await.unwrap_err();
    // The way to the owner is open again, and it has not heard yet.
    ring[0].pool.set_peers(names()).unwrap();
    assert_eq!(ring[0].text(key).await, "new", "loaded past the owner");
    assert_eq!(ring[1].text(key).await, "new", "and so it was told to do");
    assert!(ring[2].has(key).unwrap().starts_with("v:"), "which has not heard");
    let stones = ring.iter().map(|node| node.group.stats().tombstones);
    assert_eq!(stones.collect::<Vec<_>>(), [1, 1, 0]);
    until(async || ring[0].pool.retries().pending == 0).await;
    assert_eq!((ring[2].text(key).await, ring[0].group.stats().tombstones), ("new".into(), 0));
    assert_eq!(ring[1].text(key).await, "new");
}

#[tokio::test(start_paused = true)]
async fn what_another_one_sets_after_a_removal_is_not_undone_when_the_owner_hears_of_that() {
    let world = world(3, ms(1), options(Mode::MailgunV2), |_| GroupOptions::default());
    let [remover, other, owner] = &world.nodes[..] else { panic!("there are three") };
    let (gone, kept) = (owner.key("r"), owner.key("k"));
    let was_set = |node: &Wired, key| node.group.peek(key).is_some_and(|got| &got[..] == b"set");
    let set = |key: Bytes| async move {
        let value = Bytes::from("set");
        other.group.set(&key, value, Expiry::NEVER, HotCopy::Drop).await.unwrap();
    };
    set(gone.clone()).await;
    let [one, two, three] = [remover, other, owner].map(|node| Peer::new(&node.url));
    let lost = three.clone().at("10.9.9.9:1");
    remover.pool.set_peers([one.clone(), two.clone(), lost]).unwrap();
    tokio::time::sleep(ms(100)).await;
    for key in [&gone, &kept] {
        remover.group.remove(key).await.unwrap_err();
    }
    tokio::time::sleep(ms(100)).await;
    set(kept.clone()).await;
    remover.pool.set_peers([one, two, three]).unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!((remover.pool.retries().pending, remover.pool.retries().completed), (0, 2));
    assert!(was_set(owner, &kept) && !was_set(owner, &gone));
}

#[tokio::test(start_paused = true)]
async fn a_set_that_the_second_owner_missed_is_not_undone_when_that_hears_of_it() {
    let with = PoolOptions { second_owner: true, ..options(Mode::MailgunV2) };
    let world = world(2, ms(1), with, |_| GroupOptions::default());
    let [owner, second] = &world.nodes[..] else { panic!("there are two") };
    let key = owner.key("k");
    let [one, two] = [owner, second].map(|node| Peer::new(&node.url));
    owner.pool.set_peers([one.clone(), two.clone().at("10.9.9.9:1")]).unwrap();
    owner.group.set(&key, Bytes::from("set"), Expiry::NEVER, HotCopy::Drop).await.unwrap();
    assert_eq!(owner.pool.retries().pending, 1);
    owner.pool.set_peers([one, two]).unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!((owner.pool.retries().pending, owner.pool.retries().completed), (0, 1));
    assert_eq!(&second.group.get(&key).await.unwrap()[..], b"set");
}

#[tokio::test]
async fn a_set_after_a_removal_that_the_owner_missed_is_read_by_those_who_loaded_past_it() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let key = key_owned_by(&ring[2], "k");
    let names = || ring.iter().map(|node| node.url.clone());
    // Nothing listens at port 1.
    let [one, two, owner] = [0, 1, 2].map(|n| Peer::new(&ring[n].url));
    ring[0].pool.set_peers([one, two, owner.at("127.0.0.1:1")]).unwrap();
    ring[0].group.remove(&key_of(&key)).await.unwrap_err();
    assert_eq!(ring[1].text(&key).await, format!("v:{key}"));
    assert_eq!((ring[1].source.all_loads(), ring[1].group.stats().tombstones), (1, 1));
    // The way to the owner is open again.
    ring[0].pool.set_peers(names()).unwrap();
    set(&ring[0], &key, "set").await.unwrap();
    for node in &ring {
        assert_eq!((node.text(&key).await, node.group.stats().tombstones), ("set".into(), 0));
    }
}

#[tokio::test]
async fn a_set_after_a_removal_that_the_owner_missed_is_not_undone_by_it() {
    let mut ring = ring(Mode::MailgunV2, 2).await;
    let key = key_owned_by(&ring[1], "k");
    ring[1].goes_away().await;
    ring[0].group.remove(&key_of(&key)).await.unwrap_err();
    ring[1].comes_back().await;
    let mut tries = 0;
    until(async || {
        tries += 1;
        set(&ring[0], &key, "after").await.is_ok()
    })
    .await;
    assert_eq!(ring[0].pool.retries().pending, 0, "there is nothing more to tell");
    assert_eq!(ring[0].text(&key).await, "after");
    assert_eq!(ring[1].has(&key).as_deref(), Some("after"));
}

/// Two nodes in paused time, with a copy at the second one that it keeps because the first one, which removed the
/// key, could not reach it; and is alone in its ring now.
async fn left_with_a_copy(retry_for: Duration) -> (World, Bytes) {
    let with = PoolOptions { retry_for, ..options(Mode::MailgunV2) };
    let world = world(2, ms(1), with, |_| GroupOptions::default());
    let [here, there] = &world.nodes[..] else { panic!("there are two") };
    let key = here.key("k");
    there.group.get(&key).await.unwrap();
    let (own, lost) = (Peer::new(&here.url), Peer::new(&there.url).at("10.9.9.9:1"));
    here.pool.set_peers([own.clone(), lost]).unwrap();
    here.group.remove(&key).await.unwrap_err();
    here.pool.set_peers([own]).unwrap();
    (world, key)
}

#[tokio::test(start_paused = true)]
async fn who_left_the_ring_before_it_heard_is_told_when_it_is_back() {
    let (world, key) = left_with_a_copy(secs(300)).await;
    let [here, there] = &world.nodes[..] else { panic!("there are two") };
    let heard = there.group.stats().server_requests;
    tokio::time::sleep(secs(60)).await;
    let retries = here.pool.retries();
    assert_eq!((retries.pending, retries.completed), (1, 0));
    assert_eq!(there.group.stats().server_requests, heard, "it is not asked");
    assert!(there.group.peek(&key).is_some());
    here.pool.set_peers([here.url.clone(), there.url.clone()]).unwrap();
    tokio::time::sleep(secs(11)).await;
    let retries = here.pool.retries();
    assert_eq!((retries.pending, retries.completed, retries.given_up), (0, 1, 0));
    assert!(there.group.peek(&key).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_left_the_ring_for_good_is_given_up_after_a_while() {
    let (world, _) = left_with_a_copy(secs(30)).await;
    tokio::time::sleep(secs(29)).await;
    assert_eq!(world.nodes[0].pool.retries().pending, 1);
    tokio::time::sleep(secs(12)).await;
    let retries = world.nodes[0].pool.retries();
    assert_eq!((retries.pending, retries.completed, retries.given_up), (0, 0, 1));
}

#[tokio::test]
async fn a_peer_that_fails_is_left_alone_and_comes_back_by_itself() {
    let mut ring = ring(Mode::MailgunV2, 2).await;
    let keys: Vec<_> = keys_owned_by(&ring[1], "k").take(20).collect();
    ring[1].goes_away().await;
    for key in &keys[..10] {
        assert_eq!(ring[0].text(key).await, format!("v:{key}"), "loaded here");
    }
    assert_eq!(ring[0].pool.resting(), [ring[1].url.clone()]);
    assert_eq!(ring[0].group.stats().peer_errors, 10);
    ring[1].comes_back().await;
    let mut more = keys[10..].iter().cycle();
    until(async || {
        let key = more.next().unwrap();
        let _ = ring[0].group.remove(&key_of(key)).await;
        ring[0].text(key).await;
        ring[0].pool.resting().is_empty()
    })
    .await;
}

#[tokio::test]
async fn many_keys_are_removed_everywhere_and_each_is_loaded_once_more() {
    let ring = ring(Mode::MailgunV2, 3).await;
    let names = ["a", "b", "c"];
    for node in &ring {
        for key in names {
            node.text(key).await;
        }
    }
    ring[0].group.remove_many([]).await.unwrap();
    ring[0].group.remove_many(names.map(key_of)).await.unwrap();
    assert_eq!(ring[0].group.stats().removals, 3);
    for key in names {
        assert!(ring.iter().all(|node| node.has(key).is_none()), "{key}");
        for node in &ring {
            node.text(key).await;
        }
        assert_eq!(loads_of(&ring, key), 2);
    }
}

#[tokio::test]
async fn of_many_removals_each_peer_that_is_away_is_reported_once_and_hears_of_all_later() {
    let mut ring = ring(Mode::MailgunV2, 3).await;
    let names: Vec<_> = (0..10).map(|n| format!("10.9.{n}.{n}")).collect();
    for name in &names {
        ring[1].text(name).await;
    }
    ring[1].goes_away().await;
    let keys = names.iter().map(|name| key_of(name));
    let error = ring[0].group.remove_many(keys).await.unwrap_err();
    let WriteError::Missed(missed) = error else { panic!("{error:?}") };
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].peer, ring[1].url);
    ring[1].comes_back().await;
    until(async || ring[0].pool.retries().pending == 0).await;
    assert!(names.iter().all(|name| ring[1].has(name).is_none()));
}
