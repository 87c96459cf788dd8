//! How the agent's cache keeps what it hears.

use std::time::Duration;

use larder_cache::Rate;

/// How the agent's cache keeps what it hears. Change the fields of [`Options::default`].
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many bytes of answers are kept. The least valuable leave beyond it. Defaults to: 256 MiB. Range:
    /// from 1.
    pub capacity: u64,
    /// How long an agent is asked to wait for news of one key, while there are connections for all. An agent
    /// that hangs is noticed after this. Defaults to: 60 s. Range: 1 s to 10 min, Consul's own limit.
    pub wait: Duration,
    /// For how long a copy that nobody vouches for any more counts as fresh, where a request does not say.
    /// Defaults to: 60 s. Range: any.
    pub fresh_for: Duration,
    /// How long beyond that a copy is given while no agent answers; a request may shorten it. Defaults to: 72 h,
    /// the life of an entry in Consul's own cache. Range: any; zero gives none.
    pub stale_if_error: Duration,
    /// How often a copy is fetched at most, for each key: a service whose instances come and go all the time
    /// would otherwise be fetched with every step. What changes faster is told together. Consul itself has no
    /// limit unless it is given one. Defaults to: 10 a second, and 10 at once. `None` is none. Range: that of
    /// [`Rate`].
    pub rate: Option<Rate>,
    /// For how long a key that nobody reads is kept, and asked about. Defaults to: 20 min. Range: from 1 s.
    pub idle: Duration,
    /// How many keys are kept fresh in the background; others are asked about when they are read. Defaults to:
    /// 20,000. Range: 1 to 1,000,000.
    pub keys: u32,
    /// How many reads may wait at a time, for an answer or for news. Defaults to: 100,000. Range: 1 to
    /// 1,000,000.
    pub waiters: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity: 256 << 20,
            wait: Duration::from_secs(60),
            fresh_for: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(72 * 3600),
            rate: Some(Rate { burst: 10, per_second: 10.0 }),
            idle: Duration::from_secs(20 * 60),
            keys: 20_000,
            waiters: 100_000,
        }
    }
}

/// An option has a value that makes no sense. Not retried: correct it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("option {option} is out of its range ({range})")]
pub struct OutOfRange {
    /// The field of [`Options`].
    pub option: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let second = Duration::from_secs(1);
        let many = 1..=1_000_000;
        let checks = [
            ("capacity", "from 1", self.capacity > 0),
            ("wait", "1 s to 10 min", (second..=second * 600).contains(&self.wait)),
            ("idle", "from 1 s", self.idle >= second),
            ("keys", "1 to 1,000,000", many.contains(&self.keys)),
            ("waiters", "1 to 1,000,000", many.contains(&self.waiters)),
        ];
        match checks.into_iter().find(|(.., right)| !right) {
            Some((option, range, _)) => Err(OutOfRange { option, range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named() {
        assert_eq!(Options::default().check(), Ok(()));
        let zero = Duration::ZERO;
        for (options, named) in [
            (Options { capacity: 0, ..Options::default() }, "capacity"),
            (Options { wait: zero, ..Options::default() }, "wait"),
            (Options { wait: Duration::from_secs(601), ..Options::default() }, "wait"),
            (Options { idle: zero, ..Options::default() }, "idle"),
            (Options { keys: 0, ..Options::default() }, "keys"),
            (Options { waiters: 0, ..Options::default() }, "waiters"),
        ] {
            assert_eq!(options.check().map_err(|wrong| wrong.option), Err(named));
        }
    }
}
