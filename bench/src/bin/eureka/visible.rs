//! How soon somebody who reads sees what somebody else has registered.

use std::time::{Duration, Instant};

use larder_bench::http::{Connection, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::{fill, register};

const ROUNDS: usize = 500;

/// Milliseconds from the answer to a registration until a read shows it, sorted.
async fn times(server: &Server, rounds: usize) -> Vec<f64> {
    fill(server.address, 1_000).await;
    let mut writer = Connection::open(server.address).await;
    let mut reader = Connection::open(server.address).await;
    let read = |number: usize| {
        let app = larder_bench::eureka::instance(number).service;
        request("GET", &format!("/eureka/apps/{app}"), "accept: application/json\r\n")
    };
    let mut times = Vec::new();
    for round in 0..rounds {
        let number = 1_000 + round;
        let before = reader.call(&read(number)).await;
        let before = if before.status == 200 { before.bytes } else { 0 };
        let registered = writer.call(&register(number)).await;
        assert_eq!(registered.status, 204);
        let began = Instant::now();
        loop {
            let seen = reader.call(&read(number)).await;
            if seen.status == 200 && seen.bytes > before {
                break;
            }
            if began.elapsed() > Duration::from_millis(100) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times
}

pub(crate) async fn table() {
    let ours = times(&Server::larder(), ROUNDS).await;
    let theirs = times(&Server::spring(&[]), 3).await;
    let mut table = Table::new(&["ms from registered to seen", "median", "p99", "most"]);
    for (name, times) in [("Larder", &ours), ("Spring Cloud", &theirs)] {
        table.row([
            name.to_owned(),
            format!("{:.2}", times[times.len() / 2]),
            format!("{:.2}", times[times.len() * 99 / 100]),
            format!("{:.2}", times[times.len() - 1]),
        ]);
    }
    println!("{table}");
    let p99 = ours[ours.len() * 99 / 100];
    println!("{}\n", aim("registered to seen, p99 in ms", p99, p99 <= 5.0, "≤ 5"));
}
