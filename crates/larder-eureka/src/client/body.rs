//! Bodies of answers: whole, unpacked, and never larger than they may be.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use larder_registry::Phase;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;

use super::calls::deepest;
use super::fault::Fault;

/// How much of what a server says about a refusal is read, in bytes, and shown, in letters.
const REFUSAL_BYTES: usize = 4096;
const REFUSAL_LETTERS: usize = 200;

/// A body larger than this is unpacked and read on a thread where nobody waits for a turn.
const LONG_BODY: usize = 64 << 10;

/// A body as it came.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    is_gzip: bool,
}

/// Receives a body of at most `limit` bytes.
pub(super) async fn receive(
    mut response: Response,
    phase: Phase,
    limit: usize,
) -> Result<Packed, Fault> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let is_gzip = encoding.is_some_and(|encoding| encoding.as_bytes() == b"gzip");
    let mut bytes = Vec::new();
    while let Some(piece) =
        response.chunk().await.map_err(|error| Fault::Lost { phase, reason: deepest(&error) })?
    {
        if bytes.len() + piece.len() > limit {
            return Err(Fault::TooLarge { phase, limit });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Packed { bytes: bytes.into(), is_gzip })
}

/// Unpacks a body to at most `limit` bytes, and reads it.
pub(super) async fn read<T: Send + 'static>(
    packed: Packed,
    phase: Phase,
    limit: usize,
    decode: impl FnOnce(&[u8]) -> Result<T, crate::wire::DecodeError> + Send + 'static,
) -> Result<T, Fault> {
    let is_long = packed.is_gzip || packed.bytes.len() > LONG_BODY;
    let work = move || {
        let bytes = unpack(packed, phase, limit)?;
        decode(&bytes).map_err(|error| Fault::Unreadable {
            phase,
            reason: format!("its answer is none of a Eureka server: {error}"),
        })
    };
    if !is_long {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(read) => read,
        // A panic of the decoder is one here; the runtime's end is the end of everything.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Fault::Closed),
    }
}

fn unpack(packed: Packed, phase: Phase, limit: usize) -> Result<Bytes, Fault> {
    if !packed.is_gzip {
        return Ok(packed.bytes);
    }
    let mut bytes = Vec::new();
    // One more than may be, so that a longer body is told from one that just fits.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let unpacked = GzDecoder::new(&packed.bytes[..]).take(most).read_to_end(&mut bytes);
    unpacked.map_err(|error| Fault::Unreadable {
        phase,
        reason: format!("its answer is no gzip although it says so: {error}"),
    })?;
    if bytes.len() > limit {
        return Err(Fault::TooLarge { phase, limit });
    }
    Ok(bytes.into())
}

/// The start of what a server says about a refusal, in one line; nothing if it sends a page.
pub(super) async fn says(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < REFUSAL_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        let room = REFUSAL_BYTES - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let text = String::from_utf8_lossy(&bytes);
    if text.trim_start().starts_with('<') {
        return String::new();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(REFUSAL_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Packed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("a vector takes everything");
        let bytes = encoder.finish().expect("a vector takes everything").into();
        Packed { bytes, is_gzip: true }
    }

    #[test]
    fn what_unpacks_to_more_than_may_be_is_refused() {
        let zeros = vec![0; 10_000];
        assert_eq!(unpack(gzip(&zeros), Phase::List, 10_000).expect("it fits").len(), 10_000);
        let bomb = unpack(gzip(&zeros), Phase::List, 9_999);
        assert!(matches!(bomb, Err(Fault::TooLarge { limit: 9_999, .. })), "{bomb:?}");
    }

    #[test]
    fn what_is_no_gzip_is_said_to_be_none() {
        let packed = Packed { bytes: Bytes::from_static(b"{}"), is_gzip: true };
        let read = unpack(packed, Phase::List, 100);
        assert!(matches!(read, Err(Fault::Unreadable { .. })), "{read:?}");
    }
}
