//! A cache as it is: lookups of every kind, puts and invalidations.

use std::time::Duration;

use larder_bench::chance::Dice;
use larder_cache::{Backoff, Cache, Error, Limits, Options, Origin, Reply, Request};

use crate::source::{Failed, Moody};
use crate::subject::{Subject, World};

/// The longest that a fetch takes.
pub const FETCH_TIMEOUT: Duration = Duration::from_millis(250);
/// What a busy machine may add to a call.
const ALLOWANCE: Duration = Duration::from_secs(1);

/// Small enough that entries are evicted, and that the limits are met at times.
fn options() -> Options {
    Options {
        capacity: 4_000,
        expected_entries: 4_000,
        ttl: Duration::from_millis(500),
        stale_if_error: Duration::from_secs(2),
        absent_ttl: Duration::from_millis(200),
        fetch_timeout: FETCH_TIMEOUT,
        backoff: Backoff {
            free_failures: 1,
            base: Duration::from_millis(20),
            cap: Duration::from_millis(500),
        },
        limits: Limits { flights: 300, waiters: 600, troubles: 1_000, ..Limits::default() },
        ..Options::default()
    }
}

/// The cache and who asks.
pub struct Plain {
    cache: Cache<Moody>,
    world: World,
}

impl Plain {
    /// To be called inside a runtime.
    pub fn new(world: World) -> Self {
        let cache = Cache::new(Moody::new(), options()).expect("the options are valid");
        Self { cache, world }
    }
}

impl Subject for Plain {
    /// A caller waits for the fetch under way and, if the key was invalidated meanwhile, for the next
    /// one. A back-off is waited for by nobody: it is answered with the error or the stale value.
    fn bound(&self) -> Duration {
        FETCH_TIMEOUT * 2 + ALLOWANCE
    }

    async fn ask(&self, dice: &mut Dice) -> &'static str {
        let (key, ms) = (self.world.key(dice), Duration::from_millis(dice.below(40)));
        let cache = &self.cache;
        match dice.below(100) {
            0..70 => outcome(&cache.get(&key).await),
            70..80 => outcome(&cache.get_with(&key, &Request::DEFAULT.max_age(ms)).await),
            80..90 => outcome(&cache.get_with(&key, &Request::DEFAULT.timeout(ms)).await),
            // A caller that goes away.
            90..98 => match tokio::time::timeout(ms, cache.get(&key)).await {
                Ok(answer) => outcome(&answer),
                Err(_) => "gone",
            },
            _ => cache.peek(&key).map_or("nothing to peek at", |_| "peeked"),
        }
    }

    fn meddle(&self, dice: &mut Dice) {
        let key = self.world.key(dice);
        match dice.below(1_000) {
            0 => self.cache.invalidate_all(),
            1..500 => drop(self.cache.invalidate(&key)),
            500..900 => _ = self.cache.put(&key, [1; 64]),
            _ => _ = self.cache.put_if_absent(&key, [2; 64]),
        }
    }

    fn line(&self) -> String {
        let stats = self.cache.stats();
        let (entries, flights, waiters) = (stats.entries, stats.flights, stats.waiters);
        format!("entries {entries}  flights {flights}  waiters {waiters}")
    }

    fn report(&self) -> String {
        format!("{:#?}", self.cache.stats())
    }

    async fn close(&self) {
        self.cache.close().await;
    }

    fn faults_after_close(&self) -> Vec<String> {
        let stats = self.cache.stats();
        [("entries", stats.entries), ("flights", stats.flights), ("waiters", stats.waiters)]
            .into_iter()
            .filter(|(_, left)| *left > 0)
            .map(|(what, left)| format!("{left} {what} are left after close()"))
            .collect()
    }
}

/// What came of a call, by name.
pub fn outcome<V>(answer: &Result<Reply<V>, Error<Failed>>) -> &'static str {
    match answer {
        Ok(reply) => match reply.origin() {
            Origin::Hit => "hit",
            Origin::Miss => "miss",
            Origin::Unchanged => "unchanged",
            Origin::Stale(_) => "stale",
        },
        Err(Error::Absent) => "absent",
        Err(Error::Overloaded(_)) => "overloaded",
        Err(Error::Impatient(_)) => "impatient",
        Err(Error::Source(_)) => "failed",
        Err(Error::TimedOut(_)) => "timed out",
        Err(Error::Panicked) => "panicked",
        Err(Error::NothingToConfirm) => "nothing to confirm",
        Err(Error::Down) => "down",
        Err(Error::NoIndex) => "no index",
        Err(Error::Stream(_)) => "stream",
        Err(Error::Closed) => "closed",
    }
}
