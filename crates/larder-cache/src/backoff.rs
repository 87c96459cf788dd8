//! How long to leave a failing source alone.
//!
//! Pure: the number of failures and the random bits are arguments.

use std::time::Duration;

/// No wait after the first failures, then a wait that doubles up to a cap, with jitter.
///
/// It belongs to a key, not to a caller: until the wait is over, everybody gets the stale value with
/// the last error beside it, or the last error. The first success resets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How many failures in a row are followed by no wait. Defaults to: 3. Range: any.
    pub free_failures: u32,
    /// The first wait. Defaults to: 1 s. Range: 1 ms up to `cap`.
    pub base: Duration,
    /// The longest wait. Defaults to: 60 s. Range: from `base`.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { free_failures: 3, base: Duration::from_secs(1), cap: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row. `random` picks a point between three quarters of
    /// the wait and the whole, so that keys that failed together do not come back together.
    pub fn wait(&self, failures: u32, random: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free_failures.saturating_add(1)) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let wait = self.base.saturating_mul(factor).min(self.cap);
        // The part is taken off, because of a wait for ever the whole is no duration any more.
        wait.saturating_sub(wait.mul_f64(0.25 * f64::from(random) / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_failures_are_free_and_then_waits_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..=11).map(|n| backoff.wait(n, 0).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn jitter_takes_off_up_to_a_quarter() {
        let backoff = Backoff { free_failures: 0, ..Backoff::default() };
        assert_eq!(backoff.wait(3, 0), Duration::from_secs(4));
        assert_eq!(backoff.wait(3, u32::MAX), Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn any_number_of_failures_stays_within_the_cap(failures in any::<u32>(), random in any::<u32>()) {
            let backoff = Backoff::default();
            let wait = backoff.wait(failures, random);
            prop_assert!(wait <= backoff.cap);
            prop_assert_eq!(wait.is_zero(), failures <= backoff.free_failures);
        }
    }
}
