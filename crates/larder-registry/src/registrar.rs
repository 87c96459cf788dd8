//! What a registry decides when it is told something: a catalog, its leases, and the rules between
//! them.
//!
//! Pure: every method takes the [`Moment`] at which it happens, and answers with what changed. The
//! rules are Eureka's, whose clients depend on them; registrants that know nothing of overrides or of
//! the time of their last change never notice.

mod checks;
mod expiry;
pub mod rules;
pub mod self_preservation;
mod status;

use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;

use crate::backend::{Error, OverrideChange, Report, Tally};
use crate::catalog::{Catalog, Change};
use crate::lease::{LeaseTime, Leases, Terms};
use crate::model::{Action, CheckKey, Instance, Key, Lease, cut_output};
use checks::Checks;
use self_preservation::SelfPreservation;

pub use expiry::{Cause, Expired};

/// When something happens, on the two clocks that a registry needs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For leases: a clock that never jumps.
    pub now: Time,
    /// For timestamps: the time of day in milliseconds since 1970.
    pub wall: u64,
}

/// What a write did.
#[derive(Debug)]
pub struct Outcome {
    /// The instance as it is held now, or as it was last if it was removed.
    pub instance: Arc<Instance>,
    /// The change; none if only a lease was renewed.
    pub change: Option<Change>,
}

/// A catalog, its leases, and the rules between them. Holds at most `max_instances`.
#[derive(Debug)]
pub struct Registrar {
    catalog: Catalog,
    leases: Leases,
    checks: Checks,
    self_preservation: Option<SelfPreservation>,
    tally: Tally,
    max_instances: usize,
}

impl Registrar {
    /// Takes charge of an empty catalog, whose leases end when they run out.
    pub fn new(catalog: Catalog, max_instances: usize) -> Self {
        Self {
            catalog,
            leases: Leases::default(),
            checks: Checks::default(),
            self_preservation: None,
            tally: Tally::default(),
            max_instances,
        }
    }

    /// With leases that last so long after each renewal.
    #[must_use]
    pub fn lease_time(mut self, time: LeaseTime) -> Self {
        self.leases = Leases::lasting(time);
        self
    }

    /// With [`self_preservation`], from now on.
    #[must_use]
    pub fn self_preservation(mut self, options: self_preservation::Options, at: Moment) -> Self {
        self.self_preservation = Some(SelfPreservation::new(options, at.now, at.wall));
        self
    }

    /// The catalog as it is.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Adds an instance or replaces the one with its key; see
    /// [`Backend::register`](crate::Backend::register).
    pub fn register(&mut self, instance: Instance, at: Moment) -> Result<Outcome, Error> {
        self.take(instance, rules::settle, at)
    }

    /// Adds an instance as another registry holds it; see [`Backend::adopt`](crate::Backend::adopt).
    pub fn adopt(&mut self, instance: Instance, at: Moment) -> Result<Outcome, Error> {
        self.take(instance, rules::settle_adopted, at)
    }

    fn take(
        &mut self,
        instance: Instance,
        settle: fn(Instance, Option<&Instance>, u64) -> Instance,
        at: Moment,
    ) -> Result<Outcome, Error> {
        let key = instance.key();
        let before = self.catalog.get(&key).cloned();
        if before.is_none() && self.catalog.len() >= self.max_instances {
            return Err(Error::Full { limit: self.max_instances });
        }
        if let Some(held) = before.as_ref().filter(|held| rules::is_outdated(&instance, held)) {
            self.renewed(&key, at);
            return Ok(Outcome { instance: held.clone(), change: None });
        }
        let instance = settle(instance, before.as_deref(), at.wall);
        match instance.lease {
            Some(lease) => self.grant(key, &lease, at),
            None => self.leases.end(&key),
        }
        if let Some(held) = before.as_ref().filter(|held| rules::says_the_same(held, &instance)) {
            return Ok(Outcome { instance: held.clone(), change: None });
        }
        self.checks.registered(before.as_deref(), &instance, at.now);
        Ok(Self::outcome(self.catalog.put(instance, Action::Added, at.wall)))
    }

    /// Renews a lease; see [`Backend::renew`](crate::Backend::renew).
    pub fn renew(
        &mut self,
        key: &Key,
        dirty_at: Option<u64>,
        at: Moment,
    ) -> Result<Arc<Instance>, Error> {
        let held = self.held(key)?.clone();
        rules::may_renew(&held)?;
        self.renewed(key, at);
        rules::is_up_to_date(&held, dirty_at)?;
        Ok(held)
    }

    /// Removes an instance.
    pub fn deregister(&mut self, key: &Key, at: Moment) -> Result<Outcome, Error> {
        self.remove(key, at).map(Self::outcome).ok_or_else(|| Error::NotFound(key.to_string()))
    }

    /// Hears how a check is; see [`Backend::report`](crate::Backend::report).
    pub fn report(&mut self, key: &CheckKey, report: Report, at: Moment) -> Result<Outcome, Error> {
        let held = self.held(&key.instance)?.clone();
        let check = checks::subject(&held, key, &report)?;
        let output = cut_output(report.output);
        if check.health == report.health {
            self.checks.schedule(key.clone(), check, at.now);
            self.checks.note_output(key.clone(), output, &check.output);
            return Ok(Outcome { instance: held, change: None });
        }
        let instance = checks::with(&held, &key.id, report.health, output);
        Ok(Self::outcome(self.put_reported(key, instance, at)))
    }

    /// Sets or lifts an override; renews the lease, as Eureka does.
    pub fn set_override(
        &mut self,
        key: &Key,
        change: OverrideChange,
        at: Moment,
    ) -> Result<Outcome, Error> {
        let held = self.held(key)?.clone();
        self.renewed(key, at);
        let Some(instance) = rules::overridden(&held, change, at.wall) else {
            return Ok(Outcome { instance: held, change: None });
        };
        Ok(Self::outcome(self.catalog.put(instance, Action::Modified, at.wall)))
    }

    /// The instance as it is at this moment: with renewals of its lease, and the latest output of its
    /// checks.
    pub fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        let held = self.catalog.get(key)?;
        let mut instance = Instance::clone(held);
        if let Some((lease, renewed_at)) = instance.lease.as_mut().zip(self.leases.renewed_at(key))
        {
            lease.renewed_at = renewed_at;
        }
        self.checks.show(&mut instance);
        Some(Arc::new(instance))
    }

    /// What ended by itself so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Puts in what one of its checks says now.
    fn put_reported(&mut self, key: &CheckKey, mut instance: Instance, at: Moment) -> Change {
        if let Some(check) = instance.check(&key.id) {
            self.checks.schedule(key.clone(), check, at.now);
        }
        self.checks.forget_output(key);
        rules::note_first_up(&mut instance, at.wall);
        self.catalog.put(instance, Action::Modified, at.wall)
    }

    fn grant(&mut self, key: Key, lease: &Lease, at: Moment) {
        if self.leases.renewed_at(&key).is_some() {
            self.renewed(&key, at);
        }
        let terms = Terms {
            duration: secs(lease.duration_secs),
            interval: secs(lease.renewal_interval_secs),
        };
        self.leases.grant(key, terms, at.now, at.wall);
    }

    fn renewed(&mut self, key: &Key, at: Moment) {
        self.leases.renew(key, at.now, at.wall);
        let leased = self.leased();
        if let Some(preservation) = &mut self.self_preservation {
            preservation.renewed(leased, at.now, at.wall);
        }
    }

    fn remove(&mut self, key: &Key, at: Moment) -> Option<Change> {
        self.leases.end(key);
        let change = self.catalog.remove(key, at.wall)?;
        self.checks.left(&change.instance);
        Some(change)
    }

    fn held(&self, key: &Key) -> Result<&Arc<Instance>, Error> {
        self.catalog.get(key).ok_or_else(|| Error::NotFound(key.to_string()))
    }

    fn outcome(change: Change) -> Outcome {
        Outcome { instance: change.instance.clone(), change: Some(change) }
    }
}

fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs.into())
}

#[cfg(test)]
mod tests;
