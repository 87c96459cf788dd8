//! What is measured of peer groups. A group's name is a label: there are as many as are configured.

use std::fmt;
use std::sync::Arc;

use larder_peers::{CacheStats, GroupStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::gauge;
use crate::groups::Groups;

/// What is read of the groups when somebody asks.
pub(crate) struct Measured(pub(crate) Arc<Groups>);

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").finish_non_exhaustive()
    }
}

/// A figure: its name, what it says, its kind, and where it is.
type Figure<S> = (&'static str, &'static str, MetricType, fn(&S) -> u64);

const OF_GROUP: [Figure<GroupStats>; 17] = {
    use MetricType::{Counter, Gauge};
    [
        ("gets", "Gets, of clients and of peers", Counter, |stats| stats.gets),
        ("hits", "Gets answered from memory", Counter, |stats| stats.cache_hits),
        ("misses", "Gets that found nothing in memory", Counter, |stats| stats.loads),
        ("flights", "Misses that began a load; the others waited for one", Counter, |stats| {
            stats.loads_deduped
        }),
        ("peer_loads", "Values that came from their owner elsewhere", Counter, |stats| {
            stats.peer_loads
        }),
        ("peer_errors", "Requests to owners that were of no use", Counter, |stats| {
            stats.peer_errors
        }),
        ("loads", "Values that the origin brought", Counter, |stats| stats.local_loads),
        (
            "load_errors",
            "Loads that the origin failed; missing keys among them",
            Counter,
            |stats| stats.local_load_errors,
        ),
        ("peer_requests", "Requests of peers", Counter, |stats| stats.server_requests),
        ("removals", "Keys removed from here", Counter, |stats| stats.removals),
        ("renewals", "Values to be renewed before they expired", Counter, |stats| stats.renewals),
        ("renewals_failed", "Values that could not be", Counter, |stats| stats.renewals_failed),
        ("stale", "Values handed out after their expiry", Counter, |stats| stats.stale),
        ("hedges", "Gets sent a second time because the owner was slow", Counter, |stats| {
            stats.hedges
        }),
        ("hedges_won", "Those answered by the second first", Counter, |stats| stats.hedges_won),
        ("tombstones", "Keys loaded past their owner for now", Gauge, |stats| stats.tombstones),
        ("max_bytes", "What the group may take", Gauge, |stats| stats.max_bytes),
    ]
};

const OF_CACHE: [Figure<CacheStats>; 5] = {
    use MetricType::{Counter, Gauge};
    [
        ("bytes", "Size of what is held", Gauge, |stats| stats.bytes),
        ("entries", "Values held", Gauge, |stats| stats.items),
        ("evicted", "Values that made room for others", Counter, |stats| stats.evictions),
        ("expired", "Values that had expired and were swept out", Counter, |stats| stats.expired),
        ("refused", "Values too large to be kept", Counter, |stats| stats.rejected),
    ]
};

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let groups: Vec<_> = self.0.stats().collect();
        for (name, help, kind, read) in OF_GROUP {
            let name = format!("larder_group_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (group, stats) in &groups {
                let labels = [("group", *group)];
                encode(kind, read(stats), family.encode_family(&labels)?)?;
            }
        }
        for (name, help, kind, read) in OF_CACHE {
            let name = format!("larder_group_cache_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (group, stats) in &groups {
                for (cache, stats) in [("main", &stats.main), ("hot", &stats.hot)] {
                    let labels = [("group", *group), ("cache", cache)];
                    encode(kind, read(stats), family.encode_family(&labels)?)?;
                }
            }
        }
        encode_times(&mut encoder, &groups)?;
        self.encode_ring(&mut encoder)
    }
}

fn encode(
    kind: MetricType,
    value: u64,
    encoder: prometheus_client::encoding::MetricEncoder<'_>,
) -> fmt::Result {
    match kind {
        MetricType::Gauge => ConstGauge::new(value).encode(encoder),
        _ => ConstCounter::new(value).encode(encoder),
    }
}

/// How long owners elsewhere and origins took, all together.
fn encode_times(encoder: &mut DescriptorEncoder<'_>, groups: &[(&str, GroupStats)]) -> fmt::Result {
    let kind = MetricType::Counter;
    let help = "Time that owners elsewhere and the origin took";
    let mut family = encoder.encode_descriptor("larder_group_waited_seconds", help, None, kind)?;
    for (group, stats) in groups {
        for (whom, latency) in [("peer", &stats.peer_latency), ("origin", &stats.load_latency)] {
            let took = ConstCounter::new(latency.total.as_secs_f64());
            took.encode(family.encode_family(&[("group", *group), ("for", whom)])?)?;
        }
    }
    Ok(())
}

impl Measured {
    fn encode_ring(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (pool, retries) = (self.0.pool(), self.0.pool().retries());
        let help = "Nodes of the ring, this one among them";
        gauge(encoder, "larder_group_ring_members", help, pool.peers().len() as u64)?;
        let help = "Peers that failed several times in a row and are left alone for now";
        gauge(encoder, "larder_group_ring_resting", help, pool.resting().len() as u64)?;
        let help = "Removals that some peer has not heard of yet";
        gauge(encoder, "larder_group_removals_waiting", help, retries.pending as u64)?;
        let help = "Removals that some peer heard of late, or not at all";
        let name = "larder_group_removals_late";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (end, count) in [("told", retries.completed), ("given_up", retries.given_up)] {
            ConstCounter::new(count).encode(family.encode_family(&[("end", end)])?)?;
        }
        Ok(())
    }
}
