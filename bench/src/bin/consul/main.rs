//! Consul's API under load: reads that the cache answers, what arrives at an agent behind, a change that wakes
//! thousands, what a query costs that waits, and an agent that is down. The servers are processes of their
//! own; the load comes from this one, and takes its share of the cores.
//!
//! Needs `target/release/larder` of the main workspace: `bench/run` builds it. If `LARDER_CONSUL` names the
//! program of a real agent, or the path has one, it is measured beside.
//! `consul [hit|upstream|change|memory|outage]…` runs some parts only; `--long` keeps the agent down for five
//! minutes and not for twenty seconds.

mod change;
mod hit;
mod memory;
mod outage;
mod park;
mod stationary;
mod upstream;

use larder_bench::consul::ready;
use larder_bench::server::{self, Server};

/// What a part is called, in the order in which they run.
const PARTS: [&str; 5] = ["hit", "upstream", "change", "memory", "outage"];

/// So many connections, and some to spare.
const FILES: u64 = 14_000;

/// A server of Larder's own registry, which takes this many connections.
fn larder() -> Server {
    Server::larder_with(&[], &[("LARDER_LIMITS_CONNECTIONS", "25000")])
}

/// A Larder in front of an agent.
fn before(agent: std::net::SocketAddr) -> Server {
    let upstream = format!("consul+http://{agent}");
    Server::larder_with(&["--upstream", &upstream], &[("LARDER_LIMITS_CONNECTIONS", "25000")])
}

/// A real agent, if there is one, once it has elected itself.
async fn consul() -> Option<Server> {
    let server = Server::consul()?;
    ready(server.address).await;
    Some(server)
}

/// Larder, and the real agent if there is one.
async fn agents() -> Vec<Server> {
    std::iter::once(larder()).chain(consul().await).collect()
}

#[tokio::main]
async fn main() {
    let mut parts: Vec<String> = std::env::args().skip(1).collect();
    if parts.first().is_some_and(|part| part == "stationary") {
        return stationary::serve(&parts[1], &parts[2]).await;
    }
    let is_long = parts.iter().any(|part| part == "--long");
    parts.retain(|part| part != "--long");
    if parts.is_empty() {
        parts = PARTS.map(str::to_owned).to_vec();
    }
    server::allow_files(FILES);
    println!("## consul: Consul's API under load\n");
    if server::consul_program().is_none() {
        println!("No real agent beside: LARDER_CONSUL names none, and the path has no consul.\n");
    }
    for part in parts {
        match part.as_str() {
            "hit" => hit::table().await,
            "upstream" => upstream::table().await,
            "change" => change::table().await,
            "memory" => memory::table().await,
            "outage" => outage::table(is_long).await,
            other => panic!("there is no part called {other}; there are: {}", PARTS.join(", ")),
        }
    }
}
