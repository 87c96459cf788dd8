//! A watch: the picture's changes, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use larder_registry::model::Name;
use larder_registry::{BoxFuture, Error, Event, Watch};
use tokio::sync::watch as progress;

use crate::shared::{Progress, Shared};

/// Where a consumer is. What it has been handed but not yet taken is at most one listing or one log.
#[derive(Debug)]
pub(crate) struct MdnsWatch {
    shared: Arc<Shared>,
    progress: progress::Receiver<Progress>,
    /// What is watched; others are asked again while it lives.
    interest: Arc<Option<Name>>,
    /// Everything up to here is told or in `ready`; none before the first listing.
    told: Option<u64>,
    ready: VecDeque<Event>,
}

impl MdnsWatch {
    pub(crate) fn new(shared: Arc<Shared>, interest: Arc<Option<Name>>) -> Self {
        let progress = shared.progress.subscribe();
        Self { shared, progress, interest, told: None, ready: VecDeque::new() }
    }

    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if self.shared.is_closed() {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Marked as seen *before* the picture is read: a change between the two is seen again, and
            // none is slept through.
            self.progress.borrow_and_update();
            {
                let state = self.shared.state();
                let service = (*self.interest).as_ref();
                self.ready = state.picture.events(self.told, service).into();
                self.told = Some(state.picture.revision());
            }
            if self.ready.is_empty() {
                self.progress.changed().await.ok()?;
            }
        }
    }
}

impl Watch for MdnsWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(async { self.next_event().await.map(Ok) })
    }
}
