//! Where a key belongs in the schedule: one pure decision for new keys, for changed ones, and for those
//! that come back from a batch.
//!
//! Pure: `now` is an argument.

use crate::clock::Time;
use crate::standing::Turn;

/// All that it depends on.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub(crate) turn: Turn,
    /// A batch has just brought the key back.
    pub(crate) landed: bool,
    pub(crate) doomed: bool,
    pub(crate) terminal: bool,
    pub(crate) fresh_until: Time,
    /// Until when the key's back-off lasts; [`Time::MAX`] if nothing in the background asks again.
    pub(crate) rests_until: Time,
    /// One period from now.
    pub(crate) due: Time,
    /// When the doomed leave next.
    pub(crate) tick: Time,
    /// New keys are fetched at once, and there is room for one more of them.
    pub(crate) first_at_once: bool,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Berth {
    /// Where it is.
    Same,
    /// With the new keys.
    First,
    /// In the calendar: to be refreshed then.
    At(Time),
    /// To leave then.
    Leaves(Time),
    /// Nowhere.
    Rest,
    /// Out of the cache.
    Out,
}

/// Where a key belongs.
pub(crate) fn berth(situation: &Situation, now: Time) -> Berth {
    let s = situation;
    if s.turn == Turn::Gone || (matches!(s.turn, Turn::Flying | Turn::Waiting) && !s.landed) {
        return Berth::Same;
    }
    if s.doomed {
        return if s.landed { Berth::Out } else { Berth::Leaves(s.tick) };
    }
    if s.terminal {
        return if s.fresh_until == Time::MAX { Berth::Rest } else { Berth::Leaves(s.fresh_until) };
    }
    if matches!(s.turn, Turn::Queued(_)) {
        return Berth::Same;
    }
    if s.rests_until == Time::MAX {
        return Berth::Rest;
    }
    match s.turn {
        // It was never fetched: an answer that was about its predecessor does not count.
        Turn::New | Turn::Waiting if s.first_at_once => Berth::First,
        // It was due already.
        Turn::Waiting => Berth::At(now),
        // After n failures: the period, and the back-off of n failures.
        _ => Berth::At(s.due.after(s.rests_until.since(now))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::standing::Ticket;

    const NOW: Time = Time::from_millis(1_000);
    const DUE: Time = Time::from_millis(31_000);
    const TICK: Time = Time::from_millis(5_000);

    fn of(turn: Turn) -> Situation {
        Situation {
            turn,
            landed: false,
            doomed: false,
            terminal: false,
            fresh_until: Time::MAX,
            rests_until: Time::ZERO,
            due: DUE,
            tick: TICK,
            first_at_once: true,
        }
    }

    fn queued() -> Turn {
        Turn::Queued(Ticket::default().next())
    }

    #[test]
    fn a_new_key_is_fetched_at_once_or_after_a_period() {
        assert_eq!(berth(&of(Turn::New), NOW), Berth::First);
        let later = Situation { first_at_once: false, ..of(Turn::New) };
        assert_eq!(berth(&later, NOW), Berth::At(DUE));
    }

    #[test]
    fn what_is_queued_or_in_flight_stays_where_it_is() {
        for turn in [queued(), Turn::Flying, Turn::Waiting] {
            assert_eq!(berth(&of(turn), NOW), Berth::Same);
        }
    }

    #[test]
    fn after_a_landing_it_is_due_a_period_later_and_its_back_off_on_top() {
        let landed = Situation { landed: true, ..of(Turn::Flying) };
        assert_eq!(berth(&landed, NOW), Berth::At(DUE));
        let failing = Situation { rests_until: NOW.after(Duration::from_secs(4)), ..landed };
        assert_eq!(berth(&failing, NOW), Berth::At(DUE.after(Duration::from_secs(4))));
        let refused = Situation { rests_until: Time::MAX, ..landed };
        assert_eq!(berth(&refused, NOW), Berth::Rest);
    }

    #[test]
    fn who_waited_for_its_predecessors_landing_is_new() {
        let landed = Situation { landed: true, ..of(Turn::Waiting) };
        assert_eq!(berth(&landed, NOW), Berth::First);
    }

    #[test]
    fn the_doomed_leave_at_the_next_tick_or_when_they_land() {
        for turn in [Turn::New, queued(), Turn::Resting] {
            let doomed = Situation { doomed: true, ..of(turn) };
            assert_eq!(berth(&doomed, NOW), Berth::Leaves(TICK));
        }
        let flying = Situation { doomed: true, ..of(Turn::Flying) };
        assert_eq!(berth(&flying, NOW), Berth::Same);
        assert_eq!(berth(&Situation { landed: true, ..flying }, NOW), Berth::Out);
    }

    #[test]
    fn what_is_terminal_rests_until_its_ttl_is_over() {
        for turn in [Turn::New, queued()] {
            let terminal = Situation { terminal: true, ..of(turn) };
            assert_eq!(berth(&terminal, NOW), Berth::Rest);
            let brief = Situation { fresh_until: TICK, ..terminal };
            assert_eq!(berth(&brief, NOW), Berth::Leaves(TICK));
        }
    }

    #[test]
    fn what_rested_and_has_a_new_value_is_refreshed_again() {
        assert_eq!(berth(&of(Turn::Resting), NOW), Berth::At(DUE));
    }
}
