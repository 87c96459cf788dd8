//! User events: fired, and listed for a while.
//!
//! Pure. Consul spreads them by gossip; here they are told by one server to those who ask it.

use std::collections::VecDeque;

/// How many are kept; the oldest goes first. As with Consul's agent.
pub(super) const KEPT: usize = 256;

/// The largest payload, in bytes: more than Consul's gossip takes.
pub(super) const MAX_PAYLOAD: usize = 4 << 10;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) payload: Vec<u8>,
    pub(super) node_filter: String,
    pub(super) service_filter: String,
    pub(super) tag_filter: String,
}

/// The last ones.
#[derive(Debug)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    next: u64,
}

impl Events {
    /// None yet. Their numbers begin with `start`, which grows from one run of the server to the next.
    pub(super) fn new(start: u64) -> Self {
        Self { kept: VecDeque::new(), next: start.max(1) }
    }

    /// Fires one: it is given its number.
    pub(super) fn fire(&mut self, event: Event) -> Event {
        let event = Event { number: self.next, ..event };
        self.next += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(event.clone());
        event
    }

    /// Those of a name, or all, oldest first.
    pub(super) fn list(&self, name: Option<&str>) -> Vec<Event> {
        let wanted = self.kept.iter().filter(|event| name.is_none_or(|name| event.name == name));
        wanted.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Event {
        let [node_filter, service_filter, tag_filter] = Default::default();
        let (number, name, payload) = (0, name.to_owned(), Vec::new());
        Event { number, name, payload, node_filter, service_filter, tag_filter }
    }

    #[test]
    fn the_last_events_are_kept_and_listed_by_name() {
        let mut events = Events::new(10);
        assert!(events.list(None).is_empty());
        assert_eq!(events.fire(named("deploy")).number, 10);
        for _ in 0..KEPT {
            events.fire(named("other"));
        }
        assert!(events.list(Some("deploy")).is_empty());
        let all = events.list(None);
        assert_eq!((all.len(), all[0].number), (KEPT, 11));
    }
}
