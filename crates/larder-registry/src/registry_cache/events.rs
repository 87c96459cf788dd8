//! One service's changes, as a reader of the cache hears of them.

use std::fmt;
use std::sync::Arc;

use larder_cache::Subscription;

use super::difference::difference;
use super::error_of;
use super::following::{Following, Shared};
use crate::backend::{BoxFuture, Error, Watch};
use crate::catalog::Service;
use crate::event::{Event, EventQueue};

/// The stream of [`RegistryCache::subscribe`](super::RegistryCache::subscribe): the present state, then
/// every change of it, deletions included, in their order.
///
/// A reader who is slower than the changes hears of what they came to: what was missed in between is not
/// told, and the state that the events make is the cache's at all times. What waits is at most one listing,
/// or one difference.
pub struct ServiceEvents {
    subscription: Subscription<Following>,
    /// The state that was told; none before the first. No service is one without instances.
    told: Option<Shared>,
    ready: EventQueue,
    /// Told after what is ready: it came beside that state.
    trouble: Option<Error>,
}

impl ServiceEvents {
    pub(super) fn new(subscription: Subscription<Following>) -> Self {
        Self { subscription, told: None, ready: EventQueue::default(), trouble: None }
    }

    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(Ok(event));
            }
            if let Some(error) = self.trouble.take() {
                return Some(Err(error));
            }
            // Cancel-safe: an update that was not returned comes again.
            let update = self.subscription.changed().await?;
            let error = update.error.map(|error| error_of(error, self.subscription.key()));
            match (update.value, error) {
                (None, Some(Error::NotFound(_))) => {
                    let name = self.subscription.key().clone();
                    self.tell(Arc::new(Service::new(name, 0, [])));
                }
                (value, error) => {
                    if let Some(value) = value {
                        self.tell(Arc::clone(&value));
                    }
                    self.trouble = error;
                }
            }
        }
    }

    fn tell(&mut self, now: Shared) {
        match &self.told {
            None => {
                self.ready.push(Event::Init);
                self.ready.extend(now.instances().cloned().map(Event::InitApply));
                self.ready.push(Event::InitDone { revision: now.revision() });
            }
            Some(told) => {
                // What made a service empty has no revision of its own here.
                let revision = now.revision().max(told.revision());
                self.ready.extend(difference(told, &now, revision));
            }
        }
        self.told = Some(now);
    }
}

impl Watch for ServiceEvents {
    /// An error is told once when the backend begins to fail; the state stays, and what changed meanwhile is
    /// told when it answers again.
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(self.next_event())
    }

    fn is_amid_step(&self) -> bool {
        self.ready.is_amid_step()
    }
}

impl fmt::Debug for ServiceEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceEvents").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}
