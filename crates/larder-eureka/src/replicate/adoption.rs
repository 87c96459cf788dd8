//! Taking an instance as a peer holds it.

use larder_registry::model::{Instance, Status};
use larder_registry::{Error, OverrideChange, Registry};

/// Puts it into the registry, with a lease from now on, and with the peer's override: it is the newer one.
/// What is held here and is newer stays. Nobody is told, as of everything that comes from a peer.
pub(super) async fn adopt(registry: &dyn Registry, newer: &Instance) -> Result<(), Error> {
    let mut instance = Instance { is_coordinator: false, ..newer.clone() };
    // Every registration over Eureka's API has a lease, whether it asks for one or not.
    instance.lease.get_or_insert_default();
    let key = instance.key();
    if let Some(to) = instance.status_override
        && let Some(held) = registry.instance(&key)
        && held.dirty_at <= instance.dirty_at
        && held.status_override.is_some_and(|held| held != to)
    {
        // An adopted instance takes the override that is held here, if there is one.
        let change = OverrideChange { to: Some(to), fallback: Status::Unknown, dirty_at: None };
        registry.set_override(&key, change).await?;
    }
    registry.adopt(instance).await.map(drop)
}
