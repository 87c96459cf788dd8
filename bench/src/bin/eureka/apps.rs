//! Reads of everything in gzip JSON.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use larder_bench::http::{Connection, rate, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};
use tokio::task::JoinHandle;

use crate::{CONNECTIONS, TIME, fill, register};

fn read() -> Arc<Vec<Vec<u8>>> {
    let headers = "accept: application/json\r\naccept-encoding: gzip\r\n";
    Arc::new(vec![request("GET", "/eureka/apps/", headers)])
}

/// Requests a second; the first read, which encodes, is not counted.
async fn reads(address: SocketAddr) -> f64 {
    Connection::open(address).await.call(&read()[0]).await;
    rate(address, CONNECTIONS, TIME, read(), 200).await
}

/// Ten instances a second register again, changed.
fn changing(address: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connection = Connection::open(address).await;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for round in 0_usize.. {
            tick.tick().await;
            let request = crate::churn::changed(round % 1_000, round);
            connection.call(&request).await;
        }
    })
}

pub(crate) async fn table() {
    let mut table =
        Table::new(&["reads of everything a second", "Larder", "Spring Cloud", "static", "×"]);
    let mut aims = Vec::new();
    for instances in [1_000, 10_000] {
        let larder = filled(Server::larder(), instances).await;
        let ours = reads(larder.address).await;
        drop(larder);
        let spring = filled(Server::spring(&[]), instances).await;
        // Its cache shows what was registered at the next half minute.
        let theirs = reads_once_seen(&spring, instances).await;
        drop(spring);
        let fixed = Server::itself("static", &["stationary", &instances.to_string()]);
        let fixed = reads(fixed.address).await;
        row(&mut table, &format!("{instances} instances"), ours, theirs, Some(fixed));
        aims.push(aim(
            &format!("{instances}, × Spring"),
            ours / theirs,
            ours >= 2.0 * theirs,
            "≥ 2",
        ));
        aims.push(aim(
            &format!("{instances}, static ÷"),
            fixed / ours,
            fixed <= 1.3 * ours,
            "≤ 1.3",
        ));
    }
    let larder = filled(Server::larder(), 10_000).await;
    let change = changing(larder.address);
    let ours = reads(larder.address).await;
    change.abort();
    drop(larder);
    let fresh = ["--eureka.server.use-read-only-response-cache=false"];
    let spring = filled(Server::spring(&fresh), 10_000).await;
    let change = changing(spring.address);
    let theirs = reads(spring.address).await;
    change.abort();
    drop(spring);
    row(&mut table, "10000, 10 changes a second, each seen at once", ours, theirs, None);
    aims.push(aim("equally fresh, × Spring", ours / theirs, ours >= 10.0 * theirs, "≥ 10"));
    println!("{table}");
    aims.iter().for_each(|aim| println!("{aim}"));
    println!();
}

async fn filled(server: Server, instances: usize) -> Server {
    fill(server.address, instances).await;
    server
}

async fn reads_once_seen(server: &Server, instances: usize) -> f64 {
    let mut connection = Connection::open(server.address).await;
    // One more, so that there is something to be seen.
    connection.call(&register(instances)).await;
    let whole = instances * 60;
    while connection.call(&read()[0]).await.bytes < whole {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    reads(server.address).await
}

fn row(table: &mut Table, what: &str, ours: f64, theirs: f64, fixed: Option<f64>) {
    table.row([
        what.to_owned(),
        format!("{ours:.0}"),
        format!("{theirs:.1}"),
        fixed.map_or_else(|| "-".to_owned(), |fixed| format!("{fixed:.0}")),
        format!("{:.1}", ours / theirs),
    ]);
}
