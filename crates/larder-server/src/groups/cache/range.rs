//! Which part of a value is asked for.
//!
//! Pure. RFC 9110, section 14.

use std::ops::Range;

/// What a header `Range` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no such header, or it is one that need not be obeyed: of another unit, several
    /// ranges, or nonsense.
    Whole,
    /// These bytes, of which there is one at least.
    Part(Range<usize>),
    /// Bytes that there are not.
    Unsatisfiable,
}

/// Reads the header, for a value of `len` bytes.
pub(super) fn asked(header: &str, len: usize) -> Asked {
    let bounds =
        header.trim().split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let bounds = bounds.and_then(|(_, set)| set.trim().split_once('-'));
    match bounds.map(|(first, last)| (first.trim(), last.trim())) {
        Some(("", last)) => {
            position(last).map_or(Asked::Whole, |count| part(len.saturating_sub(count), len, len))
        }
        Some((first, "")) => position(first).map_or(Asked::Whole, |first| part(first, len, len)),
        Some((first, last)) => match (position(first), position(last)) {
            (Some(first), Some(last)) if first <= last => part(first, last.saturating_add(1), len),
            _ => Asked::Whole,
        },
        None => Asked::Whole,
    }
}

fn part(from: usize, to: usize, len: usize) -> Asked {
    let part = from..to.min(len);
    if part.is_empty() { Asked::Unsatisfiable } else { Asked::Part(part) }
}

/// What is beyond counting is beyond every value, too.
fn position(digits: &str) -> Option<usize> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_is_a_part() {
        for (header, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-4", 2..5),
            ("bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=9-99999999999999999999999", 9..10),
            ("BYTES = 2 - 4 ", 2..5),
        ] {
            assert_eq!(asked(header, 10), Asked::Part(part), "{header}");
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_had() {
        for (header, len) in [
            ("bytes=10-", 10),
            ("bytes=10-20", 10),
            ("bytes=99999999999999999999999-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-5", 0),
        ] {
            assert_eq!(asked(header, len), Asked::Unsatisfiable, "{header} of {len}");
        }
    }

    #[test]
    fn what_need_not_be_obeyed_is_the_whole() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "items=0-1",
            "bytes=1-2-3",
            "bytes=--1",
        ] {
            assert_eq!(asked(header, 10), Asked::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", len in 0_usize..2_000) {
            if let Asked::Part(part) = asked(&header, len) {
                prop_assert!(!part.is_empty() && part.end <= len);
            }
        }

        #[test]
        fn no_header_makes_it_panic(header in ".{0,40}", len in 0_usize..20) {
            asked(&header, len);
        }
    }
}
