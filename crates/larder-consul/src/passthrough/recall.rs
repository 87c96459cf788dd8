//! A body that is taken back from a request that was not sent, and lent to the next.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A client's body.
#[derive(Debug, Clone)]
pub(super) struct Recall(Arc<Mutex<Lent>>);

#[derive(Debug)]
struct Lent {
    body: Body,
    is_touched: bool,
}

impl Recall {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Lent { body, is_touched: false })))
    }

    /// The body, for one request at a time: two that read it would each get a part.
    pub(super) fn lend(&self) -> Body {
        Body::new(self.clone())
    }

    /// Whether any of it was read, so that it cannot be sent again.
    pub(super) fn is_touched(&self) -> bool {
        self.lock().is_touched
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        // A body that panicked while it was read is not read again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Recall {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut lent = self.lock();
        lent.is_touched = true;
        Pin::new(&mut lent.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_was_not_read_is_lent_again() {
        let body = Recall::new(Body::from("abc"));
        drop(body.lend());
        assert!(!body.is_touched());
        let read = axum::body::to_bytes(body.lend(), 10).await.expect("it is whole");
        assert_eq!(&read[..], b"abc");
        assert!(body.is_touched());
    }
}
