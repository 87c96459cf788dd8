//! What 50,000 instances take with all four forms of the list of everything, plain and in gzip.

use larder_bench::http::{Connection, request};
use larder_bench::server::Server;
use larder_bench::table::{Table, aim};

use crate::fill;

async fn resident(server: &Server) -> f64 {
    fill(server.address, 50_000).await;
    let mut connection = Connection::open(server.address).await;
    for accept in ["application/json", "application/xml"] {
        for detail in ["full", "compact"] {
            for encoding in ["", "accept-encoding: gzip\r\n"] {
                let headers =
                    format!("accept: {accept}\r\nx-eureka-accept: {detail}\r\n{encoding}");
                let read = request("GET", "/eureka/apps/", &headers);
                assert_eq!(connection.call(&read).await.status, 200);
            }
        }
    }
    server.resident()
}

pub(crate) async fn table() {
    let ours = resident(&Server::larder()).await;
    let theirs = resident(&Server::spring(&[])).await;
    let mut table = Table::new(&["MB resident, 50,000 instances", "Larder", "Spring Cloud", "÷"]);
    table.row([
        "four forms, plain and gzip".to_owned(),
        format!("{ours:.0}"),
        format!("{theirs:.0}"),
        format!("{:.2}", ours / theirs),
    ]);
    println!("{table}");
    println!(
        "{}\n",
        aim("MB resident", ours, ours <= 400.0 && ours < theirs, "≤ 400, and below Spring's")
    );
}
