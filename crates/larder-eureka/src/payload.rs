//! Bodies that cost what changed.
//!
//! A list of all applications is a `Rope` of chunks, each of them a run of instances with its text and,
//! once somebody asked for it, that text deflated. A change writes one instance and one chunk anew, and
//! deflates one; all other chunks are shared with the lists before. A [`Payload`] is the pieces of one
//! answer in order: nobody copies them together, neither to keep nor to send them.

mod chunk;
mod gzip;
mod rope;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use bytes::Bytes;

pub(crate) use gzip::compressed;
pub(crate) use rope::{Changes, Rope};

/// The body of an answer, in pieces. Cloning costs a reference count.
#[derive(Debug, Clone)]
pub struct Payload {
    pieces: Arc<[Bytes]>,
    len: usize,
}

impl Payload {
    pub(crate) fn new(pieces: Vec<Bytes>) -> Self {
        let len = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into(), len }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Everything in one piece, for those who must have it so.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.pieces {
            [only] => only.clone(),
            pieces => pieces.concat().into(),
        }
    }

    /// As the body of an answer, which knows its length.
    pub(crate) fn into_body(self) -> axum::body::Body {
        axum::body::Body::new(Sending { left: self.len, payload: self, next: 0 })
    }
}

impl From<Vec<u8>> for Payload {
    fn from(text: Vec<u8>) -> Self {
        Self::new(vec![text.into()])
    }
}

/// A payload on its way: a frame a piece.
#[derive(Debug)]
struct Sending {
    payload: Payload,
    next: usize,
    left: usize,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let piece = self.payload.pieces.get(self.next).cloned();
        if let Some(piece) = &piece {
            self.next += 1;
            self.left -= piece.len();
        }
        Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.payload.pieces.len()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests;
