//! Every key, and how its text becomes a setting.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use larder_eureka::response_cache::ReadOnlyTier;
use larder_registry::lease::LeaseTime;

use super::{
    Config, READ_ONLY_INTERVAL, Secret, consul, groups, peers, rate_limit, regions, upstream,
};
use crate::checks::allow::Allow;

/// One setting: its dotted key, and what sets it from text, or says what was expected.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The dotted key, such as `limits.body_bytes`.
    pub name: &'static str,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

/// Every key. `eureka.read_only_secs` comes after the mode that it belongs to, `eureka.region_apps` after the
/// regions.
pub const KEYS: [Key; 77] = [
    Key { name: "listen", set: |config, text| put(&mut config.listen, addresses(text)) },
    Key {
        name: "limits.body_bytes",
        set: |config, text| put(&mut config.limits.body_bytes, number(text, 1 << 10..=1 << 30)),
    },
    Key {
        name: "limits.header_bytes",
        set: |config, text| put(&mut config.limits.header_bytes, number(text, 8 << 10..=1 << 20)),
    },
    Key {
        name: "limits.headers",
        set: |config, text| put(&mut config.limits.headers, number(text, 10..=1_000)),
    },
    Key {
        name: "limits.connections",
        set: |config, text| put(&mut config.limits.connections, number(text, 1..=1_000_000)),
    },
    Key {
        name: "limits.client_connections",
        set: |config, text| put(&mut config.limits.client_connections, number(text, 0..=1_000_000)),
    },
    Key {
        name: "limits.request_secs",
        set: |config, text| put(&mut config.limits.request, secs(text, 1..=3_600)),
    },
    Key {
        name: "limits.idle_secs",
        set: |config, text| put(&mut config.limits.idle, secs(text, 1..=3_600)),
    },
    Key {
        name: "limits.shutdown_secs",
        set: |config, text| put(&mut config.limits.shutdown, secs(text, 0..=3_600)),
    },
    Key {
        name: "registry.max_instances",
        set: |config, text| put(&mut config.registry.max_instances, number(text, 1..=10_000_000)),
    },
    Key {
        name: "registry.log_len",
        set: |config, text| put(&mut config.registry.log_len, number(text, 1..=10_000_000)),
    },
    Key {
        name: "registry.lease_time",
        set: |config, text| put(&mut config.registry.lease_time, lease_time(text)),
    },
    Key {
        name: "registry.self_preservation",
        set: |config, text| put(&mut config.registry.self_preservation, is_on(text)),
    },
    Key {
        name: "registry.self_preservation_percent",
        set: |config, text| {
            put(&mut config.registry.self_preservation_percent, number(text, 0..=100))
        },
    },
    Key {
        name: "registry.self_preservation_at_least",
        set: |config, text| {
            put(&mut config.registry.self_preservation_at_least, number(text, 1..=10_000_000))
        },
    },
    Key {
        name: "upstream.url",
        set: |config, text| put(&mut config.upstream.url, upstream::address(text)),
    },
    Key {
        name: "upstream.user",
        set: |config, text| put(&mut config.upstream.user, Ok(text.to_owned())),
    },
    Key {
        name: "upstream.password",
        set: |config, text| put(&mut config.upstream.password, Ok(Secret(text.to_owned()))),
    },
    Key {
        name: "upstream.token",
        set: |config, text| put(&mut config.upstream.token, Ok(Secret(text.to_owned()))),
    },
    Key {
        name: "upstream.guard",
        set: |config, text| put(&mut config.upstream.guard, upstream::guard(text)),
    },
    Key {
        name: "eureka.regions",
        set: |config, text| put(&mut config.regions.regions, regions::regions(text)),
    },
    Key {
        name: "eureka.region_apps",
        set: |config, text| {
            put(&mut config.regions.apps, regions::apps(text, &config.regions.regions))
        },
    },
    Key {
        name: "eureka.region_fallback",
        set: |config, text| put(&mut config.regions.fallback, is_on(text)),
    },
    Key {
        name: "eureka.read_only_tier",
        set: |config, text| put(&mut config.eureka.read_only_tier, read_only_tier(text)),
    },
    Key { name: "eureka.read_only_secs", set: read_only_secs },
    Key {
        name: "eureka.cache_bytes",
        set: |config, text| put(&mut config.eureka.cache_bytes, number(text, 1 << 20..=1 << 40)),
    },
    Key {
        name: "eureka.peers",
        set: |config, text| put(&mut config.peers.urls, peers::urls(text)),
    },
    Key {
        name: "eureka.own_url",
        set: |config, text| put(&mut config.peers.own_url, Ok(text.to_owned())),
    },
    Key {
        name: "eureka.peer_user",
        set: |config, text| put(&mut config.peers.user, Ok(text.to_owned())),
    },
    Key {
        name: "eureka.peer_password",
        set: |config, text| put(&mut config.peers.password, Ok(Secret(text.to_owned()))),
    },
    Key {
        name: "eureka.peer_connect_ms",
        set: |config, text| put(&mut config.peers.connect, millis(text, 10..=60_000)),
    },
    Key {
        name: "eureka.peer_batch_ms",
        set: |config, text| put(&mut config.peers.batch, millis(text, 100..=60_000)),
    },
    Key {
        name: "eureka.peer_queue",
        set: |config, text| put(&mut config.peers.queue, number(text, 250..=1_000_000)),
    },
    Key {
        name: "eureka.sync_secs",
        set: |config, text| put(&mut config.peers.list, secs(text, 1..=3_600)),
    },
    Key {
        name: "eureka.sync_rounds",
        set: |config, text| put(&mut config.peers.sync_rounds, number(text, 0..=1_000)),
    },
    Key {
        name: "eureka.sync_wait_secs",
        set: |config, text| put(&mut config.peers.sync_wait, secs(text, 1..=3_600)),
    },
    Key {
        name: "eureka.gate_secs",
        set: |config, text| put(&mut config.peers.gate, secs(text, 0..=3_600)),
    },
    Key {
        name: "eureka.rate_limit",
        set: |config, text| put(&mut config.rate_limit.is_on, is_on(text)),
    },
    Key {
        name: "eureka.rate_limit_burst",
        set: |config, text| put(&mut config.rate_limit.burst, number(text, 1..=1_000_000)),
    },
    Key {
        name: "eureka.rate_limit_reads",
        set: |config, text| put(&mut config.rate_limit.reads, number(text, 1..=1_000_000)),
    },
    Key {
        name: "eureka.rate_limit_full_reads",
        set: |config, text| put(&mut config.rate_limit.full_reads, number(text, 1..=1_000_000)),
    },
    Key {
        name: "eureka.rate_limit_privileged",
        set: |config, text| put(&mut config.rate_limit.privileged, Ok(rate_limit::names(text))),
    },
    Key {
        name: "eureka.rate_limit_standard",
        set: |config, text| put(&mut config.rate_limit.standard, is_on(text)),
    },
    Key {
        name: "consul.node_name",
        set: |config, text| put(&mut config.consul.node_name, consul::name(text)),
    },
    Key {
        name: "consul.node_address",
        set: |config, text| put(&mut config.consul.node_address, consul::address(text)),
    },
    Key {
        name: "consul.datacenter",
        set: |config, text| put(&mut config.consul.datacenter, consul::name(text)),
    },
    Key {
        name: "consul.max_query_secs",
        set: |config, text| put(&mut config.consul.max_query, secs(text, 1..=3_600)),
    },
    Key {
        name: "consul.default_query_secs",
        set: |config, text| put(&mut config.consul.default_query, secs(text, 1..=3_600)),
    },
    Key {
        name: "consul.parked",
        set: |config, text| put(&mut config.consul.parked, number(text, 1..=10_000_000)),
    },
    Key {
        name: "consul.parked_client",
        set: |config, text| put(&mut config.consul.parked_client, number(text, 0..=10_000_000)),
    },
    Key {
        name: "consul.kv_entries",
        set: |config, text| put(&mut config.consul.kv_entries, number(text, 0..=10_000_000)),
    },
    Key {
        name: "consul.kv_bytes",
        set: |config, text| put(&mut config.consul.kv_bytes, number(text, 1 << 20..=1 << 40)),
    },
    Key {
        name: "consul.cache_bytes",
        set: |config, text| put(&mut config.consul.cache_bytes, number(text, 1 << 20..=1 << 40)),
    },
    Key {
        name: "consul.stale_if_error_secs",
        set: |config, text| put(&mut config.consul.stale_if_error, secs(text, 0..=31_536_000)),
    },
    Key {
        name: "consul.upstream_queries",
        set: |config, text| put(&mut config.consul.upstream_queries, number(text, 2..=10_000)),
    },
    Key {
        name: "groups.mode",
        set: |config, text| put(&mut config.groups.mode, groups::mode(text)),
    },
    Key {
        name: "groups.identity",
        set: |config, text| put(&mut config.groups.identity, groups::identity(text)),
    },
    Key { name: "groups.listen", set: peer_listeners },
    Key {
        name: "groups.peers",
        set: |config, text| groups::only_one(&mut config.groups.membership, groups::peers(text)),
    },
    Key {
        name: "groups.peers_file",
        set: |config, text| groups::only_one(&mut config.groups.membership, groups::file(text)),
    },
    Key {
        name: "groups.peers_dns",
        set: |config, text| groups::only_one(&mut config.groups.membership, groups::dns(text)),
    },
    Key {
        name: "groups.peers_service",
        set: |config, text| groups::only_one(&mut config.groups.membership, groups::service(text)),
    },
    Key {
        name: "groups.token",
        set: |config, text| put(&mut config.groups.token, groups::token(text)),
    },
    Key {
        name: "groups.admit",
        set: |config, text| put(&mut config.groups.admission, groups::admission(text)),
    },
    Key {
        name: "groups.second_owner",
        set: |config, text| put(&mut config.groups.second_owner, is_on(text)),
    },
    Key {
        name: "groups.hedge",
        set: |config, text| put(&mut config.groups.hedge, groups::hedge(text)),
    },
    Key {
        name: "groups.peer_timeout_ms",
        set: |config, text| put(&mut config.groups.peer_timeout, millis(text, 1..=600_000)),
    },
    Key {
        name: "groups.peer_connections",
        set: |config, text| put(&mut config.groups.peer_connections, number(text, 1..=10_000)),
    },
    Key {
        name: "groups.max_value_bytes",
        set: |config, text| put(&mut config.groups.max_value_bytes, number(text, 1..=1 << 30)),
    },
    Key {
        name: "groups.retry_secs",
        set: |config, text| put(&mut config.groups.retry, secs(text, 0..=86_400)),
    },
    Key {
        name: "groups.replicas",
        set: |config, text| put(&mut config.groups.replicas, number(text, 1..=10_000)),
    },
    Key {
        name: "groups.write_token",
        set: |config, text| put(&mut config.groups.write_token, groups::token(text)),
    },
    Key { name: "checks.allow", set: |config, text| put(&mut config.checks.allow, allow(text)) },
    Key {
        name: "checks.workers",
        set: |config, text| put(&mut config.checks.workers, number(text, 1..=10_000)),
    },
    Key {
        name: "checks.limit",
        set: |config, text| put(&mut config.checks.limit, number(text, 1..=1_000_000)),
    },
    Key { name: "log.filter", set: |config, text| put(&mut config.log.filter, filter(text)) },
    Key { name: "log.format", set: |config, text| put(&mut config.log.json, is_json(text)) },
];

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn number<N: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<N>,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

fn secs(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    number(text, range).map(Duration::from_secs)
}

fn millis(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    number(text, range).map(Duration::from_millis)
}

/// Addresses with commas between them.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = text.split(',').map(|address| address.trim().parse());
    addresses
        .collect::<Result<_, _>>()
        .map_err(|_| "IP addresses with ports, such as 127.0.0.1:8761 or [::1]:8761".to_owned())
}

/// As [`addresses`]; none in an empty list.
fn peer_listeners(config: &mut Config, text: &str) -> Result<(), String> {
    let listeners = if text.is_empty() { Ok(Vec::new()) } else { addresses(text) };
    put(&mut config.groups.listen, listeners)
}

fn lease_time(text: &str) -> Result<LeaseTime, String> {
    match text {
        "strict" => Ok(LeaseTime::Strict),
        "double" => Ok(LeaseTime::Double),
        _ => Err("strict or double".to_owned()),
    }
}

fn is_on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

fn read_only_tier(text: &str) -> Result<ReadOnlyTier, String> {
    match text {
        "push" => Ok(ReadOnlyTier::Push),
        "timer" => Ok(ReadOnlyTier::Timer(READ_ONLY_INTERVAL)),
        "off" => Ok(ReadOnlyTier::Off),
        _ => Err("push, timer or off".to_owned()),
    }
}

fn read_only_secs(config: &mut Config, text: &str) -> Result<(), String> {
    let interval = secs(text, 1..=3_600)?;
    if let ReadOnlyTier::Timer(of_timer) = &mut config.eureka.read_only_tier {
        *of_timer = interval;
        return Ok(());
    }
    Err("nothing, unless eureka.read_only_tier is timer".to_owned())
}

/// Patterns with commas between them; none in an empty list.
fn allow(text: &str) -> Result<Allow, String> {
    let patterns = text.split(',').filter(|_| !text.is_empty());
    patterns.map(str::parse).collect::<Result<_, _>>().map(Allow)
}

fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a filter, such as info or info,larder_registry=debug".to_owned()),
    }
}

fn is_json(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("text or json".to_owned()),
    }
}
