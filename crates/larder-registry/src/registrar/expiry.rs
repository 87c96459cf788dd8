//! What ends because of the time that passed: leases, and the patience with checks.

use larder_cache::Time;

use super::{Moment, Registrar, checks};
use crate::catalog::Change;
use crate::model::{CheckKey, Health};

/// Something that happened because of the time that passed.
#[derive(Debug)]
pub struct Expired {
    /// Why.
    pub cause: Cause,
    /// What changed.
    pub change: Change,
}

/// Why time changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The instance's lease ran out: it was removed.
    Lease,
    /// Nobody reported for longer than the check's ttl: it turned critical.
    Silence(CheckKey),
    /// The check was critical for too long: the instance was removed.
    Critical(CheckKey),
}

impl Registrar {
    /// Does up to `most` of what is due: first leases that have run out, then checks, each the longest
    /// overdue first.
    pub fn expire(&mut self, at: Moment, most: usize) -> Vec<Expired> {
        let mut expired = Vec::new();
        for _ in 0..most {
            if let Some(key) = self.leases.pop_expired(at.now) {
                let change = self.remove(&key, at);
                expired.extend(change.map(|change| Expired { cause: Cause::Lease, change }));
            } else if let Some(key) = self.checks.pop_due(at.now) {
                expired.extend(self.expire_check(key, at));
            } else {
                break;
            }
        }
        for Expired { cause, .. } in &expired {
            let count = match cause {
                Cause::Lease => &mut self.tally.leases_expired,
                Cause::Silence(_) => &mut self.tally.checks_expired,
                Cause::Critical(_) => &mut self.tally.deregistered_by_checks,
            };
            *count += 1;
        }
        expired
    }

    /// The moment before which nothing is due.
    pub fn next_expiry(&self) -> Option<Time> {
        self.leases.next_expiry().into_iter().chain(self.checks.next_due()).min()
    }

    /// What a check waited for did not come.
    fn expire_check(&mut self, key: CheckKey, at: Moment) -> Option<Expired> {
        let held = self.catalog.get(&key.instance)?.clone();
        let check = held.check(&key.id)?;
        if check.health == Health::Critical {
            let change = self.remove(&key.instance, at)?;
            return Some(Expired { cause: Cause::Critical(key), change });
        }
        let last = self.checks.output(&key).unwrap_or(&check.output);
        let instance = checks::with(&held, &key.id, Health::Critical, checks::expired(last));
        let change = self.put_reported(&key, instance, at);
        Some(Expired { cause: Cause::Silence(key), change })
    }
}
