//! What can be set about a cache, and every default.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Clock;

/// What can be set about a cache.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much the cache holds at most, in the units of [`Source::weigh`](crate::Source::weigh):
    /// values, unless the source weighs them. The capacity is divided among
    /// [`shards`](Self::shards); a value heavier than a shard is handed to its caller and never
    /// stored. At least 1. Defaults to 10,000.
    pub capacity: u64,
    /// How many values are expected, which sizes the store's tables. At least 1; defaults to 10,000.
    pub expected_entries: usize,
    /// Among how many parts, each with its own lock, the capacity is divided; rounded up to a power of
    /// two, and down while a part would expect fewer than 32 values. 1 to 1,024; defaults to 8. Use 1
    /// for few and heavy values.
    pub shards: usize,
    /// How many keys of evicted values are remembered, so that one that comes back stays longer, as
    /// a share of `expected_entries`. 0.0 to 1.0; defaults to 0.5. Use 1.0 for values beyond some 200
    /// bytes: it costs about 40 bytes for each key.
    pub ghost_allocation: f64,
    /// How long a value is fresh, unless its source says less. Any length; defaults to one minute.
    pub ttl: Duration,
    /// How long after it stopped being fresh a value may stand in while the source fails. Any length,
    /// zero for "rather an error"; defaults to one hour.
    pub stale_if_error: Duration,
    /// How long the source may take. More than zero; defaults to 30 s.
    pub fetch_timeout: Duration,
    /// How long a failing source is left alone, for each key.
    pub backoff: Backoff,
    /// How many keys' absences and failures are remembered; the least recently needed is forgotten
    /// first, and its next caller asks the source at once. At least 1; defaults to 10,000.
    pub max_remembered_failures: usize,
    /// How many fetches may be under way; a call that needs one more is refused as
    /// [`Overloaded`](crate::Error::Overloaded). At least 1; defaults to 10,000.
    pub max_flights: usize,
    /// How many calls may be waiting for fetches; one more is refused as
    /// [`Overloaded`](crate::Error::Overloaded). At least 1; defaults to 100,000.
    pub max_waiters: usize,
    /// Where time comes from. Whoever gives a clock sees to its [`Ticker`](crate::Ticker). Defaults to
    /// none: a clock of the cache's own, which ticks until it is closed.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            expected_entries: 10_000,
            shards: 8,
            ghost_allocation: 0.5,
            ttl: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(3_600),
            fetch_timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
            max_remembered_failures: 10_000,
            max_flights: 10_000,
            max_waiters: 100_000,
            clock: None,
        }
    }
}

/// An option that is out of its range. The cache was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the option {option} must be {range}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// What it must be.
    pub range: &'static str,
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), InvalidOption> {
        let Backoff { first, cap, .. } = self.backoff;
        let at_least_one = "at least 1";
        let rules = [
            (self.capacity >= 1, "capacity", at_least_one),
            (self.expected_entries >= 1, "expected_entries", at_least_one),
            ((1..=1_024).contains(&self.shards), "shards", "1 to 1024"),
            ((0.0..=1.0).contains(&self.ghost_allocation), "ghost_allocation", "0.0 to 1.0"),
            (!self.fetch_timeout.is_zero(), "fetch_timeout", "more than zero"),
            (!first.is_zero(), "backoff.first", "more than zero"),
            (cap >= first, "backoff.cap", "at least backoff.first"),
            (self.max_remembered_failures >= 1, "max_remembered_failures", at_least_one),
            (self.max_flights >= 1, "max_flights", at_least_one),
            (self.max_waiters >= 1, "max_waiters", at_least_one),
        ];
        let broken = rules.into_iter().find(|(holds, ..)| !holds);
        broken.map_or(Ok(()), |(_, option, range)| Err(InvalidOption { option, range }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn every_option_out_of_its_range_is_named() {
        let base = Options::default;
        let backoff = |first, cap| Backoff { first, cap, ..Backoff::default() };
        let ms = Duration::from_millis;
        for (option, options) in [
            ("capacity", Options { capacity: 0, ..base() }),
            ("expected_entries", Options { expected_entries: 0, ..base() }),
            ("shards", Options { shards: 0, ..base() }),
            ("shards", Options { shards: 1_025, ..base() }),
            ("ghost_allocation", Options { ghost_allocation: 1.1, ..base() }),
            ("ghost_allocation", Options { ghost_allocation: f64::NAN, ..base() }),
            ("fetch_timeout", Options { fetch_timeout: Duration::ZERO, ..base() }),
            ("backoff.first", Options { backoff: backoff(ms(0), ms(1)), ..base() }),
            ("backoff.cap", Options { backoff: backoff(ms(2), ms(1)), ..base() }),
            ("max_remembered_failures", Options { max_remembered_failures: 0, ..base() }),
            ("max_flights", Options { max_flights: 0, ..base() }),
            ("max_waiters", Options { max_waiters: 0, ..base() }),
        ] {
            assert_eq!(options.validate().map_err(|error| error.option), Err(option));
        }
    }
}
