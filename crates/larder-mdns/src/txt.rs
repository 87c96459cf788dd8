//! What a TXT record of go-micro's holds: JSON, compressed by zlib, in hexadecimal digits, in strings of
//! up to 255 bytes.
//!
//! Pure. What others send can be anything: it is bounded before it is unpacked, and while it is.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// The longest string of a TXT record, in bytes.
pub(crate) const STRING_BYTES_MAX: usize = 255;

/// How many digits Larder sends at most. With them a message stays below 9,000 bytes, the most that
/// multicast DNS has room for.
pub(crate) const DIGITS_MAX: usize = 8_000;

/// How large the JSON of others may be unpacked, in bytes. zlib makes a thousandth of what repeats
/// itself, so that one message could fill 30 MB.
pub(crate) const JSON_BYTES_MAX: u64 = 256 << 10;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why the strings of a TXT record are not go-micro's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// There is something else than digits in pairs.
    #[error("its TXT record is not in hexadecimal digits")]
    Digits,
    /// zlib cannot unpack it.
    #[error("its TXT record is not packed by zlib")]
    Zlib,
    /// It is larger than anybody's description of an instance.
    #[error("its TXT record unpacks to more than {JSON_BYTES_MAX} bytes")]
    TooLarge,
}

/// The digits for `json`, all in one.
pub(crate) fn encode(json: &[u8]) -> String {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(json).expect("a vector takes what it is given");
    let packed = packed.finish().expect("a vector takes what it is given");
    let digits = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The JSON of which all strings together are `digits`.
pub(crate) fn decode(digits: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut json = Vec::new();
    let packed = bytes(digits).ok_or(Malformed::Digits)?;
    let mut unpacked = ZlibDecoder::new(&packed[..]).take(JSON_BYTES_MAX + 1);
    unpacked.read_to_end(&mut json).map_err(|_| Malformed::Zlib)?;
    if json.len() as u64 > JSON_BYTES_MAX { Err(Malformed::TooLarge) } else { Ok(json) }
}

fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_go_micros_is_told_from_what_is() {
        assert_eq!(decode(b"zz"), Err(Malformed::Digits));
        assert_eq!(decode(b"789"), Err(Malformed::Digits));
        assert_eq!(decode(b""), Err(Malformed::Zlib));
        assert_eq!(decode(b"00ff"), Err(Malformed::Zlib));
        let whole = encode(b"{}");
        assert_eq!(decode(&whole.as_bytes()[..whole.len() - 4]), Err(Malformed::Zlib));
        assert_eq!(decode(whole.to_uppercase().as_bytes()), Ok(b"{}".to_vec()));
    }

    #[test]
    fn little_that_unpacks_to_much_is_refused() {
        let most = usize::try_from(JSON_BYTES_MAX).expect("it is small");
        let bomb = encode(&vec![b' '; 30 << 20]);
        assert!(bomb.len() < 65_000, "{} bytes fit into one message", bomb.len());
        assert_eq!(decode(bomb.as_bytes()), Err(Malformed::TooLarge));
        assert_eq!(decode(encode(&vec![b' '; most]).as_bytes()).map(|json| json.len()), Ok(most));
    }

    proptest! {
        #[test]
        fn everything_is_read_back(json in prop::collection::vec(any::<u8>(), 0..600)) {
            let digits = encode(&json);
            prop_assert_eq!(decode(digits.as_bytes()), Ok(json));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
