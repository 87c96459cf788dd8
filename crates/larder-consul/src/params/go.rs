//! Values as Go's standard library reads them, which is what Consul's agent does.

use std::time::Duration;

use crate::wire::duration::{self, Invalid};

/// A truth value as `strconv.ParseBool` takes it.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number as `strconv.ParseUint` takes it: digits and nothing else.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A duration as `time.ParseDuration` takes it, a negative one as zero: nobody can wait that long.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match duration::parse(text) {
        Ok(duration) => Some(duration),
        Err(Invalid::Negative) => Some(Duration::ZERO),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_what_go_takes_them_for() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("10s", 10_000_000_000),
            ("120000ms", 120_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1us2\u{b5}s3\u{3bc}s4ns", 6_004),
            ("-5s", 0),
            ("-0", 0),
            ("0.000000001s", 1),
            ("2562047h47m16.854775807s", i64::MAX as u64),
        ] {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_does_not_take_for_a_duration_is_none() {
        for text in [
            "",
            "-",
            "5",
            "s",
            ".s",
            "5 s",
            "5x",
            "5s5",
            "1e3s",
            "--5s",
            "2562047h48m",
            "9999999999999999999999s",
            "é",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_neither_sign_nor_blank() {
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for text in ["", "-1", "+1", " 1", "1.0", "18446744073709551616", "0x1", "1_000"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
