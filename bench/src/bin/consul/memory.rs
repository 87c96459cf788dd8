//! What a query takes that waits: the growth of the resident set.

use std::pin::Pin;
use std::task::{Context, Waker};

use larder_bench::consul::{fill, passing, read, register, seen, wait};
use larder_bench::http::Connection;
use larder_bench::http2;
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::park::{Parked, connect};

const SERVICES: usize = 100;
const PLAIN: usize = 10_000;
const STREAMS: usize = 20_000;
const STREAMS_EACH: usize = 1_000;
const INSTANCES: usize = 10;

fn service(number: usize) -> String {
    format!("service-{:02}", number % SERVICES)
}

/// Fills it; gives the index of each service.
async fn filled(server: &Server) -> Vec<u64> {
    let services: Vec<String> = (0..SERVICES).map(service).collect();
    fill(server.address, &services, INSTANCES).await;
    let mut connection = Connection::open(server.address).await;
    let mut indexes = Vec::new();
    for service in &services {
        let reply = connection.ask(&read(&passing(service))).await;
        indexes.push(larder_bench::consul::index(&reply));
    }
    server.settle().await;
    indexes
}

/// Kilobytes of a connection that waits for nothing, and of one with a query that waits.
async fn plain(server: &Server) -> [f64; 2] {
    let indexes = filled(server).await;
    let base = server.resident();
    let connections =
        connect(server.address, PLAIN, |number| read(&passing(&service(number)))).await;
    server.settle().await;
    let idle = server.resident();
    let parked = Parked::park(connections, |number| {
        wait(&passing(&service(number)), indexes[number % SERVICES])
    });
    server.settle().await;
    let full = server.resident();
    assert_eq!(parked.answered(), 0, "nothing has changed");
    change_all(server).await;
    // That they are answered shows that they have waited.
    parked.all().await;
    [(idle - base) * 1e3 / PLAIN as f64, (full - base) * 1e3 / PLAIN as f64]
}

/// The same of a stream with a query that waits.
async fn streams(server: &Server) -> f64 {
    let indexes = filled(server).await;
    let base = server.resident();
    let mut connections = Vec::new();
    let mut answers = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        if number % STREAMS_EACH == 0 {
            connections.push(http2::Connection::open(server.address).await);
        }
        let connection = connections.last_mut().expect("one was pushed");
        let index = indexes[number % SERVICES];
        let wait = larder_bench::consul::WAIT;
        let path = format!("{}&index={index}&wait={wait}", passing(&service(number)));
        answers.push(connection.send(&path).await);
    }
    server.settle().await;
    let full = server.resident();
    for answer in &mut answers {
        let polled = Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "nothing has changed");
    }
    change_all(server).await;
    for answer in answers {
        assert_eq!(answer.await.expect("it is answered").status(), 200);
    }
    (full - base) * 1e3 / STREAMS as f64
}

async fn change_all(server: &Server) {
    let mut connection = Connection::open(server.address).await;
    for number in 0..SERVICES {
        assert_eq!(connection.call(&register(&service(number), 0, 1)).await.status, 200);
    }
    seen(server.address, &service(0), INSTANCES).await;
}

pub(crate) async fn table() {
    let heading = ["KB each", "idle connection", "waiting query"];
    let mut table = Table::new(&heading);
    let mut aims = Vec::new();
    let [idle, ours] = plain(&crate::larder()).await;
    table.row([
        "Larder, 10,000 over HTTP/1.1".to_owned(),
        format!("{idle:.1}"),
        format!("{ours:.1}"),
    ]);
    aims.push(aim("10,000 over HTTP/1.1, KB", ours, ours <= 12.0, "≤ 12"));
    let stream = streams(&crate::larder()).await;
    table.row(["Larder, 20,000 over HTTP/2".to_owned(), "-".to_owned(), format!("{stream:.1}")]);
    aims.push(aim("20,000 over HTTP/2, KB", stream, stream <= 12.0, "≤ 12"));
    if let Some(consul) = crate::consul().await {
        let [idle, theirs] = plain(&consul).await;
        let name = "Consul, 10,000 over HTTP/1.1".to_owned();
        table.row([name, format!("{idle:.1}"), format!("{theirs:.1}")]);
        aims.push(format!(
            "Consul ÷ Larder, HTTP/1.1: {:.1} (it has no HTTP/2 without TLS)",
            theirs / ours
        ));
    }
    println!("{table}");
    for aim in aims {
        println!("{aim}");
    }
    println!();
}
