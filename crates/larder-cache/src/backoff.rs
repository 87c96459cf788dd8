//! How long to leave a failing source alone.
//!
//! Pure: chance is an argument.

use std::time::Duration;

/// How long to wait after a number of failures in a row: not at all for the first few, then a first
/// wait that doubles up to a cap, each made up to a quarter shorter by chance, so that entries which
/// failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How many failures in a row are not waited for. Any number; defaults to 1.
    pub free_failures: u32,
    /// The first wait. More than zero; defaults to 100 ms.
    pub first: Duration,
    /// The longest wait. At least `first`; defaults to 30 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { free_failures: 1, first: Duration::from_millis(100), cap: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// How long to wait after `failures` failures in a row; `chance` is uniform over all of `u32`.
    pub fn wait(&self, failures: u32, chance: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free_failures + 1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let full = self.first.saturating_mul(factor).min(self.cap);
        full.mul_f64(1.0 - 0.25 * f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_zero_then_doubles_up_to_the_cap() {
        let backoff = Backoff::default();
        let waits: Vec<_> =
            (1..=12).map(|failures| backoff.wait(failures, 0).as_millis()).collect();
        let doubling = [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(waits, doubling);
        assert_eq!(backoff.wait(u32::MAX, 0), backoff.cap);
    }

    #[test]
    fn chance_shortens_a_wait_by_at_most_a_quarter() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(2, u32::MAX), Duration::from_millis(75));
        assert!(backoff.wait(2, u32::MAX / 2) < Duration::from_millis(88));
        assert!(backoff.wait(2, u32::MAX / 2) > Duration::from_millis(87));
    }
}
