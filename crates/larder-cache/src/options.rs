//! Everything that can be set on a cache, and every default.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Clock;

/// How a cache behaves for all its callers. Change the fields of [`Options::default`].
#[derive(Debug, Clone)]
pub struct Options {
    /// The greatest total weight, in the unit of [`Source::weigh`](crate::Source::weigh): entries
    /// unless the source says otherwise. The least valuable entries are evicted beyond it.
    ///
    /// The store is sharded, and so is its capacity: a value heavier than 97 % of a shard's part is
    /// handed to its caller but not kept (see [`Stats::refused`](crate::Stats::refused)).
    ///
    /// Defaults to: 100,000. Range: from 1.
    pub capacity: u64,
    /// About how many entries the capacity holds; right within a factor of ten is good enough. A
    /// shard is made for 32 of them at least: the fewer, the larger a single value may be.
    ///
    /// Defaults to: 100,000. Range: from 1.
    pub expected_entries: usize,
    /// For how many evicted keys, as a part of `expected_entries`, it is remembered that they were
    /// here. 1.0 resists scans better and costs some 30 bytes an entry: right for values above some
    /// 200 bytes.
    ///
    /// Defaults to: 0.5. Range: 0 to 1.
    pub ghost_allocation: f64,
    /// How long a value is fresh. A source may shorten it for a value.
    ///
    /// Defaults to: 60 s. Range: any; `Duration::MAX` is for ever, zero makes every request ask.
    pub ttl: Duration,
    /// How long a value may be served beyond its freshness while the source fails. A request may
    /// shorten it.
    ///
    /// Defaults to: 1 h. Range: any; zero never serves a stale value.
    pub stale_if_error: Duration,
    /// How long it is remembered that the source has no such thing. A source may shorten it.
    ///
    /// Defaults to: 5 s. Range: any; zero makes every request ask.
    pub absent_ttl: Duration,
    /// How long an error is given to further callers at least, before the source is asked again.
    ///
    /// Defaults to: zero, that is, as the back-off says. Range: any.
    pub error_ttl: Duration,
    /// How long the source may take for a fetch.
    ///
    /// Defaults to: 10 s. Range: from 1 ms.
    pub fetch_timeout: Duration,
    /// How long a key that keeps failing is left alone.
    pub backoff: Backoff,
    /// How many callers and fetches there may be.
    pub limits: Limits,
    /// The clock to live by. A cache without one makes its own and owns the task that moves it.
    ///
    /// Defaults to: none. Whoever gives one must keep its tick moving.
    pub clock: Option<Clock>,
}

/// Bounds on what callers can make a cache hold beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fetches under way. Beyond it, a miss gets [`Error::Overloaded`](crate::Error::Overloaded), or
    /// the stale value.
    ///
    /// Defaults to: 10,000. Range: 1 to 1,000,000.
    pub flights: u32,
    /// Callers waiting for a fetch. Beyond it, the same.
    ///
    /// Defaults to: 100,000. Range: 1 to 1,000,000.
    pub waiters: u32,
    /// Keys of which it is remembered that they are absent, or failing and backing off. Beyond it,
    /// the least asked for are forgotten, and their next request asks the source.
    ///
    /// Defaults to: 10,000. Range: 1 to 1,000,000.
    pub troubles: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            expected_entries: 100_000,
            ghost_allocation: 0.5,
            ttl: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(3600),
            absent_ttl: Duration::from_secs(5),
            error_ttl: Duration::ZERO,
            fetch_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            limits: Limits { flights: 10_000, waiters: 100_000, troubles: 10_000 },
            clock: None,
        }
    }
}

impl Options {
    /// Says which option is out of its range, if any.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let counts = 1..=1_000_000;
        let tick = Duration::from_millis(1);
        let backoff = tick <= self.backoff.base && self.backoff.base <= self.backoff.cap;
        let checks = [
            ("capacity", "from 1", self.capacity >= 1),
            ("expected_entries", "from 1", self.expected_entries >= 1),
            ("ghost_allocation", "0 to 1", (0.0..=1.0).contains(&self.ghost_allocation)),
            ("fetch_timeout", "from 1 ms", self.fetch_timeout >= tick),
            ("backoff", "1 ms ≤ base ≤ cap", backoff),
            ("limits.flights", "1 to 1,000,000", counts.contains(&self.limits.flights)),
            ("limits.waiters", "1 to 1,000,000", counts.contains(&self.limits.waiters)),
            ("limits.troubles", "1 to 1,000,000", counts.contains(&self.limits.troubles)),
        ];
        match checks.into_iter().find(|(.., right)| !right) {
            Some((option, range, _)) => Err(OutOfRange { option, range }),
            None => Ok(()),
        }
    }
}

/// An option has a value that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("option {option} is out of its range ({range})")]
pub struct OutOfRange {
    /// The field of [`Options`].
    pub option: &'static str,
    /// What it may be.
    pub range: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn every_bad_value_is_named() {
        type Spoil = fn(&mut Options);
        let bad: [(&str, Spoil); 11] = [
            ("capacity", |o| o.capacity = 0),
            ("expected_entries", |o| o.expected_entries = 0),
            ("ghost_allocation", |o| o.ghost_allocation = 1.01),
            ("ghost_allocation", |o| o.ghost_allocation = f64::NAN),
            ("fetch_timeout", |o| o.fetch_timeout = Duration::ZERO),
            ("backoff", |o| o.backoff.base = Duration::ZERO),
            ("backoff", |o| o.backoff.cap = o.backoff.base / 2),
            ("limits.flights", |o| o.limits.flights = 0),
            ("limits.flights", |o| o.limits.flights = 1_000_001),
            ("limits.waiters", |o| o.limits.waiters = 0),
            ("limits.troubles", |o| o.limits.troubles = 0),
        ];
        for (option, spoil) in bad {
            let mut options = Options::default();
            spoil(&mut options);
            assert_eq!(options.validate().map_err(|wrong| wrong.option), Err(option));
        }
    }
}
