//! A node as a process of its own: one that answers, and one that asks.
//!
//! The one that asks keeps nothing, as its group has no room, and asks for keys of the other alone: every get is
//! answered by the other process, from its memory. Both are as `#[tokio::main]` would have them on two cores.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_bench::measure::process_cpu;
use larder_cache::{Attempt, Fetched, Source};
use larder_peers::ring::Ring;
use larder_peers::{Group, GroupOptions, Mode, Pool, PoolOptions};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many keys are asked for again and again.
pub const KEYS: usize = 3_200;
const VALUE: &[u8; 100] = &[b'x'; 100];

/// Makes a value of any key.
pub struct Made;

impl Source for Made {
    type Key = String;
    type Value = Bytes;
    type Error = Infallible;

    async fn fetch(&self, _: &String, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, Infallible> {
        Ok(Fetched::value(Bytes::from_static(VALUE)))
    }
}

/// A key of 32 bytes.
pub fn key(number: usize) -> String {
    format!("{:032}", number * 7_919)
}

/// A number of a command line.
pub fn number(word: &str) -> usize {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime can be made")
}

fn mode(name: &str) -> Mode {
    Mode::named(name).unwrap_or_else(|| panic!("no mode is called {name}"))
}

fn pool(mode: Mode, own: &str, peer: &str) -> Pool {
    let pool = Pool::new(own, PoolOptions { mode, ..PoolOptions::default() });
    let pool = pool.expect("the options are valid");
    pool.set_peers([own, peer]).expect("they are peers");
    pool
}

fn group(pool: &Pool, max_bytes: u64) -> Group<Made> {
    let options = GroupOptions { max_bytes, ..GroupOptions::default() };
    pool.group("bench", Made, options).expect("the options are valid")
}

/// Answers the peer until it is killed.
pub fn serve(mode_name: &str, own: &str, peer: &str) -> ! {
    runtime().block_on(async {
        let pool = pool(mode(mode_name), own, peer);
        let _group = group(&pool, 64 << 20);
        let address = own.trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let _serving = pool.serve(listener).expect("it listens");
        println!("listening on {own}");
        std::future::pending::<()>().await;
    });
    unreachable!("it is killed")
}

/// The median and the 99th percentile of a call's microseconds, keys a second, and microseconds of CPU time for each
/// key: by calls for so many keys at once, so many in flight.
pub fn client(
    mode_name: &str,
    own: &str,
    peer: &str,
    batch: usize,
    in_flight: usize,
    millis: usize,
) -> [f64; 4] {
    let mode = mode(mode_name);
    let names = [own, peer];
    let ring = Ring::new(mode, 50, None, &names);
    let remote = (0..).map(key).filter(|key| ring.owner(key.as_bytes()) == Some(1));
    let keys: Vec<String> = remote.take(KEYS).collect();
    runtime().block_on(async {
        let pool = pool(mode, own, peer);
        let group = group(&pool, 0);
        for got in group.get_many(&keys).await {
            assert_eq!(got.expect("it is made")[..], VALUE[..], "the peer loads it");
        }
        let before = group.stats();
        assert_eq!(before.local_loads, 0, "every key is the peer's");
        let mut callers = JoinSet::new();
        let (began, used) = (Instant::now(), process_cpu());
        let end = began + Duration::from_millis(millis as u64);
        // Each has keys of its own: of two who ask for one at once, only one would reach the peer.
        for part in keys.chunks(KEYS / in_flight).take(in_flight) {
            let (group, part) = (group.clone(), part.to_vec());
            callers.spawn(async move { call(&group, &part, batch, end).await });
        }
        let mut took: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
        let (total, used) = (began.elapsed(), process_cpu().saturating_sub(used));
        let after = group.stats();
        assert_eq!(after.local_loads + after.cache_hits, 0, "nothing came from here");
        let arrived = after.peer_loads - before.peer_loads;
        assert_eq!(arrived, (took.len() * batch) as u64, "each get is an answer of the peer");
        took.sort_unstable();
        let micros = |rank: usize| took[rank].as_secs_f64() * 1e6;
        let asked = (took.len() * batch) as f64;
        let (rate, cpu) = (asked / total.as_secs_f64(), used.as_secs_f64() * 1e6 / asked);
        [micros(took.len() / 2), micros(took.len() * 99 / 100), rate, cpu]
    })
}

/// How long each call took, until `end`.
async fn call(group: &Group<Made>, keys: &[String], batch: usize, end: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    for part in keys.chunks_exact(batch).cycle() {
        let before = Instant::now();
        if before > end {
            break;
        }
        if let [key] = part {
            let got = group.get(key).await.expect("the peer answers");
            assert_eq!(got.len(), VALUE.len());
        } else {
            let all = group.get_many(part).await;
            assert!(all.into_iter().all(|got| got.is_ok_and(|got| got.len() == VALUE.len())));
        }
        took.push(before.elapsed());
    }
    took
}
