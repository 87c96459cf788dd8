//! Which sets of regions may have answers in the cache, so that a change finds all of them.
//!
//! There may be 65,536 sets, far too many to be forgotten one by one with every change; those that were asked
//! for since the last change are few. A reader *enters* its set before it looks into the cache, and stays until
//! it has its answer; a change *takes out* the sets that it concerns and forgets their answers, in one step
//! under the lock. Else: one change takes a set out and is held up; a second one, of another region, finds no
//! set, and its writer is answered; a reader enters, and finds the answer that the first has not forgotten yet.
//!
//! A set that somebody reads is never taken out, though its answers are forgotten with the others. Else: a
//! reader enters; a change takes its set out; the reader misses, and stores an answer under a set that no later
//! change knows of. A reader that goes away leaves its set behind; the flight that it began may land after
//! that, and the next change finds the set, or has outdated the flight.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::regions::RegionSet;

/// How many sets may be known beside those that are read at this moment. One more, and the answers of one of
/// them are forgotten: they are encoded anew when they are asked for again.
const MAX_IDLE: usize = 128;

/// The sets that were asked for, each with how many read it now.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<HashMap<RegionSet, usize>>);

/// Somebody reads a set.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    asked: &'a Asked,
    set: RegionSet,
}

impl Asked {
    /// Somebody begins to read a set. Where another set has to make room for it, its answers are forgotten.
    pub(super) fn enter(&self, set: RegionSet, forget: impl FnOnce(RegionSet)) -> Reading<'_> {
        let mut sets = self.lock();
        let is_crowded = sets.len() >= MAX_IDLE && !sets.contains_key(&set);
        let idle = || sets.iter().find(|(_, readers)| **readers == 0).map(|(idle, _)| *idle);
        let displaced = if is_crowded { idle() } else { None };
        if let Some(displaced) = displaced {
            sets.remove(&displaced);
            forget(displaced);
        }
        *sets.entry(set).or_default() += 1;
        Reading { asked: self, set }
    }

    /// Forgets the answers of the sets that `concerns` picks; those that nobody reads are known no more.
    pub(super) fn take_out(
        &self,
        concerns: impl Fn(RegionSet) -> bool,
        mut forget: impl FnMut(RegionSet),
    ) {
        self.lock().retain(|set, readers| {
            let is_concerned = concerns(*set);
            if is_concerned {
                forget(*set);
            }
            !is_concerned || *readers > 0
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RegionSet, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(readers) = self.asked.lock().get_mut(&self.set) {
            *readers = readers.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u16) -> RegionSet {
        let places = (0..16).filter(|place| number & (1 << place) != 0);
        places.fold(RegionSet::LOCAL, RegionSet::with)
    }

    fn nothing(set: RegionSet) {
        panic!("{set:?} has to make room");
    }

    fn taken_out(asked: &Asked, concerns: impl Fn(RegionSet) -> bool) -> Vec<RegionSet> {
        let mut found = Vec::new();
        asked.take_out(concerns, |set| found.push(set));
        found.sort_by_key(|set| set.places().count());
        found
    }

    #[test]
    fn a_change_finds_every_set_that_it_concerns_once() {
        let asked = Asked::default();
        for number in [1, 2, 3] {
            drop(asked.enter(set(number), nothing));
        }
        assert_eq!(taken_out(&asked, |set| set.has(0)), [set(1), set(3)]);
        assert_eq!(taken_out(&asked, |set| set.has(0)), []);
        assert_eq!(taken_out(&asked, |_| true), [set(2)]);
    }

    #[test]
    fn a_set_that_somebody_reads_is_found_again_and_again() {
        let asked = Asked::default();
        let readings = [asked.enter(set(1), nothing), asked.enter(set(1), nothing)];
        for _ in 0..2 {
            assert_eq!(taken_out(&asked, |_| true), [set(1)]);
        }
        drop(readings);
        assert_eq!(taken_out(&asked, |_| true), [set(1)]);
        assert_eq!(taken_out(&asked, |_| true), []);
    }

    #[test]
    fn beyond_the_bound_one_that_nobody_reads_makes_room() {
        let asked = Asked::default();
        let readings: Vec<_> = (1..=3).map(|number| asked.enter(set(number), nothing)).collect();
        let mut displaced = 0;
        for number in 4..60_000 {
            drop(asked.enter(set(number), |_| displaced += 1));
        }
        assert_eq!(displaced, 60_000 - 1 - MAX_IDLE);
        assert_eq!(asked.lock().len(), MAX_IDLE);
        assert!((1..=3).all(|number| asked.lock().contains_key(&set(number))));
        drop(readings);
    }
}
