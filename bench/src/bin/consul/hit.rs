//! Reads of a service that the cache answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use larder_bench::consul::{fill, passing, read};
use larder_bench::http::{Connection, rate};
use larder_bench::measure::Samples;
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

const CONNECTIONS: usize = 32;
const INSTANCES: usize = 10;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
const SERVICE: &str = "web";

struct Subject {
    name: String,
    address: SocketAddr,
    path: String,
    rates: Samples,
}

impl Subject {
    fn new(name: &str, server: &Server, path: &str) -> Self {
        let (name, path) = (name.to_owned(), path.to_owned());
        Self { name, address: server.address, path, rates: Samples::default() }
    }

    async fn round(&mut self, is_counted: bool) {
        let requests = Arc::new(vec![read(&self.path)]);
        let rate = rate(self.address, CONNECTIONS, TIME, requests, 200).await;
        if is_counted {
            self.rates.push(rate);
        }
    }
}

pub(crate) async fn table() {
    let (cached, plain) = (format!("{}&cached", passing(SERVICE)), passing(SERVICE));
    let agents = crate::agents().await;
    let services = [SERVICE.to_owned()];
    for agent in &agents {
        fill(agent.address, &services, INSTANCES).await;
    }
    let before = crate::before(agents[0].address);
    // The second read is a hit, and so is what the handler repeats.
    for server in agents.iter().chain([&before]) {
        let mut connection = Connection::open(server.address).await;
        for _ in 0..2 {
            assert_eq!(connection.call(&read(&cached)).await.status, 200);
        }
    }
    let origin = agents[0].address.to_string();
    let fixed = Server::itself("static", &["stationary", &origin, &cached]);
    let mut subjects = vec![
        Subject::new("static, the same bytes", &fixed, &cached),
        Subject::new("Larder, ?passing&cached", &agents[0], &cached),
        Subject::new("Larder, ?passing", &agents[0], &plain),
        Subject::new("Larder before an agent, ?passing&cached", &before, &cached),
    ];
    if let Some(consul) = agents.get(1) {
        subjects.push(Subject::new("Consul, ?passing&cached", consul, &cached));
        subjects.push(Subject::new("Consul, ?passing", consul, &plain));
    }
    for round in 0..=ROUNDS {
        for subject in &mut subjects {
            subject.round(round > 0).await;
        }
    }
    print(&subjects).await;
}

async fn print(subjects: &[Subject]) {
    let heading = ["reads a second, 10 instances", "median", "most", "bytes", "static ÷"];
    let mut table = Table::new(&heading);
    let fixed = subjects[0].rates.median();
    for subject in subjects {
        let mut connection = Connection::open(subject.address).await;
        table.row([
            subject.name.clone(),
            format!("{:.0}", subject.rates.median()),
            format!("{:.0}", subject.rates.max()),
            connection.call(&read(&subject.path)).await.bytes.to_string(),
            format!("{:.2}", fixed / subject.rates.median()),
        ]);
    }
    println!("{table}");
    for subject in subjects[1..4].iter().filter(|subject| subject.path.ends_with("cached")) {
        let rate = subject.rates.median();
        println!(
            "{}",
            aim(&format!("{}, a second", subject.name), rate, rate >= 40_000.0, "≥ 40,000")
        );
        let what = format!("{}, static ÷", subject.name);
        println!("{}", aim(&what, fixed / rate, fixed <= 1.5 * rate, "≤ 1.5"));
    }
    if let [_, ours, plain, _, cached_consul, plain_consul] = subjects {
        let (cached, plain) = (
            ours.rates.median() / cached_consul.rates.median(),
            plain.rates.median() / plain_consul.rates.median(),
        );
        println!("Larder ÷ Consul: {cached:.1} with ?cached, {plain:.1} without");
    }
    println!();
}
