//! Checks that somebody else's Consul holds, kept so that nothing is lost and nobody here probes them.

use std::borrow::Cow;

use larder_registry::model::{Check, Health, Opaque, Probe};

use crate::wire::{HealthCheck, Texts, duration};

/// The check, as an instance holds it: a kind of its own with everything that it says as its definition.
pub(super) fn keep(check: &HealthCheck<'_>) -> Check {
    // What the model has a place for, and what changes without meaning anything, is not held twice.
    let definition = HealthCheck {
        name: Cow::Borrowed(""),
        status: Cow::Borrowed(""),
        notes: Cow::Borrowed(""),
        output: Cow::Borrowed(""),
        service_tags: Texts::default(),
        create_index: 0,
        modify_index: 0,
        ..check.clone()
    };
    let definition = serde_json::to_string(&definition).expect("texts and numbers are JSON");
    let probe = Probe::Other { kind: check.kind.to_string(), definition: Opaque(definition) };
    let period = |said: &str, defined| duration::parse(said).unwrap_or(defined);
    let deregister_after = check.definition.deregister_critical_service_after;
    Check {
        name: check.name.to_string(),
        // A word that nobody knows does not say that all is well.
        health: Health::from_name(&check.status).unwrap_or(Health::Critical),
        notes: check.notes.to_string(),
        output: check.output.to_string(),
        interval: period(&check.interval, check.definition.interval),
        timeout: period(&check.timeout, check.definition.timeout),
        deregister_after: Some(deregister_after).filter(|after| !after.is_zero()),
        ..Check::new(&check.check_id, probe)
    }
}

/// The check as it was kept; none if it never was somebody else's.
pub(super) fn kept<'a>(check: &'a Check, tags: &'a [String]) -> Option<HealthCheck<'a>> {
    let Probe::Other { definition, .. } = &check.probe else { return None };
    let kept: HealthCheck<'_> = serde_json::from_str(&definition.0).ok()?;
    if kept.node.is_empty() || kept.check_id != check.id.as_str() {
        return None;
    }
    let tags = if kept.service_id.is_empty() { &[] } else { tags };
    Some(HealthCheck {
        name: Cow::Borrowed(&check.name),
        status: Cow::Borrowed(check.health.as_str()),
        notes: Cow::Borrowed(&check.notes),
        output: Cow::Borrowed(&check.output),
        service_tags: Texts::from(tags),
        ..kept
    })
}
