//! One change to a service for which 10,000 wait, and changes for which nobody does.

use std::time::{Duration, Instant};

use larder_bench::consul::{fill, passing, read, register, seen, wait};
use larder_bench::http::Connection;
use larder_bench::measure::{Samples, process_cpu};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::park::{Parked, connect};

const WAITING: usize = 10_000;
const ELSEWHERE: usize = 1_000;
const OTHERS: usize = 10;
const ROUNDS: usize = 5;
const UNRELATED: usize = 20;

#[derive(Default)]
struct Figures {
    /// Milliseconds from the answer to the change until the last was answered.
    last: Samples,
    /// CPU milliseconds of the server and of the clients, from before the change until then.
    server: Samples,
    clients: Samples,
    /// How many were answered who wait for other services.
    woken: usize,
    /// CPU milliseconds of the server for a change for which nobody waits.
    unrelated: f64,
}

fn other(number: usize) -> String {
    format!("other-{}", number % OTHERS)
}

async fn figures(server: &Server, instances: usize) -> Figures {
    let address = server.address;
    let others: Vec<String> = (0..OTHERS).map(other).collect();
    fill(address, &["hot".to_owned()], instances).await;
    fill(address, &others, 1).await;
    fill(address, &["alone".to_owned()], 1).await;
    let elsewhere = connect(address, ELSEWHERE, |number| read(&passing(&other(number)))).await;
    let mut indexes = Vec::new();
    for other in &others {
        indexes.push(seen(address, other, 1).await);
    }
    let elsewhere =
        Parked::park(elsewhere, |number| wait(&passing(&other(number)), indexes[number % OTHERS]));
    let mut figures = Figures::default();
    let mut waiting = connect(address, WAITING, |_| read(&passing("hot"))).await;
    let mut changing = Connection::open(address).await;
    for round in 0..=ROUNDS {
        let index = seen(address, "hot", instances).await;
        let change = register("hot", 0, round + 1);
        waiting =
            wave(server, waiting, index, &mut changing, &change, &mut figures, round > 0).await;
    }
    let index = seen(address, "hot", instances).await;
    let waiting = Parked::park(waiting, |_| wait(&passing("hot"), index));
    server.settle().await;
    let before = server.cpu();
    for round in 0..UNRELATED {
        assert_eq!(changing.call(&register("alone", 0, round + 1)).await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    figures.unrelated = millis(server.cpu().saturating_sub(before)) / UNRELATED as f64;
    figures.woken = elsewhere.answered() + waiting.answered();
    figures
}

/// All wait, one changes it, all are answered.
async fn wave(
    server: &Server,
    waiting: Vec<Connection>,
    index: u64,
    changing: &mut Connection,
    change: &[u8],
    figures: &mut Figures,
    is_counted: bool,
) -> Vec<Connection> {
    let parked = Parked::park(waiting, |_| wait(&passing("hot"), index));
    server.settle().await;
    assert_eq!(parked.answered(), 0, "nothing has changed");
    let (theirs, ours) = (server.cpu(), process_cpu());
    assert_eq!(changing.call(change).await.status, 200);
    let changed = Instant::now();
    let (waiting, last) = parked.all().await;
    if is_counted {
        figures.last.push(millis(last.saturating_duration_since(changed)));
        figures.server.push(millis(server.cpu().saturating_sub(theirs)));
        figures.clients.push(millis(process_cpu().saturating_sub(ours)));
    }
    waiting
}

/// A server that does nothing but hold queries, and answers all with the same bytes.
async fn floor(server: &Server) -> Figures {
    let mut figures = Figures::default();
    let mut waiting = connect(server.address, WAITING, |_| read(&passing("hot"))).await;
    let mut changing = Connection::open(server.address).await;
    for round in 0..=ROUNDS {
        let change = register("hot", 0, round);
        waiting = wave(server, waiting, 1, &mut changing, &change, &mut figures, round > 0).await;
    }
    figures
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) async fn table() {
    let heading = [
        "10,000 wait, ms",
        "last answered",
        "at worst",
        "CPU server",
        "CPU clients",
        "woken elsewhere",
        "CPU of an unrelated change",
    ];
    let mut table = Table::new(&heading);
    let mut aims = Vec::new();
    for instances in [1, 10] {
        let larder = crate::larder();
        let ours = figures(&larder, instances).await;
        row(&mut table, &format!("Larder, {instances} instance(s)"), &ours, true);
        let what = format!("{instances} instance(s), last answered after ms");
        aims.push(aim(&what, ours.last.median(), ours.last.median() <= 250.0, "≤ 250"));
        aims.push(aim("woken elsewhere", ours.woken as f64, ours.woken == 0, "0"));
        let origin = larder.address.to_string();
        let fixed = Server::itself("static", &["stationary", &origin, &passing("hot")]);
        drop(larder);
        row(&mut table, &format!("static, {instances} instance(s)"), &floor(&fixed).await, false);
        drop(fixed);
        if let Some(consul) = crate::consul().await {
            let theirs = figures(&consul, instances).await;
            row(&mut table, &format!("Consul, {instances} instance(s)"), &theirs, true);
            let ratio = theirs.last.median() / ours.last.median();
            aims.push(format!("Consul ÷ Larder, {instances} instance(s): {ratio:.1}"));
        }
    }
    println!("{table}");
    for aim in aims {
        println!("{aim}");
    }
    println!();
}

fn row(table: &mut Table, name: &str, figures: &Figures, has_others: bool) {
    let only = |text: String| if has_others { text } else { "-".to_owned() };
    table.row([
        name.to_owned(),
        format!("{:.0}", figures.last.median()),
        format!("{:.0}", figures.last.max()),
        format!("{:.0}", figures.server.median()),
        format!("{:.0}", figures.clients.median()),
        only(figures.woken.to_string()),
        only(format!("{:.1}", figures.unrelated)),
    ]);
}
