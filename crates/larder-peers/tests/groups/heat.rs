//! Which copies are kept.

use std::num::NonZeroU32;

use bytes::Bytes;
use larder_peers::{GroupError, GroupOptions, HotPolicy, Mode, Pool, PoolOptions};
use tokio::time::sleep;

use super::support::{Counting, options};
use super::wires::*;

fn ring(nodes: usize, mode: Mode, group: &GroupOptions) -> World {
    world(nodes, ms(1), options(mode), |_| group.clone())
}

fn by_rate(qps: f64) -> GroupOptions {
    GroupOptions { hot: HotPolicy::ByRate { qps }, ..GroupOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_kept_once_the_key_is_asked_for_often_by_whomever() {
    for mode in [Mode::MailgunV2, Mode::Golang, Mode::Native] {
        let world = ring(4, mode, &by_rate(1.0));
        let key = world.nodes[3].key("k");
        // Once a second at each of three nodes: more than one a second at the owner.
        let mut kept = Vec::new();
        for _ in 0..30 {
            for (node, at) in world.nodes[..3].iter().zip(0..) {
                node.group.get(&key).await.unwrap();
                if node.group.peek(&key).is_some() && !kept.contains(&at) {
                    kept.push(at);
                }
            }
            sleep(secs(1)).await;
        }
        assert_eq!(kept.len(), 3, "{mode:?}");
        let stats = world.nodes[0].group.stats();
        assert!(stats.peer_loads >= 3 && stats.peer_loads < 15, "{}", stats.peer_loads);
        assert_eq!(world.origin.loads(&key).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_copy_is_kept_of_what_is_rarely_asked_for() {
    for many in [false, true] {
        let world = ring(2, Mode::Native, &by_rate(1.0));
        let keys: Vec<_> = world.nodes[1].keys("k").take(300).collect();
        for key in &keys {
            if many {
                world.nodes[0].group.get_many(std::slice::from_ref(key)).await.remove(0).unwrap();
            } else {
                world.nodes[0].group.get(key).await.unwrap();
            }
            sleep(ms(100)).await;
        }
        let stats = world.nodes[0].group.stats();
        assert_eq!((stats.hot.items, stats.hot.bytes, stats.hot.rejected), (0, 0, 0), "{many}");
        assert_eq!((stats.peer_loads, stats.loads), (300, 300));
        // One of them becomes popular.
        for _ in 0..70 {
            world.nodes[0].group.get_many(&keys[..1]).await.remove(0).unwrap();
        }
        assert_eq!(world.nodes[0].group.stats().hot.items, 1, "{many}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_popular_copy_is_kept_again_after_it_has_expired_although_its_owner_was_not_asked() {
    let group = GroupOptions { ttl: secs(20), ..by_rate(1.0) };
    let world = ring(2, Mode::MailgunV2, &group);
    let key = world.nodes[1].key("k");
    for _ in 0..600 {
        world.nodes[0].group.get(&key).await.unwrap();
        sleep(ms(200)).await;
    }
    let requests = world.wires.requests();
    // Six lives of a copy, and the gets before the first.
    assert!(requests <= 6 + 11, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn of_one_in_ten_a_copy_is_kept_as_golang_does() {
    let hot = HotPolicy::OneIn(NonZeroU32::new(10).unwrap());
    let world = ring(2, Mode::Golang, &GroupOptions { hot, ..GroupOptions::default() });
    for key in world.nodes[1].keys("k").take(1_000) {
        world.nodes[0].group.get(&key).await.unwrap();
    }
    let items = world.nodes[0].group.stats().hot.items;
    assert!((60..150).contains(&items), "{items}");
}

#[tokio::test]
async fn a_rate_that_makes_no_sense_is_refused() {
    let pool =
        Pool::new("a", PoolOptions { mode: Mode::Native, ..PoolOptions::default() }).unwrap();
    for qps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = pool.group("g", Counting::default(), by_rate(qps)).unwrap_err();
        assert!(matches!(refused, GroupError::Options(range) if range.option == "hot.qps"));
    }
}

/// Uniform numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// Draws the rank of a key, with Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: u32) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.next() * self.0.last().unwrap();
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}

/// `cargo test -p larder-peers --test groups figures_of_heat -- --ignored --nocapture`
#[tokio::test(start_paused = true)]
#[ignore = "it prints figures"]
async fn figures_of_heat() {
    const KEYS: u32 = 20_000;
    let one_in_ten = HotPolicy::OneIn(NonZeroU32::new(10).unwrap());
    let policies = [
        ("always", HotPolicy::Always),
        ("one in ten", one_in_ten),
        ("by rate, 0.2", HotPolicy::ByRate { qps: 0.2 }),
        ("by rate, 1", HotPolicy::ByRate { qps: 1.0 }),
        ("by rate, 5", HotPolicy::ByRate { qps: 5.0 }),
    ];
    for max_bytes in [64 << 20, 256 << 10] {
        for (what, hot) in policies {
            let world =
                ring(4, Mode::Native, &GroupOptions { hot, max_bytes, ..GroupOptions::default() });
            let keys: Vec<_> = (0..KEYS).map(|n| Bytes::from(format!("user:{n:08}"))).collect();
            let (zipf, mut random) = (Zipf::new(KEYS), Random(7));
            // Two minutes, in which each node is asked 250 times a second; the second one counts.
            let mut before = (0, 0, 0);
            for half in 0..2 {
                for _ in 0..60 * 250 {
                    for node in &world.nodes {
                        node.group.get(&keys[zipf.draw(&mut random)]).await.unwrap();
                    }
                    sleep(ms(4)).await;
                }
                let stats: Vec<_> = world.nodes.iter().map(|node| node.group.stats()).collect();
                let hits: u64 = stats.iter().map(|stats| stats.hot.hits).sum();
                let now = (world.wires.requests(), hits, world.origin.all_loads());
                if half == 1 {
                    let hot_bytes: u64 = stats.iter().map(|stats| stats.hot.bytes).sum();
                    let items: u64 = stats.iter().map(|stats| stats.hot.items).sum();
                    let (requests, hits) = (now.0 - before.0, now.1 - before.1);
                    let share = 100 * hits / (hits + requests);
                    let loads = now.2 - before.2;
                    println!(
                        "| {what} | {max_bytes} | {requests} | {share} % | {items} | {hot_bytes} | {loads} |"
                    );
                }
                before = now;
            }
        }
    }
}
