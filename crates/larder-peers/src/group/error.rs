//! What can go wrong with a group, a get, a set or a removal.

use larder_cache::{Crowd, OutOfRange, Reply};

use crate::client::CallError;
use crate::group::sources::RemoteError;
use crate::ring::Mode;

/// Why there is no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The pool has a group of that name.
    #[error("there is a group {0:?} already")]
    Taken(String),
    /// It could not be told from a key in a path.
    #[error("{0:?} cannot name a group: it is empty, or has a slash")]
    Name(String),
    /// An option makes no sense.
    #[error(transparent)]
    Options(#[from] OutOfRange),
}

/// Why a get brought no value.
///
/// `NotFound`, `Owner` and `Load` are answers: asking again asks the loader again, if it is let. `Impatient`
/// and `Overloaded` may be tried again after a pause. `Closed` is final.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// The owner, or the source here, says that there is no such key.
    #[error("{}", .text.as_deref().unwrap_or("there is no such key"))]
    NotFound {
        /// In the owner's words, if it is another process.
        text: Option<String>,
    },
    /// The owner's loader failed, and nobody else tries. mailgun calls it `ErrRemoteCall`.
    #[error("{text}")]
    Owner {
        /// Who that is.
        peer: String,
        /// In its words.
        text: String,
    },
    /// The load here failed.
    #[error(transparent)]
    Load(larder_cache::Error<E>),
    /// The caller's own time passed. The load goes on.
    #[error("no value within the caller's {0:?}")]
    Impatient(std::time::Duration),
    /// As many requests to peers are under way, or as many callers wait for them, as
    /// [`limits`](crate::GroupOptions::limits) allow.
    #[error("too many {0} already")]
    Overloaded(Crowd),
    /// The group is closed.
    #[error("the group is closed")]
    Closed,
}

impl<E> Error<E> {
    /// What an owner that was asked says; none if its value must be loaded here.
    pub(super) fn of_owner(error: &larder_cache::Error<RemoteError>) -> Option<Self> {
        match error {
            larder_cache::Error::Source(error) => match &**error {
                RemoteError::Missing(text) => Some(Self::NotFound { text: Some(text.clone()) }),
                RemoteError::Failed { peer, text } => {
                    Some(Self::Owner { peer: peer.clone(), text: text.clone() })
                }
                RemoteError::Useless(_) | RemoteError::Own => None,
            },
            larder_cache::Error::Absent => Some(Self::NotFound { text: None }),
            larder_cache::Error::Overloaded(crowd) => Some(Self::Overloaded(*crowd)),
            larder_cache::Error::Closed => Some(Self::Closed),
            _ => None,
        }
    }
}

/// What an owner elsewhere has said, when a copy is all that there is.
#[derive(Debug)]
pub(super) enum Told<E> {
    /// Nothing against the copy: it holds.
    Fresh,
    /// This, which is final.
    Said(Error<E>),
    /// Nothing that is of use: the value is to be loaded here.
    Nothing,
}

/// What the owner has said, as the reply of the copies' cache tells it.
pub(super) fn told<V, E>(reply: &Reply<V>) -> Told<E> {
    let Some(error) = reply.error() else { return Told::Fresh };
    let error = error.downcast_ref::<larder_cache::Error<RemoteError>>();
    error.and_then(Error::of_owner).map_or(Told::Nothing, Told::Said)
}

/// Why a set or a removal is not done, or not everywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// This mode's peers have no set and no remove: they would answer as if it were a get.
    #[error("there is no set and no remove in a {} ring", .0.name())]
    NotInThisMode(Mode),
    /// The empty key can be loaded, and not set.
    #[error("empty Set() key not allowed")]
    EmptyKey,
    /// The value does not fit into the owner's cache, or is larger than a [peer may
    /// send](crate::PoolOptions::max_value).
    #[error("the value is too large to be kept")]
    TooLarge,
    /// The owner has not said that it took the value. If the answer was lost, it may have.
    #[error("the owner {0}")]
    Owner(Missed),
    /// These have not heard of a removal yet. All others have.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Missed(Vec<Missed>),
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
}

/// A peer that could not be told something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{peer}: {error}")]
pub struct Missed {
    /// Its name in the ring.
    pub peer: String,
    /// Why.
    pub error: TellError,
}

/// Why a peer could not be told something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// It did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered with another status than 200.
    #[error("server returned: {0}, {1}")]
    Refused(u16, String),
}
