//! Whether to leave a peer alone.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use larder_cache::Time;

/// So many failures in a row open it.
const FAILURES: u32 = 3;
/// While it is open, one call goes through this often.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Opens after three failures in a row, lets one call a second through while it is open, and closes at the
/// first that succeeds.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    next_probe: Time,
}

impl Circuit {
    pub(super) fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Whether a call may be made now.
    pub(super) fn enter(&mut self, now: Time) -> bool {
        if !self.is_open() {
            return true;
        }
        if now < self.next_probe {
            return false;
        }
        // One that never comes back does not block those after it.
        self.next_probe = now.after(PROBE_EVERY);
        true
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failed(&mut self, now: Time) {
        let was_open = self.is_open();
        self.failures = self.failures.saturating_add(1);
        if !was_open {
            self.next_probe = now.after(PROBE_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn it_opens_after_three_failures_in_a_row_and_lets_one_call_a_second_through() {
        let mut circuit = Circuit::default();
        circuit.failed(at(0));
        circuit.failed(at(0));
        circuit.succeeded();
        (0..3).for_each(|_| circuit.failed(at(10)));
        assert!(circuit.is_open() && !circuit.enter(at(1_009)));
        assert!(circuit.enter(at(1_010)) && !circuit.enter(at(1_011)));
        circuit.failed(at(1_500));
        assert!(!circuit.enter(at(2_009)) && circuit.enter(at(2_010)), "from when it was sent");
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_at_once() {
        let mut circuit = Circuit::default();
        (0..3).for_each(|_| circuit.failed(at(0)));
        assert!(circuit.enter(at(1_000)));
        circuit.succeeded();
        assert!(!circuit.is_open() && circuit.enter(at(1_001)) && circuit.enter(at(1_001)));
    }
}
