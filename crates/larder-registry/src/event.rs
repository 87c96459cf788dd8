//! What a watch says: the state at the start, then every change.

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
/// the source made them in one step, such as an etcd transaction.
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
