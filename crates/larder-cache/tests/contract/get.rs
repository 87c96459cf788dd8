//! One caller and one key: hits, errors, waiting for an index, keys, rates.

use std::convert::Infallible;
use std::hash::Hash;
use std::time::Duration;

use larder_cache::{
    Attempt, Cache, Caches, Clock, Error, Fetched, Fresh, Options, Origin, Put, Rate, Refresh,
    Request, Source, Wait,
};

use crate::support::{Counted, Scripted, Step, cache, secs, settle};
use crate::{BLOCKING, ask, at, changed, is_hit, keeping, millis, pass, past};

// TestCacheGet_noIndex
#[tokio::test(start_paused = true)]
async fn a_second_get_is_a_hit_and_nothing_is_fetched_behind_it() {
    let source = Scripted::new([Step::Value(42)]);
    let cache = keeping(&source, Refresh::OnDemand);
    assert!(matches!(cache.get(&1).await.unwrap().origin(), Origin::Miss));
    let again = cache.get(&1).await;
    assert!(is_hit(&again));
    assert_eq!(*again.unwrap(), 42);
    pass(secs(650)).await;
    assert_eq!(source.fetches(), 1);
}

// TestCacheGet_initError
#[tokio::test]
async fn an_error_is_not_an_answer_to_the_next_get() {
    let (cache, source, _hands) = cache([Step::Fail, Step::Fail]);
    assert!(matches!(cache.get(&1).await, Err(Error::Source(_))));
    assert!(matches!(cache.get(&1).await, Err(Error::Source(_))));
    assert_eq!((source.fetches(), cache.stats().hits), (2, 0));
}

// TestCacheGet_cachedErrorsDontStick
#[tokio::test(start_paused = true)]
async fn an_error_that_is_over_does_not_release_a_caller_who_waits_for_an_index() {
    let source = Scripted::new([Step::Fail, at(7, 5), Step::Quiet]);
    let cache = keeping(&source, BLOCKING);
    assert!(cache.get(&1).await.is_err());
    assert_eq!(cache.get(&1).await.unwrap().index(), 5);
    let waiting = ask(&cache, past(5, Duration::MAX));
    pass(secs(650)).await;
    assert!(!waiting.is_finished());
}

// TestCacheGet_blankCacheKey; a typed cache has no blank key, the request says that memory will not do.
#[tokio::test]
async fn a_request_for_age_zero_asks_each_time_and_is_never_a_hit() {
    let (cache, source, _hands) = cache([Step::Value(1), Step::Value(2)]);
    for value in [1, 2] {
        let reply = cache.get_with(&1, &Request::DEFAULT.max_age(Duration::ZERO)).await.unwrap();
        assert!(matches!(reply.origin(), Origin::Miss));
        assert_eq!(*reply, value);
    }
    assert_eq!(source.fetches(), 2);
}

// TestCacheGet_blockingInitSameKey
#[tokio::test(start_paused = true)]
async fn two_callers_of_one_key_share_one_fetch() {
    let source = Scripted::new([Step::Gate, Step::Value(42)]);
    let cache = keeping(&source, Refresh::OnDemand);
    let callers = [ask(&cache, Request::DEFAULT), ask(&cache, Request::DEFAULT)];
    pass(millis(10)).await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    source.open();
    for caller in callers {
        assert_eq!(*caller.await.unwrap().unwrap(), 42);
    }
    assert_eq!(source.fetches(), 1);
}

// TestCacheGet_blockingInitDiffKeys
#[tokio::test]
async fn different_keys_are_fetched_at_the_same_time_each_by_its_own_name() {
    let (cache, source, _hands) = cache([Step::Gate, Step::Gate]);
    let callers = [1, 2].map(|key| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get(&key).await.map(|reply| *reply) })
    });
    settle().await;
    assert_eq!(source.running(), 2);
    (0..2).for_each(|_| source.open());
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(source.told().iter().map(|told| told.key).collect::<Vec<_>>(), [1, 2]);
}

// TestCacheGet_blockingIndex
#[tokio::test(start_paused = true)]
async fn only_a_greater_index_releases_a_caller_who_waits_for_one() {
    let owner = Counted::new(1);
    let options = Options { refresh: BLOCKING, ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    let min = owner.index() + 1;
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with(&1, &past(min, secs(60))).await }
    });
    pass(secs(1)).await;
    assert!(!waiting.is_finished(), "a lower index");
    owner.set(2);
    pass(secs(1)).await;
    assert!(!waiting.is_finished(), "the same index");
    owner.set(3);
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((*reply, reply.index()), (3, min + 1));
}

// TestCacheGet_cancellation
#[tokio::test(start_paused = true)]
async fn a_caller_with_a_deadline_leaves_nothing_behind_but_the_fetch() {
    let source = Scripted::new([Step::Hang]);
    let cache = keeping(&source, BLOCKING);
    let hasty = past(5, secs(60));
    assert!(tokio::time::timeout(millis(50), cache.get_with(&1, &hasty)).await.is_err());
    let own = cache.get_with(&1, &hasty.timeout(millis(50))).await;
    assert!(matches!(own, Err(Error::Impatient(after)) if after == millis(50)));
    let stats = cache.stats();
    assert_eq!((stats.waiters, stats.flights, source.fetches()), (0, 1, 1));
}

// TestCacheGet_blockingIndexTimeout
#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_for_an_index_gets_the_value_as_it_is() {
    let source = Scripted::new([at(42, 5), Step::Quiet]);
    let cache = keeping(&source, BLOCKING);
    let clock = Clock::running();
    let reply = cache.get_with(&1, &past(5, millis(200))).await.unwrap();
    assert_eq!((*reply, reply.index(), clock.now().as_millis()), (42, 5, 200));
    assert!(matches!(reply.origin(), Origin::Unchanged));
}

// TestCacheGet_blockingIndexError
#[tokio::test(start_paused = true)]
async fn a_waiting_caller_without_a_value_gets_the_error_after_one_attempt() {
    let source = Scripted::new([Step::Broken]);
    let cache = keeping(&source, BLOCKING);
    let clock = Clock::running();
    assert!(matches!(cache.get_with(&1, &past(5, secs(60))).await, Err(Error::Source(_))));
    assert_eq!(clock.now().as_millis(), 0);
    pass(millis(100)).await;
    assert_eq!(source.fetches(), 1);
}

// TestCacheGet_emptyFetchResult; a source keeps no state here, it is shown its previous value.
#[tokio::test]
async fn a_source_without_news_keeps_the_value_and_is_shown_it_each_time() {
    let (cache, source, _hands) = cache([at(7, 70), Step::NotModified, Step::NotModified]);
    for _ in 0..3 {
        let reply = cache.get_with(&1, &Request::DEFAULT.max_age(Duration::ZERO)).await.unwrap();
        assert_eq!((*reply, reply.index()), (7, 70));
        assert!(matches!(reply.origin(), Origin::Miss));
    }
    let shown: Vec<_> = source.told().iter().map(|told| told.previous).collect();
    assert_eq!(shown, [None, Some(7), Some(7)]);
}

// TestCacheGet_fetchTimeout
#[tokio::test(start_paused = true)]
async fn a_blocking_fetch_is_told_for_how_long_to_wait() {
    let source = Scripted::new([at(1, 5), Step::Quiet]);
    let cache = keeping(&source, Refresh::Blocking { wait: secs(160) });
    cache.get(&1).await.unwrap();
    settle().await;
    let told = source.told();
    assert_eq!((told[0].wait, told[0].time_allowed), (None, secs(10)));
    // The slack is Consul's own jitter.
    let parked = (told[1].wait, told[1].time_allowed);
    assert_eq!(parked, (Some(Wait { past: 5, at_most: secs(160) }), secs(10 + 160 + 10)));
}

// TestCacheGet_duplicateKeyDifferentType; a type is a cache of its own.
#[tokio::test]
async fn a_key_in_two_caches_is_two_entries() {
    let (first, one, _hands) = cache([Step::Value(42)]);
    let (second, two, _hands) = cache([Step::Value(43)]);
    let mut caches = Caches::new();
    caches.insert("t", first);
    caches.insert("t2", second);
    for _ in 0..2 {
        for (name, value) in [("t", 42), ("t2", 43)] {
            let reply = caches.get::<Scripted>(name, &1, &Request::DEFAULT).await.unwrap();
            assert_eq!(*reply, value);
        }
    }
    assert_eq!((one.fetches(), two.fetches()), (1, 1));
}

/// A source whose key says all that Consul keeps apart.
struct Tenants;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tenant {
    datacenter: &'static str,
    token: &'static str,
}

impl Source for Tenants {
    type Key = Tenant;
    type Value = String;
    type Error = Infallible;

    async fn fetch(&self, key: &Tenant, _: Attempt<String>) -> Result<Fetched<String>, Infallible> {
        Ok(Fetched::value(format!("{}/{}", key.datacenter, key.token)))
    }
}

// TestCacheGet_partitionDC, TestCacheGet_partitionToken; the datacenter and the token are in the key.
#[tokio::test]
async fn each_part_of_a_key_keeps_entries_apart() {
    let cache = Cache::new(Tenants, Options::default()).unwrap();
    for (datacenter, token) in [("dc1", "a"), ("dc1", "b"), ("dc9", "a"), ("dc9", "b")] {
        let reply = cache.get(&Tenant { datacenter, token }).await.unwrap();
        assert_eq!(*reply, format!("{datacenter}/{token}"));
    }
    assert_eq!(cache.stats().entries, 4);
}

// TestCacheGet_nonRefreshAge
#[tokio::test(start_paused = true)]
async fn without_refresh_the_age_is_the_time_since_the_fetch() {
    let source = Scripted::new([]);
    let cache = changed(&source, |options| {
        (options.ttl, options.idle) = (secs(3600), secs(40));
    });
    assert_eq!(cache.get(&1).await.unwrap().age(), Duration::ZERO);
    for seconds in [5, 10] {
        pass(secs(5)).await;
        let answer = cache.get(&1).await;
        assert!(is_hit(&answer));
        assert_eq!(answer.unwrap().age(), secs(seconds));
    }
    pass(secs(60)).await;
    let anew = cache.get(&1).await.unwrap();
    assert!(matches!(anew.origin(), Origin::Miss), "it was idle for long enough to go");
    assert_eq!(anew.age(), Duration::ZERO);
    pass(millis(20)).await;
    let young = cache.get_with(&1, &Request::DEFAULT.max_age(millis(1))).await.unwrap();
    assert!(matches!(young.origin(), Origin::Miss));
    assert_eq!(young.age(), Duration::ZERO);
}

// TestCacheGet_nonBlockingType
#[tokio::test]
async fn without_refresh_an_index_to_wait_for_is_ignored_and_the_age_bounds_are_not() {
    let (cache, source, hands) = cache([at(42, 1), at(43, 1), at(44, 1)]);
    let waiting = past(1, secs(600)).timeout(secs(600));
    assert_eq!(*cache.get_with(&1, &waiting).await.unwrap(), 42);
    let again = cache.get_with(&1, &waiting).await;
    assert!(is_hit(&again));
    hands.advance(millis(30));
    let young = waiting.max_age(millis(20));
    assert_eq!(*cache.get_with(&1, &young).await.unwrap(), 43);
    assert!(is_hit(&cache.get_with(&1, &young).await));
    assert_eq!(*cache.get_with(&1, &young.must_revalidate()).await.unwrap(), 44);
    assert!(source.told().iter().all(|told| told.wait.is_none()));
}

// TestCacheReload
#[tokio::test(start_paused = true)]
async fn a_new_rate_is_told_from_the_old_one_and_holds_for_keys_that_are_there() {
    let source = Scripted::new([]);
    let slow = Rate { burst: 1, per_second: 0.1 };
    let cache = changed(&source, |options| options.rate = Some(slow));
    cache.get(&1).await.unwrap();
    assert!(!cache.set_rate(Some(slow)).unwrap());
    assert!(cache.set_rate(Some(Rate { burst: 3, ..slow })).unwrap());
    assert!(cache.set_rate(Some(Rate { burst: 0, ..slow })).is_err());
    let clock = Clock::running();
    for millis in [0, 0, 10_000] {
        cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.unwrap();
        assert_eq!(clock.now().as_millis(), millis);
    }
}

// TestCacheThrottle
#[tokio::test(start_paused = true)]
async fn the_rate_limit_is_for_each_key_of_each_cache() {
    let rate = Some(Rate { burst: 1, per_second: 10.0 });
    let (one, two) = (Scripted::new([]), Scripted::new([]));
    let first = changed(&one, |options| options.rate = rate);
    let second = changed(&two, |options| options.rate = rate);
    let clock = Clock::running();
    let now = Request::DEFAULT.must_revalidate();
    for millis in [0, 100, 200] {
        let (a, b) = tokio::join!(first.get_with(&1, &now), second.get_with(&1, &now));
        a.and(b).unwrap();
        first.get_with(&2, &now).await.unwrap();
        assert_eq!(clock.now().as_millis(), millis);
    }
    assert_eq!((one.fetches(), two.fetches()), (6, 3));
}

// TestCache_ExpiryLoop_ExitsWhenStopped
#[tokio::test(start_paused = true)]
async fn closing_ends_every_task_and_takes_no_time() {
    let source = Scripted::new([at(1, 5), Step::Quiet]);
    let cache = keeping(&source, BLOCKING);
    cache.get(&1).await.unwrap();
    settle().await;
    assert_eq!(source.running(), 1);
    let clock = Clock::running();
    cache.close().await;
    assert_eq!((clock.now().as_millis(), source.running()), (0, 0));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

// TestCache_Prepopulate
#[tokio::test(start_paused = true)]
async fn a_value_that_was_put_is_served_without_a_fetch() {
    let source = Scripted::new([Step::Quiet]);
    let cache = keeping(&source, BLOCKING);
    assert_eq!(cache.put(&1, Fresh::new(17).index(1)), Put::Stored);
    let answer = cache.get(&1).await;
    assert!(is_hit(&answer));
    let reply = answer.unwrap();
    assert_eq!((*reply, reply.index(), source.fetches()), (17, 1, 0));
}
