//! A Eureka server under load, beside Spring Cloud's: reads of everything, heartbeats, how soon a change is
//! seen, a registry that changes all the time, and memory. The same instances, the same requests, one after
//! the other on the same machine; the load comes from this process, and takes its share of the cores.
//!
//! Needs `target/release/larder` of the main workspace, and what `interop/java/build` installs: `bench/run`
//! makes both.
//! `eureka [apps|visible|heartbeats|churn|memory]…` runs some parts only.

mod apps;
mod churn;
mod heartbeats;
mod memory;
mod stationary;
mod visible;

use std::net::SocketAddr;
use std::time::Duration;

use larder_bench::eureka::instance;
use larder_bench::http::{once, post};
use larder_eureka::wire::json::registration;

/// How long a rate is measured.
const TIME: Duration = Duration::from_secs(5);

/// How many ask at once.
const CONNECTIONS: usize = 32;

/// The registration of the `number`th instance.
fn register(number: usize) -> Vec<u8> {
    let instance = instance(number);
    let path = format!("/eureka/apps/{}", instance.service);
    post(&path, &registration(&instance))
}

/// The path of the `number`th instance.
fn path(number: usize) -> String {
    let instance = instance(number);
    format!("/eureka/apps/{}/{}", instance.service, instance.id.replace(':', "%3A"))
}

/// Registers so many instances.
async fn fill(address: SocketAddr, instances: usize) {
    once(address, CONNECTIONS, (0..instances).map(register).collect(), 204).await;
}

#[tokio::main]
async fn main() {
    let mut parts: Vec<String> = std::env::args().skip(1).collect();
    if parts.first().is_some_and(|part| part == "stationary") {
        return stationary::serve(parts[1].parse().expect("how many instances")).await;
    }
    if parts.is_empty() {
        parts = ["apps", "visible", "heartbeats", "churn", "memory"].map(str::to_owned).to_vec();
    }
    println!("## eureka: a server under load\n");
    for part in parts {
        match part.as_str() {
            "apps" => apps::table().await,
            "visible" => visible::table().await,
            "heartbeats" => heartbeats::table().await,
            "churn" => churn::table().await,
            "memory" => memory::table().await,
            other => panic!("there is no part called {other}"),
        }
    }
}
