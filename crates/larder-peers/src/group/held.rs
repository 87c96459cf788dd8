//! What a group's caches hold.

use crate::wire::expiry::Expiry;

/// A value, and until when it may be handed out: as its owner said it, so that a peer is told the very same.
#[derive(Debug, Clone)]
pub(crate) struct Held<V> {
    pub(crate) value: V,
    pub(crate) expiry: Expiry,
}
