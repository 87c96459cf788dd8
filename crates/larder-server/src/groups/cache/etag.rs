//! What tells two values of one key apart: a hash of the bytes, the same on every node and in every release.
//!
//! Pure.

use std::fmt;

/// An odd number without a pattern: the digits of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

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
        let (words, rest) = value.as_chunks::<8>();
        let mut hash =
            words.iter().fold(FACTOR, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = mix(hash ^ u64::from_le_bytes(last));
        // The length tells a zero at the end from none.
        Self { hash: mix(hash ^ value.len() as u64), len: value.len() }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:016x}-{:x}\"", self.hash, self.len)
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
            (&b""[..], "\"7c036b2ef04b0082-0\""),
            (b"a", "\"616fa109ae75f93b-1\""),
            (b"Hello, Ada!", "\"6803b5dca2d71bee-b\""),
        ] {
            assert_eq!(ETag::of(value).to_string(), etag);
        }
    }

    #[test]
    fn every_bit_and_the_length_count() {
        let mut seen = HashSet::new();
        for len in 0..64 {
            let mut value = vec![0; len];
            assert!(seen.insert(ETag::of(&value).hash), "{len} zeros");
            for bit in 0..len * 8 {
                value[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(ETag::of(&value).hash), "bit {bit} of {len} bytes");
                value[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let swapped = [b"aaaaaaaabbbbbbbb", b"bbbbbbbbaaaaaaaa"].map(|value| ETag::of(value).hash);
        assert_ne!(swapped[0], swapped[1]);
    }
}
