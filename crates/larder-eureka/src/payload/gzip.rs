//! One gzip member made of parts that were deflated apart.
//!
//! Each part ends with a full flush: at a byte's edge, and without looking back at what came before it
//! (RFC 1951, as `Z_FULL_FLUSH` of zlib). So parts can follow each other in any order, and the checksum of
//! the whole is combined from theirs.

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// A part of a text, deflated.
#[derive(Debug)]
pub(crate) struct Deflated {
    bytes: Bytes,
    /// Of the text; it counts the text's bytes, too.
    crc: Crc,
}

/// RFC 1952: the magic number, deflate, no flags, no time, no extra flags, an unknown system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// A last block with nothing in it.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Deflates `text`, which must not be empty, as a part that stands by itself.
pub(crate) fn deflate(text: &[u8]) -> Deflated {
    let mut crc = Crc::new();
    crc.update(text);
    let mut deflater = Compress::new(Compression::default(), false);
    // A flush needs room at the end; a text that does not shrink grows by five bytes each 16 KiB.
    let mut out = Vec::with_capacity(text.len() / 4 + 64);
    loop {
        let done = usize::try_from(deflater.total_in()).unwrap_or(usize::MAX);
        let outcome = deflater.compress_vec(&text[done..], &mut out, FlushCompress::Full);
        outcome.expect("a text can always be deflated");
        let is_read = deflater.total_in() == text.len() as u64;
        // With room left, the flush is complete.
        if is_read && out.len() < out.capacity() {
            break;
        }
        out.reserve(out.capacity().max(64));
    }
    out.shrink_to_fit();
    Deflated { bytes: out.into(), crc }
}

/// The pieces of one gzip member that holds these parts, one after the other.
pub(crate) fn gzipped<'a>(parts: impl Iterator<Item = &'a Deflated>) -> Vec<Bytes> {
    let mut pieces = vec![Bytes::from_static(&HEADER)];
    let mut whole = Crc::new();
    for part in parts {
        pieces.push(part.bytes.clone());
        whole.combine(&part.crc);
    }
    let mut end = BytesMut::with_capacity(10);
    end.put_slice(&LAST_BLOCK);
    end.put_u32_le(whole.sum());
    end.put_u32_le(whole.amount());
    pieces.push(end.freeze());
    pieces
}

/// A text as one gzip member.
pub(crate) fn compressed(text: &[u8]) -> Vec<Bytes> {
    gzipped(std::iter::once(&deflate(text)))
}
