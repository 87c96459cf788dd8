//! Look, fetch, publish: what a single caller sees.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::Duration;

use larder_cache::{Cache, Error, Fresh, Options, Origin, Put, Request};
use support::{Scripted, Step, cache, options, secs};

#[tokio::test]
async fn a_fresh_value_is_served_from_memory_with_its_age() {
    let (cache, source, hands) = cache([Step::Value(7)]);
    assert!(matches!(cache.get(&1).await.unwrap().origin(), Origin::Miss));
    hands.advance(secs(9));
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((*reply, reply.age(), source.fetches()), (7, secs(9), 1));
    assert_eq!(reply.fresh_for(), secs(1));
    assert!(matches!(reply.origin(), Origin::Hit));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.fetched, stats.entries), (1, 1, 1, 1));
}

#[tokio::test]
async fn the_ttl_ends_freshness_and_the_source_is_shown_the_previous_value() {
    let (cache, source, hands) = cache([Step::Fresh(Fresh::new(7).index(70)), Step::Value(8)]);
    assert_eq!(cache.get(&1).await.unwrap().index(), 70);
    hands.advance(secs(10));
    assert!(cache.peek(&1).is_none());
    assert_eq!(*cache.get(&1).await.unwrap(), 8);
    assert_eq!(source.last_attempt(), (Some(7), Some(70), Duration::MAX));
}

#[tokio::test]
async fn a_source_shortens_the_ttl_and_never_lengthens_it() {
    let fresh = |ttl| Step::Fresh(Fresh::new(1).ttl(secs(ttl)));
    let (cache, source, hands) = cache([fresh(2), fresh(1_000)]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(2));
    cache.get(&1).await.unwrap();
    assert_eq!(source.fetches(), 2);
    hands.advance(secs(10));
    cache.get(&1).await.unwrap();
    assert_eq!(source.fetches(), 3);
}

#[tokio::test]
async fn what_is_not_worth_its_place_is_for_those_who_wait_and_takes_the_place_of_nothing() {
    let unkept = |value| Step::Fresh(Fresh::new(value).unkept());
    let (cache, source, hands) = cache([Step::Value(7), Step::Gate, unkept(8), unkept(9)]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    let waiting = [cache.clone(), cache.clone()]
        .map(|cache| tokio::spawn(async move { *cache.get(&1).await.unwrap() }));
    while cache.stats().waiters < 2 {
        tokio::task::yield_now().await;
    }
    source.open();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 8, "one fetch for both");
    }
    assert!(cache.peek(&1).is_none());
    assert_eq!((cache.stats().entries, source.fetches()), (0, 2));
    assert_eq!((*cache.get(&1).await.unwrap(), source.fetches()), (9, 3));
    assert_eq!(source.last_attempt().0, None, "there is no previous value");
    let _ = cache.put(&1, Fresh::new(5).unkept());
    assert_eq!(**cache.peek(&1).as_ref().unwrap(), 5);
}

#[tokio::test]
async fn not_modified_moves_only_the_freshness() {
    let (cache, source, hands) = cache([Step::Fresh(Fresh::new(7).index(70)), Step::NotModified]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(12));
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((*reply, reply.index(), reply.age()), (7, 70, secs(0)));
    hands.advance(secs(9));
    assert_eq!((*cache.get(&1).await.unwrap(), source.fetches()), (7, 2));
    assert_eq!(cache.stats().unmodified, 1);
}

#[tokio::test]
async fn not_modified_without_a_previous_value_is_an_error() {
    let (cache, ..) = cache([Step::NotModified]);
    assert!(matches!(cache.get(&1).await, Err(Error::NothingToConfirm)));
}

#[tokio::test]
async fn a_max_age_narrows_freshness_and_zero_always_asks() {
    let (cache, source, hands) = cache([Step::Value(1), Step::Value(2), Step::Value(3)]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(4));
    let young = Request::DEFAULT.max_age(secs(4));
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
    assert_eq!(*cache.get_with(&1, &young).await.unwrap(), 2);
    assert_eq!(*cache.get_with(&1, &Request::DEFAULT.max_age(secs(0))).await.unwrap(), 3);
    assert_eq!((source.fetches(), source.last_attempt().2), (3, secs(0)));
}

#[tokio::test]
async fn an_absence_is_remembered_for_the_shorter_of_two_ttls() {
    let (cache, source, hands) =
        cache([Step::AbsentFor(secs(99)), Step::AbsentFor(secs(2)), Step::Value(3)]);
    assert!(matches!(cache.get(&1).await, Err(Error::Absent)));
    hands.advance(Duration::from_millis(4_999));
    assert!(matches!(cache.get(&1).await, Err(Error::Absent)));
    assert_eq!((source.fetches(), cache.stats().negative), (1, 1));
    hands.advance(Duration::from_millis(1));
    assert!(matches!(cache.get(&1).await, Err(Error::Absent)));
    assert_eq!(source.fetches(), 2);
    hands.advance(secs(2));
    assert_eq!(*cache.get(&1).await.unwrap(), 3);
}

#[tokio::test]
async fn a_max_age_applies_to_an_absence_too() {
    let (cache, source, hands) = cache([Step::Absent, Step::Value(1)]);
    assert!(cache.get(&1).await.is_err());
    hands.advance(secs(2));
    let young = Request::DEFAULT.max_age(secs(2));
    assert_eq!((*cache.get_with(&1, &young).await.unwrap(), source.fetches()), (1, 2));
}

#[tokio::test]
async fn absent_forgets_the_value() {
    let (cache, _, hands) = cache([Step::Value(1), Step::Absent]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    assert!(matches!(cache.get(&1).await, Err(Error::Absent)));
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn what_is_put_is_served_and_ends_an_absence() {
    let (cache, source, _) = cache([Step::Absent]);
    assert!(cache.get(&1).await.is_err());
    assert_eq!(cache.put(&1, 5), Put::Stored);
    assert_eq!((*cache.get(&1).await.unwrap(), source.fetches()), (5, 1));
    assert_eq!(cache.put(&1, Fresh::new(6).index(60)), Put::Stored);
    assert_eq!(cache.peek(&1).unwrap().index(), 60);
}

#[tokio::test]
async fn put_if_absent_leaves_a_value_alone_even_a_stale_one() {
    let (cache, _, hands) = cache([]);
    assert_eq!(cache.put_if_absent(&1, 5), Put::Stored);
    hands.advance(secs(11));
    assert_eq!(cache.put_if_absent(&1, 6), Put::Present);
    assert!(cache.peek(&1).is_none());
    assert!(cache.invalidate(&1));
    assert_eq!(cache.put_if_absent(&1, 6), Put::Stored);
    assert_eq!(*cache.peek(&1).unwrap(), 6);
}

#[tokio::test]
async fn invalidate_forgets_one_and_invalidate_all_forgets_all() {
    let (cache, source, _) = cache([Step::Value(1), Step::Value(2), Step::Absent]);
    for key in [1, 2, 3] {
        let _ = cache.get(&key).await;
    }
    assert!(cache.invalidate(&1));
    assert!(!cache.invalidate(&1));
    assert!(cache.peek(&1).is_none() && cache.peek(&2).is_some());
    cache.invalidate_all();
    assert!(cache.peek(&2).is_none());
    cache.get(&3).await.expect("the absence is forgotten as well");
    assert_eq!(source.fetches(), 4);
}

#[tokio::test]
async fn a_value_heavier_than_a_shard_reaches_its_caller_and_is_not_kept() {
    let source = Scripted::new([Step::Value(1_000), Step::Value(1)]);
    let (mut options, _hands) = options();
    (options.capacity, options.expected_entries) = (500, 10);
    let cache = Cache::new(source.clone(), options).unwrap();
    assert_eq!(*cache.get(&1).await.unwrap(), 1_000);
    assert!(cache.peek(&1).is_none());
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
    assert_eq!(cache.put(&1, 2_000), Put::TooHeavy);
    assert!(cache.peek(&1).is_none(), "the outdated value must not stay");
    let stats = cache.stats();
    assert_eq!((stats.refused, stats.evictions, stats.entries), (2, 0, 0));
}

#[tokio::test]
async fn the_capacity_bounds_the_entries_and_evictions_are_counted() {
    let (mut options, _hands) = options();
    (options.capacity, options.expected_entries) = (50, 50);
    let cache = Cache::new(Scripted::new([]), options).unwrap();
    for key in 0..1_000 {
        cache.get(&key).await.unwrap();
    }
    let stats = cache.stats();
    assert!(stats.entries <= 50 && stats.weight <= 50, "{stats:?}");
    assert_eq!(stats.evictions + stats.entries, 1_000);
}

#[tokio::test]
async fn a_bad_option_is_a_typed_error() {
    let bad = Options { capacity: 0, ..Options::default() };
    let error = Cache::new(Scripted::new([]), bad).unwrap_err();
    assert_eq!(error.option, "capacity");
}

#[tokio::test(start_paused = true)]
async fn a_cache_without_a_given_clock_moves_its_own() {
    let options = Options { ttl: secs(1), ..Options::default() };
    let cache = Cache::new(Scripted::new([]), options).unwrap();
    cache.get(&1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(985)).await;
    assert!(cache.peek(&1).is_some());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(cache.peek(&1).is_none());
    cache.close().await;
}
