//! Whoever writes through the cache and then reads from it sees what was written.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::Request;

use super::RegistryCache;
use crate::catalog::Service;
use crate::model::{Instance, Name};

/// How long a write waits for the watch to tell of it. A write that was done is never answered with an
/// error: after this, readers see it a little later than its writer hears of it.
const PATIENCE: Duration = Duration::from_millis(500);

impl RegistryCache {
    /// Returns once the cache shows what was written to a service that it holds. One of which it only knows
    /// that it was absent is asked for anew; one that is stale stays, because the backend may write and yet
    /// not be read.
    pub(super) async fn until_it_shows(
        &self,
        name: &Name,
        shows: impl Fn(Option<&Service>) -> bool,
    ) {
        let Some(held) = self.services.peek(name) else {
            self.services.invalidate_absence(name);
            return;
        };
        if shows(Some(&held)) {
            return;
        }
        let Ok(mut subscription) = self.services.subscribe(name, &Request::DEFAULT) else { return };
        let visible = async {
            while let Some(update) = subscription.changed().await {
                if shows(update.value.as_ref().map(|service| &***service)) {
                    return;
                }
            }
        };
        // Cancel-safe: what is dropped is a subscription.
        let _ = tokio::time::timeout(PATIENCE, visible).await;
    }
}

/// Whether a service holds an instance as it was written, or as it was changed after that.
pub(super) fn holds(service: Option<&Service>, written: &Arc<Instance>) -> bool {
    let held = service.and_then(|service| service.get(&written.id));
    held.is_some_and(|held| held == written || held.updated_at > written.updated_at)
}

/// Whether a service is without an instance.
pub(super) fn lacks(service: Option<&Service>, id: &str) -> bool {
    service.and_then(|service| service.get(id)).is_none()
}
