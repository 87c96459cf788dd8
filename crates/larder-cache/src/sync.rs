//! Locks, atomics, tasks and timers behind one shim, so that the interleaving tests explore the very code
//! that runs in a program.
//!
//! Built with `--cfg shuttle`, they are shuttle's, which picks at every one of them who goes on; a sleep
//! then lasts for as many turns as shuttle likes, or for ever if it is one of a day or more. Nobody goes
//! on within what does not come from here: a call of the store, an entry's freshness and its counter of
//! references, the clock, the statistics. No waiter waits for any of those. All atomics count as
//! sequentially consistent.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

/// Locks `mutex`, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under our locks there are only operations on maps and lists. A panic in a key's `Eq` or `Hash`
    // leaves those whole, so what a poisoned mutex guards is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts tasks, however the code that asks for them is polled.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    #[cfg(not(shuttle))]
    runtime: tokio::runtime::Handle,
}

#[cfg(not(shuttle))]
impl Spawner {
    /// For the runtime that this is called in; outside of one it panics.
    pub(crate) fn current() -> Self {
        Self { runtime: tokio::runtime::Handle::current() }
    }

    /// A runtime that is shutting down drops the future here and now.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }
}

#[cfg(shuttle)]
impl Spawner {
    pub(crate) fn current() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "a runtime's handle is used")]
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(future));
    }
}

/// Waits for some time. Cancel-safe: it takes nothing.
#[cfg(not(shuttle))]
pub(crate) type Sleep = tokio::time::Sleep;

#[cfg(shuttle)]
pub(crate) type Sleep = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for `duration`.
#[cfg(not(shuttle))]
pub(crate) fn sleep(duration: Duration) -> Sleep {
    tokio::time::sleep(duration)
}

#[cfg(shuttle)]
pub(crate) fn sleep(duration: Duration) -> Sleep {
    use shuttle::rand::Rng;
    Box::pin(async move {
        if duration >= Duration::from_secs(86_400) {
            std::future::pending::<()>().await;
        }
        while shuttle::rand::thread_rng().gen_bool(0.7) {
            yield_now().await;
        }
    })
}

/// Lets other tasks run.
pub(crate) async fn yield_now() {
    #[cfg(not(shuttle))]
    tokio::task::yield_now().await;
    #[cfg(shuttle)]
    shuttle::future::yield_now().await;
}
