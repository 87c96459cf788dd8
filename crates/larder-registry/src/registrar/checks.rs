//! What time does to checks: silence makes one with a ttl critical, and being critical for too long
//! deregisters an instance. And what is known about checks beside the catalog.
//!
//! A check waits for one thing at a time, so that one deadline for each is enough: one that is not
//! critical waits for a report, if it has a ttl; a critical one for the end of the instance, if it asks
//! for that.

use std::collections::{HashMap, HashSet};

use larder_cache::Time;
use larder_cache::expiry::Deadlines;

use crate::backend::{Error, Report, Reporter};
use crate::model::{Check, CheckKey, Health, Instance, MIN_DEREGISTER_AFTER, Probe, cut_output};

/// What a registrar knows about its checks beside what the catalog holds. Bounded by the catalog: an
/// entry leaves with its check.
#[derive(Debug, Default)]
pub(super) struct Checks {
    deadlines: Deadlines<CheckKey>,
    critical_since: HashMap<CheckKey, Time>,
    /// Output that is newer than the catalog's.
    outputs: HashMap<CheckKey, String>,
}

impl Checks {
    /// An instance was registered: `after` in place of `before`.
    pub(super) fn registered(&mut self, before: Option<&Instance>, after: &Instance, now: Time) {
        if after.checks.is_empty() && before.is_none_or(|before| before.checks.is_empty()) {
            return;
        }
        let key = after.key();
        for check in before.iter().flat_map(|before| &before.checks) {
            if after.check(&check.id).is_none_or(|now| !is_the_same(check, now)) {
                self.forget(&CheckKey::new(key.clone(), &check.id));
            }
        }
        for check in &after.checks {
            let known = held(before, check).is_some();
            // To register again is no report: the silence of a ttl goes on.
            if !known || check.health == Health::Critical {
                self.schedule(CheckKey::new(key.clone(), &check.id), check, now);
            }
        }
    }

    /// An instance left.
    pub(super) fn left(&mut self, instance: &Instance) {
        if instance.checks.is_empty() {
            return;
        }
        let key = instance.key();
        for check in &instance.checks {
            self.forget(&CheckKey::new(key.clone(), &check.id));
        }
    }

    /// Sets what `check`, as it is from `now` on, waits for next.
    pub(super) fn schedule(&mut self, key: CheckKey, check: &Check, now: Time) {
        let deadline = if check.health == Health::Critical {
            let since = *self.critical_since.entry(key.clone()).or_insert(now);
            check.deregister_after.map(|wait| since.after(wait.max(MIN_DEREGISTER_AFTER)))
        } else {
            self.critical_since.remove(&key);
            match check.probe {
                Probe::Ttl(ttl) => Some(now.after(ttl)),
                _ => None,
            }
        };
        match deadline {
            Some(deadline) => self.deadlines.set(key, deadline),
            None => drop(self.deadlines.remove(&key)),
        }
    }

    /// Remembers output that the catalog does not hold, `held` being what it does.
    pub(super) fn note_output(&mut self, key: CheckKey, output: String, held: &str) {
        if output == held {
            self.outputs.remove(&key);
        } else {
            self.outputs.insert(key, output);
        }
    }

    /// The catalog holds the newest output of this check.
    pub(super) fn forget_output(&mut self, key: &CheckKey) {
        self.outputs.remove(key);
    }

    /// The output of a check that is newer than the catalog's.
    pub(super) fn output(&self, key: &CheckKey) -> Option<&String> {
        self.outputs.get(key)
    }

    /// Puts the newest output of every check into a copy of the instance.
    pub(super) fn show(&self, instance: &mut Instance) {
        if instance.checks.is_empty() || self.outputs.is_empty() {
            return;
        }
        let key = instance.key();
        for check in &mut instance.checks {
            if let Some(output) = self.outputs.get(&CheckKey::new(key.clone(), &check.id)) {
                check.output.clone_from(output);
            }
        }
    }

    /// Takes the check that has waited too long, if there is one.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<CheckKey> {
        self.deadlines.pop(now).map(|(key, _)| key)
    }

    /// The moment before which no check waits too long.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.deadlines.next()
    }

    fn forget(&mut self, key: &CheckKey) {
        self.deadlines.remove(key);
        self.critical_since.remove(key);
        self.outputs.remove(key);
    }
}

/// The check as it is held, if it is still the same one: by its id, and probed as before.
fn held<'a>(before: Option<&'a Instance>, check: &Check) -> Option<&'a Check> {
    before?.check(&check.id).filter(|held| is_the_same(held, check))
}

fn is_the_same(held: &Check, check: &Check) -> bool {
    held.probe == check.probe
}

/// Settles the checks of an instance that registers: those that are held already keep what they said,
/// and of two with one id the first stays.
pub(super) fn settle(instance: &mut Instance, before: Option<&Instance>) {
    let mut ids = HashSet::new();
    instance.checks.retain(|check| ids.insert(check.id.clone()));
    for check in &mut instance.checks {
        match held(before, check) {
            Some(held) => {
                check.health = held.health;
                check.output.clone_from(&held.output);
            }
            None => check.output = cut_output(std::mem::take(&mut check.output)),
        }
    }
}

/// The check that a report is about, unless it comes from somebody who has no say in it.
pub(super) fn subject<'a>(
    held: &'a Instance,
    key: &CheckKey,
    report: &Report,
) -> Result<&'a Check, Error> {
    let check = held.check(&key.id).ok_or_else(|| Error::NotFound(key.to_string()))?;
    match &report.from {
        Reporter::Registrant if check.is_active() => Err(Error::Probed(key.clone())),
        Reporter::Prober(probe) if *probe != check.probe => Err(Error::NotFound(key.to_string())),
        _ => Ok(check),
    }
}

/// A copy of the instance, with what one of its checks says now.
pub(super) fn with(held: &Instance, id: &str, health: Health, output: String) -> Instance {
    let mut instance = held.clone();
    if let Some(check) = instance.checks.iter_mut().find(|check| check.id == id) {
        check.health = health;
        check.output = output;
    }
    instance
}

/// What Consul prints when nobody has reported for longer than the ttl.
pub(super) fn expired(last: &str) -> String {
    if last.is_empty() {
        return "TTL expired".to_owned();
    }
    cut_output(format!("TTL expired (last output before timeout follows): {last}"))
}
