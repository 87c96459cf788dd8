//! Where an entry stands in the schedule of a cache that fetches many keys at a time: four bytes in each
//! entry, so that neither the schedule nor a batch needs a map of keys.

use std::sync::atomic::{AtomicU32, Ordering};

/// Of an entry that came in place of another one, it is carried over, but for whether the value is
/// terminal. Changes only under the lock of the key's shard.
#[derive(Debug)]
pub(crate) struct Standing(AtomicU32);

/// What the schedule has for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing yet.
    New,
    /// The row with this ticket; any other row of the key is stale.
    Queued(Ticket),
    /// It is being fetched.
    Flying,
    /// It is due, and what was fetched for its predecessor has not landed.
    Waiting,
    /// Nothing any more: it is never asked about again.
    Resting,
}

/// Tells the rows of one key apart. The numbers begin again after a billion: by then a stale row has
/// long come up, and one that had not would cause one fetch before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ticket(u32);

const DOOMED: u32 = 1 << 31;
const TERMINAL: u32 = 1 << 30;
const TURN: u32 = TERMINAL - 1;
const NEW: u32 = 0;
const FLYING: u32 = TURN;
const WAITING: u32 = TURN - 1;
const RESTING: u32 = TURN - 2;
const LAST_TICKET: u32 = TURN - 3;

impl Ticket {
    /// The ticket after this one.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self(if self.0 >= LAST_TICKET { 1 } else { self.0 + 1 })
    }
}

impl Standing {
    pub(crate) fn new(terminal: bool) -> Self {
        Self(AtomicU32::new(if terminal { NEW | TERMINAL } else { NEW }))
    }

    pub(crate) fn turn(&self) -> Turn {
        match self.0.load(Ordering::Relaxed) & TURN {
            NEW => Turn::New,
            FLYING => Turn::Flying,
            WAITING => Turn::Waiting,
            RESTING => Turn::Resting,
            ticket => Turn::Queued(Ticket(ticket)),
        }
    }

    pub(crate) fn set(&self, turn: Turn) {
        let turn = match turn {
            Turn::New => NEW,
            Turn::Queued(Ticket(ticket)) => ticket,
            Turn::Flying => FLYING,
            Turn::Waiting => WAITING,
            Turn::Resting => RESTING,
        };
        self.0.store((self.0.load(Ordering::Relaxed) & !TURN) | turn, Ordering::Relaxed);
    }

    /// Nobody asks about a terminal value again.
    pub(crate) fn is_terminal(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TERMINAL != 0
    }

    /// A doomed entry leaves when it is not in flight, at the schedule's next tick.
    pub(crate) fn is_doomed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DOOMED != 0
    }

    pub(crate) fn doom(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | DOOMED, Ordering::Relaxed);
    }

    /// This is of the entry that replaces `old`'s.
    pub(crate) fn inherit(&self, old: &Self) {
        if old.is_terminal() && !self.is_terminal() && matches!(old.turn(), Turn::Queued(_)) {
            // That row is for leaving.
            return;
        }
        let (old, own) = (old.0.load(Ordering::Relaxed), self.0.load(Ordering::Relaxed));
        self.0.store((old & !TERMINAL) | (own & TERMINAL), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_turn_is_told_from_the_others_whatever_else_is_said() {
        for terminal in [false, true] {
            let standing = Standing::new(terminal);
            assert_eq!(standing.turn(), Turn::New);
            let (first, last) = (Ticket::default().next(), Ticket(LAST_TICKET));
            let turns = [Turn::Queued(first), Turn::Queued(last), Turn::Flying, Turn::Waiting];
            for turn in turns.into_iter().chain([Turn::Resting, Turn::New]) {
                standing.set(turn);
                assert_eq!((standing.turn(), standing.is_terminal()), (turn, terminal));
            }
            assert!(!standing.is_doomed());
            standing.doom();
            standing.set(Turn::Flying);
            assert!(standing.is_doomed() && standing.is_terminal() == terminal);
        }
    }

    #[test]
    fn a_replacement_takes_the_place_and_the_doom_but_speaks_for_its_own_value() {
        let old = Standing::new(true);
        old.set(Turn::Flying);
        old.doom();
        let new = Standing::new(false);
        new.inherit(&old);
        assert!(new.turn() == Turn::Flying && new.is_doomed() && !new.is_terminal());
    }

    #[test]
    fn tickets_begin_again_without_ever_looking_like_another_turn() {
        assert_eq!(Ticket(LAST_TICKET).next(), Ticket::default().next());
        let standing = Standing::new(false);
        standing.set(Turn::Queued(Ticket(LAST_TICKET - 1).next()));
        assert_eq!(standing.turn(), Turn::Queued(Ticket(LAST_TICKET)));
    }
}
