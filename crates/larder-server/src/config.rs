//! What can be set, where it is read from, and every default.
//!
//! A setting is named by a dotted key, such as `limits.body_bytes`. It is taken from the command line,
//! else from the environment (`LARDER_LIMITS_BODY_BYTES`), else from the file (`body_bytes` under
//! `[limits]`), else from its default. The tables `[[group]]` are in the file only. Everything that is wrong
//! is reported at once. All keys are described in `docs/configuration.md`.

mod consul;
pub(crate) mod groups;
mod keys;
mod layers;
mod peers;
mod rate_limit;
mod regions;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use larder_eureka::response_cache::ReadOnlyTier;
use larder_registry::lease::LeaseTime;

use crate::checks::allow::Allow;

pub use consul::Consul;
pub use groups::{Group, Groups, Membership, Origin, Template};
pub use keys::KEYS;
pub use layers::{Layers, Mistake, Mistakes};
pub use peers::Peers;
pub use rate_limit::RateLimit;
pub(crate) use regions::ANY;
pub use regions::{Region, Regions};
pub use upstream::{Address, Guard, Secret, Upstream};

/// What can be set, grouped as the crates are.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `listen`: where connections are accepted; port 0 lets the system choose. At least one address,
    /// loopback by default: `127.0.0.1:8761`.
    pub listen: Vec<SocketAddr>,
    /// `[limits]`
    pub limits: Limits,
    /// `[registry]`
    pub registry: Registry,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[eureka]`, what concerns other regions
    pub regions: Regions,
    /// `[eureka]`
    pub eureka: Eureka,
    /// `[eureka]`, what concerns its peers
    pub peers: Peers,
    /// `[eureka]`, what concerns how often lists are read
    pub rate_limit: RateLimit,
    /// `[consul]`
    pub consul: Consul,
    /// `[groups]` and `[[group]]`
    pub groups: Groups,
    /// `[checks]`
    pub checks: Checks,
    /// `[log]`
    pub log: Log,
}

/// What one client can take, and all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `limits.body_bytes`: the largest request body; a larger one is answered 413. 1 KiB to 1 GiB,
    /// 1 MiB by default.
    pub body_bytes: usize,
    /// `limits.header_bytes`: the most that a request line and its headers may take; more is answered
    /// 431. 8 KiB to 1 MiB, 32 KiB by default.
    pub header_bytes: usize,
    /// `limits.headers`: the most headers; more are answered 431. 10 to 1,000, 100 by default.
    pub headers: usize,
    /// `limits.connections`: how many connections are served at once, on all listeners; more wait their
    /// turn. 1 to 1,000,000, 10,000 by default.
    pub connections: usize,
    /// `limits.client_connections`: how many of them one client (by its address) may have; one more is answered
    /// 429 and closed. 0 to 1,000,000, 0 by default: as many as it likes.
    pub client_connections: usize,
    /// `limits.request_secs`: how long a request may take until its answer begins; a longer one is
    /// answered 408. 1 to 3,600, 30 by default. A read of Consul's API may wait longer: `consul.max_query_secs`.
    pub request: Duration,
    /// `limits.idle_secs`: how long a connection may take to send the head of its next request, or to
    /// take any more of an answer; then it is closed. 1 to 3,600, 75 by default: longer than clients
    /// keep theirs.
    pub idle: Duration,
    /// `limits.shutdown_secs`: how long requests may go on after the program was told to stop. 0 to
    /// 3,600, 10 by default.
    pub shutdown: Duration,
}

/// The embedded registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registry {
    /// `registry.max_instances`: how many instances it holds; a new one beyond that is answered 503.
    /// 1 to 10,000,000, 100,000 by default.
    pub max_instances: usize,
    /// `registry.log_len`: how many changes it remembers for watches and deltas; who falls behind is
    /// given everything anew. 1 to 10,000,000, 65,536 by default.
    pub log_len: usize,
    /// `registry.lease_time`: how long a lease lasts after it was renewed. `strict`, the default: its
    /// duration. `double`: twice that, as with Netflix's server.
    pub lease_time: LeaseTime,
    /// `registry.self_preservation`: whether leases that ran out are held on to while too few renewals
    /// come. `on` by default.
    pub self_preservation: bool,
    /// `registry.self_preservation_percent`: too few are not more than this share of those that were due;
    /// what is left of 100 may end within a minute. 0 to 100, 85 by default.
    pub self_preservation_percent: u8,
    /// `registry.self_preservation_at_least`: with fewer leases nothing is held on to. 1 to 10,000,000, 10
    /// by default.
    pub self_preservation_at_least: usize,
}

/// Eureka's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eureka {
    /// `eureka.read_only_tier`: when readers see a change. `push`, the default: at once. `timer`: at the
    /// next multiple of `eureka.read_only_secs` (1 to 3,600, 30 by default), as Netflix's server does.
    /// `off`: at once, with one tier less.
    pub read_only_tier: ReadOnlyTier,
    /// `eureka.cache_bytes`: how much each tier of the response cache holds. 1 MiB to 1 TiB, 256 MiB by
    /// default.
    pub cache_bytes: u64,
}

/// Active health checks of registered instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// `checks.allow`: who may be probed beside this machine, which always may be; nobody by default.
    /// The check of anybody else stays critical and says so.
    pub allow: Allow,
    /// `checks.workers`: how many probes run at once. 1 to 10,000, 256 by default.
    pub workers: usize,
    /// `checks.limit`: how many checks are probed; one beyond that stays critical and says so. 1 to
    /// 1,000,000, 10,000 by default.
    pub limit: usize,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log.filter`: `error`, `warn`, `info` (the default), `debug`, `trace`, or one for each module,
    /// such as `info,larder_registry=debug`.
    pub filter: String,
    /// `log.format`: `text`, the default, or `json`.
    pub json: bool,
}

/// The interval of the timed tier where only the mode is set.
pub(crate) const READ_ONLY_INTERVAL: Duration = Duration::from_secs(30);

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8761))],
            limits: Limits {
                body_bytes: 1 << 20,
                header_bytes: 32 << 10,
                headers: 100,
                connections: 10_000,
                client_connections: 0,
                request: Duration::from_secs(30),
                idle: Duration::from_secs(75),
                shutdown: Duration::from_secs(10),
            },
            registry: Registry {
                max_instances: 100_000,
                log_len: 65_536,
                lease_time: LeaseTime::Strict,
                self_preservation: true,
                self_preservation_percent: 85,
                self_preservation_at_least: 10,
            },
            upstream: Upstream::default(),
            regions: Regions::default(),
            eureka: Eureka { read_only_tier: ReadOnlyTier::Push, cache_bytes: 256 << 20 },
            peers: Peers::default(),
            rate_limit: RateLimit::default(),
            consul: Consul::default(),
            groups: Groups::default(),
            checks: Checks { allow: Allow::default(), workers: 256, limit: 10_000 },
            log: Log { filter: "info".to_owned(), json: false },
        }
    }
}

#[cfg(test)]
mod tests;
