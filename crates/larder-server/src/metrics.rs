//! What is measured, for Prometheus. Labels have few values: nothing that users choose is one.

mod consul;
pub(crate) mod groups;

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use larder_cache::Stats;
use larder_consul::server::{Consul, is_consuls};
use larder_eureka::response_cache::ResponseCache;
use larder_registry::backend::Copied;
use larder_registry::model::{Health, Status};
use larder_registry::{Guarded, Registry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::checks::Checks;
use crate::groups as peer_groups;
use crate::listen::Connections;

/// Requests that were answered.
pub(crate) type Requests = Family<Answered, Counter>;

/// The labels of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    surface: &'static str,
    method: &'static str,
    status: &'static str,
}

/// Counts and logs every request.
pub(crate) async fn count(
    State(requests): State<Requests>,
    request: Request,
    next: Next,
) -> Response {
    let surface = surface(request.uri().path());
    let method = method(request.method().as_str());
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    // The path alone: a query may hold secrets.
    tracing::debug!(surface, method, path, status = status.as_u16(), "answered");
    let status = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status.as_u16() / 100 - 1).min(4)];
    requests.get_or_create(&Answered { surface, method, status }).inc();
    response
}

fn surface(path: &str) -> &'static str {
    match path {
        "/healthz" | "/metrics" => "admin",
        path if path.starts_with("/larder/") => "larder",
        path if is_consuls(path) => "consul",
        path => peer_groups::surface(path).unwrap_or("eureka"),
    }
}

fn method(method: &str) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    known.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// What is read from the parts when somebody asks.
pub(crate) struct Parts {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) responses: Arc<ResponseCache>,
    pub(crate) checks: Arc<Checks>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) guard: Option<Arc<Guarded>>,
    pub(crate) consul: Arc<Consul>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        gauge(&mut encoder, "larder_connections", "Open connections", self.connections.open())?;
        self.encode_registry(&mut encoder)?;
        self.encode_self_preservation(&mut encoder)?;
        self.encode_upstream(&mut encoder)?;
        self.encode_expired(&mut encoder)?;
        self.encode_checks(&mut encoder)?;
        consul::encode(&self.consul, &mut encoder)?;
        let read_write = ("read-write", Some(self.responses.read_write_stats()));
        let read_only = ("read-only", self.responses.read_only_stats());
        let tiers: Vec<_> = [read_write, read_only]
            .into_iter()
            .filter_map(|(t, stats)| Some((t, stats?)))
            .collect();
        encode_tiers(&mut encoder, &tiers)?;
        self.encode_efforts(&mut encoder)
    }
}

impl Parts {
    fn encode_registry(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.registry.snapshot();
        let services = snapshot.services().count() as u64;
        gauge(encoder, "larder_registry_services", "Services with an instance", services)?;
        let help = "Increases with every change";
        gauge(encoder, "larder_registry_revision", help, snapshot.revision())?;
        let help = "Instances by status";
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut family =
            encoder.encode_descriptor("larder_registry_instances", help, None, kind)?;
        for status in Status::ALL {
            let count = ConstGauge::new(snapshot.counts().of(status) as u64);
            count.encode(family.encode_family(&[("status", status.as_str())])?)?;
        }
        let help = "Checks of instances, by what they say";
        let mut family = encoder.encode_descriptor("larder_registry_checks", help, None, kind)?;
        for health in Health::ALL {
            let count = ConstGauge::new(snapshot.check_counts().of(health) as u64);
            count.encode(family.encode_family(&[("health", health.as_str())])?)?;
        }
        Ok(())
    }

    /// Of this server's own registry, if it has one.
    fn encode_self_preservation(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(explained) = self.registry.self_preservation() else { return Ok(()) };
        let help = "Whether leases that ran out are held on to";
        gauge(encoder, "larder_self_preservation", help, explained.since.is_some().into())?;
        let help = "Renewals in the last full minute";
        gauge(encoder, "larder_self_preservation_renewals", help, explained.renewals)?;
        let help = "As many renewals in a minute, or fewer, begin self-preservation";
        gauge(encoder, "larder_self_preservation_threshold", help, explained.threshold)?;
        let help = "Leases that ran out and have not ended";
        gauge(encoder, "larder_self_preservation_overdue", help, explained.overdue as u64)
    }

    /// How much was asked for and encoded, and how long that took.
    fn encode_efforts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = prometheus_client::metrics::MetricType::Counter;
        let help = "Lists asked for, by kind";
        let mut family =
            encoder.encode_descriptor("larder_eureka_lists_asked", help, None, kind)?;
        for effort in self.responses.efforts() {
            let asked = ConstCounter::new(effort.asked);
            asked.encode(family.encode_family(&[("list", effort.list)])?)?;
        }
        let help = "Lists encoded for the response cache, by kind";
        let mut family =
            encoder.encode_descriptor("larder_eureka_lists_encoded", help, None, kind)?;
        for effort in self.responses.efforts() {
            let count = ConstCounter::new(effort.count);
            count.encode(family.encode_family(&[("list", effort.list)])?)?;
        }
        let help = "Time that encoding and compressing them took";
        let name = "larder_eureka_lists_encoded_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for effort in self.responses.efforts() {
            let took = ConstCounter::new(effort.took.as_secs_f64());
            took.encode(family.encode_family(&[("list", effort.list)])?)?;
        }
        Ok(())
    }

    /// Of a registry behind, if there is one.
    fn encode_upstream(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(copied) = self.registry.copy() else { return Ok(()) };
        let connected = u64::from(copied == Copied::Connected);
        let help = "Whether the registry behind is followed";
        gauge(encoder, "larder_upstream_connected", help, connected)?;
        let age = if let Copied::Stale(age) = copied { age.as_secs() } else { 0 };
        let help = "For how long the registry behind has been out of reach";
        gauge(encoder, "larder_upstream_stale_seconds", help, age)?;
        let kept = self.guard.as_ref().map_or(0, |guard| guard.held()) as u64;
        let help = "Instances that vanished in a mass, and are kept until that is confirmed";
        gauge(encoder, "larder_upstream_held", help, kept)
    }

    fn encode_expired(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tally = self.registry.tally();
        let kind = prometheus_client::metrics::MetricType::Counter;
        let help = "What ended by itself: leases, ttls of checks, and instances whose check was critical for too long";
        let mut family = encoder.encode_descriptor("larder_registry_expired", help, None, kind)?;
        for (what, count) in [
            ("lease", tally.leases_expired),
            ("ttl", tally.checks_expired),
            ("critical", tally.deregistered_by_checks),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("cause", what)])?)?;
        }
        Ok(())
    }

    fn encode_checks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.checks.stats();
        let waiting = self.checks.figures().waiting() as u64;
        gauge(encoder, "larder_checks_probed", "Checks that are probed", stats.items)?;
        let help = "Checks that are not probed because of checks.limit";
        gauge(encoder, "larder_checks_waiting", help, waiting)?;
        let help = "Probes under way";
        gauge(encoder, "larder_check_probes_running", help, stats.in_flight)?;
        let help = "How late the most overdue probe is";
        let overdue = ConstGauge::new(stats.overdue.as_secs_f64());
        let name = "larder_checks_overdue_seconds";
        overdue.encode(encoder.encode_descriptor(name, help, None, overdue.metric_type())?)
    }
}

/// A counter of the engine: its name, what it counts, and where it is.
type CounterOf = (&'static str, &'static str, fn(&Stats) -> u64);

const COUNTERS: [CounterOf; 8] = [
    ("hits", "Answers from the cache", |stats| stats.hits),
    ("misses", "Answers that were not in the cache", |stats| stats.misses),
    ("joins", "Answers that somebody else was encoding", |stats| stats.joins),
    ("encoded", "Answers that were encoded", |stats| stats.fetched),
    ("failed", "Encodings that failed", |stats| stats.failed + stats.timed_out + stats.panicked),
    ("refused", "Answers too large to be kept", |stats| stats.refused),
    ("evicted", "Answers dropped to make room", |stats| stats.evictions),
    ("overloaded", "Requests refused because of a limit", |stats| stats.overloaded),
];

const GAUGES: [CounterOf; 4] = [
    ("entries", "Answers held", |stats| stats.entries),
    ("bytes", "Size of the answers held", |stats| stats.weight),
    ("flights", "Encodings under way", |stats| stats.flights),
    ("waiters", "Requests waiting for an encoding", |stats| stats.waiters),
];

fn encode_tiers(encoder: &mut DescriptorEncoder<'_>, tiers: &[(&str, Stats)]) -> fmt::Result {
    use prometheus_client::metrics::MetricType;
    for (name, help, read) in COUNTERS {
        let name = format!("larder_response_cache_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (tier, stats) in tiers {
            let counter = ConstCounter::new(read(stats));
            counter.encode(family.encode_family(&[("tier", *tier)])?)?;
        }
    }
    for (name, help, read) in GAUGES {
        let name = format!("larder_response_cache_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (tier, stats) in tiers {
            ConstGauge::new(read(stats)).encode(family.encode_family(&[("tier", *tier)])?)?;
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
