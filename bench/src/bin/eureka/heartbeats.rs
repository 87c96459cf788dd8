//! Heartbeats of 10,000 instances.

use std::sync::Arc;

use larder_bench::http::{rate, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::{CONNECTIONS, TIME, fill, path};

const INSTANCES: usize = 10_000;

pub(crate) async fn table() {
    let beats = (0..INSTANCES).map(|number| {
        let path = format!("{}?status=UP", path(number));
        request("PUT", &path, "accept: application/json\r\n")
    });
    let beats: Arc<Vec<_>> = Arc::new(beats.collect());
    let mut rates = Vec::new();
    let starts: [fn() -> Server; 3] =
        [Server::larder, || Server::spring(&[]), || Server::itself("static", &["stationary", "1"])];
    for start in starts {
        let server = start();
        if server.name != "static" {
            fill(server.address, INSTANCES).await;
        }
        // Once for those that learn while they run.
        rate(server.address, CONNECTIONS, TIME, beats.clone(), 200).await;
        rates.push(rate(server.address, CONNECTIONS, TIME, beats.clone(), 200).await);
    }
    let mut table = Table::new(&["heartbeats a second", "Larder", "Spring Cloud", "static", "×"]);
    let (ours, theirs, fixed) = (rates[0], rates[1], rates[2]);
    table.row([
        format!("{INSTANCES} instances"),
        format!("{ours:.0}"),
        format!("{theirs:.0}"),
        format!("{fixed:.0}"),
        format!("{:.1}", ours / theirs),
    ]);
    println!("{table}");
    println!("{}", aim("heartbeats, × Spring", ours / theirs, ours >= 5.0 * theirs, "≥ 5"));
    println!("{}", aim("heartbeats, static ÷", fixed / ours, fixed <= 1.5 * ours, "≤ 1.5"));
    println!("{}\n", aim("heartbeats a second", ours, ours >= 50_000.0, "≥ 50,000"));
}
