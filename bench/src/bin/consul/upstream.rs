//! What arrives at an agent when 1,000 clients wait for the same 100 services: counted by a gate before it,
//! with a Larder in between and without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use larder_bench::consul::{fill, index, passing, read, register, seen, wait};
use larder_bench::gate::{Gate, Query};
use larder_bench::http::Connection;
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::park::{Parked, connect};

const SERVICES: usize = 100;
const CLIENTS: usize = 1_000;
/// How long nothing changes.
const REST: Duration = Duration::from_secs(5);

struct Load {
    /// Queries that wait at the agent, once all clients do.
    waiting: usize,
    /// Its connections then.
    connections: usize,
    /// Reads that did not wait, until then.
    reads: usize,
    /// What arrives in a second in which nothing changes.
    at_rest: f64,
    /// What arrived when every service had changed once, and all clients had asked again.
    change: usize,
    /// What else arrived, for whatever reason.
    others: BTreeMap<String, usize>,
}

fn services() -> Vec<String> {
    (0..SERVICES).map(|number| format!("service-{number:03}")).collect()
}

/// Whether it is one that clients sent, or one that a Larder sent for them. Its own are about all instances.
fn of_clients(query: &Query) -> bool {
    query.resource().starts_with("/v1/health/service/service-") && query.path.contains("passing")
}

/// What a query asks for, whichever service it is about and wherever it goes on.
fn kind(query: &Query) -> String {
    let resource = match query.resource().split_once("/service-") {
        Some((before, _)) => format!("{before}/SERVICE"),
        None => query.resource().to_owned(),
    };
    if query.blocks() { format!("{resource}?index") } else { resource }
}

/// Clients ask `asked`, which is the gate or a Larder that asks the gate. In each round services are registered
/// with other metadata.
async fn load(
    round: usize,
    agent: &Server,
    gate: &Gate,
    asked: SocketAddr,
    parameters: &str,
) -> Load {
    let services = services();
    let path = |number: usize| format!("{}{parameters}", passing(&services[number % SERVICES]));
    let connections = connect(asked, CLIENTS, |number| read(&path(number))).await;
    let indexes = indexes(asked, &path).await;
    let parked =
        Parked::park(connections, |number| wait(&path(number), indexes[number % SERVICES]));
    gate.settle().await;
    assert_eq!(parked.answered(), 0, "nothing has changed");
    let resting = gate.queries().len();
    tokio::time::sleep(REST).await;
    let before = gate.queries();
    let at_rest = (before.len() - resting) as f64 / REST.as_secs_f64();
    let (waiting, others) = waiting_and_others(&before);
    let reads = before.iter().filter(|query| of_clients(query) && !query.blocks()).count();
    let open = gate.connections();
    let mut connection = Connection::open(agent.address).await;
    for service in &services {
        assert_eq!(connection.call(&register(service, 0, round)).await.status, 200);
    }
    let (connections, _) = parked.all().await;
    // Consul's agent tells its server of what is registered a little later.
    seen(agent.address, &services[SERVICES - 1], 1).await;
    gate.settle().await;
    let indexes = self::indexes(asked, &path).await;
    let parked =
        Parked::park(connections, |number| wait(&path(number), indexes[number % SERVICES]));
    gate.settle().await;
    assert_eq!(parked.answered(), 0, "nothing has changed since");
    let after = gate.queries();
    let change = after[before.len()..].iter().filter(|query| of_clients(query)).count();
    Load { waiting, connections: open, reads, at_rest, change, others }
}

/// The index of each service, as this one answers.
async fn indexes(asked: SocketAddr, path: &impl Fn(usize) -> String) -> Vec<u64> {
    let mut connection = Connection::open(asked).await;
    let mut indexes = Vec::new();
    for number in 0..SERVICES {
        indexes.push(index(&connection.ask(&read(&path(number))).await));
    }
    indexes
}

fn waiting_and_others(queries: &[Query]) -> (usize, BTreeMap<String, usize>) {
    let waiting =
        queries.iter().filter(|query| of_clients(query) && query.blocks() && query.waits());
    let mut others = BTreeMap::new();
    for query in queries.iter().filter(|query| !of_clients(query)) {
        *others.entry(kind(query)).or_insert(0) += 1;
    }
    (waiting.count(), others)
}

pub(crate) async fn table() {
    let heading = [
        "1,000 clients, 100 services",
        "waiting",
        "connections",
        "first reads",
        "a second at rest",
        "after 100 changes",
    ];
    let mut table = Table::new(&heading);
    let (mut aims, mut others) = (Vec::new(), Vec::new());
    for start in [false, true] {
        let agent = if start { crate::consul().await } else { Some(crate::larder()) };
        let Some(agent) = agent else { continue };
        fill(agent.address, &services(), 1).await;
        for (round, parameters) in ["", "&cached"].into_iter().enumerate() {
            let gate = Gate::before(agent.address).await;
            let larder = crate::before(gate.address);
            let load = load(round + 1, &agent, &gate, larder.address, parameters).await;
            let name = format!("Larder before {}, ?passing{parameters}", agent.name);
            aims.push(aim(&name, load.waiting as f64, load.waiting == SERVICES, "100"));
            row(&mut table, &name, &load);
            others.push((name, load.others));
        }
        let gate = Gate::before(agent.address).await;
        let load = load(3, &agent, &gate, gate.address, "").await;
        row(&mut table, &format!("{} itself", agent.name), &load);
    }
    println!("{table}");
    for aim in aims {
        println!("{aim}");
    }
    for (name, others) in others {
        let others: Vec<_> =
            others.iter().map(|(path, count)| format!("{count} × {path}")).collect();
        let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
        println!("{name}: beside them arrived {others}");
    }
    println!();
}

fn row(table: &mut Table, name: &str, load: &Load) {
    table.row([
        name.to_owned(),
        load.waiting.to_string(),
        load.connections.to_string(),
        load.reads.to_string(),
        format!("{:.1}", load.at_rest),
        load.change.to_string(),
    ]);
}
