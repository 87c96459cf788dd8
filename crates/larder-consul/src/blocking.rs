//! Blocking reads: how long one waits, and what ends its wait.
//!
//! A read with an index is answered when there is something newer than that. Consul waits as well when it is
//! asked about an index above every one it has; here, that is answered at once: such an index is of another
//! history, and whoever sends it must be told the one it is in now.

use std::time::Duration;

/// How long reads wait. Consul's `default_query_time` and `max_query_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Where nothing is said, or zero. 300 s by default.
    pub default: Duration,
    /// Where more is asked for. 600 s by default.
    pub max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { default: Duration::from_secs(300), max: Duration::from_secs(600) }
    }
}

/// How long to wait where `asked` was said. Up to a sixteenth is added, as much as `dice` says, so that those
/// who asked together do not ask together again; clients know of that and wait so much longer.
pub fn time_to_wait(asked: Option<Duration>, limits: &Limits, dice: u16) -> Duration {
    let wait = asked.filter(|wait| !wait.is_zero()).unwrap_or(limits.default).min(limits.max);
    let jitter = ((wait / 16).as_nanos() * u128::from(dice)) >> 16;
    wait.saturating_add(Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX)))
}

/// How long to wait for another hash: the same, with limits that cannot be configured.
pub fn time_to_wait_for_hash(asked: Option<Duration>, dice: u16) -> Duration {
    time_to_wait(asked, &Limits::default(), dice)
}

/// Whether there is an answer for who has `seen` an index, when what is asked for has the index `own`, and the
/// greatest of its history is `greatest`.
///
/// For what is not there, `own` is the index at which it was found missing or left, not the greatest one, which
/// every change elsewhere moves: so it stays unanswered until it appears.
pub fn is_due(seen: u64, own: u64, greatest: u64) -> bool {
    seen == 0 || own > seen || seen > greatest
}

/// Whether there is an answer for who has seen the hash `seen`, when the content now has the hash `own`.
pub fn is_hash_due(seen: Option<&str>, own: &str) -> bool {
    seen.is_none_or(|seen| seen.is_empty() || seen != own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wait_has_a_default_and_a_longest() {
        let limits = Limits::default();
        for (asked, expected) in [
            (None, 300),
            (Some(0), 300),
            (Some(1), 1),
            (Some(599), 599),
            (Some(600), 600),
            (Some(601), 600),
            (Some(u64::MAX), 600),
        ] {
            assert_eq!(time_to_wait(asked.map(seconds), &limits, 0), seconds(expected));
            assert_eq!(time_to_wait_for_hash(asked.map(seconds), 0), seconds(expected));
        }
        let short = Limits { default: seconds(7), max: seconds(5) };
        assert_eq!(time_to_wait(None, &short, 0), seconds(5));
    }

    #[test]
    fn the_longest_wait_with_its_jitter_is_below_what_clients_allow() {
        let longest = time_to_wait(Some(Duration::MAX), &Limits::default(), u16::MAX);
        assert!(
            longest > Duration::from_millis(637_400) && longest < Duration::from_millis(637_500)
        );
        let unlimited = Limits { default: seconds(1), max: Duration::MAX };
        assert_eq!(time_to_wait(Some(Duration::MAX), &unlimited, u16::MAX), Duration::MAX);
    }

    proptest! {
        #[test]
        fn the_jitter_is_below_a_sixteenth(millis in 1_u64..600_000, dice: u16) {
            let asked = Duration::from_millis(millis);
            let wait = time_to_wait(Some(asked), &Limits::default(), dice);
            prop_assert!(asked <= wait && wait < asked + asked / 16);
        }
    }

    #[test]
    fn only_something_newer_answers() {
        assert!(is_due(0, 5, 9));
        assert!(is_due(4, 5, 9));
        assert!(!is_due(5, 5, 9));
        assert!(!is_due(9, 5, 9));
        // An index of another history.
        assert!(is_due(10, 5, 9));
    }

    #[test]
    fn only_another_hash_answers() {
        assert!(is_hash_due(None, "a"));
        assert!(is_hash_due(Some(""), "a"));
        assert!(is_hash_due(Some("b"), "a"));
        assert!(!is_hash_due(Some("a"), "a"));
    }
}
