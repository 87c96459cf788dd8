//! Owners that are slow, and are asked a second time.

use std::time::Duration;

use bytes::Bytes;
use larder_peers::{Expiry, GroupOptions, Hedge, HotCopy, Mode, PoolOptions};

use super::support::options;
use super::wires::*;

/// Nothing is kept, so that each get is a request.
fn ring(nodes: usize, pool: PoolOptions) -> World {
    world(nodes, Duration::ZERO, pool, |_| GroupOptions { max_bytes: 0, ..GroupOptions::default() })
}

fn hedged(hedge: Hedge) -> PoolOptions {
    PoolOptions { hedge, ..options(Mode::MailgunV2) }
}

async fn get(world: &World, key: &Bytes) -> Duration {
    let began = world.clock.uptime();
    world.nodes[0].group.get(key).await.unwrap();
    world.clock.uptime().saturating_sub(began)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_overtaken_by_a_second_one_and_harms_nobody() {
    let world = ring(2, hedged(Hedge::After(ms(5))));
    let key = world.nodes[1].key("k");
    world.wires.pauses(|_, nth| if nth == 0 { secs(60) } else { Duration::ZERO });
    let took = get(&world, &key).await;
    assert!(took >= ms(5) && took < ms(8), "{took:?}");
    let stats = world.nodes[0].group.stats();
    assert_eq!(
        (stats.hedges, stats.hedges_won, stats.peer_errors, stats.loads_deduped),
        (1, 1, 0, 1)
    );
    assert_eq!((world.wires.requests(), world.wires.connections()), (2, 2));
    assert!(world.nodes[0].pool.resting().is_empty());
    for _ in 0..20 {
        assert!(get(&world, &key).await < ms(2));
    }
    assert_eq!(
        (world.wires.requests(), world.wires.connections()),
        (22, 2),
        "the other connection is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_twice_unless_it_was_asked_for_and_a_write_never_is() {
    for hedge in [Hedge::Off, Hedge::After(ms(5))] {
        let world = ring(2, hedged(hedge));
        let key = world.nodes[1].key("k");
        world.wires.pauses(|_, _| ms(50));
        world.nodes[0]
            .group
            .set(&key, Bytes::from("v"), Expiry::NEVER, HotCopy::Drop)
            .await
            .unwrap();
        world.nodes[0].group.remove(&key).await.unwrap();
        assert_eq!(world.wires.requests(), 2);
        assert!(get(&world, &key).await >= ms(50));
        let asked = if hedge == Hedge::Off { 1 } else { 2 };
        assert_eq!(world.wires.requests(), 2 + asked, "{hedge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_slow_altogether_gets_five_in_a_hundred_more() {
    let world = ring(2, hedged(Hedge::After(ms(5))));
    let key = world.nodes[1].key("k");
    world.wires.pauses(|_, _| ms(50));
    for _ in 0..1_000 {
        get(&world, &key).await;
    }
    let more = world.wires.requests() - 1_000;
    assert!((50..=60).contains(&more), "{more}");
    assert_eq!(world.nodes[0].group.stats().hedges, more);
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_what_the_peers_own_answers_say() {
    let world = ring(2, hedged(Hedge::Slowest { at_least: ms(2) }));
    let key = world.nodes[1].key("k");
    world.wires.pauses(|_, nth| if nth == 100 { secs(1) } else { ms(10) });
    for _ in 0..100 {
        get(&world, &key).await;
    }
    assert_eq!(world.wires.requests(), 100);
    let took = get(&world, &key).await;
    assert!(took >= ms(20) && took < ms(26), "{took:?}");
    assert_eq!(world.wires.requests(), 102);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_does_not_go_to_the_next_owner_who_may_have_missed_a_removal() {
    let world = ring(3, PoolOptions { second_owner: true, ..hedged(Hedge::After(ms(5))) });
    let slow = world.nodes[1].url.trim_start_matches("http://").to_owned();
    world.wires.pauses(move |to, _| if to == slow { secs(1) } else { Duration::ZERO });
    for key in world.nodes[1].keys("k").take(20) {
        assert!(get(&world, &key).await >= secs(1));
    }
    assert!(world.nodes[0].group.stats().hedges > 0);
    assert_eq!(world.nodes[2].group.stats().server_requests, 0);
}

/// `cargo test -p larder-peers --test groups figures_of_hedging -- --ignored --nocapture`
#[tokio::test(start_paused = true)]
#[ignore = "it prints figures"]
async fn figures_of_hedging() {
    let slowest = Hedge::Slowest { at_least: ms(2) };
    for (what, hedge) in [
        ("off", Hedge::Off),
        ("after 5 ms", Hedge::After(ms(5))),
        ("after the slowest 5 %", slowest),
    ] {
        let world = ring(4, PoolOptions { mode: Mode::Native, ..hedged(hedge) });
        let pausing = world.nodes[1].url.trim_start_matches("http://").to_owned();
        // One of four pauses for 50 ms in two of a hundred requests; else an answer takes a millisecond.
        world.wires.pauses(move |to, nth| {
            let mixed = (nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
            if to == pausing && mixed % 50 == 0 { ms(50) } else { ms(1) }
        });
        let (mut all, mut of_one) = (Vec::new(), Vec::new());
        for n in 0..30_000 {
            let key = Bytes::from(format!("user:{n}"));
            let owner = world.nodes[0].pool.owner(&key);
            if owner == world.nodes[0].url {
                continue;
            }
            let took = get(&world, &key).await;
            all.push(took);
            if owner == world.nodes[1].url {
                of_one.push(took);
            }
        }
        let gets = all.len() as u64;
        let at = |times: &mut Vec<Duration>, per_mille: usize| {
            times.sort_unstable();
            times[times.len() * per_mille / 1_000]
        };
        let more = world.wires.requests() - gets;
        let hedges = world.nodes[0].group.stats().hedges;
        println!(
            "| {what} | {:?} | {:?} | {:?} | {:?} | {more} of {gets} ({hedges}) |",
            at(&mut of_one, 500),
            at(&mut of_one, 990),
            at(&mut all, 990),
            at(&mut all, 999),
        );
    }
}
