//! What an instance's checks are to Consul: its own, and those that say what else keeps it from serving.

use std::borrow::Cow;
use std::fmt;

use larder_registry::model::{Check, Health, Instance, Probe, Status};

use super::{OwnNode, ids, kept, probe};
use crate::wire::{CheckDefinition, HealthCheck, Texts};

/// What all the checks of an instance come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AggregatedStatus {
    /// All pass.
    Passing,
    /// One warns.
    Warning,
    /// One is critical.
    Critical,
    /// An operator took it out.
    Maintenance,
}

impl AggregatedStatus {
    /// Consul's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for AggregatedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What these checks come to: maintenance beats critical beats warning.
pub fn aggregate(checks: &[HealthCheck<'_>]) -> AggregatedStatus {
    let says = |check: &HealthCheck<'_>| match &*check.status {
        _ if ids::is_maintenance(&check.check_id) => AggregatedStatus::Maintenance,
        "passing" => AggregatedStatus::Passing,
        "warning" => AggregatedStatus::Warning,
        _ => AggregatedStatus::Critical,
    };
    checks.iter().map(says).max().unwrap_or(AggregatedStatus::Passing)
}

/// Every check of the instance: those of its node, then its own by their ids.
pub(super) fn of<'a>(instance: &'a Instance, node: &'a str, own: &OwnNode) -> Vec<HealthCheck<'a>> {
    let is_own = own.runs(instance);
    let mut checks: Vec<_> = instance
        .checks
        .iter()
        .map(|check| {
            kept::kept(check, &instance.tags)
                .unwrap_or_else(|| shown(check, instance, node, !is_own))
        })
        .collect();
    checks.extend(unsaid(instance, node));
    if is_own {
        checks.push(serf(node));
    }
    checks.sort_by(|a, b| {
        (!a.service_id.is_empty(), &a.check_id).cmp(&(!b.service_id.is_empty(), &b.check_id))
    });
    checks
}

/// A check of the instance without anything about what it is.
fn blank<'a>(instance: &'a Instance, node: &'a str, id: Cow<'a, str>) -> HealthCheck<'a> {
    HealthCheck {
        node: Cow::Borrowed(node),
        check_id: id,
        service_id: Cow::Borrowed(&instance.id),
        service_name: Cow::Borrowed(instance.service.as_str()),
        service_tags: Texts::from(&instance.tags[..]),
        ..HealthCheck::default()
    }
}

fn shown<'a>(
    check: &'a Check,
    instance: &'a Instance,
    node: &'a str,
    with_definition: bool,
) -> HealthCheck<'a> {
    let kind = match &check.probe {
        Probe::Ttl(_) => "ttl",
        Probe::Tcp(_) => "tcp",
        Probe::Http { .. } => "http",
        Probe::Other { kind, .. } => kind,
    };
    HealthCheck {
        name: Cow::Borrowed(&check.name),
        status: Cow::Borrowed(check.health.as_str()),
        notes: Cow::Borrowed(&check.notes),
        output: Cow::Borrowed(&check.output),
        kind: Cow::Borrowed(kind),
        interval: Cow::Owned(probe::period(check.interval)),
        timeout: Cow::Owned(probe::period(check.timeout)),
        definition: if with_definition { definition(check) } else { CheckDefinition::default() },
        ..blank(instance, node, Cow::Borrowed(&check.id))
    }
}

/// How it is probed, for those who read the catalog in order to probe.
pub(super) fn definition(check: &Check) -> CheckDefinition<'_> {
    let times = CheckDefinition {
        interval: check.interval,
        timeout: check.timeout,
        deregister_critical_service_after: check.deregister_after.unwrap_or_default(),
        ..CheckDefinition::default()
    };
    match &check.probe {
        Probe::Tcp(target) => CheckDefinition { tcp: Cow::Borrowed(target), ..times },
        Probe::Http { url, definition } => {
            let http = probe::HttpDefinition::of(definition);
            CheckDefinition {
                http: Cow::Borrowed(url),
                method: http.method.into(),
                header: http.header,
                body: http.body.into(),
                tls_skip_verify: http.tls_skip_verify,
                tls_server_name: http.tls_server_name.into(),
                disable_redirects: http.disable_redirects,
                ..times
            }
        }
        Probe::Ttl(_) | Probe::Other { .. } => CheckDefinition::default(),
    }
}

/// Checks that nobody registered, for what keeps an instance from serving and for its lease: with them, its
/// checks all pass if and only if it is up.
fn unsaid<'a>(instance: &'a Instance, node: &'a str) -> impl Iterator<Item = HealthCheck<'a>> {
    let is_taken_out = is_taken_out(instance);
    let says_maintenance = || instance.checks.iter().any(|check| ids::is_maintenance(&check.id));
    let maintenance = (is_taken_out && !says_maintenance()).then(|| HealthCheck {
        name: "Service Maintenance Mode".into(),
        status: "critical".into(),
        notes: "Maintenance mode is enabled for this service: its status is overridden".into(),
        kind: "maintenance".into(),
        ..blank(instance, node, ids::maintenance_check_id(&instance.id).into())
    });
    let status = instance.effective_status();
    let is_unexplained = status != Status::Up
        && !is_taken_out
        && !instance.checks.iter().any(|check| check.health == Health::Critical);
    let for_status = status_check(instance, node, is_unexplained.then_some(status));
    maintenance.into_iter().chain(for_status)
}

/// Whether an operator's override is all that keeps it from serving.
pub(super) fn is_taken_out(instance: &Instance) -> bool {
    let out = Status::OutOfService;
    instance.status == out && instance.status_override == Some(out)
}

/// The check that speaks for an instance with a lease, or with a status that nothing else explains.
fn status_check<'a>(
    instance: &'a Instance,
    node: &'a str,
    unexplained: Option<Status>,
) -> Option<HealthCheck<'a>> {
    let stands_alone = instance.checks.is_empty();
    if unexplained.is_none() && !(stands_alone && instance.lease.is_some()) {
        return None;
    }
    let id = if stands_alone {
        format!("service:{}", instance.id)
    } else {
        ids::status_check_id(&instance.id)
    };
    let output = unexplained.map(|status| format!("Its status is {status}"));
    Some(HealthCheck {
        name: Cow::Owned(format!("Service '{}' check", instance.service)),
        status: if unexplained.is_none() { "passing" } else { "critical" }.into(),
        output: output.unwrap_or_default().into(),
        kind: if stands_alone && instance.lease.is_some() { "ttl" } else { "" }.into(),
        ..blank(instance, node, id.into())
    })
}

/// That the node is alive: whoever reads this can see it.
pub(super) fn serf(node: &str) -> HealthCheck<'_> {
    HealthCheck {
        node: Cow::Borrowed(node),
        check_id: ids::SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status: "passing".into(),
        output: "Agent alive and reachable".into(),
        ..HealthCheck::default()
    }
}
