//! When an upstream last vouched for a copy: what its true age follows from.
//!
//! The engine takes a copy for current while a query about it waits at the upstream; but with fewer connections
//! than keys, the query may itself be waiting for its [turn](super::turns), and nobody vouches for anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_cache::Time;

/// Instead of a moment: a query waits at the upstream, which would tell of a change.
const NOW: u64 = u64::MAX;

/// When an upstream last vouched for a copy.
#[derive(Debug)]
pub(crate) struct Contact(AtomicU64);

impl Contact {
    /// At `time`.
    pub(crate) fn at(time: Time) -> Self {
        Self(AtomicU64::new(time.as_millis()))
    }

    /// It vouched at `time`, and does not any more.
    pub(crate) fn heard(&self, time: Time) {
        self.0.store(time.as_millis(), Ordering::Relaxed);
    }

    /// It vouches for the copy from now on.
    pub(crate) fn connect(&self) {
        self.0.store(NOW, Ordering::Relaxed);
    }

    /// Whether it vouches now.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOW
    }

    /// How long ago it last did.
    pub(crate) fn age(&self, now: Time) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            NOW => Duration::ZERO,
            millis => now.since(Time::from_millis(millis)),
        }
    }
}

/// A query that waits at the upstream. However it ends, nobody vouches after that.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    contact: &'a Contact,
    clock: &'a larder_cache::Clock,
}

impl<'a> Waiting<'a> {
    /// For the copy of this contact.
    pub(super) fn new(contact: &'a Contact, clock: &'a larder_cache::Clock) -> Self {
        Self { contact, clock }
    }

    /// The upstream has taken the query, and has nothing new to tell.
    pub(super) fn connect(&self) {
        self.contact.connect();
    }

    /// The upstream did not answer in time: since when it would not have told of a change, nobody knows.
    pub(super) fn silent_since(&self, time: Time) {
        if self.contact.is_connected() {
            self.contact.heard(time);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.contact.is_connected() {
            self.contact.heard(self.clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_cache::Clock;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_copy_has_no_age_while_a_query_waits_and_grows_old_from_its_end() {
        let (clock, hands) = Clock::by_hand(0);
        let contact = Contact::at(clock.now());
        hands.advance(secs(3));
        assert_eq!(contact.age(clock.now()), secs(3));
        let waiting = Waiting::new(&contact, &clock);
        assert_eq!(contact.age(clock.now()), secs(3), "it has not been taken yet");
        waiting.connect();
        hands.advance(secs(50));
        assert_eq!(contact.age(clock.now()), secs(0));
        drop(waiting);
        hands.advance(secs(2));
        assert_eq!(contact.age(clock.now()), secs(2));
    }

    #[test]
    fn a_query_that_was_never_answered_vouches_for_nothing() {
        let (clock, hands) = Clock::by_hand(0);
        let contact = Contact::at(clock.now());
        let waiting = Waiting::new(&contact, &clock);
        waiting.connect();
        let began = clock.now();
        hands.advance(secs(70));
        waiting.silent_since(began);
        drop(waiting);
        assert_eq!(contact.age(clock.now()), secs(70));
    }

    #[test]
    fn a_query_that_was_cut_before_it_was_taken_changes_nothing() {
        let (clock, hands) = Clock::by_hand(0);
        let contact = Contact::at(clock.now());
        hands.advance(secs(5));
        drop(Waiting::new(&contact, &clock));
        assert_eq!(contact.age(clock.now()), secs(5));
    }
}
