//! The beginning of a key's part in a batch, and its departure.

use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::keep::batch::FetchMany;
use crate::keep::batch::driver::Driver;
use crate::keep::batch::flight::Passenger;
use crate::keep::batch::schedule::Row;
use crate::keep::batch::seating::{RowOf, entry_of, jittered};
use crate::landing::Order;
use crate::slots::{Shard, Slot};
use crate::source::{Removal, Source};
use crate::standing::Turn;
use crate::stats::Event;

impl<S: FetchMany> Driver<S> {
    /// Begins one key's part of a batch, unless it is gone, about to leave, or being fetched already.
    pub(super) fn board(&self, row: RowOf<S>, now: Time) -> Option<Passenger<S>> {
        let engine = &*self.engine;
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&row.key);
        let entry = entry_of(engine, &row);
        let boards = entry
            .as_ref()
            .is_some_and(|entry| self.board_in(&row.key, entry, &mut shard, now, &mut aftermath));
        if entry.is_none() {
            // Without an entry, its subscribers' pilot goes on alone.
            if let Some(slot) = shard.get(&row.key).filter(|_| !engine.store.contains(&row.key)) {
                aftermath.wake(slot.topic.beacon.raise());
            }
            self.desk.schedule().dropped_stale();
        }
        drop(shard);
        let Row { key, entry: queued, .. } = row;
        aftermath.settle_guarded(engine);
        if boards {
            let order = Order {
                previous: entry,
                began_at: now,
                parked: false,
                unanswered_since: Some(now),
            };
            return Some(Passenger { key, order: Some(order) });
        }
        engine.let_fall([entry, Some(queued)]);
        None
    }

    /// Says whether the entry flies.
    fn board_in(
        &self,
        key: &S::Key,
        entry: &Entry<S::Value>,
        shard: &mut Shard<S>,
        now: Time,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        let (engine, standing) = (&*self.engine, entry.standing());
        if standing.is_doomed() || standing.is_terminal() {
            // It became so while it was queued: it is not fetched, and leaves by itself.
            self.seat_anew(key, entry, aftermath);
            return false;
        }
        if is_idle(engine, shard.get(key), entry, now) {
            engine.counters.count(Event::Idle);
            self.depart(key, entry, shard, Removal::Idle, aftermath);
            return false;
        }
        let rests_until = engine.rests_until(key);
        let slot = shard.get_mut(key);
        let busy =
            slot.as_ref().is_some_and(|slot| slot.rounds.is_under_way() || slot.rounds.is_asked());
        if !busy && rests_until <= now {
            if !self.take_turn(entry, Turn::Flying) {
                return false;
            }
            if let Some(slot) = slot {
                slot.rounds.begin(false);
                slot.has_no_pilot = false;
            } else {
                let mut slot = Slot::new();
                slot.rounds.begin(false);
                slot.has_no_pilot = true;
                shard.insert(key.clone(), slot);
            }
            return true;
        }
        if busy && slot.is_some_and(|slot| slot.has_no_pilot) {
            // Its predecessor is in flight, and its landing will find this one waiting.
            self.take_turn(entry, Turn::Waiting);
        } else if rests_until == Time::MAX {
            self.take_turn(entry, Turn::Resting);
        } else {
            // Somebody else's fetch will do for this period; a back-off is over when it is over.
            let wait =
                if busy { jittered(engine, key, self.plan.every, now) } else { Duration::ZERO };
            self.queue_again(key, entry, now.after(wait).max(rests_until));
        }
        false
    }

    /// Lets an item go whose time has come, unless it is not to go any more, or not yet.
    pub(super) fn see_off(&self, row: RowOf<S>, now: Time) {
        let (engine, key) = (&*self.engine, &row.key);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(key);
        let entry = entry_of(engine, &row);
        if let Some(entry) = &entry {
            let standing = entry.standing();
            if standing.is_doomed() {
                self.depart(key, entry, &mut shard, Removal::Deleted, &mut aftermath);
            } else if standing.is_terminal() && entry.fresh_until() <= now {
                engine.counters.count(Event::Expired);
                self.depart(key, entry, &mut shard, Removal::Expired, &mut aftermath);
            } else {
                self.seat_anew(key, entry, &mut aftermath);
            }
        } else {
            self.desk.schedule().dropped_stale();
        }
        drop(shard);
        aftermath.settle_guarded(engine);
        engine.let_fall([entry, Some(row.entry)]);
    }

    /// Gives an entry whose row has come up another turn; says whether it is still there to have it.
    fn take_turn(&self, entry: &Entry<S::Value>, turn: Turn) -> bool {
        let takes = entry.standing().set(turn);
        if !takes {
            // Whoever took it out strikes the row.
            self.desk.schedule().dropped_stale();
        }
        takes
    }

    /// Has another place found for an entry whose row was taken out of the schedule.
    fn seat_anew(&self, key: &S::Key, entry: &Entry<S::Value>, aftermath: &mut Aftermath<S>) {
        self.take_turn(entry, Turn::New);
        self.desk.schedule().note_change(key);
        aftermath.wake(self.desk.changed.raise());
    }

    /// Takes out an entry whose row has come up.
    fn depart(
        &self,
        key: &S::Key,
        entry: &Entry<S::Value>,
        shard: &mut Shard<S>,
        cause: Removal,
        aftermath: &mut Aftermath<S>,
    ) {
        self.take_turn(entry, Turn::Resting);
        self.engine.forget(key, shard, cause, aftermath);
    }
}

/// Whether nobody has read it for long enough.
fn is_idle<S: Source>(
    engine: &Engine<S>,
    slot: Option<&Slot<S>>,
    entry: &Entry<S::Value>,
    now: Time,
) -> bool {
    let interesting = slot.is_some_and(|slot| slot.topic.is_interesting());
    !interesting && entry.read_at().after(engine.options.idle) <= now
}
