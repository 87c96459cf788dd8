//! What a group counts: what mailgun's counts, and how long things take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_cache::{Source, Stats};

use crate::codec::{Codec, GroupKey};
use crate::group::Core;

/// What a group has done since it was made, and what it holds now. The names are mailgun's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupStats {
    /// Gets, of callers here and of peers.
    pub gets: u64,
    /// Those that were answered from memory.
    pub cache_hits: u64,
    /// The longest that a peer took, in milliseconds: mailgun's `GetFromPeersLatencyLower`, which is that in
    /// spite of its name.
    pub peer_latency_max_ms: u64,
    /// Values that came from their owner elsewhere.
    pub peer_loads: u64,
    /// Requests for many keys at once.
    pub batches: u64,
    /// Requests to owners that were of no use: what they were about was loaded here, or asked of the next owner.
    pub peer_errors: u64,
    /// Gets that found nothing in memory.
    pub loads: u64,
    /// Those of them that were not told the outcome of another one's.
    pub loads_deduped: u64,
    /// Values that the source here brought.
    pub local_loads: u64,
    /// Loads that the source here failed; an absent key among them, as mailgun's.
    pub local_load_errors: u64,
    /// Gets that were sent a second time because the owner was slow: see [`Hedge`](crate::Hedge).
    pub hedges: u64,
    /// Those of them whose second request was answered first.
    pub hedges_won: u64,
    /// Values that were to be renewed before they expired.
    pub renewals: u64,
    /// Those of them that were not: they live on until they expire.
    pub renewals_failed: u64,
    /// Values that were handed out although they had expired, because there was none better.
    pub stale: u64,
    /// Requests of peers.
    pub server_requests: u64,
    /// Keys that were removed from here.
    pub removals: u64,
    /// Keys that are loaded past their owner for now.
    pub tombstones: u64,
    /// How long owners elsewhere took to answer.
    pub peer_latency: Latency,
    /// How long the source here took.
    pub load_latency: Latency,
    /// The bytes that main and hot cache may take together.
    pub max_bytes: u64,
    /// What this process owns, or had to load by itself.
    pub main: CacheStats,
    /// Copies of what others own.
    pub hot: CacheStats,
}

/// One of a group's two caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// What it takes of the budget.
    pub bytes: u64,
    /// Its entries.
    pub items: u64,
    /// Looks at it. The hot cache is looked at when the main one has nothing.
    pub gets: u64,
    /// Those that found something.
    pub hits: u64,
    /// Entries that made room for others. What was replaced, removed or has expired does not count.
    pub evictions: u64,
    /// Entries that had expired, and were swept out.
    pub expired: u64,
    /// Values that were too large to be kept.
    pub rejected: u64,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Latency {
    /// How often it happened.
    pub count: u64,
    /// All of it together.
    pub total: Duration,
    /// The longest.
    pub max: Duration,
    /// Half took no longer than this; to within a factor of two, as the next.
    pub p50: Duration,
    /// Of a hundred, 99 took no longer than this.
    pub p99: Duration,
}

/// The counters behind.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Gets that took the long way.
    pub(super) misses: AtomicU64,
    /// What they asked the main cache, which counts a hit for those whose value has arrived just then.
    pub(super) main_asked: AtomicU64,
    /// And the hot one.
    pub(super) hot_asked: AtomicU64,
    /// Questions to owners elsewhere.
    pub(super) asked: AtomicU64,
    pub(super) peer_errors: AtomicU64,
    /// Requests for many keys.
    pub(super) batches: AtomicU64,
    /// Values that those brought.
    pub(super) batched: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
    pub(super) renewals: AtomicU64,
    pub(super) renewals_failed: AtomicU64,
    /// Values that were handed out although they had expired.
    pub(super) stale: AtomicU64,
    pub(super) server_requests: AtomicU64,
    pub(super) removals: AtomicU64,
    pub(super) peer_latency: Histogram,
    pub(super) load_latency: Histogram,
}

/// Times in microseconds, by the power of two above them.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    total_nanos: AtomicU64,
    max_nanos: AtomicU64,
}

/// The last one holds what took more than half an hour.
const BUCKETS: usize = 32;

impl Histogram {
    pub(super) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos / 1_000;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.total_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> Latency {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let count: u64 = buckets.iter().sum();
        let max = Duration::from_nanos(self.max_nanos.load(Ordering::Relaxed));
        let percentile = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let above = buckets.iter().position(|held| {
                seen += held;
                seen >= rank
            });
            let bound = above.map_or(Duration::ZERO, |above| Duration::from_micros(1 << above));
            bound.min(max)
        };
        let total = Duration::from_nanos(self.total_nanos.load(Ordering::Relaxed));
        Latency { count, total, max, p50: percentile(50), p99: percentile(99) }
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    pub(super) fn stats(&self) -> GroupStats {
        let (main, hot, tally) = (self.main.stats(), self.hot.stats(), &self.tally);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let misses = read(&tally.misses);
        // On the long way a cache counts each request as a hit or as a miss; the hits among them are part of
        // the misses here.
        let late = |asked: &AtomicU64, cache: &Stats| read(asked).saturating_sub(cache.misses);
        let late_hits = late(&tally.main_asked, &main) + late(&tally.hot_asked, &hot);
        let hits = (main.hits + hot.hits).saturating_sub(late_hits);
        let gets = hits + misses;
        let fallbacks = read(&tally.peer_errors);
        let local_loads = main.fetched + main.unmodified;
        let local_load_errors = main.absent + main.failed + main.timed_out + main.panicked;
        let flights = read(&tally.asked) + local_loads + local_load_errors;
        let peer_latency = tally.peer_latency.read();
        GroupStats {
            gets,
            cache_hits: hits,
            peer_latency_max_ms: u64::try_from(peer_latency.max.as_millis()).unwrap_or(u64::MAX),
            peer_loads: hot.fetched + read(&tally.batched),
            batches: read(&tally.batches),
            peer_errors: fallbacks,
            loads: misses,
            loads_deduped: flights
                .saturating_sub(fallbacks + read(&tally.renewals) + read(&tally.hedges)),
            local_loads,
            local_load_errors,
            hedges: read(&tally.hedges),
            hedges_won: read(&tally.hedges_won),
            renewals: read(&tally.renewals),
            renewals_failed: read(&tally.renewals_failed),
            stale: read(&tally.stale),
            server_requests: read(&tally.server_requests),
            removals: read(&tally.removals),
            tombstones: self.tombstones().len(self.pool.clock.now()) as u64,
            peer_latency,
            load_latency: tally.load_latency.read(),
            max_bytes: self.options.max_bytes,
            main: of_cache(&main, gets),
            hot: of_cache(&hot, gets.saturating_sub(main.hits)),
        }
    }
}

fn of_cache(stats: &Stats, gets: u64) -> CacheStats {
    CacheStats {
        bytes: stats.weight,
        items: stats.entries,
        gets,
        hits: stats.hits,
        evictions: stats.evictions,
        expired: stats.expired,
        rejected: stats.refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_factor_of_two_and_never_above_the_longest() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read(), Latency::default());
        (1..=100).for_each(|n| histogram.record(Duration::from_micros(n * 10)));
        let read = histogram.read();
        assert_eq!((read.count, read.max), (100, Duration::from_millis(1)));
        assert_eq!(read.total, Duration::from_micros(50_500));
        assert_eq!(read.p50, Duration::from_micros(512));
        assert_eq!(read.p99, Duration::from_millis(1));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.read().count, 101);
    }
}
