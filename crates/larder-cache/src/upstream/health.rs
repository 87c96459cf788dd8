//! What is known of an upstream, and whose turn it is to ask it.
//!
//! Pure: `now`, and how long a turn lasts, are arguments.

use std::time::Duration;

use crate::clock::Time;

/// So many failures in a row, of whichever keys, mean that an upstream is down.
const FAILURES: u32 = 3;
/// While it is down, it is asked this often, or a little more.
const PROBE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Health {
    failures: u32,
    down_since: Option<Time>,
    /// When the next turn is free.
    next_probe: Time,
}

/// How long a turn lasts: `random` takes off up to a quarter, so that programs that lost one upstream
/// together do not ask it in step.
pub(super) fn turn_of(random: u64) -> Duration {
    const QUARTER: Duration = PROBE_EVERY.checked_div(4).expect("four is not zero");
    let millis = u64::try_from(QUARTER.as_millis()).unwrap_or(u64::MAX);
    PROBE_EVERY.saturating_sub(Duration::from_millis(random % (millis + 1)))
}

impl Health {
    pub(super) fn down_since(&self) -> Option<Time> {
        self.down_since
    }

    pub(super) fn closed_until(&self, now: Time) -> Option<Time> {
        (self.down_since.is_some() && now < self.next_probe).then_some(self.next_probe)
    }

    /// Lets a fetch begin, or says when to come again.
    pub(super) fn enter(&mut self, now: Time, turn: Duration) -> Result<(), Time> {
        if let Some(at) = self.closed_until(now) {
            return Err(at);
        }
        if self.down_since.is_some() {
            self.next_probe = now.after(turn);
        }
        Ok(())
    }

    /// The same for who has failed, and backs off until `retry_at`: it is let in when that is over, or
    /// when the turn is free; while the upstream is down, by a turn alone.
    pub(super) fn enter_again(
        &mut self,
        retry_at: Time,
        now: Time,
        turn: Duration,
    ) -> Result<(), Time> {
        let is_up = self.down_since.is_none();
        if is_up && now >= retry_at {
            return Ok(());
        }
        if now >= self.next_probe {
            self.next_probe = now.after(turn);
            return Ok(());
        }
        Err(if is_up { self.next_probe.min(retry_at) } else { self.next_probe })
    }

    pub(super) fn leave(&mut self, now: Time) {
        if self.down_since.is_some() {
            self.next_probe = self.next_probe.min(now);
        }
    }

    /// Says whether it was down until now.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.down_since.take().is_some()
    }

    /// Says whether it counts as down from now on.
    pub(super) fn failed(&mut self, now: Time, turn: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.down_since.is_some() {
            // The turn was counted from when this one began. Counted from its failure, probes that hang
            // would put off those after them, each in its turn.
            return false;
        }
        self.next_probe = self.next_probe.max(now.after(turn));
        if self.failures >= FAILURES {
            self.down_since = Some(now);
        }
        self.down_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TURN: Duration = PROBE_EVERY;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn down() -> Health {
        let mut health = Health::default();
        for now in 0..3 {
            health.failed(at(now), TURN);
        }
        health
    }

    #[test]
    fn three_failures_in_a_row_close_it_and_one_fetch_a_second_gets_through() {
        let mut health = Health::default();
        health.failed(at(0), TURN);
        health.failed(at(1), TURN);
        assert_eq!(health.enter(at(2), TURN), Ok(()));
        health.failed(at(3), TURN);
        assert_eq!(health.enter(at(4), TURN), Err(at(1_003)));
        assert_eq!(health.enter(at(1_003), TURN), Ok(()), "the probe");
        assert_eq!(health.enter(at(1_004), TURN), Err(at(2_003)), "and nobody else");
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_its_turn_to_the_next() {
        let mut health = down();
        assert_eq!(health.enter(at(1_002), TURN), Ok(()));
        assert_eq!(health.enter(at(1_010), TURN), Err(at(2_002)));
        health.leave(at(1_010));
        assert_eq!(health.enter(at(1_010), TURN), Ok(()));
        assert_eq!(health.enter(at(1_010), TURN), Err(at(2_010)), "one turn, and not two");
    }

    #[test]
    fn a_success_between_failures_keeps_it_open() {
        let mut health = Health::default();
        for now in 0..10 {
            health.failed(at(now), TURN);
            health.failed(at(now), TURN);
            assert!(!health.succeeded());
        }
        assert_eq!(health.enter(at(11), TURN), Ok(()));
    }

    #[test]
    fn the_first_success_opens_it() {
        let mut health = down();
        assert!(health.succeeded());
        assert_eq!(health.enter(at(501), TURN), Ok(()));
    }

    #[test]
    fn probes_that_hang_and_fail_late_put_nobody_off() {
        let mut health = down();
        for second in 1..20 {
            assert_eq!(health.enter(at(second * 1_000 + 2), TURN), Ok(()), "{second}");
            // That of five seconds ago.
            health.failed(at(second * 1_000 + 2), TURN);
        }
    }

    #[test]
    fn who_backs_off_for_long_gets_a_turn_a_second_and_all_together_no_more() {
        let mut health = Health::default();
        health.failed(at(0), TURN);
        let late = at(30_000);
        assert_eq!(health.enter_again(late, at(500), TURN), Err(at(1_000)));
        assert_eq!(health.enter_again(late, at(1_000), TURN), Ok(()));
        assert_eq!(health.enter_again(late, at(1_000), TURN), Err(at(2_000)), "another one");
        assert_eq!(health.enter_again(at(1_000), at(1_000), TURN), Ok(()), "its time is over");
        let mut health = down();
        assert_eq!(health.enter_again(at(0), at(3), TURN), Err(at(1_002)), "it is down");
    }

    proptest! {
        /// Whoever comes when it is told to: a free turn at least every second, and never two within
        /// three quarters of one.
        #[test]
        fn turns_are_a_jittered_second_apart(randoms in prop::collection::vec(any::<u64>(), 1..60)) {
            let mut health = down();
            let mut before = at(2);
            for random in randoms {
                let until = health.enter(before, turn_of(random)).expect_err("it was just taken");
                prop_assert!((750..=1_000).contains(&until.since(before).as_millis()));
                health.enter(until, turn_of(random)).expect("its turn");
                before = until;
            }
        }
    }
}
