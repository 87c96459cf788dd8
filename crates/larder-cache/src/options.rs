//! Everything that can be set on a cache, and every default.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::budget::Share;
use crate::clock::Clock;
use crate::keep::Refresh;
use crate::pace::Rate;
use crate::upstream::Upstream;

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
    /// How entries are kept fresh in the background.
    ///
    /// Defaults to: [`Refresh::OnDemand`].
    pub refresh: Refresh,
    /// For how long after its last read an entry is kept: then its keeper ends, and it leaves the
    /// cache. Also how long a keeper outlives its last subscription, in a cache that keeps what is
    /// read. Entries without a keeper are swept out within a quarter more.
    ///
    /// Defaults to: 20 min, as for Consul's materialized views. Range: from 1 ms; `Duration::MAX` is
    /// for ever.
    pub idle: Duration,
    /// How often one key may be fetched, whoever causes it. It can be
    /// [changed](crate::Cache::set_rate) while the cache runs.
    ///
    /// Defaults to: [`Rate::default`]. `None` is no limit.
    pub rate: Option<Rate>,
    /// The system that the source asks, if it is shared with other caches.
    ///
    /// Defaults to: none, that is, one of its own. Its clock must be the cache's clock.
    pub upstream: Option<Upstream>,
    /// The cache's part of a weight budget that it has in common with other caches.
    ///
    /// Defaults to: none. The cache's own `capacity` holds as well.
    pub share: Option<Share>,
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
    /// Callers waiting for a fetch, or for an index to pass. Beyond it, the same.
    ///
    /// Defaults to: 100,000. Range: 1 to 1,000,000.
    pub waiters: u32,
    /// Keys of which it is remembered that they are absent, failing and backing off, or fetched often.
    /// Beyond it, the least asked for are forgotten, and their next request asks the source. There is room
    /// beside these for twice as many as there may be keepers, so that no key that is kept loses its
    /// back-off to others.
    ///
    /// Defaults to: 10,000. Range: 1 to 1,000,000.
    pub troubles: u32,
    /// Keys that are kept fresh in the background at a time, each by a task. Beyond it, entries are
    /// fetched on demand, and a subscription gets an error.
    ///
    /// Defaults to: 100,000. Range: 1 to 10,000,000.
    pub keepers: u32,
    /// Subscriptions at a time. Beyond it, an error.
    ///
    /// Defaults to: 1,000,000. Range: 1 to 10,000,000.
    pub subscriptions: u32,
    /// Items of one list that is being built from a stream of changes. Beyond it, the stream counts as
    /// failed.
    ///
    /// Defaults to: 1,000,000. Range: 1 to 100,000,000.
    pub listed: u32,
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
            refresh: Refresh::OnDemand,
            idle: Duration::from_secs(20 * 60),
            rate: Some(Rate::default()),
            upstream: None,
            share: None,
            limits: Limits::default(),
            clock: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flights: 10_000,
            waiters: 100_000,
            troubles: 10_000,
            keepers: 100_000,
            subscriptions: 1_000_000,
            listed: 1_000_000,
        }
    }
}

impl Options {
    /// Says which option is out of its range, if any.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let counts = 1..=1_000_000;
        let (many, listed) = (1..=10_000_000, 1..=100_000_000);
        let tick = Duration::from_millis(1);
        let rate = self.rate.is_none_or(Rate::is_sensible);
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
            ("limits.keepers", "1 to 10,000,000", many.contains(&self.limits.keepers)),
            ("limits.subscriptions", "1 to 10,000,000", many.contains(&self.limits.subscriptions)),
            ("limits.listed", "1 to 100,000,000", listed.contains(&self.limits.listed)),
            ("refresh", "see each way's fields", self.is_refresh_sensible()),
            ("idle", "from 1 ms", self.idle >= tick),
            ("rate", Rate::RANGE, rate),
            ("clock", "that of the upstream, if both are given", self.is_clock_shared()),
        ];
        match checks.into_iter().find(|(.., right)| !right) {
            Some((option, range, _)) => Err(OutOfRange { option, range }),
            None => Ok(()),
        }
    }
}

impl Options {
    fn is_refresh_sensible(&self) -> bool {
        let tick = Duration::from_millis(1);
        match self.refresh {
            Refresh::OnDemand | Refresh::Pushed => true,
            Refresh::Poll { every } => (tick..=self.ttl).contains(&every),
            Refresh::Blocking { wait } => wait >= tick,
            Refresh::Watch { idle_timeout } => idle_timeout >= tick,
            Refresh::Batch { every, size, parallel } => {
                (tick..=self.ttl).contains(&every)
                    && (1..=100_000).contains(&size)
                    && (1..=10_000).contains(&parallel)
            }
        }
    }

    fn is_clock_shared(&self) -> bool {
        match (&self.upstream, &self.clock) {
            (Some(upstream), Some(clock)) => upstream.clock().is_the_same(clock),
            _ => true,
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
        let bad: [(&str, Spoil); 22] = [
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
            ("limits.keepers", |o| o.limits.keepers = 0),
            ("limits.subscriptions", |o| o.limits.subscriptions = 0),
            ("limits.listed", |o| o.limits.listed = 0),
            ("refresh", |o| o.refresh = Refresh::Poll { every: Duration::ZERO }),
            ("refresh", |o| o.refresh = Refresh::Poll { every: o.ttl * 2 }),
            ("refresh", |o| o.refresh = Refresh::Blocking { wait: Duration::ZERO }),
            ("refresh", |o| o.refresh = Refresh::Watch { idle_timeout: Duration::ZERO }),
            ("refresh", |o| o.refresh = Refresh::Batch { every: o.ttl, size: 0, parallel: 1 }),
            ("idle", |o| o.idle = Duration::ZERO),
            ("rate", |o| o.rate = Some(Rate { burst: 0, per_second: 1.0 })),
            ("clock", |o| {
                o.clock = Some(Clock::by_hand(0).0);
                o.upstream = Some(Upstream::new(Clock::by_hand(0).0));
            }),
        ];
        for (option, spoil) in bad {
            let mut options = Options::default();
            spoil(&mut options);
            assert_eq!(options.validate().map_err(|wrong| wrong.option), Err(option));
        }
    }
}
