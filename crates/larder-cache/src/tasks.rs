//! The tasks of one cache: counted when they start, told when the cache closes, and joined at its end.

use std::future::Future;
use std::sync::Arc;

use crate::signal::Signal;
use crate::sync::{AtomicUsize, Ordering, Spawner};

#[derive(Debug)]
pub(crate) struct Tasks {
    spawner: Spawner,
    live: AtomicUsize,
    /// Rises whenever the last task has ended.
    none_live: Signal,
    /// Rises once.
    closing: Signal,
}

/// Counts a task from before its start; dropped as its last thing.
#[derive(Debug)]
pub(crate) struct Live(Arc<Tasks>);

impl Tasks {
    /// On the runtime that this is called in; outside of one it panics.
    pub(crate) fn new() -> Self {
        Self {
            spawner: Spawner::current(),
            live: AtomicUsize::new(0),
            none_live: Signal::default(),
            closing: Signal::default(),
        }
    }

    /// Starts a task. No lock may be held: a runtime that is shutting down drops `future` here and now.
    pub(crate) fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        self.run(self.reserve(), future);
    }

    /// Counts a task that is about to start. Under the lock under which it was seen that the cache is
    /// not closing, so that whoever closes it waits for the task.
    pub(crate) fn reserve(self: &Arc<Self>) -> Live {
        self.live.fetch_add(1, Ordering::AcqRel);
        Live(Arc::clone(self))
    }

    /// As [`spawn`](Self::spawn), for a task that has been counted.
    pub(crate) fn run(&self, live: Live, future: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(async move {
            // Declared first, so dropped last, however the task ends.
            let _live = live;
            future.await;
        });
    }

    /// From now on [`is_closing`](Self::is_closing) is true and [`closing`](Self::closing) is over.
    pub(crate) fn close(&self) {
        drop(self.closing.raise());
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.version() != 0
    }

    /// Waits for [`close`](Self::close). Cancel-safe: it takes nothing that could be lost.
    pub(crate) async fn closing(&self) {
        self.closing.past(0).await;
    }

    /// Waits until no task is left.
    pub(crate) async fn all_ended(&self) {
        loop {
            let seen = self.none_live.version();
            if self.live() == 0 {
                return;
            }
            self.none_live.past(seen).await;
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.0.none_live.raise());
        }
    }
}
