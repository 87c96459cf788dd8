//! The beginning of a key's part in a batch.

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
use crate::signal::Wakers;
use crate::slots::{Shard, Slot};
use crate::source::{Removal, Source};
use crate::standing::Turn;
use crate::stats::Event;

impl<S: FetchMany> Driver<S> {
    /// Begins one key's part of a batch, unless it is gone, doomed, idle, or being fetched already.
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
        aftermath.settle(engine);
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
        if let Some((cause, event)) = departure(engine, shard.get(key), &entry, now) {
            // Its row is out of the schedule already.
            standing.set(Turn::Resting);
            if let Some(event) = event {
                engine.counters.count(event);
            }
            engine.forget(key, shard, cause, aftermath);
            aftermath.hold(Some(entry));
            return None;
        }
        if standing.is_terminal() {
            // It became so while it was queued; whoever made it so has its place changed.
            standing.set(Turn::New);
            aftermath.wake(self.note_change(key));
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
            let at = now.after(jittered(engine, key, self.plan.every, now)).max(rests_until);
            standing.set(Turn::Queued(self.desk.schedule().queue(key.clone(), at)));
        }
        if is_new {
            aftermath.ended(shard.remove_entry(key));
        }
        aftermath.hold(Some(entry));
        None
    }

    fn note_change(&self, key: &S::Key) -> Wakers {
        self.desk.schedule().note_change(key);
        self.desk.changed.raise()
    }
}

/// Why an entry whose row has come up leaves the cache, if it does.
fn departure<S: Source>(
    engine: &Engine<S>,
    slot: Option<&Slot<S>>,
    entry: &Entry<S::Value>,
    now: Time,
) -> Option<(Removal, Option<Event>)> {
    if entry.standing().is_doomed() {
        return Some((Removal::Deleted, None));
    }
    if entry.standing().is_terminal() && entry.fresh_until() <= now {
        return Some((Removal::Expired, Some(Event::Expired)));
    }
    let interesting = slot.is_some_and(|slot| slot.topic.is_interesting());
    let idle = !interesting && entry.read_at().after(engine.options.idle) <= now;
    idle.then_some((Removal::Idle, Some(Event::Idle)))
}
