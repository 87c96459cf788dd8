//! What the driver of batches keeps to.

use std::sync::Arc;
use std::time::Duration;

use crate::keep::batch::desk::Throughput;
use crate::pace::Rate;
use crate::source::{Blame, Source};

/// How a user's function divides due keys into batches.
pub(crate) type Divide<S> = Arc<
    dyn Fn(&[(&<S as Source>::Key, &<S as Source>::Value)]) -> Vec<Vec<<S as Source>::Key>>
        + Send
        + Sync,
>;

/// What the driver keeps to.
pub(crate) struct Plan<S: Source> {
    pub(crate) every: Duration,
    /// The most keys in a batch, unless they are divided otherwise.
    pub(crate) size: usize,
    pub(crate) divide: Option<Divide<S>>,
    /// The most batches in flight.
    pub(crate) parallel: usize,
    /// How often a batch may begin.
    pub(crate) rate: Option<Rate>,
    pub(crate) first: First,
    /// Whom a batch that takes too long speaks against.
    pub(crate) silence: Blame,
    /// Somebody wants to know which values become terminal, and to be warned when the plan cannot keep up.
    pub(crate) tracks: bool,
}

/// When a new key is fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) enum First {
    /// After a period.
    Later,
    /// At once, as often as this limit says.
    AtOnce(Option<Rate>),
}

impl<S: Source> Plan<S> {
    pub(crate) fn throughput(&self) -> Throughput {
        let size = self.divide.is_none().then_some(self.size);
        Throughput { every: self.every, size, parallel: self.parallel, rate: self.rate }
    }
}

impl First {
    pub(crate) fn is_at_once(self) -> bool {
        matches!(self, Self::AtOnce(_))
    }

    pub(crate) fn rate(self) -> Option<Rate> {
        match self {
            Self::Later => None,
            Self::AtOnce(rate) => rate,
        }
    }
}
