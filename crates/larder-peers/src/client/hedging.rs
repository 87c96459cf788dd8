//! When to ask a second time because a peer is slow, and how often that may be.
//!
//! Pure.

use std::time::Duration;

/// When a peer that has not answered a get is asked once more, over another connection.
///
/// The first answer counts. Of a hundred requests to a peer five may be hedged, and ten at once after a quiet
/// time, so that a peer that is slow because it has too much to do does not get twice as much. Only single gets
/// are hedged; sets, removals, requests for many keys and renewals are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hedge {
    /// Never, as Go's.
    #[default]
    Off,
    /// After this long.
    After(Duration),
    /// After as long as 95 of a hundred of that peer's answers have taken lately, and this at least; not before
    /// it has given fifty.
    Slowest {
        /// Range: any; less than a millisecond is hardly of use.
        at_least: Duration,
    },
}

/// What a hedge costs, in the parts that a request brings in: so one of twenty requests may be hedged.
const PRICE: u32 = 20;
/// What may be saved.
const MOST: u32 = 10 * PRICE;
/// A percentile of fewer answers says nothing.
const FEWEST: u32 = 50;
/// From then on, what was before counts half.
const MANY: u32 = 1_000;
/// Four for each doubling, from a microsecond on: the last one begins at more than an hour.
const BUCKETS: usize = 128;

/// What is known of one peer.
#[derive(Debug)]
pub(crate) struct Hedging {
    saved: u32,
    answers: u32,
    buckets: [u32; BUCKETS],
}

impl Default for Hedging {
    fn default() -> Self {
        Self { saved: MOST, answers: 0, buckets: [0; BUCKETS] }
    }
}

impl Hedging {
    /// A get is sent to the peer; says after how long it may be hedged, if at all.
    pub(crate) fn ask(&mut self, hedge: Hedge) -> Option<Duration> {
        self.saved = (self.saved + 1).min(MOST);
        match hedge {
            Hedge::Off => None,
            Hedge::After(delay) => Some(delay),
            Hedge::Slowest { at_least } => self.slowest().map(|slowest| slowest.max(at_least)),
        }
    }

    /// A get is to be hedged; says whether it may be.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.saved.checked_sub(PRICE);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }

    /// The peer has answered, or was not waited for any longer.
    pub(crate) fn answered(&mut self, took: Duration) {
        if self.answers >= MANY {
            self.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
            self.answers = self.buckets.iter().sum();
        }
        self.answers += 1;
        self.buckets[bucket(took)] += 1;
    }

    /// What 95 of a hundred did not exceed; up to a fifth more.
    fn slowest(&self) -> Option<Duration> {
        let rank = self.answers - self.answers / 20;
        let mut seen = 0;
        let place = self.buckets.iter().position(|held| {
            seen += held;
            seen >= rank
        });
        place.filter(|_| self.answers >= FEWEST).map(end)
    }
}

/// Which bucket a time is in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is small, and not negative"
)]
fn bucket(took: Duration) -> usize {
    let micros = took.as_secs_f64() * 1e6;
    ((micros.max(1.0).log2() * 4.0) as usize).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn end(place: usize) -> Duration {
    let quarters = u32::try_from(place + 1).unwrap_or(u32::MAX);
    Duration::from_secs_f64((f64::from(quarters) / 4.0).exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn five_of_a_hundred_may_be_hedged_and_ten_at_once_after_a_quiet_time() {
        let mut hedging = Hedging::default();
        let mut hedge = |asks: u32| {
            let hedged = (0..asks).filter(|_| {
                hedging.ask(Hedge::After(ms(1)));
                hedging.take()
            });
            hedged.count()
        };
        assert_eq!(hedge(10), 10);
        assert!((49..=51).contains(&hedge(1_000)));
    }

    #[test]
    fn a_delay_follows_the_peers_own_answers() {
        let mut hedging = Hedging::default();
        let slowest = Hedge::Slowest { at_least: ms(2) };
        assert_eq!(hedging.ask(Hedge::Off), None);
        assert_eq!(hedging.ask(Hedge::After(ms(7))), Some(ms(7)));
        (0..49).for_each(|_| hedging.answered(ms(10)));
        assert_eq!(hedging.ask(slowest), None, "too few");
        hedging.answered(ms(10));
        let near = |hedging: &mut Hedging, millis: u64| {
            let delay = hedging.ask(slowest).unwrap();
            assert!((ms(millis)..ms(millis) * 6 / 5).contains(&delay), "{delay:?}");
        };
        near(&mut hedging, 10);
        // Two of a hundred are slower: that says nothing of the rest.
        (0..1_000).for_each(|n| hedging.answered(if n % 50 == 0 { ms(60) } else { ms(10) }));
        near(&mut hedging, 10);
        // It has become slower altogether.
        (0..5_000).for_each(|_| hedging.answered(ms(40)));
        near(&mut hedging, 40);
        (0..50_000).for_each(|_| hedging.answered(Duration::from_micros(1)));
        assert_eq!(hedging.ask(slowest), Some(ms(2)), "and no less than was said");
        hedging.answered(Duration::MAX);
    }

    proptest! {
        #[test]
        fn a_time_is_in_a_bucket_that_ends_after_it_and_not_long_after(micros in 1_u64..1_000_000_000) {
            let took = Duration::from_micros(micros);
            let end = end(bucket(took));
            prop_assert!(end + Duration::from_nanos(10) >= took && end <= took.mul_f64(1.2), "{:?}", end);
        }
    }
}
