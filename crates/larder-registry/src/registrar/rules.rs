//! The rules of a registration, a renewal and an override, one function each: what every backend that
//! writes decides alike, wherever it keeps its instances.

use super::{checks, status};
use crate::backend::{Error, OverrideChange};
use crate::model::{Instance, Lease, Status};

/// Whether a registration tells of an earlier time than what is held: then it renews the lease and
/// changes nothing. One that does not say when it changed is believed.
pub fn is_outdated(instance: &Instance, held: &Instance) -> bool {
    instance.dirty_at != 0 && instance.dirty_at < held.dirty_at
}

/// Fills in what the registry owns: the status, the override, the lease's times, and what its checks have
/// said. `wall` is the time of day in milliseconds since 1970.
pub fn settle(mut instance: Instance, before: Option<&Instance>, wall: u64) -> Instance {
    instance.status_override = status_override(&instance, before);
    instance.status = status::on_registration(
        instance.status,
        instance.status_override,
        before.map(|before| before.status),
    );
    settled(instance, before, wall)
}

/// Like [`settle`], for an instance as another registry holds it: what was held here before does not keep
/// it from moving between serving and being out of service.
pub fn settle_adopted(mut instance: Instance, before: Option<&Instance>, wall: u64) -> Instance {
    instance.status_override = status_override(&instance, before);
    instance.status = status::on_registration(instance.status, instance.status_override, None);
    settled(instance, before, wall)
}

fn status_override(instance: &Instance, before: Option<&Instance>) -> Option<Status> {
    let said = instance.status_override.filter(|status| *status != Status::Unknown);
    before.and_then(|before| before.status_override).or(said)
}

fn settled(mut instance: Instance, before: Option<&Instance>, wall: u64) -> Instance {
    checks::settle(&mut instance, before);
    if let Some(lease) = &mut instance.lease {
        let held = before.and_then(|before| before.lease);
        lease.registered_at = wall;
        lease.renewed_at = wall;
        lease.evicted_at = 0;
        lease.up_since = held.map_or(0, |held| held.up_since);
    }
    note_first_up(&mut instance, wall);
    instance
}

/// Whether a registration repeats what is held: then it is a renewal, and nobody is told.
pub fn says_the_same(held: &Instance, instance: &Instance) -> bool {
    held.says_the_same(instance, |held, repeated| {
        let Lease { registered_at, renewed_at, .. } = *held;
        Lease { registered_at, renewed_at, ..*repeated } == *held
    })
}

/// Whether the lease may be renewed. Eureka: an instance whose status nobody knows is told to register
/// again, by [`Error::NotFound`].
pub fn may_renew(held: &Instance) -> Result<(), Error> {
    match held.status {
        Status::Unknown => Err(Error::NotFound(held.key().to_string())),
        _ => Ok(()),
    }
}

/// Whether the registrant, which last changed at `dirty_at`, is held as it is now;
/// [`Error::Outdated`] if not. Its lease is renewed all the same.
pub fn is_up_to_date(held: &Instance, dirty_at: Option<u64>) -> Result<(), Error> {
    match dirty_at {
        Some(dirty_at) if dirty_at > held.dirty_at => Err(Error::Outdated(held.key())),
        _ => Ok(()),
    }
}

/// The instance after an operator's change; none if it changes nothing.
pub fn overridden(held: &Instance, change: OverrideChange, wall: u64) -> Option<Instance> {
    let (status, status_override) = status::after_override(held, change)?;
    let mut instance = held.clone();
    instance.status = status;
    instance.status_override = status_override;
    instance.dirty_at = instance.dirty_at.max(change.dirty_at.unwrap_or(0));
    note_first_up(&mut instance, wall);
    Some(instance)
}

pub(super) fn note_first_up(instance: &mut Instance, wall: u64) {
    let up = instance.effective_status() == Status::Up;
    if let Some(lease) = instance.lease.as_mut().filter(|lease| up && lease.up_since == 0) {
        lease.up_since = wall;
    }
}
