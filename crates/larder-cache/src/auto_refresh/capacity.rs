//! Whether a configuration can keep up with the items that it has to refresh.
//!
//! Pure.

use std::time::Duration;

/// How many items must be synced a second, and how many can be.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Capacity {
    /// Items that are not terminal, divided by their period.
    pub needed_per_second: f64,
    /// What the rate limit lets through, or what the workers manage at the pace of the syncs so far,
    /// whichever is less. Infinite without a limit and before the first sync.
    pub possible_per_second: f64,
}

/// What it depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) live: usize,
    pub(crate) period: Duration,
    /// Items in a batch.
    pub(crate) batch: f64,
    /// Batches a second, at most.
    pub(crate) rate: Option<f64>,
    pub(crate) workers: usize,
    /// How long a sync takes, if there was one.
    pub(crate) latency: Option<Duration>,
}

impl Capacity {
    /// Whether no more is needed than is possible.
    pub fn keeps_up(&self) -> bool {
        self.needed_per_second <= self.possible_per_second
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody tracks so many items")]
    pub(crate) fn of(load: &Load) -> Self {
        let latency = load.latency.filter(|latency| !latency.is_zero());
        let by_workers =
            latency.map_or(f64::INFINITY, |latency| load.workers as f64 / latency.as_secs_f64());
        let batches = load.rate.unwrap_or(f64::INFINITY).min(by_workers);
        Self {
            needed_per_second: load.live as f64 / load.period.as_secs_f64(),
            possible_per_second: batches * load.batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        live: 900,
        period: Duration::from_secs(30),
        batch: 1.0,
        rate: Some(30.0),
        workers: 10,
        latency: None,
    };

    #[test]
    fn flytes_defaults_keep_up_with_nine_hundred_items_and_no_more() {
        assert!(Capacity::of(&LOAD).keeps_up());
        let more = Capacity::of(&Load { live: 901, ..LOAD });
        assert!(!more.keeps_up() && more.possible_per_second.to_bits() == 30_f64.to_bits());
    }

    #[test]
    fn batches_multiply_what_is_possible_and_slow_syncs_limit_it() {
        assert!(Capacity::of(&Load { live: 90_000, batch: 100.0, ..LOAD }).keeps_up());
        let slow = Load { latency: Some(Duration::from_secs(1)), ..LOAD };
        assert!(!Capacity::of(&slow).keeps_up(), "ten workers, one second each");
        assert!(Capacity::of(&Load { rate: None, ..LOAD }).keeps_up());
    }
}
