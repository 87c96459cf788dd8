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
use crate::upstream::Condition;

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
        let upstream = engine.upstream.condition();
        let absent_since = match trouble {
            Some(Trouble::Absent { since, .. }) => Some(*since),
            _ => None,
        };
        // After a failure the next fetch does not wait at the source: its answer is the sign of life.
        let failing = trouble.and_then(Trouble::failing);
        let alive = !upstream.is_down
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
            overdue: upstream.is_down && previous.is_some_and(|entry| entry.fresh_until() <= now),
            reopen_at: self.reopens_at(upstream),
            rests_until: trouble
                .map_or(Time::ZERO, |trouble| trouble.rests_until(upstream))
                .max(engine.turn_after_recovery(&self.key, confirmed_at)),
            paced_until: engine.paced_until(&self.key, previous, now),
            closed_until: engine.upstream.closed_until(now),
            dice: u16::try_from(engine.throw_dice(&self.key, salt) >> 48).unwrap_or(0),
        }
    }

    /// When its stream may be opened again that did not open in time. While the upstream is down its turn
    /// alone decides; and what was asked before it came back says nothing about it any more.
    fn reopens_at(&self, upstream: Condition) -> Time {
        let is_old_news = upstream.recovered_at.is_some_and(|back| self.late_since <= back);
        if upstream.is_down || is_old_news { Time::ZERO } else { self.reopen_at }
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
