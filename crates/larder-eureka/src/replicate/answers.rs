//! What a peer's answer means: for a batch as a whole, and for each item of it.
//!
//! Pure.

use std::sync::Arc;

use larder_registry::model::Instance;

use super::pace::Trouble;
use crate::client::Fault;
use crate::wire::replication::{Action, Answer, Sent};

/// What an item's answer asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// Nothing: it was done, or there was nothing to do.
    Done,
    /// The peer does not know the instance as it is here: send it whole.
    Send,
    /// The peer knows a newer instance: take it.
    Take(Arc<Instance>),
    /// The peer will not have it, and sending it again would change nothing.
    Refused,
}

/// What an answer to one item asks for.
pub(crate) fn reply(item: &Sent, answer: &Answer) -> Reply {
    let is_heartbeat = item.action == Action::Heartbeat;
    match (answer.status, &answer.instance) {
        (200..=299, _) => Reply::Done,
        // Only what the item is about: a peer that mixes up its answers changes nothing else here.
        (_, Some(newer)) if is_heartbeat && newer.key() == item.key => Reply::Take(newer.clone()),
        (404, _) => match item.action {
            Action::Cancel => Reply::Done,
            // What does not know the instance cannot know its override: both come with the whole.
            Action::Heartbeat | Action::StatusUpdate | Action::DeleteStatusOverride => Reply::Send,
            // Netflix's server answers so to no registration. Sending it again would be answered the same.
            Action::Register => Reply::Refused,
        },
        _ => Reply::Refused,
    }
}

/// Why a batch was not taken; none if the peer was not asked because this server stops.
pub(crate) fn trouble(fault: &Fault) -> Option<Trouble> {
    match fault {
        Fault::Closed => None,
        Fault::Late { .. } => Some(Trouble::Busy),
        Fault::Lost { .. } => Some(Trouble::Lost),
        Fault::Refused { status, .. } => Some(match status.as_u16() {
            429 | 502..=504 => Trouble::Busy,
            400 | 413 | 422 => Trouble::Unwanted,
            _ => Trouble::Odd,
        }),
        Fault::TooLarge { .. } | Fault::Unreadable { .. } | Fault::TooMany { .. } => {
            Some(Trouble::Odd)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_registry::Phase;
    use larder_registry::model::Key;
    use reqwest::StatusCode;

    use super::*;

    fn item(action: Action) -> Sent {
        let key = Key::new("web", "i");
        Sent { action, key, dirty_at: None, status_override: None, status: None, instance: None }
    }

    fn answer(status: u16) -> Answer {
        Answer { status, instance: None }
    }

    #[test]
    fn a_peer_that_does_not_know_an_instance_is_sent_it_whole_unless_it_left() {
        for (action, expected) in [
            (Action::Heartbeat, Reply::Send),
            (Action::StatusUpdate, Reply::Send),
            (Action::DeleteStatusOverride, Reply::Send),
            (Action::Cancel, Reply::Done),
            (Action::Register, Reply::Refused),
        ] {
            assert_eq!(reply(&item(action), &answer(404)), expected, "{action:?}");
            assert_eq!(reply(&item(action), &answer(200)), Reply::Done, "{action:?}");
            assert_eq!(reply(&item(action), &answer(500)), Reply::Refused, "{action:?}");
        }
    }

    #[test]
    fn a_newer_instance_is_taken_if_it_is_the_one_that_was_spoken_of() {
        let instance = |id: &str| Some(Arc::new(Instance::new("WEB", id)));
        let conflict = |id: &str| Answer { status: 409, instance: instance(id) };
        let heartbeat = item(Action::Heartbeat);
        let taken = Arc::new(Instance::new("WEB", "i"));
        assert_eq!(reply(&heartbeat, &conflict("i")), Reply::Take(taken));
        assert_eq!(reply(&heartbeat, &conflict("other")), Reply::Refused);
        assert_eq!(reply(&item(Action::Register), &conflict("i")), Reply::Refused);
        let held = Answer { status: 200, instance: instance("i") };
        assert_eq!(reply(&heartbeat, &held), Reply::Done, "Netflix's server may add what it holds");
    }

    #[test]
    fn congestion_is_told_from_a_lost_way_and_from_a_refusal() {
        let phase = Phase::Write;
        let status = |code: u16| Fault::Refused {
            phase,
            status: StatusCode::from_u16(code).expect("a status"),
            says: String::new(),
        };
        for (code, expected) in [
            (503, Trouble::Busy),
            (429, Trouble::Busy),
            (400, Trouble::Unwanted),
            (413, Trouble::Unwanted),
            (404, Trouble::Odd),
            (500, Trouble::Odd),
        ] {
            assert_eq!(trouble(&status(code)), Some(expected), "{code}");
        }
        assert_eq!(trouble(&Fault::Late { phase, after: Duration::ZERO }), Some(Trouble::Busy));
        assert_eq!(trouble(&Fault::Lost { phase, reason: String::new() }), Some(Trouble::Lost));
        let odd = Fault::Unreadable { phase, reason: String::new() };
        assert_eq!(trouble(&odd), Some(Trouble::Odd));
        assert_eq!(trouble(&Fault::Closed), None);
    }
}
