//! The hashes of rings. Every one of them is fixed for ever: nodes of other versions must agree.
//!
//! Pure.

use std::fmt;

/// A hash of bytes. A hash of 32 bits leaves the upper half zero.
#[derive(Clone, Copy)]
pub struct Hash(fn(&[u8]) -> u64);

impl Hash {
    /// CRC-32 with IEEE's polynomial: golang's and galaxycache's.
    pub const CRC32: Self = Self(|bytes| u64::from(crc32fast::hash(bytes)));
    /// FNV-1 of 64 bits: mailgun's. Its last byte hardly spreads, so keys that differ in their last two or
    /// three characters tend to have one owner.
    pub const FNV1: Self = Self(fnv1);
    /// FNV-1a of 64 bits: that of native rings, which mix it once more.
    pub const FNV1A: Self = Self(fnv1a);

    /// One of one's own; every node must have the same.
    pub const fn custom(hash: fn(&[u8]) -> u64) -> Self {
        Self(hash)
    }

    /// The hash of `bytes`.
    pub fn of(self, bytes: &[u8]) -> u64 {
        (self.0)(bytes)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

fn fnv1(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u64::from(*byte))
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Spreads every bit over all of them: the last step of `MurmurHash3`.
pub(super) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// In lower case.
pub(super) fn md5_hex(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}
