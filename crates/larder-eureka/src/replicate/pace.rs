//! How soon, and with how much, a peer that failed is asked again.
//!
//! Pure: the time and the random bits are arguments. A peer that is busy is left alone for longer than one
//! that cannot be reached; one that refuses a batch as a whole is sent smaller ones, until what it refuses
//! stands alone and is dropped.

use std::time::Duration;

use larder_cache::{Backoff, Time};

/// Why a batch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It answered that it is busy, or not in time: it may have done all of it. Asking again soon would
    /// make it worse.
    Busy,
    /// It could not be reached.
    Lost,
    /// It refuses the batch, because of one item in it or because it is too large.
    Unwanted,
    /// It answers what no peer does.
    Odd,
}

/// What to do with a batch that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Put it back, and send it again later.
    Again,
    /// Forget it: no repetition would help.
    Drop,
}

/// The waits after failures in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// After [`Trouble::Busy`] and [`Trouble::Odd`].
    pub(crate) busy: Backoff,
    /// After [`Trouble::Lost`], and an item that nobody wants.
    pub(crate) lost: Backoff,
}

/// How a peer is asked.
#[derive(Debug)]
pub(crate) struct Pace {
    waits: Waits,
    failures: u32,
    not_before: Time,
    /// How many tasks a batch may have now.
    batch: usize,
    most: usize,
}

impl Pace {
    /// A peer that has not failed, with batches of up to `most`.
    pub(crate) fn new(waits: Waits, most: usize) -> Self {
        Self { waits, failures: 0, not_before: Time::ZERO, batch: most, most }
    }

    /// The moment before which the peer is not asked.
    pub(crate) fn not_before(&self) -> Time {
        self.not_before
    }

    /// How many tasks the next batch may have.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// How many times in a row it failed.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// It took a batch.
    pub(crate) fn took(&mut self) {
        self.failures = 0;
        self.batch = self.batch.saturating_mul(2).min(self.most);
    }

    /// It did not take a batch of `len` tasks.
    pub(crate) fn failed(&mut self, trouble: Trouble, len: usize, now: Time, random: u32) -> Next {
        if trouble == Trouble::Unwanted && len > 1 {
            // At once: of 250 tasks the one that it does not want is found in eight steps.
            self.batch = len.div_ceil(2);
            return Next::Again;
        }
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(self.wait(trouble, random));
        match trouble {
            Trouble::Busy | Trouble::Lost => Next::Again,
            Trouble::Unwanted | Trouble::Odd => Next::Drop,
        }
    }

    fn wait(&self, trouble: Trouble, random: u32) -> Duration {
        let backoff = match trouble {
            Trouble::Busy | Trouble::Odd => self.waits.busy,
            Trouble::Lost | Trouble::Unwanted => self.waits.lost,
        };
        backoff.wait(self.failures, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let backoff = |millis| Backoff {
            free_failures: 0,
            base: Duration::from_millis(millis),
            cap: Duration::from_secs(30),
        };
        Pace::new(Waits { busy: backoff(1_000), lost: backoff(100) }, 250)
    }

    fn waits(trouble: Trouble, times: usize) -> Vec<u64> {
        let mut pace = pace();
        let mut wait = || {
            assert_eq!(pace.failed(trouble, 9, Time::ZERO, 0), Next::Again);
            pace.not_before().as_millis()
        };
        (0..times).map(|_| wait()).collect()
    }

    #[test]
    fn congestion_waits_from_a_second_and_a_lost_way_from_a_tenth_both_doubling_up_to_the_cap() {
        let busy = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        assert_eq!(waits(Trouble::Busy, 7), busy);
        assert_eq!(waits(Trouble::Lost, 10)[..4], [100, 200, 400, 800]);
        assert_eq!(waits(Trouble::Lost, 10)[8..], [25_600, 30_000]);
    }

    #[test]
    fn jitter_spreads_those_who_failed_together() {
        let mut pace = pace();
        pace.failed(Trouble::Busy, 1, Time::ZERO, u32::MAX);
        assert_eq!(pace.not_before().as_millis(), 750);
    }

    #[test]
    fn a_success_ends_the_row() {
        let mut pace = pace();
        pace.failed(Trouble::Busy, 1, Time::ZERO, 0);
        pace.failed(Trouble::Busy, 1, Time::ZERO, 0);
        pace.took();
        pace.failed(Trouble::Lost, 1, Time::from_millis(5_000), 0);
        assert_eq!((pace.not_before().as_millis(), pace.failures()), (5_100, 1));
    }

    #[test]
    fn what_is_not_wanted_is_found_by_halves_and_dropped_alone() {
        let mut pace = pace();
        let mut len = 250;
        let mut steps = 0;
        while pace.failed(Trouble::Unwanted, len, Time::ZERO, 0) == Next::Again {
            assert_eq!(pace.not_before(), Time::ZERO);
            len = pace.batch();
            steps += 1;
        }
        assert_eq!((len, steps), (1, 8));
        assert_eq!(
            pace.not_before().as_millis(),
            100,
            "who wants nothing is left alone for longer"
        );
        for batch in [2, 4, 8] {
            pace.took();
            assert_eq!(pace.batch(), batch);
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_drops_the_batch() {
        let mut pace = pace();
        assert_eq!(pace.failed(Trouble::Odd, 250, Time::ZERO, 0), Next::Drop);
        assert_eq!((pace.not_before().as_millis(), pace.batch()), (1_000, 250));
    }
}
