//! What a watch says: the state at the start, then every change.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::Instance;

/// One step of a watch.
///
/// A watch begins with `Init`, one `InitApply` for each instance and `InitDone`, and goes on with
/// `Apply` and `Delete`. A consumer that fell too far behind, or whose source was interrupted, gets a
/// new `Init`: it must build the new state aside and put it in place at `InitDone`, so that nobody sees
/// half a list.
///
/// Revisions never fall in a watch that its source did not interrupt. Several changes share one where
/// the source made them in one step, such as an etcd transaction, or can only tell them together.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A listing begins: start an empty state aside.
    Init,
    /// Part of the listing: add it to the state aside.
    InitApply(Arc<Instance>),
    /// The listing is complete as of this revision: put the state aside in place of the old one.
    InitDone {
        /// Every change up to here is in the listing.
        revision: u64,
    },
    /// The instance is new or changed: replace it.
    Apply {
        /// The revision of the change.
        revision: u64,
        /// The instance as it is now.
        instance: Arc<Instance>,
    },
    /// The instance is gone: drop it.
    Delete {
        /// The revision of the change.
        revision: u64,
        /// The instance as it was last.
        instance: Arc<Instance>,
    },
    /// The watch had broken off, and goes on from there: what was told holds, and what happened meanwhile
    /// follows.
    Resumed,
}

impl Event {
    /// The revision of a change; none of what is no change, or has a source that does not count.
    fn step(&self) -> Option<u64> {
        match self {
            Self::Apply { revision, .. } | Self::Delete { revision, .. } => {
                Some(*revision).filter(|revision| *revision > 0)
            }
            _ => None,
        }
    }
}

/// Events that a watch has at hand, and not given away yet. Knows whether the one given last is in the
/// middle of a step; bounded by whoever fills it.
#[derive(Debug, Default)]
pub struct EventQueue {
    ready: VecDeque<Event>,
    given: Option<u64>,
}

impl EventQueue {
    /// The next event.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.ready.pop_front()?;
        self.given = event.step();
        Some(event)
    }

    /// Adds an event behind all others.
    pub fn push(&mut self, event: Event) {
        self.ready.push_back(event);
    }

    /// How many are at hand.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether none is at hand.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether the next event is of the same step as the last one: what
    /// [`Watch::is_amid_step`](crate::Watch::is_amid_step) answers.
    pub fn is_amid_step(&self) -> bool {
        self.given.is_some() && self.ready.front().and_then(Event::step) == self.given
    }
}

impl Extend<Event> for EventQueue {
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        self.ready.extend(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(revision: u64, id: &str) -> Event {
        Event::Apply { revision, instance: Arc::new(Instance::new("orders", id)) }
    }

    #[test]
    fn changes_of_one_revision_are_one_step_and_listings_are_none() {
        let mut queue = EventQueue::default();
        queue.extend([Event::Init, Event::InitDone { revision: 4 }, apply(5, "a"), apply(5, "b")]);
        queue.extend([apply(6, "a"), apply(0, "a"), apply(0, "b")]);
        let mut amid = Vec::new();
        while queue.pop().is_some() {
            amid.push(queue.is_amid_step());
        }
        assert_eq!(amid, [false, false, true, false, false, false, false]);
    }
}
