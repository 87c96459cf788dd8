//! A hit: a get of what is in this process's memory.
//!
//! One thread asks for 1,000 keys of 32 bytes, with values of 100, again and again; figures are CPU time per get.
//! Larder's `get` is polled by hand, and hands out the value as `Bytes`; mailgun's fills a `ByteView`, the cheapest
//! of its sinks, and its process' CPU time has its garbage collector in it. Processes take turns.

use std::hint::black_box;

use larder_bench::golang::GoProgram;
use larder_bench::measure::{Contender, Samples, cpu_ns_per, interleave};
use larder_bench::table::{Table, aim};
use larder_bench::{child, now};
use larder_peers::{GroupOptions, Pool, PoolOptions};

use crate::node::{Made, key};

const KEYS: usize = 1_000;
const GETS: usize = 1_000_000;
const ROUNDS: usize = 5;
const TURNS: usize = 5;

/// Nanoseconds of a get and of a peek.
pub fn measure() -> [f64; 2] {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let _inside = runtime.enter();
    let pool = Pool::new("http://127.0.0.1:1", PoolOptions::default()).expect("it is valid");
    let group = pool.group("bench", Made, GroupOptions::default()).expect("it is valid");
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    runtime.block_on(group.get_many(&keys));
    let ask = |get: &dyn Fn(&String) -> usize| {
        let mut bytes = 0;
        let ns = cpu_ns_per(GETS, || {
            for turn in 0..GETS {
                bytes += get(black_box(&keys[turn * 31 % KEYS]));
            }
        });
        assert_eq!(bytes, GETS * 100, "every get found its value");
        ns
    };
    let mut contenders = [
        Contender::new("get", || ask(&|key| now(group.get(key)).map_or(0, |got| got.len()))),
        Contender::new("peek", || ask(&|key| group.peek(key).map_or(0, |got| got.len()))),
    ];
    interleave(ROUNDS, &mut contenders);
    contenders.map(|contender| contender.samples.median())
}

/// Prints the table; gives lines about the aims.
pub fn report(go: &GoProgram) -> Vec<String> {
    let [mut get, mut peek, mut mailgun] = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        let ours = child::numbers("hit");
        get.push(ours[0]);
        peek.push(ours[1]);
        let [_, median] = go.numbers(&format!("hit {KEYS}"));
        mailgun.push(median);
    }
    let rows = [("larder get", get), ("larder peek", peek), ("mailgun Get", mailgun)];
    let rows = rows.map(|(name, figures)| (name, figures.into_iter().collect::<Samples>()));
    println!("### A hit: {TURNS} turns, CPU time\n");
    let mut table = Table::new(&["ns", "min", "median", "mailgun ÷"]);
    let theirs = rows[2].1.median();
    for (name, samples) in &rows {
        let ratio = format!("{:.1}", theirs / samples.median());
        let figures = [samples.min(), samples.median()].map(|ns| format!("{ns:.1}"));
        table.row([(*name).to_owned()].into_iter().chain(figures).chain([ratio]));
    }
    println!("{table}");
    let ratio = theirs / rows[0].1.median();
    vec![aim("a hit, mailgun's ÷ larder get", ratio, ratio >= 5.0, "≥ 5")]
}
