//! What came of all the calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// Counts outcomes by name.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// One more.
    pub fn count(&self, outcome: &'static str) {
        *self.counts().entry(outcome).or_default() += 1;
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().expect("counting does not panic")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        writeln!(f, "calls: {}", counts.values().sum::<u64>())?;
        counts.iter().try_for_each(|(outcome, count)| writeln!(f, "  {outcome}: {count}"))
    }
}
