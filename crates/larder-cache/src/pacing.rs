//! The rate limit of each key, as the cache applies it.

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::pace::{Pace, Rate};
use crate::source::Source;
use crate::sync::lock;

impl<S: Source> Engine<S> {
    pub(crate) fn rate(&self) -> Option<Rate> {
        *lock(&self.rate)
    }

    pub(crate) fn set_rate(&self, rate: Option<Rate>) -> bool {
        let old = std::mem::replace(&mut *lock(&self.rate), rate);
        let changed = old != rate;
        if changed {
            // Those who wait for their turn work it out anew.
            let mut aftermath = Aftermath::new();
            self.slots.each_shard(|shard| {
                for slot in shard.values() {
                    aftermath.wake(slot.topic.beacon.raise());
                }
            });
            aftermath.settle(self);
        }
        changed
    }

    /// Until when a key's rate limit says wait, where `previous` is its value.
    pub(crate) fn paced_until(
        &self,
        key: &S::Key,
        previous: Option<&Entry<S::Value>>,
        now: Time,
    ) -> Time {
        let pace = self.pace(key, previous, now);
        pace.map_or(Time::ZERO, |(pace, rate)| pace.next(rate))
    }

    /// Counts a fetch against the key's rate limit. A key that was not fetched lately is not remembered:
    /// most keys are never fetched twice within a second.
    pub(crate) fn count_pace(&self, key: &S::Key, previous: Option<&Entry<S::Value>>, now: Time) {
        if let Some((pace, rate)) = self.pace(key, previous, now) {
            drop(self.paces.insert(key, pace.fetched(rate, now)));
        }
    }

    /// What a key owes, and at which rate it earns. If that is not remembered, one fetch: that of the value
    /// that there is, or one that failed; or nothing.
    fn pace(
        &self,
        key: &S::Key,
        previous: Option<&Entry<S::Value>>,
        now: Time,
    ) -> Option<(Pace, Rate)> {
        let pace = self.paces.peek(key);
        let before = previous.map(|entry| entry.vouched_at(now));
        let before = before.or_else(|| self.troubles.contains(key).then_some(now));
        if pace.is_none() && before.is_none() {
            // A cold key, as most that are missed: the rate does not matter.
            return None;
        }
        let rate = self.rate()?;
        let lately = before.filter(|before| now.since(*before) < rate.memory());
        let pace = pace.or_else(|| Some(Pace::default().fetched(rate, lately?)))?;
        Some((pace, rate))
    }
}
