//! A cache that keeps what is read fresh, by blocking fetches or by polling: callers with bounds of every
//! kind, and subscriptions that come and go.

use std::time::Duration;

use larder_bench::chance::Dice;
use larder_cache::{
    Backoff, Cache, Delivery, Limits, Options, Refresh, Request, Stats, SubscribeError,
};
use tokio::time::timeout;

use crate::plain::{FETCH_TIMEOUT, outcome};
use crate::source::Moody;
use crate::subject::{Subject, World};

/// The longest that a blocking fetch waits at the source, and a third more than a poll's period.
const WAIT: Duration = Duration::from_millis(400);
/// What a busy machine may add to a call.
const ALLOWANCE: Duration = Duration::from_secs(1);
/// Three fetches in a row that hang mean that the upstream is down, for a second at least; when it is
/// back, keys come back within another one. This leaves room for failing probes.
const OUTAGE: Duration = Duration::from_secs(6);

/// There are fewer places for keepers than keys that are read.
fn options(refresh: Refresh) -> Options {
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
        refresh,
        idle: Duration::from_secs(1),
        limits: Limits {
            flights: 300,
            waiters: 600,
            troubles: 1_000,
            keepers: 1_500,
            subscriptions: 190,
            ..Limits::default()
        },
        ..Options::default()
    }
}

/// The cache and who asks.
pub struct Kept {
    cache: Cache<Moody>,
    world: World,
}

impl Kept {
    /// Kept by blocking fetches. To be called inside a runtime.
    pub fn blocking(world: World) -> Self {
        Self::new(world, Refresh::Blocking { wait: WAIT })
    }

    /// Kept by polling. To be called inside a runtime.
    pub fn polling(world: World) -> Self {
        Self::new(world, Refresh::Poll { every: WAIT * 3 / 4 })
    }

    fn new(world: World, refresh: Refresh) -> Self {
        let cache = Cache::new(Moody::counting(), options(refresh));
        Self { cache: cache.expect("the options are valid"), world }
    }

    /// Bounds as chance has them, none among them.
    fn request(&self, key: u64, dice: &mut Dice) -> Request {
        let mut ms = || Duration::from_millis(dice.below(40));
        let (age, wait, patience, staleness) = (ms(), ms(), ms(), ms());
        let index = || self.cache.peek(&key).map_or(0, |reply| reply.index());
        let bounds = dice.below(16);
        let mut request = Request::DEFAULT;
        if bounds & 1 > 0 {
            request = request.max_age(age);
        }
        if bounds & 2 > 0 {
            request = request.min_index(index(), wait);
        }
        if bounds & 4 > 0 {
            request = request.timeout(patience);
        }
        if bounds & 8 > 0 {
            request = request.stale_if_error(staleness);
        }
        if dice.below(8) == 0 { request.must_revalidate() } else { request }
    }
}

impl Subject for Kept {
    /// A caller waits for its index, and then as in a cache that keeps nothing; a subscription waits for
    /// its first news, which come once the key's fetch under way is over, its back-off, and an outage.
    fn bound(&self) -> Duration {
        FETCH_TIMEOUT * 2 + WAIT + OUTAGE + ALLOWANCE
    }

    async fn ask(&self, dice: &mut Dice) -> &'static str {
        let (key, cache) = (self.world.key(dice), &self.cache);
        match dice.below(100) {
            0..50 => outcome(&cache.get(&key).await),
            50..90 => outcome(&cache.get_with(&key, &self.request(key, dice)).await),
            // A caller that goes away.
            90..98 => {
                let (request, ms) = (self.request(key, dice), dice.below(40));
                match timeout(Duration::from_millis(ms), cache.get_with(&key, &request)).await {
                    Ok(answer) => outcome(&answer),
                    Err(_) => "gone",
                }
            }
            _ => cache.peek(&key).map_or("nothing to peek at", |_| "peeked"),
        }
    }

    async fn follow(&self, dice: &mut Dice) -> Option<&'static str> {
        let (key, age) = (self.world.key(dice), Duration::from_millis(10 + dice.below(500)));
        let (request, each) = (Request::DEFAULT.max_age(age), dice.below(2) == 0);
        let delivery = if each { Delivery::Each(8) } else { Delivery::Latest };
        let mut subscription = match self.cache.subscribe_to(&key, &request, delivery) {
            Ok(subscription) => subscription,
            Err(SubscribeError::Overloaded(_)) => return Some("subscription: overloaded"),
            Err(SubscribeError::Closed) => return Some("subscription: closed"),
            Err(SubscribeError::NoMaxAge) => return Some("subscription: no max_age"),
        };
        // The first news must come, whatever the source does.
        let Some(first) = subscription.changed().await else {
            return Some("subscription: closed before its first news");
        };
        for _ in 0..dice.below(10) {
            match timeout(Duration::from_millis(dice.below(200)), subscription.changed()).await {
                Ok(Some(_)) => _ = subscription.latest(),
                Ok(None) => return Some("subscription: closed"),
                Err(_) => {}
            }
        }
        Some(match (first.value, first.error) {
            (Some(_), None) => "subscription: began with a value",
            (Some(_), Some(_)) => "subscription: began with a stale value",
            (None, _) => "subscription: began with an error",
        })
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
        let Stats { entries, flights, waiters, keepers, subscriptions, .. } = self.cache.stats();
        let kept = keepers.total;
        format!(
            "entries {entries}  flights {flights}  waiters {waiters}  keepers {kept}  \
             subscriptions {subscriptions}"
        )
    }

    fn report(&self) -> String {
        format!("{:#?}", self.cache.stats())
    }

    async fn close(&self) {
        self.cache.close().await;
    }

    fn faults_after_close(&self) -> Vec<String> {
        let stats = self.cache.stats();
        let left = [
            ("entries", stats.entries),
            ("flights", stats.flights),
            ("waiters", stats.waiters),
            ("keepers", stats.keepers.total),
            ("subscriptions", stats.subscriptions),
        ];
        let left = left.into_iter().filter(|(_, left)| *left > 0);
        left.map(|(what, left)| format!("{left} {what} are left after close()")).collect()
    }
}
