//! Which values are renewed before they expire, and when; and which are being renewed, or were in vain.
//!
//! Pure: `now` is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use larder_cache::Time;

/// How many keys may be in the list at a time: those that are being renewed, and those whose renewal failed a
/// moment ago. Beyond it, a value expires as if it were not renewed.
const MOST: usize = 1_024;

/// The shortest pause after a renewal that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Whose a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// This process loaded it.
    Main,
    /// It is a copy.
    Hot,
}

/// How long before its expiry a value may be renewed at the earliest, where that is no more than `ahead`: one
/// that came `age` ago and has `left` to live.
///
/// Never before half of its life here is over. So an answer that brings the same value again is followed by a
/// question after half of what is left, and not by one at once.
pub(super) fn window(ahead: Duration, age: Duration, left: Duration) -> Duration {
    ahead.min(age.saturating_add(left) / 2)
}

/// Whether the value is to be renewed, given where in the jitter it lies, from 0 to 65,535.
///
/// The owner's turn comes within the first half of its window, a copy's in the third quarter: who asks the
/// owner for a newer value finds that it has one, if anybody has read it there. Keys that were loaded together
/// are spread by the dice, and so are the copies of one.
pub(super) fn is_due(window: Duration, left: Duration, tier: Tier, dice: u16) -> bool {
    let full = match tier {
        Tier::Main => window,
        Tier::Hot => window / 2,
    };
    let spread = (full / 2).mul_f64(f64::from(dice) / f64::from(u16::MAX));
    left <= full.saturating_sub(spread)
}

/// How long to leave a key alone whose renewal failed, when its value had `left` to live.
pub(super) fn pause(left: Duration) -> Duration {
    (left / 2).max(PAUSE)
}

/// The keys that are being renewed, or were in vain.
#[derive(Debug)]
pub(super) struct Renewals<K>(HashMap<K, State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    /// It failed: not again before this.
    Failed(Time),
}

/// Whether a key may be renewed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may, and counts as being renewed until it [ends](Renewals::end).
    Begin,
    /// It is being renewed.
    UnderWay,
    /// It failed a moment ago, or too many others are.
    Later,
}

impl<K> Default for Renewals<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Renewals<K> {
    pub(super) fn begin(&mut self, key: &K, now: Time) -> Turn {
        match self.0.get_mut(key) {
            Some(State::UnderWay) => return Turn::UnderWay,
            Some(State::Failed(until)) if *until > now => return Turn::Later,
            Some(state) => {
                *state = State::UnderWay;
                return Turn::Begin;
            }
            None => {}
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, state| !matches!(state, State::Failed(until) if *until <= now));
        }
        if self.0.len() >= MOST {
            return Turn::Later;
        }
        self.0.insert(key.clone(), State::UnderWay);
        Turn::Begin
    }

    /// A renewal is over; with a time, it failed, and is not tried again before.
    pub(super) fn end(&mut self, key: &K, not_before: Option<Time>) {
        match (not_before, self.0.get_mut(key)) {
            (Some(until), Some(state)) => *state = State::Failed(until),
            _ => drop(self.0.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_value_is_renewed_within_its_window_the_owners_before_the_copies() {
        let due = |left, tier, dice| {
            is_due(window(ms(1_000), ms(10_000 - left), ms(left)), ms(left), tier, dice)
        };
        assert!(due(1_000, Tier::Main, 0) && !due(1_001, Tier::Main, 0));
        assert!(due(500, Tier::Main, u16::MAX) && !due(501, Tier::Main, u16::MAX));
        assert!(due(500, Tier::Hot, 0) && !due(501, Tier::Hot, 0));
        assert!(due(250, Tier::Hot, u16::MAX) && !due(251, Tier::Hot, u16::MAX));
    }

    #[test]
    fn a_short_life_is_renewed_in_its_second_half() {
        assert_eq!(window(ms(1_000), ms(0), ms(300)), ms(150));
        assert_eq!(
            window(ms(1_000), ms(0), Duration::MAX),
            ms(1_000),
            "one without end never is due"
        );
        assert!(!is_due(ms(1_000), Duration::MAX, Tier::Main, 0));
    }

    #[test]
    fn a_key_is_renewed_by_one_and_left_alone_after_a_failure() {
        let mut renewals = Renewals::default();
        assert_eq!(renewals.begin(&1, at(0)), Turn::Begin);
        assert_eq!(renewals.begin(&1, at(0)), Turn::UnderWay);
        renewals.end(&1, Some(at(10)));
        assert_eq!(renewals.begin(&1, at(9)), Turn::Later);
        assert_eq!(renewals.begin(&1, at(10)), Turn::Begin);
        renewals.end(&1, None);
        assert_eq!(renewals.begin(&1, at(10)), Turn::Begin);
    }

    #[test]
    fn there_are_no_more_than_its_bound_and_old_failures_make_room() {
        let mut renewals = Renewals::default();
        for key in 0..MOST {
            assert_eq!(renewals.begin(&key, at(0)), Turn::Begin);
        }
        assert_eq!(renewals.begin(&MOST, at(0)), Turn::Later);
        renewals.end(&7, Some(at(5)));
        assert_eq!(renewals.begin(&MOST, at(4)), Turn::Later);
        assert_eq!(renewals.begin(&MOST, at(5)), Turn::Begin);
        assert_eq!(renewals.0.len(), MOST);
    }

    proptest! {
        /// An owner that never has anything newer is asked about as often as what is left can be halved, and
        /// no more.
        #[test]
        fn the_same_answer_again_and_again_is_no_loop(
            ahead in 1_u64..100_000, life in 1_u64..100_000, dice in any::<u16>(),
        ) {
            let (mut arrived, mut asked) = (0, 0_u32);
            for now in 0..life {
                let (age, left) = (ms(now - arrived), ms(life - now));
                if is_due(window(ms(ahead), age, left), left, Tier::Hot, dice) {
                    (arrived, asked) = (now, asked + 1);
                }
            }
            prop_assert!(asked <= 18, "{}", asked);
        }

        /// No dice brings a copy's turn before the owner's, whose value has lived longer.
        #[test]
        fn the_owner_comes_first(
            ahead in 1_u64..10_000, life in 1_u64..10_000, late in 0_u64..10_000, now in 0_u64..10_000,
            dice in any::<(u16, u16)>(),
        ) {
            let (late, now) = (late % life, now % life);
            prop_assume!(late <= now);
            let left = ms(life - now);
            let copy = is_due(window(ms(ahead), ms(now - late), left), left, Tier::Hot, dice.0);
            let owner = is_due(window(ms(ahead), ms(now), left), left, Tier::Main, dice.1);
            prop_assert!(owner || !copy);
        }
    }
}
