//! When a key is asked for whose upstream was, or is, down.

use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::source::Source;
use crate::upstream::spread;

impl<S: Source> Engine<S> {
    /// When this key is asked for again after its upstream was down: all keys that had to wait for that
    /// are spread over most of a second.
    pub(crate) fn turn_after_recovery(&self, key: &S::Key, confirmed_at: Option<Time>) -> Time {
        match self.upstream.recovered_at() {
            Some(back) if confirmed_at.is_none_or(|confirmed_at| confirmed_at < back) => {
                back.after(spread(self.throw_dice(key, back.as_millis())))
            }
            _ => Time::ZERO,
        }
    }

    /// Whether a caller with something to make do with leaves the asking to the key's turn: while the
    /// upstream is down, its keeper's, so that no reader hangs on a probe that does; and once it is back,
    /// the one that keeps all readers from asking in the same moment.
    pub(crate) fn has_its_turn_to_come(
        &self,
        key: &S::Key,
        entry: &Entry<S::Value>,
        has_keeper: bool,
        now: Time,
    ) -> bool {
        if self.upstream.is_down() {
            return has_keeper;
        }
        now < self.turn_after_recovery(key, Some(entry.vouched_at(now)))
    }
}
