//! Many keys at once from the other process, which has all of them in memory, in a native ring: `get_many` of 100
//! keys, one call at a time and eight. `node.rs` says how the client asks. Medians of turns of a second.

use larder_bench::child;
use larder_bench::measure::Samples;
use larder_bench::server::{Server, free_ports};
use larder_bench::table::{Table, aim};

const TURNS: usize = 5;
const MILLIS: usize = 1_000;
const AIM: f64 = 500_000.0;
/// How many keys a call asks for, and how many calls are in flight.
const CALLS: [(usize, usize); 4] = [(1, 1), (100, 1), (100, 8), (1_000, 1)];

/// Prints the table; gives lines about the aims.
pub fn report() -> Vec<String> {
    let [own, peer] = free_ports().map(|port| format!("http://127.0.0.1:{port}"));
    let _server = Server::itself("larder", &["serve", "native", &own, &peer]);
    let mut figures = [const { [const { Vec::new() }; 2] }; CALLS.len()];
    for _ in 0..TURNS {
        for ((keys, calls), figures) in CALLS.into_iter().zip(&mut figures) {
            let subject = format!("client native {peer} {own} {keys} {calls} {MILLIS}");
            let numbers = child::numbers(&subject);
            figures[0].push(numbers[0]);
            figures[1].push(numbers[2]);
        }
    }
    println!("### Many keys at once: {TURNS} turns of a second, medians\n");
    let mut table = Table::new(&["keys in a call", "calls in flight", "µs a call", "keys/s"]);
    let mut best = 0.0;
    for ((keys, calls), figures) in CALLS.into_iter().zip(figures) {
        let [micros, rate] = figures.map(|it| it.into_iter().collect::<Samples>().median());
        table.row([
            keys.to_string(),
            calls.to_string(),
            format!("{micros:.1}"),
            format!("{rate:.0}"),
        ]);
        if keys == 100 {
            best = rate.max(best);
        }
    }
    println!("{table}");
    vec![aim("get_many of 100 keys, keys/s", best, best >= AIM, "≥ 500,000")]
}
