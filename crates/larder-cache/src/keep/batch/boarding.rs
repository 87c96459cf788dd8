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
use crate::keep::batch::seating::{is_turn_of, jittered};
use crate::landing::Order;
use crate::slots::{Shard, Slot};
use crate::source::{Removal, Source};
use crate::standing::Turn;
use crate::stats::Event;

impl<S: FetchMany> Driver<S> {
    /// Begins one key's part of a batch, unless it is gone, about to leave, or being fetched already.
    pub(super) fn board(&self, row: Row<S::Key>, now: Time) -> Option<Passenger<S>> {
        let engine = &*self.engine;
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&row.key);
        let boarded = match engine.store.peek(&row.key) {
            Some(entry) if is_turn_of(&row, &entry) => {
                self.board_in(&row, entry, &mut shard, now, &mut aftermath)
            }
            entry => {
                // Without an entry, its subscribers' pilot goes on alone.
                if let Some(slot) = shard.get(&row.key).filter(|_| entry.is_none()) {
                    aftermath.wake(slot.topic.beacon.raise());
                }
                aftermath.hold(entry);
                self.desk.schedule().dropped_stale();
                None
            }
        };
        drop(shard);
        aftermath.settle_guarded(engine);
        boarded.map(|order| Passenger { key: row.key, order: Some(order) })
    }

    fn board_in(
        &self,
        row: &Row<S::Key>,
        entry: Entry<S::Value>,
        shard: &mut Shard<S>,
        now: Time,
        aftermath: &mut Aftermath<S>,
    ) -> Option<Order<S::Value>> {
        let (engine, key, standing) = (&*self.engine, &row.key, entry.standing());
        if standing.is_doomed() || standing.is_terminal() {
            // It became so while it was queued: it is not fetched, and leaves by itself.
            self.seat_anew(key, &entry, aftermath);
            aftermath.hold(Some(entry));
            return None;
        }
        if is_idle(engine, shard.get(key), &entry, now) {
            engine.counters.count(Event::Idle);
            depart(engine, key, &entry, shard, Removal::Idle, aftermath);
            aftermath.hold(Some(entry));
            return None;
        }
        let rests_until = engine.rests_until(key);
        let is_new = !shard.contains_key(key);
        let slot = shard.entry(key.clone()).or_insert_with(Slot::new);
        let busy = slot.rounds.is_under_way() || slot.rounds.is_asked();
        if !busy && rests_until <= now {
            slot.has_no_pilot = is_new;
            slot.rounds.begin(false);
            standing.set(Turn::Flying);
            return Some(Order { previous: Some(entry), began_at: now, parked: false });
        }
        if busy && slot.has_no_pilot {
            // Its predecessor is in flight, and its landing will find this one waiting.
            standing.set(Turn::Waiting);
        } else if rests_until == Time::MAX {
            standing.set(Turn::Resting);
        } else {
            // Somebody else's fetch will do for this period; a back-off is over when it is over.
            let wait =
                if busy { jittered(engine, key, self.plan.every, now) } else { Duration::ZERO };
            let at = now.after(wait).max(rests_until);
            standing.set(Turn::Queued(self.desk.schedule().queue(key.clone(), at)));
        }
        if is_new {
            aftermath.ended(shard.remove_entry(key));
        }
        aftermath.hold(Some(entry));
        None
    }

    /// Lets an item go whose time has come, unless it is not to go any more, or not yet.
    pub(super) fn see_off(&self, row: &Row<S::Key>, now: Time) {
        let (engine, key) = (&*self.engine, &row.key);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(key);
        let entry = engine.store.peek(key);
        if let Some(entry) = entry.as_ref().filter(|entry| is_turn_of(row, entry)) {
            let standing = entry.standing();
            if standing.is_doomed() {
                depart(engine, key, entry, &mut shard, Removal::Deleted, &mut aftermath);
            } else if standing.is_terminal() && entry.fresh_until() <= now {
                engine.counters.count(Event::Expired);
                depart(engine, key, entry, &mut shard, Removal::Expired, &mut aftermath);
            } else {
                self.seat_anew(key, entry, &mut aftermath);
            }
        } else {
            self.desk.schedule().dropped_stale();
        }
        aftermath.hold(entry);
        drop(shard);
        aftermath.settle_guarded(engine);
    }

    /// Has another place found for an entry whose row was taken out of the schedule.
    fn seat_anew(&self, key: &S::Key, entry: &Entry<S::Value>, aftermath: &mut Aftermath<S>) {
        entry.standing().set(Turn::New);
        self.desk.schedule().note_change(key);
        aftermath.wake(self.desk.changed.raise());
    }
}

/// Takes out an entry whose row has come up.
fn depart<S: Source>(
    engine: &Engine<S>,
    key: &S::Key,
    entry: &Entry<S::Value>,
    shard: &mut Shard<S>,
    cause: Removal,
    aftermath: &mut Aftermath<S>,
) {
    // Its row is out of the schedule already.
    entry.standing().set(Turn::Resting);
    engine.forget(key, shard, cause, aftermath);
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
