//! Whether lists may be read: not while this server does not know yet what there is.
//!
//! Pure: the time is an argument. A client that is refused keeps what it has read from another server; one
//! that is shown an empty registry forgets it.

use std::sync::atomic::{AtomicBool, Ordering};

use larder_cache::Time;

/// Shut from the start until the peers' registry was copied, or until it was waited for that for long
/// enough. Registrations, heartbeats and single instances pass a shut gate.
#[derive(Debug)]
pub struct Gate {
    opens_at: Time,
    is_filled: AtomicBool,
}

impl Gate {
    /// Shut until `opens_at`, unless a copy comes earlier; [`Time::ZERO`] for a gate that is never shut.
    pub fn until(opens_at: Time) -> Self {
        Self { opens_at, is_filled: AtomicBool::new(false) }
    }

    /// Opens it: this server knows what there is.
    pub fn open(&self) {
        self.is_filled.store(true, Ordering::Release);
    }

    /// Whether lists may be read at `now`.
    pub fn is_open(&self, now: Time) -> bool {
        now >= self.opens_at || self.is_filled.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_the_copy_or_when_it_was_waited_for_long_enough() {
        let gate = Gate::until(Time::from_millis(10));
        assert!(!gate.is_open(Time::from_millis(9)));
        assert!(gate.is_open(Time::from_millis(10)));
        gate.open();
        assert!(gate.is_open(Time::ZERO));
        assert!(Gate::until(Time::ZERO).is_open(Time::ZERO), "no gate at all");
    }
}
