//! A registry of 10,000 that changes all the time: 100 changes a second of 200 instances, 330 reads of the
//! delta and 330 heartbeats a second, as clients do by themselves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use larder_bench::eureka::instance;
use larder_bench::http::{Connection, post, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};
use larder_eureka::wire::json::registration;
use tokio::task::JoinSet;

use crate::{fill, path};

const INSTANCES: usize = 10_000;
const CHANGING: usize = 200;
const TIME: Duration = Duration::from_secs(20);

/// The registration of the `number`th instance, which has changed in this round.
pub(crate) fn changed(number: usize, round: usize) -> Vec<u8> {
    let mut instance = instance(number);
    instance.metadata.insert("round".to_owned(), round.to_string());
    instance.dirty_at += round as u64 + 1;
    post(&format!("/eureka/apps/{}", instance.service), &registration(&instance))
}

/// Asks so often a second, for the whole time.
async fn pace(address: SocketAddr, a_second: u32, next: impl Fn(usize) -> Vec<u8>) {
    let mut connection = Connection::open(address).await;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / a_second);
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < TIME {
        tick.tick().await;
        let answer = connection.call(&next(round)).await;
        assert!(answer.status < 300, "{} in round {round}", answer.status);
        round += 1;
    }
}

/// The share of a core that it takes, in percent.
async fn load(server: &Server) -> f64 {
    fill(server.address, INSTANCES).await;
    let address = server.address;
    let before = server.cpu();
    let began = Instant::now();
    let mut asking = JoinSet::new();
    asking.spawn(pace(address, 100, |round| changed(round % CHANGING * 50, round)));
    for _ in 0..3 {
        let headers = "accept: application/json\r\naccept-encoding: gzip\r\n";
        let delta = request("GET", "/eureka/apps/delta", headers);
        asking.spawn(pace(address, 110, move |_| delta.clone()));
        let beat = |round: usize| request("PUT", &path(round * 7 % INSTANCES), "");
        asking.spawn(pace(address, 110, beat));
    }
    while let Some(done) = asking.join_next().await {
        done.expect("no connection fails");
    }
    (server.cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}

pub(crate) async fn table() {
    let ours = load(&Server::larder()).await;
    let theirs = load(&Server::spring(&[])).await;
    let fresh = ["--eureka.server.use-read-only-response-cache=false"];
    let as_fresh = load(&Server::spring(&fresh)).await;
    let heading = ["% of a core", "Larder", "Spring Cloud", "Spring Cloud, as fresh"];
    let mut table = Table::new(&heading);
    table.row([
        "100 changes, 330 deltas, 330 heartbeats a second".to_owned(),
        format!("{ours:.1}"),
        format!("{theirs:.1}"),
        format!("{as_fresh:.1}"),
    ]);
    println!("{table}");
    println!("{}\n", aim("churn, % of a core", ours, ours <= 50.0, "≤ 50"));
}
