//! What a read is answered by the agent in front of Consul.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Clock, Error, Origin, Reply};

use super::asking::Held;
use crate::answer::Answer;
use crate::client::{Fault, Heard};

/// An answer, and what is said about it.
#[derive(Debug, Clone)]
pub struct Read {
    /// The answer; also that a key is not there.
    pub answer: Arc<Answer>,
    /// The index to wait by. It does not go backwards while a key is kept. 0 where Consul does not count.
    pub index: u64,
    /// Whether it was at hand, so that nothing was asked or waited for.
    pub from_cache: bool,
    /// How long ago the upstream last vouched for it.
    pub age: Duration,
    /// How long ago the upstream's leader did: the age, and by how much the server was behind that answered.
    pub last_contact: Duration,
    /// Why it is not as fresh as it was asked for; none if it is.
    pub stale: Option<Arc<str>>,
}

impl Read {
    pub(super) fn of(reply: &Reply<Held>, clock: &Clock) -> Self {
        let age = reply.contact.age(clock.coarse());
        Self {
            answer: reply.answer.clone(),
            index: reply.index(),
            from_cache: matches!(reply.origin(), Origin::Hit | Origin::Stale(_)),
            age,
            last_contact: age.saturating_add(reply.last_contact),
            stale: reply.error().map(|error| Arc::from(error.to_string())),
        }
    }

    pub(super) fn asked(heard: Heard) -> Self {
        Self {
            answer: Arc::new(heard.answer),
            index: heard.index,
            from_cache: false,
            age: Duration::ZERO,
            last_contact: heard.last_contact,
            stale: None,
        }
    }
}

/// Why a read got no answer from a copy or from the upstream.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The upstream says no, such as for a token that may not read this, or a filter that is none: its answer
    /// is handed on as it is.
    #[error("the Consul agent refuses it with {}", .0.status)]
    Refused(Box<Answer>),
    /// The upstream fails, says so itself, and there is no copy within the bounds of the read: its words, such as
    /// `No cluster leader`, are handed on as they are. Try again.
    #[error("the Consul agent fails with {}", .0.status)]
    Failed(Box<Answer>),
    /// No agent answers, and there is no copy within the bounds of the read. Try again.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// There are too many reads at a time, or keys. Try again after a pause.
    #[error("{0}")]
    Overloaded(Arc<str>),
    /// The cache was closed.
    #[error("this server is shutting down")]
    Closed,
}

/// The upstream's own answer, where an error is one that stands.
pub(super) fn verdict(
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<Unanswered> {
    match error.downcast_ref::<Error<Fault>>()? {
        Error::Source(fault) => {
            fault.verdict().map(|answer| Unanswered::Refused(Box::new(answer.clone())))
        }
        _ => None,
    }
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::from(&fault)
    }
}

impl From<&Fault> for Unanswered {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Closed => Self::Closed,
            Fault::Refused { answer, .. } if fault.verdict().is_some() => {
                Self::Refused(answer.clone())
            }
            Fault::Refused { answer, .. } => Self::Failed(answer.clone()),
            Fault::Busy { .. } => Self::Overloaded(Arc::from(fault.to_string())),
            fault => Self::Unavailable(Arc::from(fault.to_string())),
        }
    }
}

impl From<&Error<Fault>> for Unanswered {
    fn from(error: &Error<Fault>) -> Self {
        match error {
            Error::Source(fault) => Self::from(&**fault),
            Error::Closed => Self::Closed,
            Error::Overloaded(_) => Self::Overloaded(Arc::from(error.to_string())),
            error => Self::Unavailable(Arc::from(error.to_string())),
        }
    }
}
