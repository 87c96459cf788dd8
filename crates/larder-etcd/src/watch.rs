//! A watch: a listing, then every change from the revision after it.
//!
//! A small machine of three stages, [`Stage`]: list, (re)open the stream, follow it. The stream that
//! breaks is opened again from the revision after the last one told; a listing is made anew when etcd
//! has forgotten that revision, or knows less than it once did. What the watch holds is what it has
//! told, so that a change is told as the difference that it makes.
//!
//! Two things of etcd's are not relied on: `prev_kv`, which is missing when the earlier revision has
//! been compacted, and the revision of progress notifications, which in releases before 3.4.25 and
//! 3.5.8 may be ahead of the events that were sent. A notification only proves that somebody is there.

mod follower;

use std::fmt;
use std::sync::Arc;

use larder_registry::model::Name;
use larder_registry::{BoxFuture, Error, Event, EventQueue, Watch};

use crate::store::Store;
use follower::{Follower, Step};

/// The watch that callers hold. What it has been handed but not yet given is at most one listing or one
/// answer of etcd's.
pub(crate) struct EtcdWatch {
    store: Arc<Store>,
    ready: EventQueue,
    /// The step under way. It outlives a call that is dropped, so that nothing is lost with it.
    step: Step,
}

impl EtcdWatch {
    pub(crate) fn new(store: Arc<Store>, service: Option<Name>) -> Self {
        let step = Follower::new(store.clone(), service).step();
        Self { store, ready: EventQueue::default(), step }
    }

    async fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Ok(event);
            }
            let (follower, events) = (&mut self.step).await;
            self.step = follower.step();
            self.ready.extend(events?);
        }
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        let store = self.store.clone();
        Box::pin(async move {
            // Both branches are cancel-safe: the first only looks, and the second goes on with the
            // step where it stopped.
            tokio::select! {
                biased;
                () = store.connection.until_closed() => None,
                event = self.next_event() => match event {
                    Err(Error::Closed) => None,
                    event => Some(event),
                },
            }
        })
    }

    /// etcd tells all changes of a transaction in one answer.
    fn is_amid_step(&self) -> bool {
        self.ready.is_amid_step()
    }
}

impl fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdWatch").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}
