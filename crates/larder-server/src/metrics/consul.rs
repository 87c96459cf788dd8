//! What is measured of Consul's API.

use std::fmt;
use std::time::Duration;

use larder_cache::Stats;
use larder_consul::server::Consul;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{CounterOf, gauge};

/// Who waits, what the key/value store holds, and how the copies of agents' answers do.
pub(super) fn encode(consul: &Consul, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Queries that wait, and reads that are followed";
    gauge(encoder, "larder_consul_parked", help, consul.parked() as u64)?;
    let help = "Reads that are followed by /larder/v1/watch";
    gauge(encoder, "larder_consul_followed", help, consul.followed() as u64)?;
    match consul.behind() {
        Some(behind) => encode_copies(behind.stats(), encoder),
        None => encode_keys(consul, encoder),
    }
}

fn encode_keys(consul: &Consul, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let kv = consul.kv();
    gauge(encoder, "larder_consul_keys", "Keys that the store holds", kv.len() as u64)?;
    let help = "Size of the keys and their values";
    gauge(encoder, "larder_consul_keys_bytes", help, kv.bytes() as u64)?;
    let help = "Queries that wait for a key";
    gauge(encoder, "larder_consul_keys_waiting", help, kv.waiting() as u64)
}

/// Of reads that are kept fresh, and of those that were asked as they came.
fn encode_copies(
    (kept, asked): (Stats, Stats),
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let both = [("kept", kept), ("asked", asked)];
    for (name, help, read) in COUNTERS {
        let name = format!("larder_consul_upstream_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (reads, stats) in &both {
            let counter = ConstCounter::new(read(stats));
            counter.encode(family.encode_family(&[("reads", *reads)])?)?;
        }
    }
    for (name, help, read) in GAUGES {
        let name = format!("larder_consul_upstream_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (reads, stats) in &both {
            ConstGauge::new(read(stats)).encode(family.encode_family(&[("reads", *reads)])?)?;
        }
    }
    let down = both.iter().filter_map(|(_, stats)| stats.upstream_down_for).max();
    let help = "For how long no agent has answered";
    let name = "larder_consul_upstream_down_seconds";
    gauge(encoder, name, help, down.unwrap_or(Duration::ZERO).as_secs())
}

const COUNTERS: [CounterOf; 6] = [
    ("hits", "Answers from a copy", |stats| stats.hits),
    ("misses", "Answers of which there was no copy", |stats| stats.misses),
    ("stale", "Answers from a copy that was too old, for want of a better one", |stats| {
        stats.stale
    }),
    ("joins", "Answers that somebody else was asking for", |stats| stats.joins),
    ("answered", "Questions that an agent answered", |stats| stats.fetched),
    ("failed", "Questions that no agent answered", |stats| {
        stats.failed + stats.timed_out + stats.panicked
    }),
];

const GAUGES: [CounterOf; 4] = [
    ("entries", "Copies held", |stats| stats.entries),
    ("bytes", "Size of the copies held", |stats| stats.weight),
    ("queries", "Questions that agents are answering", |stats| stats.flights),
    ("waiters", "Requests waiting for an agent's answer", |stats| stats.waiters),
];
