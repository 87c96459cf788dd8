//! Values that are renewed before they expire, and those that are handed out after it because there is no
//! better one.

use std::time::Duration;

use bytes::Bytes;
use larder_peers::{Expiry, GroupOptions, HotCopy, Mode};
use tokio::time::sleep;

use super::support::options;
use super::wires::*;

const TTL: Duration = secs(10);
const TAKES: Duration = ms(50);

fn renewing() -> GroupOptions {
    GroupOptions { ttl: TTL, renew_ahead: secs(2), ..GroupOptions::default() }
}

fn plain() -> GroupOptions {
    GroupOptions { ttl: TTL, ..GroupOptions::default() }
}

fn ring(nodes: usize, group: &GroupOptions) -> World {
    world(nodes, TAKES, options(Mode::MailgunV2), |_| group.clone())
}

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    gets: u32,
    waits: Vec<Duration>,
    oldest: u64,
}

/// Gets `key` every 10 ms.
async fn read(world: &World, node: usize, key: &Bytes, how_long: Duration) -> Seen {
    let (mut seen, until) = (Seen::default(), world.clock.now().after(how_long));
    while world.clock.now() < until {
        let began = world.clock.uptime();
        let got = world.nodes[node].group.get(key).await.unwrap();
        let loaded: u64 = std::str::from_utf8(&got).unwrap().parse().unwrap();
        seen.oldest = seen.oldest.max(world.clock.now().as_millis() - loaded);
        seen.gets += 1;
        let waited = world.clock.uptime().saturating_sub(began);
        if !waited.is_zero() {
            seen.waits.push(waited);
        }
        sleep(ms(10)).await;
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_popular_key_of_this_process_waits_for_its_first_value_alone() {
    let world = ring(1, &renewing());
    let key = world.nodes[0].key("k");
    let seen = read(&world, 0, &key, secs(60)).await;
    assert_eq!(seen.waits.len(), 1, "{:?}", seen.waits);
    let loads = world.origin.loads(&key);
    assert!((7..=8).contains(&loads.len()), "{loads:?}");
    assert!(seen.oldest < 10_000, "{}", seen.oldest);
    let stats = world.nodes[0].group.stats();
    assert_eq!((stats.renewals, stats.renewals_failed), (loads.len() as u64 - 1, 0));
    assert_eq!((stats.loads, stats.gets), (1, u64::from(seen.gets)));
    let world = ring(1, &plain());
    let seen = read(&world, 0, &key, secs(60)).await;
    assert_eq!(seen.waits.len(), 6, "without it, at every expiry");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_renewed_by_one_request_whose_owner_has_renewed_by_then() {
    // Read at one node that does not own it, and nowhere else: the owner hears of nobody.
    let world = ring(3, &renewing());
    let key = world.nodes[1].key("k");
    let seen = read(&world, 0, &key, secs(60)).await;
    assert_eq!(seen.waits.len(), 1, "{:?}", seen.waits);
    assert!(seen.oldest < 10_000, "{}", seen.oldest);
    let loads = world.origin.loads(&key).len() as u64;
    assert!((6..=8).contains(&loads), "{loads}");
    assert_eq!(world.wires.requests(), loads, "one request for each life");
}

#[tokio::test(start_paused = true)]
async fn of_many_who_read_it_everywhere_one_load_for_each_life_is_seen_by_the_source() {
    let world = ring(3, &renewing());
    let key = world.nodes[1].key("k");
    let all = (0..3).map(|node| read(&world, node, &key, secs(60)));
    for seen in futures_util::future::join_all(all).await {
        assert!(seen.waits.len() <= 1 && seen.oldest < 10_000, "{:?} {}", seen.waits, seen.oldest);
    }
    let loads = world.origin.loads(&key).len() as u64;
    assert!((7..=8).contains(&loads), "{loads}");
    assert!(world.wires.requests() <= 2 * loads, "{}", world.wires.requests());
}

#[tokio::test(start_paused = true)]
async fn where_the_wire_does_not_carry_the_expiry_a_copy_is_renewed_before_the_groups_ttl() {
    let world = world(2, TAKES, options(Mode::Golang), |_| renewing());
    let key = world.nodes[1].key("k");
    let seen = read(&world, 0, &key, secs(60)).await;
    assert_eq!(seen.waits.len(), 1, "{:?}", seen.waits);
    assert!(seen.oldest < 20_000, "{}", seen.oldest);
    assert!(world.wires.requests() <= 8, "{}", world.wires.requests());
}

#[test]
fn a_hit_needs_no_runtime() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap();
    let (world, key) = runtime.block_on(async {
        let world = ring(1, &renewing());
        let key = world.nodes[0].key("k");
        read(&world, 0, &key, ms(7_900)).await;
        sleep(ms(1_900)).await;
        (world, key)
    });
    // Its time to be renewed has come.
    let got = futures_util::FutureExt::now_or_never(world.nodes[0].group.get(&key));
    assert!(got.unwrap().unwrap().is_hit());
    assert_eq!(world.nodes[0].group.stats().renewals, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_told_that_the_key_failed_when_its_load_panicked() {
    let group = GroupOptions { stale_if_error: secs(60), ..plain() };
    let world = ring(2, &group);
    let key = world.nodes[1].key("k");
    world.nodes[1].group.get(&key).await.unwrap();
    sleep(secs(20)).await;
    world.origin.panics(1);
    // The owner's load panics, and the one here does not.
    let got = world.nodes[0].group.get(&key).await.unwrap();
    assert!(got.error().is_none() && got.age() < secs(1));
    let stats = world.nodes[0].group.stats();
    assert_eq!((stats.local_loads, stats.peer_errors), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_renews_nothing_is_asked_a_few_times_and_not_again_and_again() {
    // As a Go process.
    let group = |node| if node == 1 { plain() } else { renewing() };
    let world = world(2, TAKES, options(Mode::MailgunV2), group);
    let key = world.nodes[1].key("k");
    let seen = read(&world, 0, &key, secs(100)).await;
    assert!(seen.oldest < 10_000);
    let lives = world.origin.loads(&key).len() as u64;
    assert!(lives <= 11, "{lives}");
    assert!(world.wires.requests() <= 7 * lives, "{} of {lives}", world.wires.requests());
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_loaded_together_are_not_loaded_together_again() {
    let world = ring(1, &renewing());
    let keys: Vec<_> = world.nodes[0].keys("k").take(500).collect();
    let readers = keys.iter().map(|key| read(&world, 0, key, secs(11)));
    futures_util::future::join_all(readers).await;
    let mut second: Vec<_> = keys.iter().map(|key| world.origin.loads(key)[1]).collect();
    second.sort_unstable();
    assert!(second[0] >= 8_000 && second[499] <= 9_100, "{} {}", second[0], second[499]);
    let most = second
        .iter()
        .map(|from| second.iter().filter(|at| (*from..*from + 100).contains(at)).count())
        .max();
    assert!(most < Some(100), "{most:?} of 500 within 100 ms");
}

#[tokio::test(start_paused = true)]
async fn what_was_set_holds_until_it_expires() {
    for setter in 0..2 {
        let world = ring(2, &renewing());
        let key = world.nodes[0].key("k");
        let expiry = Expiry::after(world.clock.wall(), secs(5));
        world.nodes[setter]
            .group
            .set(&key, Bytes::from("77"), expiry, HotCopy::Keep)
            .await
            .unwrap();
        while world.clock.now().as_millis() < 4_990 {
            for node in &world.nodes {
                assert_eq!(node.group.get(&key).await.unwrap()[..], b"77"[..], "{setter}");
            }
            sleep(ms(10)).await;
        }
        sleep(ms(20)).await;
        assert_ne!(world.nodes[0].group.get(&key).await.unwrap()[..], b"77"[..]);
        assert_eq!(world.origin.loads(&key).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_or_removal_during_a_renewal_is_not_undone_by_it() {
    for is_set in [false, true] {
        let world = ring(2, &renewing());
        let key = world.nodes[1].key("k");
        read(&world, 0, &key, secs(7)).await;
        // By now it is renewed: the load has begun and has not landed.
        while world.origin.loads(&key).len() < 2 {
            world.nodes[0].group.get(&key).await.unwrap();
            sleep(ms(1)).await;
        }
        let began = world.clock.now().as_millis();
        if is_set {
            let set =
                world.nodes[0].group.set(&key, Bytes::from("9"), Expiry::NEVER, HotCopy::Drop);
            set.await.unwrap();
        } else {
            world.nodes[0].group.remove(&key).await.unwrap();
        }
        assert!(world.clock.now().as_millis() < began + 40, "within the load");
        sleep(ms(200)).await;
        for node in &world.nodes {
            let got = node.group.get(&key).await.unwrap();
            let value: u64 = std::str::from_utf8(&got).unwrap().parse().unwrap();
            // What the renewal brought is dropped; what came after the removal was loaded after it.
            assert!(if is_set { value == 9 } else { value >= began + 50 }, "{value} {began}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_for_renewals_a_few_times_and_the_value_lives_out_its_life() {
    let world = ring(1, &renewing());
    let key = world.nodes[0].key("k");
    read(&world, 0, &key, secs(5)).await;
    world.origin.fails(true);
    let seen = read(&world, 0, &key, ms(4_900)).await;
    assert!(seen.waits.is_empty() && seen.oldest >= 9_800);
    sleep(TAKES).await;
    let loads = world.origin.loads(&key).len();
    assert!((2..=9).contains(&loads), "{loads}");
    assert_eq!(world.nodes[0].group.stats().renewals_failed, loads as u64 - 1);
    sleep(ms(100)).await;
    assert!(world.nodes[0].group.get(&key).await.is_err(), "and no longer");
}

#[tokio::test(start_paused = true)]
async fn while_the_source_is_down_each_process_hands_out_what_it_has_and_says_how_old_it_is() {
    let group = GroupOptions { stale_if_error: secs(60), ..plain() };
    let world = ring(3, &group);
    let key = world.nodes[1].key("k");
    for node in [0, 1] {
        world.nodes[node].group.get(&key).await.unwrap();
    }
    world.origin.fails(true);
    sleep(secs(40)).await;
    for node in [0, 1] {
        let group = &world.nodes[node].group;
        assert!(group.peek(&key).is_none());
        let got = group.get(&key).await.unwrap();
        assert!(
            got.error().unwrap().to_string().contains("the source is down"),
            "{:?}",
            got.error()
        );
        assert!(got.age() >= secs(40) && got.age() < secs(41), "{:?}", got.age());
        assert!(got.expiry().is_past(world.clock.wall()) && !got.is_hit());
        assert_eq!(
            group.get_many(std::slice::from_ref(&key)).await[0].as_ref().unwrap()[..],
            got[..]
        );
        assert_eq!(group.stats().stale, 2);
    }
    // Who has nothing gets the owner's error: what has expired does not travel.
    let error = world.nodes[2].group.get(&key).await.unwrap_err();
    assert!(error.to_string().contains("the source is down"), "{error}");
    world.origin.fails(false);
    for node in &world.nodes {
        let got = node.group.get(&key).await.unwrap();
        assert!(got.error().is_none() && got.age() < secs(1));
    }
    // And no longer than that.
    world.origin.fails(true);
    sleep(secs(72)).await;
    for node in &world.nodes {
        assert!(node.group.get(&key).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_has_expired_is_handed_out_only_if_nobody_has_a_better_one() {
    let group = GroupOptions { stale_if_error: secs(60), ..plain() };
    let world = ring(2, &group);
    let key = world.nodes[1].key("k");
    world.nodes[0].group.get(&key).await.unwrap();
    sleep(secs(20)).await;
    // The owner is away, and the source is there.
    world.wires.cut(&world.nodes[1].url);
    let got = world.nodes[0].group.get(&key).await.unwrap();
    assert!(got.error().is_none() && got.age() < secs(1), "it is loaded here");
    // Nobody is there.
    world.origin.fails(true);
    sleep(secs(20)).await;
    let got = world.nodes[0].group.get(&key).await.unwrap();
    assert!(got.error().is_some() && got.age() >= secs(20) && got.age() < secs(21));
    // What was removed is not handed out, whatever happens.
    assert!(world.nodes[0].group.remove(&key).await.is_err(), "its owner is away");
    assert!(world.nodes[0].group.get(&key).await.is_err());
}

/// `cargo test -p larder-peers --test groups figures_of_renewal -- --ignored --nocapture`
#[tokio::test(start_paused = true)]
#[ignore = "it prints figures"]
async fn figures_of_renewal() {
    for (what, group) in [("not renewed", plain()), ("renewed", renewing())] {
        for (whose, node) in [("at the owner", 1), ("a copy", 0)] {
            let world = ring(3, &group);
            let key = world.nodes[1].key("k");
            let seen = read(&world, node, &key, secs(600)).await;
            let (waits, gets) = (seen.waits.len(), seen.gets);
            let share = 100.0 * f64::from(u32::try_from(waits).unwrap()) / f64::from(gets);
            let longest = seen.waits.iter().max().unwrap();
            let (loads, requests) = (world.origin.loads(&key).len(), world.wires.requests());
            println!(
                "| one key, {whose}, {what} | {waits} of {gets} ({share:.3} %) | {longest:?} | {loads} | {requests} |"
            );
        }
        let world = ring(1, &group);
        let keys: Vec<_> = world.nodes[0].keys("k").take(1_000).collect();
        let readers = keys.iter().map(|key| read(&world, 0, key, secs(60)));
        let seen = futures_util::future::join_all(readers).await;
        let waits: usize = seen.iter().map(|seen| seen.waits.len()).sum();
        let gets: u32 = seen.iter().map(|seen| seen.gets).sum();
        let mut at: Vec<_> =
            keys.iter().flat_map(|key| world.origin.loads(key)[1..].to_vec()).collect();
        at.sort_unstable();
        let ahead = |(n, from): (usize, &u64)| at[n..].partition_point(|at| *at < from + 50);
        let most = at.iter().enumerate().map(ahead).max().unwrap();
        let loads = world.origin.all_loads();
        println!("| 1,000 keys, {what} | {waits} of {gets} | {most} at a time | {loads} | |");
    }
}
