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
        #[pin]
        limit: Sleep,
    }
}

pin_project! {
    /// Gives the output of `future`, or `None` if it panics, after which it must not be polled again.
    pub(crate) struct Caught<F> {
        #[pin]
        future: F,
    }
}

/// `future`'s output, or `None` if it takes longer than `limit`. Cancel-safe if `future` is.
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within { future, limit: sleep(limit) }
}

/// `future`'s output, or `None` if it panics.
pub(crate) fn caught<F: Future>(future: F) -> Caught<F> {
    Caught { future }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The future comes first: what is ready is not late.
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        this.limit.poll(context).map(|()| None)
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // Unwind-safe: what the future may have left half-done is its own, and it is dropped.
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}
