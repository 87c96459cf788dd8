//! Bodies of answers: whole, and never larger than they may be.

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::pin::Pin;

/// Why a body was not received.
#[derive(Debug)]
pub(super) enum Cut {
    /// It is larger than it may be.
    TooLarge,
    /// The connection broke.
    Lost(axum::Error),
}

/// Receives a body of at most `limit` bytes.
pub(super) async fn receive(mut body: Body, limit: usize) -> Result<Bytes, Cut> {
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(Cut::TooLarge);
    }
    let mut all = BytesMut::new();
    let mut first = None;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(piece) = frame.map_err(Cut::Lost)?.into_data() else { continue };
        if all.len() + first.as_ref().map_or(0, Bytes::len) + piece.len() > limit {
            return Err(Cut::TooLarge);
        }
        // Most bodies come in one piece, which need not be copied.
        if first.is_none() && all.is_empty() {
            first = Some(piece);
            continue;
        }
        if let Some(first) = first.take() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&piece);
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<Result<&'static str, std::io::Error>> =
            pieces.iter().map(|piece| Ok(*piece)).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_is_put_together_from_its_pieces() {
        for whole in [&[][..], &["abc"], &["a", "", "b", "c"]] {
            let received = receive(pieces(whole), 3).await.expect("it fits");
            assert_eq!(received, whole.concat());
        }
    }

    #[tokio::test]
    async fn a_body_beyond_its_limit_is_refused_whether_it_says_so_or_not() {
        assert!(matches!(receive(pieces(&["ab", "c"]), 2).await, Err(Cut::TooLarge)));
        assert!(matches!(receive(Body::from("abc"), 2).await, Err(Cut::TooLarge)));
    }
}
