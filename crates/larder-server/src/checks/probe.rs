//! Looks once at what a check is about.

use std::sync::Arc;
use std::time::Duration;

use larder_registry::model::{Check, Health, Probe, cut_output};

use super::allow::Allow;
use super::{http, tcp};

/// Time between two probes of a check that does not say.
pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two probes of a check, whatever it says; as Consul's.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// How long a probe may take that does not say: as Consul, no longer than its interval either.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a probe may take, whatever it says: while it lasts, it holds a worker.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// What a probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) health: Health,
    pub(crate) output: String,
}

impl Finding {
    pub(super) fn passing(output: String) -> Self {
        Self { health: Health::Passing, output }
    }

    pub(super) fn critical(output: String) -> Self {
        Self { health: Health::Critical, output }
    }
}

/// Goes and looks. Cloning gives another handle on the same one.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    allow: Arc<Allow>,
    http: http::Asker,
}

impl Prober {
    pub(crate) fn new(allow: Allow) -> reqwest::Result<Self> {
        let allow = Arc::new(allow);
        Ok(Self { http: http::Asker::new(allow.clone())?, allow })
    }

    /// Looks, for `timeout` at most. Whatever goes wrong, and whatever must not be looked at, is
    /// critical, with the reason as its output. Safe to cancel.
    pub(crate) async fn probe(&self, probe: &Probe, timeout: Duration) -> Finding {
        let finding = tokio::time::timeout(timeout, self.look(probe)).await;
        let mut finding = finding.unwrap_or_else(|_| {
            Finding::critical(format!("no answer within {} ms", timeout.as_millis()))
        });
        finding.output = cut_output(finding.output);
        finding
    }

    async fn look(&self, probe: &Probe) -> Finding {
        match probe {
            Probe::Tcp(target) => tcp::probe(&self.allow, target).await,
            Probe::Http { url, definition } if definition.0.is_empty() => {
                self.http.probe(url).await
            }
            Probe::Http { .. } => {
                Finding::critical("not probed: only a plain GET is supported yet".to_owned())
            }
            Probe::Ttl(_) | Probe::Other { .. } => {
                Finding::critical("not probed: somebody else reports this check".to_owned())
            }
        }
    }
}

/// Time between two probes of this check. Other protocols may have checks without one.
pub(crate) fn interval(check: &Check) -> Duration {
    if check.interval.is_zero() { DEFAULT_INTERVAL } else { check.interval.max(MIN_INTERVAL) }
}

/// How long a probe of this check may take.
pub(crate) fn timeout(check: &Check) -> Duration {
    let asked = Some(check.timeout).filter(|timeout| !timeout.is_zero());
    asked.unwrap_or_else(|| DEFAULT_TIMEOUT.min(interval(check))).min(MAX_TIMEOUT)
}

#[cfg(test)]
mod tests;
