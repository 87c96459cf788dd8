//! What a group's caches hold.

use crate::wire::expiry::Expiry;

/// A value, and until when it may be handed out: as its owner said it, so that a peer is told the very same.
#[derive(Debug, Clone)]
pub(crate) struct Held<V> {
    pub(crate) value: V,
    /// The expiry, negative if the value was set: a field of its own would take eight bytes of every entry.
    /// Nothing is held whose own expiry is negative, because that is long past.
    nanos: i64,
}

/// Never, for a value that was set: zero has no sign.
const NEVER_SET: i64 = i64::MIN;

impl<V> Held<V> {
    /// What the source brought, or a copy of it.
    pub(crate) fn loaded(value: V, expiry: Expiry) -> Self {
        // What is long past has expired at the first nanosecond of 1970, too.
        let nanos = match expiry.nanos() {
            0 => 0,
            nanos => nanos.max(1),
        };
        Self { value, nanos }
    }

    /// What somebody gave the key.
    pub(crate) fn set(value: V, expiry: Expiry) -> Self {
        let nanos = match expiry.nanos() {
            0 => NEVER_SET,
            nanos => -nanos.max(1),
        };
        Self { value, nanos }
    }

    pub(crate) fn expiry(&self) -> Expiry {
        Expiry::from_nanos(match self.nanos {
            NEVER_SET => 0,
            nanos => nanos.abs(),
        })
    }

    /// Whether it holds until it expires, whatever the source says.
    pub(crate) fn was_set(&self) -> bool {
        self.nanos < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_comes_out_as_it_went_in_beside_whether_the_value_was_set() {
        for nanos in [0, 1, 1_700_000_000_123_456_789, i64::MAX] {
            let expiry = Expiry::from_nanos(nanos);
            let (loaded, set) = (Held::loaded((), expiry), Held::set((), expiry));
            assert_eq!((loaded.expiry(), set.expiry()), (expiry, expiry));
            assert!(!loaded.was_set() && set.was_set(), "{nanos}");
        }
    }

    #[test]
    fn what_is_long_past_stays_past() {
        for nanos in [-1, i64::MIN] {
            let expiry = Expiry::from_nanos(nanos);
            let (loaded, set) = (Held::loaded((), expiry), Held::set((), expiry));
            assert!(loaded.expiry().is_past(1) && set.was_set() && set.expiry().is_past(1));
        }
    }
}
