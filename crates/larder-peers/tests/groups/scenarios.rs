//! Random lives of a ring: nodes that stop answering and come back, values that change and are removed. Who
//! was told of a removal never hands out what was removed, and once nobody has anything left to hear, nobody
//! does.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_cache::{Attempt, Fetched, Source};
use larder_peers::{
    Expiry, Group, GroupOptions, Hedge, HotCopy, HotPolicy, Mode, Pool, PoolOptions, Serving,
    WriteError,
};
use tokio::net::TcpListener;

use super::support::until_within;

/// Brings the number of the last change.
#[derive(Clone, Default)]
struct Versions(Arc<AtomicU64>);

impl Source for Versions {
    type Key = String;
    type Value = String;
    type Error = Infallible;

    async fn fetch(&self, _: &String, _: Attempt<String>) -> Result<Fetched<String>, Infallible> {
        Ok(Fetched::value(self.0.load(Ordering::SeqCst).to_string()))
    }
}

struct Node {
    url: String,
    pool: Pool,
    group: Group<Versions>,
    serving: Option<Serving>,
}

impl Node {
    async fn read(&self, key: &String) -> u64 {
        let got = self.group.get_within(key, Duration::from_secs(5)).await;
        got.expect("no get hangs or fails").parse().unwrap()
    }

    async fn toggle(&mut self) {
        if let Some(serving) = self.serving.take() {
            return serving.stop(Duration::ZERO).await;
        }
        let address = self.url.trim_start_matches("http://");
        for _ in 0..100 {
            if let Ok(listener) = TcpListener::bind(address).await {
                self.serving = Some(self.pool.serve(listener).unwrap());
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the address is taken");
    }
}

/// All that goes beyond Go's groups and may bring an older value where it should not.
fn beyond() -> (PoolOptions, GroupOptions) {
    let ms = Duration::from_millis;
    let pool =
        PoolOptions { mode: Mode::Native, hedge: Hedge::After(ms(1)), ..PoolOptions::default() };
    let group = GroupOptions {
        ttl: ms(150),
        renew_ahead: ms(70),
        stale_if_error: ms(200),
        hot: HotPolicy::ByRate { qps: 0.3 },
        ..GroupOptions::default()
    };
    (pool, group)
}

fn plain() -> (PoolOptions, GroupOptions) {
    (PoolOptions { mode: Mode::Native, ..PoolOptions::default() }, GroupOptions::default())
}

/// Each life has addresses of its own: the port of a node that is away may be given to somebody else's node, who
/// would answer in its place.
async fn nodes(life: u64, versions: &Versions, options: &(PoolOptions, GroupOptions)) -> Vec<Node> {
    let mut nodes = Vec::new();
    for n in 1..=4 {
        let listener = TcpListener::bind(format!("127.7.{life}.{n}:0")).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pool = Pool::new(&url, options.0.clone()).unwrap();
        let group = pool.group("g", versions.clone(), options.1.clone()).unwrap();
        let serving = Some(pool.serve(listener).unwrap());
        nodes.push(Node { url, pool, group, serving });
    }
    let urls: Vec<_> = nodes.iter().map(|node| node.url.clone()).collect();
    for node in &nodes {
        node.pool.set_peers(urls.clone()).unwrap();
    }
    nodes
}

/// `SplitMix64`: the seed is all that it takes to see a scenario again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % sides as u64).unwrap()
    }
}

/// What each node may still hand out of one key.
struct Promise {
    /// The last change.
    version: u64,
    /// Those that may not have heard of it.
    missed: HashSet<String>,
}

async fn live(seed: u64, steps: usize, options: (PoolOptions, GroupOptions)) {
    let (versions, mut dice) = (Versions::default(), Dice(seed));
    let mut nodes = nodes(seed, &versions, &options).await;
    let keys: Vec<_> = (0..3).map(|n| format!("key-{n}")).collect();
    let mut promises: Vec<_> =
        keys.iter().map(|_| Promise { version: 0, missed: HashSet::new() }).collect();
    // What happened, to be told if it ends badly.
    let mut log: Vec<String> = Vec::new();
    for step in 0..steps {
        let (at, which) = (dice.throw(nodes.len()), dice.throw(keys.len()));
        let (node, key, promise) = (&nodes[at], &keys[which], &mut promises[which]);
        match dice.throw(10) {
            0 => {
                nodes[at].toggle().await;
                log.push(format!("{step}: {at} answers: {}", nodes[at].serving.is_some()));
            }
            1 | 2 => {
                promise.version = versions.0.fetch_add(1, Ordering::SeqCst) + 1;
                promise.missed = match node.group.remove(key).await {
                    Ok(()) => HashSet::new(),
                    Err(WriteError::Missed(missed)) => {
                        missed.into_iter().map(|missed| missed.peer).collect()
                    }
                    Err(other) => panic!("seed {seed}: {other}"),
                };
                let (version, missed) = (promise.version, &promise.missed);
                log.push(format!("{step}: {at} removes {key} at {version}, missed by {missed:?}"));
            }
            3 => {
                let version = versions.0.fetch_add(1, Ordering::SeqCst) + 1;
                let value = version.to_string();
                let set = node.group.set(key, value, Expiry::NEVER, HotCopy::Keep).await;
                log.push(format!("{step}: {at} sets {key} to {version}: {set:?}"));
                if set.is_ok() {
                    promise.version = version;
                    // A set does not say who could not be told.
                    let others = nodes.iter().map(|node| &node.url);
                    let owner = node.pool.owner(key.as_bytes());
                    let missed = others.filter(|url| **url != node.url && **url != owner);
                    promise.missed = missed.cloned().collect();
                }
            }
            _ => {
                let read = node.read(key).await;
                let told = !promise.missed.contains(&node.url);
                let about = || {
                    let owner = node.pool.owner(key.as_bytes());
                    let log = log.join("\n");
                    format!(
                        "seed {seed}, step {step}: {} read {read} of {key} of {owner}\n{log}",
                        node.url
                    )
                };
                assert!(!told || read >= promise.version, "{}", about());
            }
        }
    }
    for node in &mut nodes {
        if node.serving.is_none() {
            node.toggle().await;
        }
    }
    for node in &nodes {
        // They back off for up to ten seconds.
        let patience = Duration::from_secs(40);
        until_within(patience, async || node.pool.retries().pending == 0).await;
    }
    for (key, promise) in keys.iter().zip(&promises) {
        for node in &nodes {
            assert!(node.read(key).await >= promise.version, "seed {seed}: in the end");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_told_of_a_removal_never_hands_out_what_was_removed() {
    let lives = (0..24).map(|seed| live(seed, 80, plain()));
    futures_util::future::join_all(lives).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_does_who_renews_hedges_and_keeps_copies_by_rate() {
    let lives = (100..124).map(|seed| live(seed, 80, beyond()));
    futures_util::future::join_all(lives).await;
}
