//! What a follower of a Eureka server asks for next, and when.
//!
//! Pure: the time and the random bits are arguments. A *round* is one question for a delta, or for a
//! list, or for a delta and then a list because the delta did not do.

use std::time::Duration;

use larder_cache::{Backoff, Time};

/// How long ago the last good round may have begun for a delta to tell all that happened since. Eureka
/// remembers three minutes, and may hand out an answer that it encoded half a minute ago.
const DELTA_REACH: Duration = Duration::from_secs(90);

/// The shortest time between two lists that only differing hashes ask for, and between two rounds of a
/// server that gives no deltas: what Eureka's own clients do. The first mismatch is followed by a list at
/// once; a server whose hashes go on to contradict its lists, as one under churn with a cache of its own
/// does, is not asked for everything every few seconds.
const LIST_PAUSE: Duration = Duration::from_secs(30);

/// When and what to ask.
#[derive(Debug)]
pub(crate) struct Rounds {
    poll: Duration,
    relist_after: Duration,
    backoff: Backoff,
    last: Option<Good>,
    failures: u32,
    /// Whether the hashes differed in the last round, whatever was done about it.
    is_adrift: bool,
    /// Whether the last delta was refused.
    is_without_deltas: bool,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For everything.
    List,
    /// For what changed.
    Delta,
}

#[derive(Debug, Clone, Copy)]
struct Good {
    began: Time,
    listed: Time,
    server: usize,
}

impl Rounds {
    /// Nothing was asked yet.
    pub(crate) fn new(poll: Duration, relist_after: Duration, backoff: Backoff) -> Self {
        Self {
            poll,
            relist_after,
            backoff,
            last: None,
            failures: 0,
            is_adrift: false,
            is_without_deltas: false,
        }
    }

    /// What a round begins with.
    pub(crate) fn ask(&self, now: Time) -> Ask {
        // After a failed round nobody knows what the server went through meanwhile.
        let Some(last) = self.last.filter(|_| self.failures == 0) else { return Ask::List };
        let is_old = now.since(last.began) > DELTA_REACH;
        let is_due = now.since(last.listed) >= self.relist_after;
        if is_old || is_due { Ask::List } else { Ask::Delta }
    }

    /// Whether a delta of this server continues what is known: each server has a queue of its own.
    pub(crate) fn continues(&self, server: usize) -> bool {
        self.last.is_some_and(|last| last.server == server)
    }

    /// Whether a delta whose hash differs is to be followed by a list in this round.
    pub(crate) fn lists_on_mismatch(&self, now: Time) -> bool {
        let rested = self.last.is_none_or(|last| now.since(last.listed) >= LIST_PAUSE);
        !self.is_adrift || rested
    }

    /// A round that began at `began` ended with a list of this server's. `deltas` says whether it gives
    /// any, if it was asked; `agrees` whether a delta of this round agreed.
    pub(crate) fn listed(&mut self, began: Time, server: usize, why: Why) {
        self.last = Some(Good { began, listed: began, server });
        self.failures = 0;
        match why {
            Why::Due => (),
            Why::Mismatch => self.is_adrift = true,
            Why::Refused => self.is_without_deltas = true,
        }
    }

    /// A round that began at `began` ended with a delta.
    pub(crate) fn followed(&mut self, began: Time, agrees: bool) {
        if let Some(last) = &mut self.last {
            last.began = began;
        }
        self.failures = 0;
        self.is_adrift = !agrees;
        self.is_without_deltas = false;
    }

    /// A round failed.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// How long to wait for the next round.
    pub(crate) fn pause(&self, random: u32) -> Duration {
        if self.failures > 0 {
            return self.backoff.wait(self.failures, random);
        }
        if self.is_without_deltas { self.poll.max(LIST_PAUSE) } else { self.poll }
    }
}

/// Why a round ended with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was not asked for a delta, or the delta was another server's.
    Due,
    /// The hashes differed.
    Mismatch,
    /// The server gives no deltas, or none now.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(5);

    fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    fn rounds() -> Rounds {
        let base = Duration::from_secs(1);
        let backoff = Backoff { free_failures: 0, base, cap: Duration::from_secs(30) };
        Rounds::new(POLL, Duration::from_secs(600), backoff)
    }

    fn listed(secs: u64) -> Rounds {
        let mut rounds = rounds();
        rounds.listed(at(secs), 0, Why::Due);
        rounds
    }

    #[test]
    fn the_first_round_lists_and_the_next_ask_for_deltas() {
        assert_eq!(rounds().ask(at(0)), Ask::List);
        let mut rounds = listed(0);
        for secs in [5, 10, 15] {
            assert_eq!(rounds.ask(at(secs)), Ask::Delta);
            rounds.followed(at(secs), true);
            assert_eq!(rounds.pause(0), POLL);
        }
    }

    #[test]
    fn a_failed_round_is_followed_by_a_list_after_a_wait_that_grows() {
        let mut rounds = listed(0);
        let waits = [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs);
        for wait in waits {
            rounds.failed();
            assert_eq!((rounds.pause(0), rounds.ask(at(1))), (wait, Ask::List));
        }
        rounds.listed(at(60), 0, Why::Due);
        assert_eq!((rounds.pause(0), rounds.ask(at(65))), (POLL, Ask::Delta));
    }

    #[test]
    fn a_delta_is_not_asked_for_what_it_no_longer_tells() {
        assert_eq!(listed(0).ask(at(90)), Ask::Delta);
        assert_eq!(listed(0).ask(at(91)), Ask::List);
    }

    #[test]
    fn a_list_is_due_now_and_then_whatever_the_hashes_say() {
        let mut rounds = listed(0);
        rounds.followed(at(595), true);
        assert_eq!(rounds.ask(at(599)), Ask::Delta);
        assert_eq!(rounds.ask(at(600)), Ask::List);
    }

    #[test]
    fn a_delta_of_another_server_continues_nothing() {
        let rounds = listed(0);
        assert!(rounds.continues(0) && !rounds.continues(1));
    }

    #[test]
    fn the_first_mismatch_lists_at_once_and_the_next_after_half_a_minute() {
        let mut rounds = listed(0);
        assert!(rounds.lists_on_mismatch(at(5)));
        rounds.listed(at(5), 0, Why::Mismatch);
        assert!(!rounds.lists_on_mismatch(at(10)));
        rounds.followed(at(10), false);
        assert!(!rounds.lists_on_mismatch(at(34)));
        assert!(rounds.lists_on_mismatch(at(35)));
        rounds.followed(at(36), true);
        assert!(rounds.lists_on_mismatch(at(37)), "it had agreed again");
    }

    #[test]
    fn a_server_without_deltas_is_asked_for_lists_as_often_as_its_own_clients_ask() {
        let mut rounds = listed(0);
        rounds.listed(at(5), 0, Why::Refused);
        assert_eq!(rounds.pause(0), LIST_PAUSE);
        assert_eq!(rounds.ask(at(35)), Ask::Delta, "it may have changed its mind");
        rounds.followed(at(35), true);
        assert_eq!(rounds.pause(0), POLL);
    }
}
