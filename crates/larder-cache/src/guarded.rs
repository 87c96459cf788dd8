//! Futures around futures, as small as what they hold: an async fn would hold its argument twice.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::sync::{Sleep, sleep};

pin_project! {
    /// Gives the output of `future`, or `None` if it takes too long.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        // Made when the future first has to wait: one that is ready at once costs no look at the clock.
        #[pin]
        limit: Option<Sleep>,
        time: Duration,
    }
}

pin_project! {
    /// Gives the output of `future`, unless it panics; then it must not be polled again.
    pub(crate) struct Caught<F> {
        #[pin]
        future: F,
    }
}

/// Drops each of `things`, which runs foreign code, whichever of them panic; says how many do. No lock may
/// be held.
pub(crate) fn drop_each<T>(things: impl IntoIterator<Item = T>) -> u64 {
    // Unwind-safe: what a drop has left half-done is its own.
    let panics = |thing| catch_unwind(AssertUnwindSafe(|| drop(thing))).is_err();
    things.into_iter().map(panics).map(u64::from).sum()
}

/// `future`'s output, or `None` if it takes longer than `limit`. Cancel-safe if `future` is.
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within { future, limit: None, time: limit }
}

/// A future has panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// `future`'s output, unless it panics.
pub(crate) fn caught<F: Future>(future: F) -> Caught<F> {
    Caught { future }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The future comes first: what is ready is not late.
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        if this.limit.is_none() {
            this.limit.set(Some(sleep(*this.time)));
        }
        match this.limit.as_pin_mut() {
            Some(limit) => limit.poll(context).map(|()| None),
            None => Poll::Pending,
        }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // Unwind-safe: what the future may have left half-done is its own, and it is dropped.
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
