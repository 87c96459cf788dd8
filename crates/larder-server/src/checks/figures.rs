//! What is counted about probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_registry::model::Health;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Metrics;

/// From a probe on this machine to one that takes all the time that it may.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    health: &'static str,
}

/// Probes by what they found, how long they took, and how many checks have no room. Cloning gives another
/// handle on the same counts.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    probes: Family<Found, Counter>,
    seconds: Histogram,
    waiting: Arc<AtomicUsize>,
}

impl Default for Figures {
    fn default() -> Self {
        let seconds = Histogram::new(SECONDS);
        Self { probes: Family::default(), seconds, waiting: Arc::default() }
    }
}

impl Figures {
    pub(super) fn count(&self, health: Health, took: Duration) {
        self.probes.get_or_create(&Found { health: health.as_str() }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn set_waiting(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// How many checks wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Has the counts shown.
    pub(crate) fn register(&self, metrics: &mut Metrics) {
        let help = "Probes of checks, by what they found";
        metrics.register("larder_check_probes", help, self.probes.clone());
        let help = "How long probes of checks took";
        metrics.register("larder_check_probe_seconds", help, self.seconds.clone());
    }
}
