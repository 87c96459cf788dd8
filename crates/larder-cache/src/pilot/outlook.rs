//! What a pilot knows when it decides, gathered under the lock of its key's shard.

use std::time::Duration;

use super::Pilot;
use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::Error;
use crate::keep::Situation;
use crate::slots::Slot;
use crate::source::Source;
use crate::trouble::Trouble;

/// A key's value, where it is found.
pub(super) struct Value<V> {
    pub(super) stored: Option<Entry<V>>,
    /// That, or what its subscribers still have.
    pub(super) previous: Option<Entry<V>>,
}

impl<V> Value<V> {
    pub(super) fn of<S: Source<Value = V>>(
        engine: &Engine<S>,
        key: &S::Key,
        slot: &Slot<S>,
    ) -> Self {
        let stored = engine.store.peek(key);
        let previous = stored.clone().or_else(|| slot.topic.entry());
        Self { stored, previous }
    }
}

impl<S: Source> Pilot<S> {
    pub(super) fn situation(
        &self,
        slot: &Slot<S>,
        value: &Value<S::Value>,
        trouble: Option<&Trouble<S::Error>>,
        now: Time,
    ) -> Situation {
        let engine = &*self.engine;
        let previous = value.previous.as_ref();
        let interested = slot.topic.is_interesting();
        let recovered_at = engine.upstream.recovered_at();
        let absent_since = match trouble {
            Some(Trouble::Absent { since, .. }) => Some(*since),
            _ => None,
        };
        // After a failure the next fetch does not wait at the source: its answer is the sign of life.
        let failing = trouble.and_then(Trouble::failing);
        let alive = !engine.upstream.is_down()
            && failing.is_none_or(|failing| matches!(failing.error, Error::NoIndex));
        let confirmed_at = previous.map(|entry| entry.vouched_at(now)).or(absent_since);
        let salt = confirmed_at.map_or(0, Time::as_millis);
        Situation {
            asked: slot.rounds.is_asked(),
            interested,
            has_place: slot.keeper.is_some(),
            refresh: engine.options.refresh,
            max_age: interested.then(|| slot.topic.max_age()).flatten(),
            idle: engine.options.idle,
            confirmed_at,
            can_wait: alive && previous.is_some_and(|entry| entry.source_index() > 0),
            read_at: value.stored.as_ref().map(|entry| entry.read_at()),
            stored: value.stored.is_some(),
            landed_at: self.landed_at,
            relist_at: self.relist_at,
            rests_until: trouble
                .map_or(Time::ZERO, |trouble| trouble.rests_until(recovered_at))
                .max(self.turn_after_recovery(confirmed_at, recovered_at)),
            paced_until: engine.paced_until(&self.key, previous, now),
            closed_until: engine.upstream.closed_until(now),
            dice: u16::try_from(engine.throw_dice(&self.key, salt) >> 48).unwrap_or(0),
        }
    }

    /// When this key is asked for again after its upstream was down: all keys that had to wait for that
    /// are spread over a second.
    fn turn_after_recovery(&self, confirmed_at: Option<Time>, recovered_at: Option<Time>) -> Time {
        match recovered_at {
            Some(back) if confirmed_at.is_none_or(|confirmed_at| confirmed_at < back) => {
                let dice = self.engine.throw_dice(&self.key, back.as_millis());
                back.after(Duration::from_millis(dice % 1000))
            }
            _ => Time::ZERO,
        }
    }

    /// While the upstream is down, one look a second is enough for all keepers together: the more there
    /// are, the longer each rests. When it is back, they are woken.
    pub(super) fn spread(&self, until: Time, situation: &Situation) -> Time {
        if situation.asked || situation.closed_until != Some(until) {
            return until;
        }
        let turns = (self.engine.crowds.keepers.taken() / 8).max(1);
        let turn = self.engine.throw_dice(&self.key, until.as_millis()) % turns;
        until.after(Duration::from_secs(turn))
    }

    pub(super) fn may_stay(&self, slot: &Slot<S>) -> bool {
        self.engine.options.refresh.keeps_what_is_read() || slot.topic.is_interesting()
    }
}
