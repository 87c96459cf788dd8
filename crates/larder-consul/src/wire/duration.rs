//! Durations in Go's syntax: `10s`, `1m30s`, `1.5h`.

use std::fmt::Write;
use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// It is not in Go's syntax.
    #[error("expected a duration such as 10s, 1m30s or 250ms")]
    Syntax,
    /// It is longer than Go can count: 292 years.
    #[error("expected a duration of at most 292 years")]
    TooLong,
    /// It is below zero.
    #[error("expected a duration that is not negative")]
    Negative,
}

/// The longest that Go can count.
pub const MAX: Duration = Duration::from_nanos(MAX_NANOS);

const MAX_NANOS: u64 = i64::MAX.cast_unsigned();

/// Nanoseconds of each unit.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The duration that Go's `time.ParseDuration` reads in `text`, if it is not negative.
pub fn parse(text: &str) -> Result<Duration, Invalid> {
    let is_negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let nanos = if rest == "0" { 0 } else { nanos(rest)? };
    if is_negative && nanos > 0 {
        return Err(Invalid::Negative);
    }
    Ok(Duration::from_nanos(nanos))
}

fn nanos(mut rest: &str) -> Result<u64, Invalid> {
    if rest.is_empty() {
        return Err(Invalid::Syntax);
    }
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        sum = sum.checked_add(part).filter(|sum| *sum <= MAX_NANOS).ok_or(Invalid::TooLong)?;
        rest = after;
    }
    Ok(sum)
}

/// The first number with its unit, in nanoseconds, and what comes after it.
fn part(text: &str) -> Result<(u64, &str), Invalid> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(Invalid::Syntax);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or(Invalid::Syntax)?.1;
    let whole: u64 = match whole {
        "" => 0,
        whole => whole.parse().map_err(|_| Invalid::TooLong)?,
    };
    let nanos = whole.checked_mul(unit).and_then(|nanos| nanos.checked_add(of(fraction, unit)));
    Ok((nanos.ok_or(Invalid::TooLong)?, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.fraction` of a unit. What is below a nanosecond is cut.
fn of(fraction: &str, unit: u64) -> u64 {
    let mut nanos = 0;
    let mut scale: u128 = 1;
    // An hour has fewer nanoseconds than 10^13: later digits say nothing.
    for digit in fraction.bytes().take(16) {
        nanos = nanos * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(nanos * u128::from(unit) / scale).unwrap_or(0)
}

/// As Go's `Duration.String` prints it, such as `1m30s`, `1.5s`, `250ms` and `0s`. Longer than [`MAX`] is
/// printed like it.
pub fn format(duration: Duration) -> String {
    let nanos = u64::try_from(duration.min(MAX).as_nanos()).unwrap_or(0);
    let mut text = String::new();
    if nanos < 1_000_000_000 {
        let unit = match nanos {
            0 => return "0s".to_owned(),
            1..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        push(&mut text, nanos, unit);
        return text;
    }
    let minutes = nanos / 60_000_000_000;
    if minutes >= 60 {
        let _ = write!(text, "{}h", minutes / 60);
    }
    if minutes > 0 {
        let _ = write!(text, "{}m", minutes % 60);
    }
    push(&mut text, nanos % 60_000_000_000, ("s", 1_000_000_000));
    text
}

fn push(text: &mut String, nanos: u64, (unit, size): (&str, u64)) {
    let _ = write!(text, "{}", nanos / size);
    if !nanos.is_multiple_of(size) {
        let places = size.ilog10() as usize;
        let fraction = format!("{:0places$}", nanos % size);
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push_str(unit);
}

/// For serde: printed as text, read as text or as nanoseconds. What others wrote and is none counts as zero.
pub(super) mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Nanos(u64),
        Other(serde::de::IgnoredAny),
    }

    pub(in crate::wire) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::format(*duration).serialize(serializer)
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => super::parse(&text).unwrap_or_default(),
            Written::Nanos(nanos) => Duration::from_nanos(nanos).min(super::MAX),
            Written::Other(_) => Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gos_syntax_is_read() {
        let millis = [
            ("0", 0),
            ("-0", 0),
            ("+0s", 0),
            ("10s", 10_000),
            ("+5m", 300_000),
            ("1m30s", 90_000),
            ("1h2m3.5s", 3_723_500),
            ("120000ms", 120_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("2500us", 2),
            ("3000µs", 3),
            ("3000μs", 3),
            ("4000000ns", 4),
            ("30s1m", 90_000),
            ("0.1000000000000000000000000s", 100),
        ];
        for (text, expected) in millis {
            assert_eq!(parse(text).map(|read| read.as_millis()), Ok(expected), "{text}");
        }
        assert_eq!(parse("9223372036854775807ns"), Ok(MAX));
    }

    #[test]
    fn what_go_refuses_and_what_is_negative_is_refused() {
        for text in
            ["", "+", "-", "10", "s", ".", ".s", "1 s", "1d", "1s ", "--1s", "1e3s", "1sm", "10S"]
        {
            assert_eq!(parse(text), Err(Invalid::Syntax), "{text}");
        }
        for text in ["2562048h", "9223372036854775808ns", "99999999999999999999s", "2562047h48m"] {
            assert_eq!(parse(text), Err(Invalid::TooLong), "{text}");
        }
        assert_eq!(parse("-1s"), Err(Invalid::Negative));
    }

    #[test]
    fn it_is_printed_as_go_prints_it() {
        let printed = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
            (5_400_000_000_000, "1h30m0s"),
            (100_000_000, "100ms"),
            (1_000_000_001, "1.000000001s"),
            (MAX_NANOS, "2562047h47m16.854775807s"),
            (u64::MAX, "2562047h47m16.854775807s"),
        ];
        for (nanos, text) in printed {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(nanos in 0..=MAX_NANOS) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}|[-+0-9.nsuµmh]{0,40}") {
            if let Ok(read) = parse(&text) {
                prop_assert!(read <= MAX);
            }
        }
    }
}
