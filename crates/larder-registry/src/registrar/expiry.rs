//! What ends because of the time that passed: leases, and the patience with checks.

use std::time::Duration;

use larder_cache::Time;

use super::self_preservation::{Explained, Leased};
use super::{Moment, Registrar, checks};
use crate::catalog::Change;
use crate::model::{CheckKey, Health, Key};

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
    /// overdue first. With [self-preservation](super::self_preservation) leases end as far as that lets
    /// them.
    pub fn expire(&mut self, at: Moment, most: usize) -> Vec<Expired> {
        let mut expired = Vec::new();
        if self.self_preservation.is_some() {
            self.leases.hold_expired(at.now);
        }
        for _ in 0..most {
            if let Some(key) = self.next_expired(at) {
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

    fn next_expired(&mut self, at: Moment) -> Option<Key> {
        let leased = self.leased();
        let Some(preservation) = &mut self.self_preservation else {
            return self.leases.pop_expired(at.now);
        };
        preservation.look(leased, at.now, at.wall);
        if preservation.allowance(leased, at.now) == 0 {
            return None;
        }
        self.leases.end_overdue(preservation.pick(leased.overdue))
    }

    pub(super) fn leased(&self) -> Leased {
        let leases = &self.leases;
        Leased { count: leases.len(), overdue: leases.overdue(), due: leases.due() }
    }

    /// The moment before which nothing is due, as of `now`.
    pub fn next_expiry(&self, now: Time) -> Option<Time> {
        let leased = self.leased();
        let overdue = self.self_preservation.as_ref().filter(|_| leased.overdue > 0);
        let overdue = overdue.map(|preservation| match preservation.allowance(leased, now) {
            0 => preservation.next_look(now),
            _ => now,
        });
        overdue.into_iter().chain(self.leases.next_expiry()).chain(self.checks.next_due()).min()
    }

    /// Whether somebody must look at the clock now and then, to learn of a [pause](Self::paused).
    pub fn minds_pauses(&self) -> bool {
        self.self_preservation.is_some() && !self.leases.is_empty()
    }

    /// The program stood still for this long, so that nobody could renew: with self-preservation, no lease
    /// ends for as long, at most a minute.
    pub fn paused(&mut self, pause: Duration, at: Moment) {
        if let Some(preservation) = &mut self.self_preservation {
            preservation.paused(pause, at.now);
        }
    }

    /// Why leases that ran out are held on to, or are not; none without self-preservation.
    pub fn explain(&mut self, at: Moment) -> Option<Explained> {
        let leased = self.leased();
        let preservation = self.self_preservation.as_mut()?;
        preservation.look(leased, at.now, at.wall);
        Some(preservation.explain(leased))
    }

    /// An operator says that the leases that ran out so far are gone: they end. Answers how many.
    pub fn confirm(&mut self, at: Moment) -> usize {
        self.leases.hold_expired(at.now);
        let leased = self.leased();
        if let Some(preservation) = &mut self.self_preservation {
            preservation.confirm(leased);
        }
        leased.overdue
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
