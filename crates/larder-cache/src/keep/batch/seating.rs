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
    /// What has landed was a failure.
    pub(crate) failed: bool,
    pub(crate) due: Time,
    pub(crate) tick: Time,
    pub(crate) first: bool,
    pub(crate) now: Time,
}

/// Gives a key its place in the schedule; says whether it is to leave instead. The key's shard is locked.
pub(crate) fn seat<S: Source>(
    engine: &Engine<S>,
    desk: &Desk<S::Key, S::Value>,
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
    if facts.landed || standing.is_terminal() {
        // The last failure of what is terminal holds up nothing any more.
        schedule.note_outcome(key, facts.failed && !standing.is_terminal());
    }
    let row = || (key.clone(), Entry::clone(entry));
    let next = match place {
        Berth::First => Turn::Queued(schedule.queue_first(row())),
        Berth::At(at) => Turn::Queued(schedule.queue(row(), at)),
        Berth::Leaves(at) => Turn::Queued(schedule.queue_leaving(row(), at)),
        Berth::Same | Berth::Rest | Berth::Out => Turn::Resting,
    };
    // If it has left meanwhile, the new row is the one that does not count; whoever took it out strikes
    // the old one.
    let stale = if standing.set(next) { turn } else { next };
    if matches!(stale, Turn::Queued(_)) {
        schedule.strike();
    }
    place == Berth::Out
}

/// A row of a source's schedule.
pub(crate) type RowOf<S> = Row<<S as Source>::Key, Entry<<S as Source>::Value>>;

/// The entry of the row's key, if the row is the one that counts. Only an entry that has come in place of
/// another one since the row was made is looked up.
pub(crate) fn entry_of<S: Source>(engine: &Engine<S>, row: &RowOf<S>) -> Option<Entry<S::Value>> {
    if counts(row) {
        return Some(Entry::clone(&row.entry));
    }
    let is_turn = |entry: &Entry<S::Value>| entry.standing().turn() == Turn::Queued(row.ticket);
    engine.store.peek(&row.key).filter(is_turn)
}

/// Whether a row counts for the very entry that it was made for.
pub(crate) fn counts<K, V>(row: &Row<K, Entry<V>>) -> bool {
    row.entry.standing().turn() == Turn::Queued(row.ticket)
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
