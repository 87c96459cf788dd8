//! An agent that is down while a thousand reads a second go on, and comes back changed.
//!
//! The agent itself runs on, behind a gate that refuses connections and has closed those that were there. So
//! it can be changed meanwhile, and the gate counts what arrives once it is open again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_bench::consul::{fill, mark, passing, register, seen};
use larder_bench::gate::{Gate, Query};
use larder_bench::http::{Connection, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const KEYS: usize = 100;
const READERS: usize = 10;
/// Of each reader.
const READS_A_SECOND: u32 = 100;
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(10);

/// One read.
#[derive(Debug, Clone, Copy)]
struct Read {
    key: usize,
    at: Instant,
    took: Duration,
    status: u16,
    age: Option<u64>,
    /// It says what the agent was told while it was down.
    is_new: bool,
}

/// What an outage was like.
struct Outage {
    reads: Vec<Read>,
    queries: Vec<Query>,
    shut: Instant,
    opened: Instant,
}

fn service(number: usize) -> String {
    format!("service-{number:03}")
}

fn question(key: usize) -> Vec<u8> {
    let headers = "cache-control: max-age=2, stale-if-error=86400\r\n";
    request("GET", &format!("{}&cached", passing(&service(key))), headers)
}

/// Reads one key after the other until it is over.
async fn reader(address: SocketAddr, first: usize, over: Arc<AtomicBool>) -> Vec<Read> {
    let mut connection = Connection::open(address).await;
    let mut tick = interval(Duration::from_secs(1) / READS_A_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut reads = Vec::new();
    let questions: Vec<Vec<u8>> = (0..KEYS).map(question).collect();
    let new = mark(1);
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        tick.tick().await;
        let (key, began) = ((first + round) % KEYS, Instant::now());
        let reply = connection.ask(&questions[key]).await;
        let age = reply.header("age").and_then(|age| age.parse().ok());
        let (status, is_new) = (reply.status, reply.count(&new) > 0);
        let at = Instant::now();
        reads.push(Read { key, at, took: at - began, status, age, is_new });
    }
    reads
}

async fn outage(agent: &Server, down: Duration) -> Outage {
    fill(agent.address, &(0..KEYS).map(service).collect::<Vec<_>>(), 1).await;
    let mut gate = Gate::before(agent.address).await;
    let larder = crate::before(gate.address);
    let mut connection = Connection::open(larder.address).await;
    for key in 0..KEYS {
        assert_eq!(connection.call(&question(key)).await.status, 200, "of {}", service(key));
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        readers.spawn(reader(larder.address, number * KEYS / READERS, over.clone()));
    }
    tokio::time::sleep(BEFORE).await;
    gate.shut().await;
    let shut = Instant::now();
    tokio::time::sleep(down / 2).await;
    let mut changing = Connection::open(agent.address).await;
    for key in 0..KEYS {
        assert_eq!(changing.call(&register(&service(key), 0, 1)).await.status, 200);
    }
    seen(agent.address, &service(KEYS - 1), 1).await;
    tokio::time::sleep(down.saturating_sub(shut.elapsed())).await;
    // Before it opens: what comes at once has come after this.
    let opened = Instant::now();
    gate.open().await;
    tokio::time::sleep(AFTER).await;
    over.store(true, Ordering::Relaxed);
    let reads = readers.join_all().await.into_iter().flatten().collect();
    Outage { reads, queries: gate.queries(), shut, opened }
}

impl Outage {
    fn during(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(|read| read.at >= self.shut && read.at < self.opened)
    }

    /// The greatest difference of an age from the time since the agent was heard of, in seconds; infinite if
    /// there was an answer without an age.
    fn age_error(&self) -> f64 {
        let differences = self.during().map(|read| {
            let age = read.age.map_or(f64::INFINITY, |age| age as f64);
            (age - (read.at - self.shut).as_secs_f64()).abs()
        });
        differences.fold(0.0, f64::max)
    }

    /// Seconds until every key was fresh. Each is read every tenth of a second.
    fn converged(&self) -> f64 {
        let all = (0..KEYS).map(|key| self.fresh(key).map(|at| (at - self.opened).as_secs_f64()));
        all.map(|at| at.unwrap_or(f64::INFINITY)).fold(0.0, f64::max)
    }

    /// When a key was first seen fresh.
    fn fresh(&self, key: usize) -> Option<Instant> {
        let new = self.reads.iter().filter(|read| read.key == key && read.is_new);
        new.map(|read| read.at).min()
    }

    /// The most queries for one key that came until the first of them was answered, and until it was fresh.
    /// Among the latter is the one that then waits for the next change. What Larder asks for itself is about
    /// all instances, and not counted.
    fn queries_of_a_key(&self) -> (usize, usize) {
        let (mut first, mut whole) = (0, 0);
        for key in 0..KEYS {
            let resource = format!("/v1/health/service/{}", service(key));
            let came = self.queries.iter().filter(|query| query.came >= self.opened);
            let of_it: Vec<&Query> = came
                .filter(|query| query.resource() == resource && query.path.contains("passing"))
                .collect();
            let answered = of_it.iter().filter_map(|query| query.answered).min();
            let until = |end: Option<Instant>| {
                of_it.iter().filter(|query| end.is_some_and(|end| query.came <= end)).count()
            };
            first = first.max(until(answered));
            whole = whole.max(until(self.fresh(key)));
        }
        (first, whole)
    }

    fn slowest(&self, share: f64) -> f64 {
        let mut took: Vec<Duration> = self.during().map(|read| read.took).collect();
        took.sort();
        let place = ((took.len() - 1) as f64 * share).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let slow = took[place as usize];
        slow.as_secs_f64() * 1e3
    }
}

pub(crate) async fn table(is_long: bool) {
    let down = Duration::from_secs(if is_long { 300 } else { 20 });
    let title = format!("agent down for {} s, 1,000 reads a second", down.as_secs());
    let heading = [title.as_str(), "reads", "p99 ms", "most ms", "age off by s", "fresh after s"];
    let mut table = Table::new(&heading);
    let mut aims = Vec::new();
    for agent in crate::agents().await {
        let outage = outage(&agent, down).await;
        let name = format!("Larder before {}", agent.name);
        let (off, fresh) = (outage.age_error(), outage.converged());
        table.row([
            name.clone(),
            outage.during().count().to_string(),
            format!("{:.2}", outage.slowest(0.99)),
            format!("{:.1}", outage.slowest(1.0)),
            format!("{off:.2}"),
            format!("{fresh:.2}"),
        ]);
        let failed = outage.reads.iter().filter(|read| read.status != 200).count();
        aims.push(aim(&format!("{name}: not answered 200"), failed as f64, failed == 0, "0"));
        aims.push(aim(&format!("{name}: age off by seconds"), off, off <= 2.0, "≤ 2"));
        aims.push(aim(&format!("{name}: all fresh after seconds"), fresh, fresh <= 2.0, "≤ 2"));
        let (first, whole) = outage.queries_of_a_key();
        let what = format!("{name}: queries of a key until it was fresh");
        aims.push(aim(&what, first as f64, first <= 1, "≤ 1"));
        aims.push(format!("       with the one that waits for the next change: {whole}"));
    }
    println!("{table}");
    for aim in aims {
        println!("{aim}");
    }
    println!();
}
