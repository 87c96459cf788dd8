//! Tasks with an owner: they end when it does, and are joined when it closes.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{AbortHandle, JoinSet};

/// The tasks of one owner. Dropping it aborts them.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: JoinSet<()>,
    is_closed: bool,
}

impl Tasks {
    /// Starts a task, unless the owner is closed; says whether it did.
    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortHandle> {
        let mut state = self.state();
        // Those that have ended would stay in the set for ever.
        while state.running.try_join_next().is_some() {}
        (!state.is_closed).then(|| state.running.spawn(task))
    }

    /// Aborts every task, and returns when all have ended.
    pub(crate) async fn close(&self) {
        let mut running = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.running)
        };
        running.shutdown().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
