//! A crowd: 10,000 tasks ask at once for a key that nobody has, 2,500 at each of four nodes with servers of their
//! own, whose source takes 50 ms. That there is one load is asserted, ten times with another key.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_bench::measure::Samples;
use larder_bench::table::{Table, aim};
use larder_cache::{Attempt, Fetched, Source};
use larder_peers::{Group, GroupOptions, Mode, Pool, PoolOptions, Serving};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const NODES: usize = 4;
const CALLERS: usize = 10_000;
const CROWDS: usize = 10;
const DELAY: Duration = Duration::from_millis(50);

/// Counts the loads of all nodes.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

impl Source for Slow {
    type Key = String;
    type Value = Bytes;
    type Error = Infallible;

    async fn fetch(&self, key: &String, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Infallible> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(DELAY).await;
        Ok(Fetched::value(Bytes::copy_from_slice(key.as_bytes())))
    }
}

/// A node with its server.
struct Node {
    pool: Pool,
    group: Group<Slow>,
    _serving: Serving,
}

async fn ring(mode: Mode, source: &Slow) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let pool = Pool::new(url, PoolOptions { mode, ..PoolOptions::default() });
        let pool = pool.expect("the options are valid");
        let group = pool.group("bench", source.clone(), GroupOptions::default());
        let serving = pool.serve(listener).expect("it listens");
        nodes.push(Node { pool, group: group.expect("the options are valid"), _serving: serving });
    }
    let names: Vec<_> = nodes.iter().map(|node| node.pool.identity().to_owned()).collect();
    for node in &nodes {
        node.pool.set_peers(&names).expect("they are peers");
    }
    nodes
}

/// How long a crowd waits for all to have the value.
async fn crowd(nodes: &[Node], key: &str) -> Duration {
    let barrier = Arc::new(Barrier::new(CALLERS + 1));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (group, barrier) = (nodes[caller % NODES].group.clone(), Arc::clone(&barrier));
        let key = key.to_owned();
        callers.spawn(async move {
            barrier.wait().await;
            let got = group.get(&key).await.expect("it is loaded");
            assert_eq!(got[..], *key.as_bytes(), "everybody gets it");
        });
    }
    barrier.wait().await;
    let began = Instant::now();
    callers.join_all().await;
    began.elapsed()
}

async fn crowds(mode: Mode) -> (usize, Samples) {
    let source = Slow::default();
    let nodes = ring(mode, &source).await;
    let mut took = Samples::default();
    for number in 0..CROWDS {
        took.push(crowd(&nodes, &format!("cold-{number}")).await.as_secs_f64() * 1e3);
    }
    for node in &nodes {
        node.pool.close().await;
    }
    let loads = source.0.load(Ordering::Relaxed);
    assert_eq!(loads, CROWDS, "one load for each crowd, in {mode:?}");
    (loads, took)
}

/// Prints the table; gives lines about the aims.
pub fn report() -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    println!(
        "### A crowd: {CALLERS} gets of a cold key at {NODES} nodes, whose source takes 50 ms\n"
    );
    let mut table = Table::new(&["", "loads", "of crowds", "ms until all have it", "most"]);
    let mut most = 0;
    for (name, mode) in [("mailgun ring", Mode::MailgunV2), ("native ring", Mode::Native)] {
        let (loads, took) = runtime.block_on(crowds(mode));
        most = most.max(loads);
        let figures = [took.median(), took.max()].map(|ms| format!("{ms:.0}"));
        let counts = [loads, CROWDS].map(|count| count.to_string());
        table.row([name.to_owned()].into_iter().chain(counts).chain(figures));
    }
    println!("{table}");
    let loads = most as f64 / CROWDS as f64;
    vec![aim("loads for 10,000 gets of a cold key", loads, most == CROWDS, "1")]
}
