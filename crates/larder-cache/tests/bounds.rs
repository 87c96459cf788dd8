//! What a cache holds, for how long, and what becomes of what it lets go.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Budget, Cache, Fetched, Fresh, Options, Put, Rate, Refresh, Removal, Request, Source,
};
use support::{Counted, Scripted, Step, secs, settle};

/// Answers with the key, and writes down what leaves.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(u64, Removal)>>>);

impl Ledger {
    fn removed(&self) -> Vec<(u64, Removal)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn count(&self, cause: Removal) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, why)| *why == cause).count()
    }
}

impl Source for Ledger {
    type Key = u64;
    type Value = u64;
    type Error = std::convert::Infallible;

    async fn fetch(&self, key: &u64, _: Attempt<u64>) -> Result<Fetched<u64>, Self::Error> {
        match key {
            404 => Ok(Fetched::Absent { remember_for: None }),
            _ => Ok(Fetched::value(*key)),
        }
    }

    fn weigh(&self, _: &u64, value: &u64) -> u64 {
        (*value).max(1)
    }

    fn removed(&self, _: &u64, value: &u64, cause: Removal) {
        assert!(*value != 13, "the listener panics, as the test wants it");
        self.0.lock().unwrap().push((*value, cause));
    }
}

fn listening(options: Options) -> (Cache<Ledger>, Ledger) {
    let ledger = Ledger::default();
    (Cache::new(ledger.clone(), options).unwrap(), ledger)
}

#[tokio::test(start_paused = true)]
async fn the_listener_hears_why_each_value_left() {
    let (cache, ledger) = listening(Options { capacity: 1_000, ..Options::default() });
    let _ = cache.put(&1, 1);
    let _ = cache.put(&1, 2);
    assert_eq!(ledger.removed(), [(1, Removal::Replaced)]);
    cache.invalidate(&1);
    assert_eq!(ledger.removed(), [(2, Removal::Invalidated)]);
    let _ = cache.put(&1, 3);
    assert_eq!(cache.put(&1, 9_000), Put::TooHeavy);
    assert_eq!(ledger.removed(), [(3, Removal::TooHeavy)]);
    let _ = cache.put(&404, 4);
    let asked = Request::DEFAULT.max_age(Duration::ZERO);
    assert!(cache.get_with(&404, &asked).await.is_err());
    assert_eq!(ledger.removed(), [(4, Removal::Absent)]);
    let _ = cache.put(&1, 5);
    cache.invalidate_all();
    assert_eq!(ledger.removed(), [(5, Removal::Invalidated)]);
    let _ = cache.put(&1, 6);
    cache.close().await;
    assert_eq!(ledger.removed(), [(6, Removal::Closed)]);
}

#[tokio::test(start_paused = true)]
async fn evictions_are_told_one_by_one() {
    let options = Options { capacity: 50, expected_entries: 50, ..Options::default() };
    let (cache, ledger) = listening(options);
    for key in 0..1_000 {
        let _ = cache.put(&key, 1);
    }
    let stats = cache.stats();
    assert_eq!(stats.evictions + stats.entries, 1_000);
    assert_eq!(ledger.count(Removal::Evicted) as u64, stats.evictions);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_is_counted_and_nothing_else() {
    let (cache, ledger) = listening(Options::default());
    let _ = cache.put(&1, 13);
    let _ = cache.put(&1, 14);
    cache.invalidate(&1);
    assert_eq!(cache.stats().listener_panics, 1);
    assert_eq!(ledger.removed(), [(14, Removal::Invalidated)]);
}

/// A value whose drop asks its own cache.
struct Nosy(Arc<Mutex<Option<Cache<Drops>>>>, u32);

struct Drops;

impl Source for Drops {
    type Key = u32;
    type Value = Nosy;
    type Error = std::convert::Infallible;

    async fn fetch(&self, key: &u32, _: Attempt<Nosy>) -> Result<Fetched<Nosy>, Self::Error> {
        Ok(Fetched::value(Nosy(Arc::default(), *key)))
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let cache = self.0.lock().unwrap().clone();
        if let Some(cache) = cache {
            (0..100).for_each(|key| drop(cache.peek(&key)));
            cache.invalidate(&self.1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_may_ask_its_cache_while_it_is_dropped() {
    let options = Options { capacity: 20, expected_entries: 20, ..Options::default() };
    let cache = Cache::new(Drops, options).unwrap();
    let handle = Arc::new(Mutex::new(Some(cache.clone())));
    for key in 0..100 {
        let _ = cache.put(&key, Nosy(Arc::clone(&handle), key));
        let _ = cache.put(&key, Nosy(Arc::clone(&handle), key));
    }
    cache.resize(5);
    cache.invalidate(&99);
    cache.invalidate_all();
    *handle.lock().unwrap() = None;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_leaves_a_backlog_may_ask_its_cache_while_it_is_dropped() {
    let options = Options { refresh: Refresh::Pushed, ..Options::default() };
    let cache = Cache::new(Drops, options).unwrap();
    let handle = Arc::new(Mutex::new(Some(cache.clone())));
    let each = larder_cache::Delivery::Each(2);
    let _held = cache.subscribe_to(&1, &Request::DEFAULT, each).unwrap();
    for _ in 0..5 {
        let _ = cache.put(&1, Nosy(Arc::clone(&handle), 1));
        cache.invalidate(&1);
    }
    *handle.lock().unwrap() = None;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_nobody_reads_leaves_after_the_idle_time() {
    let (cache, ledger) = listening(Options { idle: secs(100), ..Options::default() });
    let _ = cache.put(&1, 1);
    let _ = cache.put(&2, 2);
    for _ in 0..8 {
        tokio::time::sleep(secs(50)).await;
        // Stale or not: it is read.
        cache.get(&1).await.unwrap();
    }
    assert_eq!(ledger.count(Removal::Idle), 1);
    assert_eq!(cache.stats().entries, 1);
    tokio::time::sleep(secs(126)).await;
    assert_eq!((cache.stats().entries, cache.stats().idle), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn what_may_never_be_served_again_is_swept_out() {
    let options = Options {
        ttl: secs(10),
        stale_if_error: secs(30),
        idle: Duration::MAX,
        ..Options::default()
    };
    let (cache, ledger) = listening(options);
    let _ = cache.put(&1, 1);
    tokio::time::sleep(secs(39)).await;
    assert_eq!(cache.stats().entries, 1);
    tokio::time::sleep(secs(12)).await;
    assert_eq!(cache.stats().expired, 1);
    assert_eq!(ledger.removed(), [(1, Removal::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn a_predicate_picks_what_is_invalidated_and_a_load_cannot_undo_it() {
    let source = Scripted::new([Step::Gate, Step::Value(1)]);
    let cache = Cache::new(source.clone(), Options::default()).unwrap();
    for key in 10..20 {
        let _ = cache.put(&key, 1);
    }
    let loading = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&2).await.map(|reply| *reply) }
    });
    settle().await;
    assert_eq!(cache.invalidate_where(|key| key % 2 == 0), 5);
    source.open();
    assert_eq!(loading.await.unwrap().unwrap(), 1);
    assert!(cache.peek(&2).is_none(), "it began before");
    assert_eq!(cache.stats().entries, 5);
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_resized_while_it_runs() {
    let options = Options { capacity: 1_000, expected_entries: 1_000, ..Options::default() };
    let (cache, ledger) = listening(options);
    for key in 0..500 {
        let _ = cache.put(&key, 1);
    }
    cache.resize(80);
    let stats = cache.stats();
    assert!(stats.entries <= 80 && stats.capacity == 80, "{stats:?}");
    assert_eq!(ledger.count(Removal::Evicted) as u64, 500 - stats.entries);
    cache.resize(1_000);
    for key in 1_000..1_400 {
        let _ = cache.put(&key, 1);
    }
    assert!(cache.stats().entries > 400);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_spaces_fetches_and_can_be_changed() {
    let source = Scripted::new((0..100).map(Step::Value));
    let rate = Some(Rate { burst: 2, per_second: 0.1 });
    let cache = Cache::new(source.clone(), Options { rate, ..Options::default() }).unwrap();
    let asked = Request::DEFAULT.max_age(Duration::ZERO);
    let clock = larder_cache::Clock::running();
    for _ in 0..4 {
        cache.get_with(&1, &asked).await.unwrap();
    }
    assert_eq!(clock.now().as_millis() / 1000, 20);
    cache.get_with(&2, &asked).await.unwrap();
    assert_eq!(clock.now().as_millis() / 1000, 20, "each key has its own");
    assert_eq!(cache.set_rate(rate), Ok(false));
    assert_eq!(cache.set_rate(None), Ok(true));
    for _ in 0..20 {
        cache.get_with(&1, &asked).await.unwrap();
    }
    assert_eq!(clock.now().as_millis() / 1000, 20);
    assert!(cache.set_rate(Some(Rate { burst: 0, per_second: 1.0 })).is_err());
}

#[tokio::test(start_paused = true)]
async fn two_caches_share_a_budget_and_the_busy_one_takes_what_the_idle_one_leaves() {
    let budget = Budget::new(1_000);
    let options = |part| Options {
        capacity: 1_000,
        expected_entries: 1_000,
        share: Some(budget.share(part)),
        ..Options::default()
    };
    let (main, _) = listening(options(0.875));
    let (hot, _) = listening(options(0.125));
    let fill = |cache: &Cache<Ledger>, keys: std::ops::Range<u64>| {
        for key in keys {
            let _ = cache.put(&key, 1);
            assert!(budget.weight() <= 1_010, "{}: shards round up", budget.weight());
        }
    };
    fill(&hot, 0..900);
    assert!(hot.stats().weight > 700, "{}", hot.stats().weight);
    fill(&main, 0..5_000);
    let (main_weight, hot_weight) = (main.stats().weight, hot.stats().weight);
    assert!(main_weight > 700, "{main_weight}");
    assert!((100..=260).contains(&hot_weight), "{hot_weight}");
    main.invalidate_all();
    fill(&hot, 10_000..12_000);
    assert!(hot.stats().weight > 700, "{}", hot.stats().weight);
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_keepers_than_the_limit_and_the_rest_is_fetched_on_demand() {
    let owner = Counted::new(1);
    let mut options =
        Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    options.limits.keepers = 2;
    let cache = Cache::new(owner.clone(), options).unwrap();
    for key in 0..5 {
        assert_eq!(*cache.get(&key).await.unwrap(), 1);
    }
    settle().await;
    assert_eq!(cache.stats().keepers.total, 2);
    owner.set(2);
    settle().await;
    let seen: Vec<_> = (0..5).map(|key| *cache.peek(&key).unwrap()).collect();
    assert_eq!(seen.iter().filter(|value| **value == 2).count(), 2);
    tokio::time::sleep(secs(61)).await;
    assert_eq!(*cache.get(&4).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn closing_releases_everyone_and_joins_every_task() {
    let owner = Counted::new(1);
    let refresh = Refresh::Blocking { wait: secs(300) };
    let cache = Cache::new(owner.clone(), Options { refresh, ..Options::default() }).unwrap();
    let index = cache.get(&1).await.unwrap().index();
    let parked = tokio::spawn({
        let (cache, request) = (cache.clone(), Request::DEFAULT.min_index(index, secs(900)));
        async move { cache.get_with(&1, &request).await.map(|reply| *reply) }
    });
    let mut held = cache.subscribe(&2, &Request::DEFAULT).unwrap();
    held.changed().await.unwrap();
    settle().await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    cache.close().await;
    assert!(matches!(parked.await.unwrap(), Err(larder_cache::Error::Closed)));
    assert!(held.changed().await.is_none());
    let after = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // Two keepers, the sweep, the clock's tick, and the parked caller above.
    assert_eq!(before - after, 5);
    assert_eq!(cache.stats().keepers.total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_feeds_many_keys_and_there_is_only_one() {
    let source = Scripted::new([]);
    let options = Options { refresh: Refresh::Pushed, ..Options::default() };
    let cache = Cache::new(source.clone(), options).unwrap();
    let mut publisher = cache.publisher().unwrap();
    assert!(cache.publisher().is_none());
    let list = |keys: std::ops::Range<u32>| keys.map(|key| (key, Fresh::new(u64::from(key))));
    publisher.replace_all(list(0..10));
    tokio::time::sleep(secs(1_000)).await;
    assert_eq!(cache.peek(&3).unwrap().age(), Duration::ZERO);
    publisher.replace_all(list(5..12));
    assert!(cache.get(&3).await.is_err(), "absent, without asking anybody");
    assert_eq!((*cache.peek(&11).unwrap(), source.fetches()), (11, 0));
    publisher.lose_contact();
    tokio::time::sleep(secs(30)).await;
    let age = cache.peek(&7).unwrap().age();
    assert!(age.abs_diff(secs(30)) <= Duration::from_millis(10), "{age:?}");
    drop(publisher);
    assert!(cache.publisher().is_some());
}
