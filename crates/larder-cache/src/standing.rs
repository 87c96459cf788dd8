//! Where an entry stands in the schedule of a cache that fetches many keys at a time: four bytes in each
//! entry, so that neither the schedule nor a batch needs a map of keys.

use std::sync::atomic::{AtomicU32, Ordering};

/// Of an entry that came in place of another one, it is carried over, but for whether the value is
/// terminal. Changes only under the lock of the key's shard, with one exception: the store marks an
/// entry that leaves as it leaves, and it stays marked until it comes back, under that lock. So whoever
/// holds the lock and sees another turn than [`Turn::Gone`] has an entry that is in the store, or left
/// it this moment.
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
    /// The entry is not in the store any more.
    Gone,
}

/// Tells the rows of one key apart. The numbers begin again after half a billion: by then a stale row has
/// long come up, and one that had not would cause one fetch before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ticket(u32);

const DOOMED: u32 = 1 << 31;
const TERMINAL: u32 = 1 << 30;
const GONE: u32 = 1 << 29;
const TURN: u32 = GONE - 1;
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
        match self.0.load(Ordering::Relaxed) & (GONE | TURN) {
            NEW => Turn::New,
            gone if gone & GONE != 0 => Turn::Gone,
            FLYING => Turn::Flying,
            WAITING => Turn::Waiting,
            RESTING => Turn::Resting,
            ticket => Turn::Queued(Ticket(ticket)),
        }
    }

    /// Gives it another turn, unless it has left; says whether it did.
    pub(crate) fn set(&self, turn: Turn) -> bool {
        let turn = match turn {
            Turn::New => NEW,
            Turn::Queued(Ticket(ticket)) => ticket,
            Turn::Flying => FLYING,
            Turn::Waiting => WAITING,
            Turn::Resting => RESTING,
            Turn::Gone => GONE,
        };
        self.change(|bits| (bits & GONE == 0).then_some((bits & !TURN) | turn)).is_some()
    }

    /// The store lets the entry go. It keeps its turn until [`part`](Self::part).
    pub(crate) fn leave(&self) {
        self.0.fetch_or(GONE, Ordering::Relaxed);
    }

    /// Takes the turn away from an entry that has left; says whether it had a row, which counts no more.
    pub(crate) fn part(&self) -> bool {
        self.change(|bits| (bits & GONE != 0).then_some(bits & !TURN)).is_some_and(is_queued)
    }

    /// An entry comes back as a new one; says whether it had a row, which counts no more.
    pub(crate) fn come_back(&self) -> bool {
        self.change(|bits| Some(bits & !(GONE | TURN))).is_some_and(is_queued)
    }

    /// Gives back what it was, if it was changed.
    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok()
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
        self.0.fetch_or(DOOMED, Ordering::Relaxed);
    }

    /// This is of the entry that has replaced `old`'s. Says whether the row of that one counts no more.
    pub(crate) fn inherit(&self, old: &Self) -> bool {
        let old = old.0.load(Ordering::Relaxed);
        let inherited = self.change(|own| {
            // The row of a terminal one is for leaving.
            let is_for_leaving = is_queued(old) && old & TERMINAL != 0 && own & TERMINAL == 0;
            let own_bits = TERMINAL | GONE;
            (own & GONE == 0 && !is_for_leaving).then_some((old & !own_bits) | (own & own_bits))
        });
        inherited.is_none() && is_queued(old)
    }
}

fn is_queued(bits: u32) -> bool {
    (NEW + 1..=LAST_TICKET).contains(&(bits & TURN))
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
        old.leave();
        let new = Standing::new(false);
        assert!(!new.inherit(&old));
        assert!(new.turn() == Turn::Flying && new.is_doomed() && !new.is_terminal());
    }

    #[test]
    fn a_row_for_leaving_is_not_inherited_and_neither_is_one_by_who_has_left() {
        let row = Turn::Queued(Ticket::default().next());
        let queued = |terminal| {
            let old = Standing::new(terminal);
            old.set(row);
            old.leave();
            old
        };
        let new = Standing::new(false);
        assert!(new.inherit(&queued(true)));
        assert_eq!(new.turn(), Turn::New);
        assert!(!new.inherit(&queued(false)));
        assert_eq!(new.turn(), row);
        let gone = Standing::new(false);
        gone.leave();
        assert!(gone.inherit(&queued(false)));
        assert!(gone.turn() == Turn::Gone && !gone.part());
    }

    #[test]
    fn who_has_left_gets_no_turn_and_its_row_is_struck_once() {
        let standing = Standing::new(false);
        assert!(!standing.part());
        let row = Turn::Queued(Ticket::default().next());
        assert!(standing.set(row) && !standing.part());
        assert_eq!(standing.turn(), row);
        standing.leave();
        assert!(!standing.set(Turn::Flying));
        assert_eq!(standing.turn(), Turn::Gone);
        assert!(standing.part() && !standing.part() && !standing.come_back());
        assert!(standing.turn() == Turn::New && standing.set(row));
        standing.leave();
        assert!(standing.come_back() && !standing.part());
        assert_eq!(standing.turn(), Turn::New);
    }

    #[test]
    fn tickets_begin_again_without_ever_looking_like_another_turn() {
        assert_eq!(Ticket(LAST_TICKET).next(), Ticket::default().next());
        let standing = Standing::new(false);
        standing.set(Turn::Queued(Ticket(LAST_TICKET - 1).next()));
        assert_eq!(standing.turn(), Turn::Queued(Ticket(LAST_TICKET)));
    }
}
