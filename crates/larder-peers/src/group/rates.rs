//! How often keys are asked for, about: in fixed memory, however many keys there are.
//!
//! A count-min sketch for each of two half minutes, this one and the one before. A key has one counter in each
//! of four rows, and the least of them counts: others may have added to it, and nobody takes from it. So a rate
//! is never too low, but for what two threads do at the same moment, and hardly too high.
//!
//! Pure: `now` is an argument, and keys are hashes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use larder_cache::Time;

/// How long a sketch is counted into.
const HALF_MINUTE: u64 = 30_000;
/// A rate is over this time at least, or else the first request of all would make a high one.
const LEAST: Duration = Duration::from_secs(10);
const ROWS: u64 = 4;
const COLUMNS: u64 = 4_096;

/// The rates of all keys: 128 KiB.
#[derive(Debug)]
pub(super) struct Rates {
    began: Time,
    /// The half minute that is counted into, in the sketch of its parity.
    current: AtomicU64,
    sketches: [Sketch; 2],
}

#[derive(Debug)]
struct Sketch(Box<[AtomicU32]>);

impl Rates {
    pub(super) fn new(now: Time) -> Self {
        let sketch = || Sketch((0..ROWS * COLUMNS).map(|_| AtomicU32::new(0)).collect());
        let current = AtomicU64::new(now.as_millis() / HALF_MINUTE);
        Self { began: now, current, sketches: [sketch(), sketch()] }
    }

    /// Counts a request.
    pub(super) fn note(&self, hash: u64, now: Time) {
        let current = self.turn(now);
        self.sketches[usize::from(current % 2 == 1)].add(hash);
    }

    /// Requests a second, over between half a minute and a whole one.
    pub(super) fn per_second(&self, hash: u64, now: Time) -> f64 {
        let current = self.turn(now);
        let counted: u32 = self.sketches.iter().map(|sketch| sketch.count(hash)).sum();
        let first = Time::from_millis(current.saturating_sub(1) * HALF_MINUTE).max(self.began);
        f64::from(counted) / now.since(first).max(LEAST).as_secs_f64()
    }

    /// Begins the half minute of `now`, if it has not begun; says which one that is.
    fn turn(&self, now: Time) -> u64 {
        let (now, before) = (now.as_millis() / HALF_MINUTE, self.current.load(Ordering::Relaxed));
        if now <= before {
            return before;
        }
        // Whoever else counts while the sketch is emptied may lose it, or find some of what was there.
        let swapped =
            self.current.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            self.sketches[usize::from(now % 2 == 1)].clear();
            if now > before + 1 {
                self.sketches[usize::from(now % 2 == 0)].clear();
            }
        }
        now
    }
}

impl Sketch {
    fn cells(&self, hash: u64) -> impl Iterator<Item = &AtomicU32> {
        // Another column in each row, from two halves of one hash.
        let step = (hash >> 32) | 1;
        (0..ROWS).filter_map(move |row| {
            let column = hash.wrapping_add(row.wrapping_mul(step)) % COLUMNS;
            self.0.get(usize::try_from(row * COLUMNS + column).ok()?)
        })
    }

    fn count(&self, hash: u64) -> u32 {
        self.cells(hash).map(|cell| cell.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Adds to those alone that say the least: what others have added to the rest is enough.
    fn add(&self, hash: u64) {
        let least = self.count(hash);
        for cell in self.cells(hash).filter(|cell| cell.load(Ordering::Relaxed) == least) {
            cell.store(least.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        self.0.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1_000)
    }

    fn about(rate: f64, expected: f64) -> bool {
        (rate - expected).abs() < 1e-9
    }

    #[test]
    fn a_rate_is_over_the_last_half_minute_and_what_has_passed_of_this_one() {
        let rates = Rates::new(at(0));
        rates.note(7, at(0));
        assert!(about(rates.per_second(7, at(0)), 0.1), "as if ten seconds had passed");
        (1..60).for_each(|second| rates.note(7, at(second)));
        assert!(about(rates.per_second(7, at(59)), 60.0 / 59.0));
        assert!(about(rates.per_second(7, at(60)), 0.5 * 2.0), "30 in the 30 s before");
        assert!(about(rates.per_second(7, at(75)), 30.0 / 45.0));
        assert!(about(rates.per_second(7, at(90)), 0.0), "all forgotten");
        assert!(about(rates.per_second(8, at(90)), 0.0));
    }

    #[test]
    fn what_was_long_ago_is_forgotten_whatever_came_between() {
        let rates = Rates::new(at(0));
        rates.note(7, at(29));
        assert!(about(rates.per_second(7, at(95)), 0.0));
        rates.note(7, at(95));
        assert!(about(rates.per_second(7, at(96)), 1.0 / 36.0));
    }

    #[test]
    fn a_hundred_thousand_rare_keys_make_none_of_them_look_frequent() {
        let (rates, hasher) = (Rates::new(at(0)), RandomState::new());
        (0..100_000).for_each(|key: u32| rates.note(hasher.hash_one(key), at(1)));
        (0..1_000).for_each(|_| rates.note(hasher.hash_one("hot"), at(2)));
        let highest = (0..100_000_u32)
            .map(|key| rates.per_second(hasher.hash_one(key), at(30)))
            .fold(0.0, f64::max);
        assert!(highest < 2.0, "{highest}, of one in 30 s");
        assert!(rates.per_second(hasher.hash_one("hot"), at(30)) >= 1_000.0 / 30.0);
    }

    proptest! {
        /// Beside exact counts.
        #[test]
        fn a_rate_is_never_too_low(
            notes in prop::collection::vec((0_u64..50, 0_u64..20), 1..400),
        ) {
            let (rates, hasher) = (Rates::new(at(0)), RandomState::new());
            let (mut now, mut exact) = (0, HashMap::<u64, Vec<u64>>::new());
            for (key, pause) in notes {
                now += pause * 100;
                rates.note(hasher.hash_one(key), Time::from_millis(now));
                exact.entry(key).or_default().push(now);
            }
            let from = (now / HALF_MINUTE).saturating_sub(1) * HALF_MINUTE;
            for (key, times) in exact {
                let count = u32::try_from(times.iter().filter(|time| **time >= from).count()).unwrap();
                let over = Duration::from_millis(now - from).max(LEAST).as_secs_f64();
                let rate = rates.per_second(hasher.hash_one(key), Time::from_millis(now));
                prop_assert!(rate + 1e-9 >= f64::from(count) / over, "{} {}", rate, count);
            }
        }
    }
}
