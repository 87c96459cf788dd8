//! `larder get SERVICE`

use std::collections::BTreeMap;

use larder_server::api::{Instance, Service};

use crate::args::Get;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{address, cell, json, table};

pub(crate) async fn run(get: Get) -> Result<(), Failure> {
    let path = format!("services/{}", segment(&get.service));
    let service: Service = Client::new(&get.ask)?.get(&path).await?;
    if get.ask.json {
        return json(&service);
    }
    let rows: Vec<_> = service.instances.iter().map(row).collect();
    table(["ID", "STATUS", "CHECKS", "ADDRESS", "VERSION", "TTL", "METADATA"], &rows)
}

fn row(instance: &Instance) -> [String; 7] {
    let ttl = instance.lease.as_ref().map(|lease| format!("{}s", lease.duration_secs));
    let metadata = instance.metadata.iter().map(|(key, value)| format!("{key}={value}"));
    [
        cell(&instance.id),
        cell(&instance.status),
        cell(&checks(instance)),
        cell(&address(instance)),
        cell(&instance.version),
        ttl.unwrap_or_else(|| "-".to_owned()),
        cell(&metadata.collect::<Vec<_>>().join(" ")),
    ]
}

/// How many checks say what, such as `1 critical, 2 passing`.
fn checks(instance: &Instance) -> String {
    let mut counts = BTreeMap::new();
    for check in &instance.checks {
        *counts.entry(check.status.as_str()).or_insert(0) += 1;
    }
    let counts = counts.iter().map(|(status, count)| format!("{count} {status}"));
    counts.collect::<Vec<_>>().join(", ")
}
