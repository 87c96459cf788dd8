//! A get from the other process, which has the value in memory: each family asks itself and the other one.
//!
//! Two processes over loopback in a mailgun ring, keys of 32 bytes and values of 100; `node.rs` says how the client
//! asks. One get at a time, and 32 in flight. The four pairs take turns, a second each; medians of the turns. Go's
//! client keeps as many connections as it opens, where by itself it keeps two. CPU time is both processes', with the
//! kernel's on their behalf; other programs disturb it least.

use std::path::Path;

use larder_bench::child;
use larder_bench::golang::GoProgram;
use larder_bench::measure::Samples;
use larder_bench::server::{Server, free_ports};
use larder_bench::table::{Table, aim};

use crate::node::KEYS;

const TURNS: usize = 7;
const MILLIS: usize = 1_000;
const IN_FLIGHT: [usize; 2] = [1, 32];
const MODE: &str = "mailgun-v2";

/// A client and the server that it asks.
struct Pair<'a> {
    name: &'static str,
    /// Go's program, or none for this one.
    client: Option<&'a Path>,
    server: &'a Listening,
    /// For each of `IN_FLIGHT`: medians, 99th percentiles, gets a second, microseconds of CPU time a get.
    figures: [[Vec<f64>; 4]; 2],
}

struct Listening {
    own: String,
    peer: String,
    process: Server,
}

fn listening(go: Option<&Path>) -> Listening {
    let [own, peer] = free_ports().map(|port| format!("http://127.0.0.1:{port}"));
    let process = match go {
        Some(program) => Server::program("mailgun", program, &["serve", &own, &peer]),
        None => Server::itself("larder", &["serve", MODE, &own, &peer]),
    };
    Listening { own, peer, process }
}

impl<'a> Pair<'a> {
    fn new(name: &'static str, client: Option<&'a Path>, server: &'a Listening) -> Self {
        Self { name, client, server, figures: Default::default() }
    }

    fn measure(&mut self) {
        for (in_flight, figures) in IN_FLIGHT.into_iter().zip(&mut self.figures) {
            let Listening { own, peer, process } = self.server;
            let before = process.cpu();
            let mut numbers = if let Some(go) = self.client {
                let subject = format!("client {peer} {own} {KEYS} {in_flight} {MILLIS}");
                child::numbers_of(go, &subject)
            } else {
                let subject = format!("client {MODE} {peer} {own} 1 {in_flight} {MILLIS}");
                child::numbers(&subject)
            };
            let used = process.cpu().saturating_sub(before).as_secs_f64() * 1e6;
            // The server has answered each key once before the client counted.
            numbers[3] += used / (numbers[2] * MILLIS as f64 / 1e3 + KEYS as f64);
            for (figures, number) in figures.iter_mut().zip(numbers) {
                figures.push(number);
            }
        }
    }

    fn median(&self, in_flight: usize, figure: usize) -> f64 {
        self.figures[in_flight][figure].iter().copied().collect::<Samples>().median()
    }
}

/// Prints the table; gives lines about the aims.
pub fn report(go: &GoProgram) -> Vec<String> {
    let (larder, mailgun) = (listening(None), go.path().map(|go| listening(Some(go))));
    let mut pairs = vec![Pair::new("larder → larder", None, &larder)];
    if let (Some(go), Some(mailgun)) = (go.path(), &mailgun) {
        pairs.push(Pair::new("mailgun → mailgun", Some(go), mailgun));
        pairs.push(Pair::new("larder → mailgun", None, mailgun));
        pairs.push(Pair::new("mailgun → larder", Some(go), &larder));
    }
    for _ in 0..TURNS {
        pairs.iter_mut().for_each(Pair::measure);
    }
    println!("### A get from the other process: {TURNS} turns of a second, medians\n");
    let heading =
        ["", "µs, 1 at a time", "99th", "gets/s", "CPU µs", "µs, 32", "99th", "gets/s", "CPU µs"];
    let mut table = Table::new(&heading);
    for pair in &pairs {
        let figures = [0, 1].into_iter().flat_map(|in_flight| {
            [0, 1, 2, 3].map(|figure| {
                let digits = usize::from(figure != 2);
                format!("{:.digits$}", pair.median(in_flight, figure))
            })
        });
        table.row([pair.name.to_owned()].into_iter().chain(figures));
    }
    println!("{table}");
    aims(&pairs)
}

fn aims(pairs: &[Pair<'_>]) -> Vec<String> {
    let p50 = pairs[0].median(0, 0);
    let mut aims = vec![aim("larder → larder, one at a time, µs", p50, p50 <= 18.0, "≤ 18")];
    let Some((mailgun, mixed)) = pairs[1..].split_first() else { return aims };
    let ratio =
        |pair: &Pair<'_>, in_flight| pair.median(in_flight, 2) / mailgun.median(in_flight, 2);
    let ours = ratio(&pairs[0], 1);
    aims.push(aim("32 in flight, gets/s ÷ mailgun's", ours, ours >= 3.0, "≥ 3"));
    for pair in mixed {
        for (in_flight, gets) in IN_FLIGHT.into_iter().enumerate() {
            let what = format!("{}, {gets} in flight, gets/s ÷ mailgun's", pair.name);
            let mixed = ratio(pair, in_flight);
            aims.push(aim(&what, mixed, mixed >= 1.0, "≥ 1"));
        }
    }
    aims
}
