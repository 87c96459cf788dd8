//! What tells two values of one key apart: a hash of the bytes, the same on every node and in every release.
//!
//! Pure.

use std::fmt;

/// An odd number without a pattern: the digits of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Another one: the digits of pi.
const SEED: u64 = 0x243f_6a88_85a3_08d3;

/// How many bytes are taken at a time.
const BLOCK: usize = 32;

/// A strong validator: it is made of every byte of the value, and of how many there are.
///
/// Two values of one length share one by chance in one of 2⁶⁴ cases. It is no defence against somebody who makes
/// two values that do: they would be his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ETag {
    hash: u64,
    len: usize,
}

impl ETag {
    pub(super) fn of(value: &[u8]) -> Self {
        let (blocks, rest) = value.as_chunks::<BLOCK>();
        let mut lanes =
            [FACTOR, FACTOR.rotate_left(16), FACTOR.rotate_left(32), FACTOR.rotate_left(48)];
        for block in blocks {
            take(&mut lanes, block);
        }
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        take(&mut lanes, &last);
        // The length tells a zero at the end from none. It begins with another number than the lanes do: what is
        // alike would cancel out.
        let seed = mix(value.len() as u64 ^ SEED);
        let hash = lanes.iter().fold(seed, |hash, lane| mix(hash ^ lane));
        Self { hash, len: value.len() }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:016x}-{:x}\"", self.hash, self.len)
    }
}

/// Four words at a time, none of which waits for another one's product.
fn take(lanes: &mut [u64; BLOCK / 8], block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = mix(*lane ^ u64::from_le_bytes(*word));
    }
}

/// Every bit of the product depends on those of `bits`, and both halves of it count.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn mix(bits: u64) -> u64 {
    let product = u128::from(bits) * u128::from(FACTOR);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A change of these makes every client fetch every value anew after an upgrade, and two releases in one
    /// ring disagree.
    #[test]
    fn it_is_the_same_in_every_release() {
        for (value, etag) in [
            (&b""[..], "\"19f3ed85f3299781-0\""),
            (b"a", "\"c7737182d1cc18ac-1\""),
            (b"Hello, Ada!", "\"f28cfc225228367d-b\""),
            ("0123456789abcdef".repeat(5).as_bytes(), "\"311e8f323de45db6-50\""),
        ] {
            assert_eq!(ETag::of(value).to_string(), etag);
        }
    }

    #[test]
    fn every_bit_and_the_length_count() {
        let mut seen = HashSet::new();
        for len in 0..100 {
            let mut value = vec![0; len];
            assert!(seen.insert(ETag::of(&value).hash), "{len} zeros");
            for bit in 0..len * 8 {
                value[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(ETag::of(&value).hash), "bit {bit} of {len} bytes");
                value[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let [one, other] = [("a", "b"), ("b", "a")];
        for len in [8, 32] {
            let text = |(x, y): (&str, &str)| x.repeat(len) + &y.repeat(len);
            let [one, other] = [text(one), text(other)].map(|text| ETag::of(text.as_bytes()));
            assert_ne!(one, other, "{len} bytes in another order");
        }
    }
}
