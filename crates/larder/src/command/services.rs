//! `larder services`

use larder_server::api;

use crate::args::Services;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{cell, json, line, table};

pub(crate) async fn run(services: Services) -> Result<(), Failure> {
    let listed: api::Services = Client::new(&services.ask)?.get("services").await?;
    if services.ask.json {
        return json(&listed);
    }
    if listed.services.is_empty() {
        return line("no service is registered");
    }
    let rows: Vec<_> = listed.services.iter().map(row).collect();
    table(["SERVICE", "INSTANCES", "STATUS"], &rows)
}

fn row(service: &api::ServiceSummary) -> [String; 3] {
    let status = service.status.iter().map(|(status, count)| format!("{count} {status}"));
    let status = status.collect::<Vec<_>>().join(", ");
    [cell(&service.name), service.instances.to_string(), cell(&status)]
}
