//! Gives keys their places in the schedule.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::keep::batch::FetchMany;
use crate::keep::batch::berth::{Berth, Situation, berth};
use crate::keep::batch::desk::Desk;
use crate::keep::batch::plan::Plan;
use crate::keep::batch::schedule::Row;
use crate::source::Source;
use crate::standing::Turn;

/// What a key's place depends on beside its entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) landed: bool,
    pub(crate) due: Time,
    pub(crate) tick: Time,
    pub(crate) first: bool,
    pub(crate) now: Time,
}

/// Gives a key its place in the schedule; says whether it is to leave instead. The key's shard is locked.
pub(crate) fn seat<S: Source>(
    engine: &Engine<S>,
    desk: &Desk<S::Key>,
    key: &S::Key,
    entry: &Entry<S::Value>,
    facts: &Facts,
) -> bool {
    let standing = entry.standing();
    let turn = standing.turn();
    let situation = Situation {
        turn,
        landed: facts.landed,
        doomed: standing.is_doomed(),
        terminal: standing.is_terminal(),
        fresh_until: entry.fresh_until(),
        rests_until: engine.rests_until(key),
        due: facts.due,
        tick: facts.tick,
        first_at_once: facts.first,
    };
    let place = berth(&situation, facts.now);
    if place == Berth::Same {
        return false;
    }
    let mut schedule = desk.schedule();
    if matches!(turn, Turn::Queued(_)) {
        schedule.strike();
    }
    if standing.is_terminal() {
        // Its last failure holds up nothing any more.
        schedule.note_outcome(key, false);
    }
    standing.set(match place {
        Berth::First => Turn::Queued(schedule.queue_first(key.clone())),
        Berth::At(at) => Turn::Queued(schedule.queue(key.clone(), at)),
        Berth::Leaves(at) => Turn::Queued(schedule.queue_leaving(key.clone(), at)),
        Berth::Same | Berth::Rest | Berth::Out => Turn::Resting,
    });
    place == Berth::Out
}

/// Whether a row is the one that counts.
pub(crate) fn is_turn_of<K, V>(row: &Row<K>, entry: &Entry<V>) -> bool {
    entry.standing().turn() == Turn::Queued(row.ticket)
}

/// When a key with this value is due next: a period from now, and up to a sixteenth more. The source is
/// asked, so no lock may be held.
pub(crate) fn due<S: FetchMany>(
    engine: &Engine<S>,
    plan: &Plan<S>,
    key: &S::Key,
    value: &S::Value,
    now: Time,
) -> Time {
    let asked = AssertUnwindSafe(|| engine.source.period(key, value));
    // Unwind-safe: what it may have left half-done is its own.
    let own = catch_unwind(asked).unwrap_or_default();
    let every = own.unwrap_or(plan.every).max(Duration::from_millis(1));
    now.after(jittered(engine, key, every, now))
}

/// `every` and up to a sixteenth more, so that keys that came together drift apart.
pub(crate) fn jittered<S: Source>(
    engine: &Engine<S>,
    key: &S::Key,
    every: Duration,
    now: Time,
) -> Duration {
    let dice = u16::try_from(engine.throw_dice(key, now.as_millis()) >> 48).unwrap_or(0);
    every.saturating_add((every / 16).mul_f64(f64::from(dice) / f64::from(u16::MAX)))
}
