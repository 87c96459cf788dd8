//! Consul's API, as it is configured.

use std::fs;

use larder_cache::Clock;
use larder_consul::mapping::OwnNode;
use larder_consul::question::Token;
use larder_consul::server::{Behind, BehindError, Options, crowd};
use larder_consul::{blocking, client, kv, remote};

use crate::config::Config;

/// What a machine is called that does not know.
const NAMELESS: &str = "larder";

/// How Consul's API is served.
pub(crate) fn options(config: &Config) -> Options {
    let consul = &config.consul;
    let name = if consul.node_name.is_empty() { host_name() } else { consul.node_name.clone() };
    let kv = kv::Limits {
        max_entries: consul.kv_entries,
        max_bytes: consul.kv_bytes,
        ..kv::Limits::default()
    };
    Options {
        node: OwnNode::new(&name, &consul.node_address, &consul.datacenter),
        blocking: blocking::Limits { default: consul.default_query, max: consul.max_query },
        parked: crowd::Limits { total: consul.parked, of_each: consul.parked_client },
        kv,
        max_body: config.limits.body_bytes,
        body_time: config.limits.request,
    }
}

/// The way to Consul's agents.
pub(crate) fn behind(
    config: &Config,
    servers: &[String],
    clock: &Clock,
) -> Result<Behind, BehindError> {
    let reach = client::Options {
        servers: servers.to_vec(),
        token: Token::new(&config.upstream.token.0),
        max_connections: config.consul.upstream_queries,
        ..client::Options::default()
    };
    let keep = remote::Options {
        capacity: config.consul.cache_bytes,
        stale_if_error: config.consul.stale_if_error,
        ..remote::Options::default()
    };
    Behind::new(&reach, keep, clock)
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { NAMELESS.to_owned() } else { name.to_owned() }
}
