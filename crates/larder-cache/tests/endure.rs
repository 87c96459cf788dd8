//! What callers get while the source fails.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use larder_cache::{Cache, Error, Origin, Request};
use support::{Down, Scripted, Step, cache, options, secs, settle};

#[tokio::test]
async fn without_a_value_the_error_comes_after_one_attempt() {
    let (cache, source, _) = cache([Step::Fail]);
    assert!(matches!(cache.get(&1).await, Err(Error::Source(_))));
    assert_eq!((source.fetches(), cache.stats().failed), (1, 1));
}

#[tokio::test]
async fn the_last_good_value_is_served_with_its_age_and_the_error_beside_it() {
    let (cache, _, hands) = cache([Step::Value(7), Step::Fail]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(29));
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((*reply, reply.age()), (7, secs(29)));
    let beside = reply.error().unwrap().downcast_ref::<Error<Down>>();
    assert!(matches!(beside, Some(Error::Source(_))));
    assert_eq!(cache.stats().stale, 1);
}

#[tokio::test]
async fn beyond_the_staleness_bound_only_the_error_is_left() {
    let (cache, _, hands) = cache([Step::Value(7), Step::Fail]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(30));
    assert!(matches!(cache.get(&1).await, Err(Error::Source(_))));
}

#[tokio::test]
async fn a_request_narrows_the_staleness_bound() {
    let (cache, _, hands) = cache([Step::Value(7), Step::Fail, Step::Fail]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(12));
    let narrow = |bound| Request::DEFAULT.stale_if_error(secs(bound));
    assert!(cache.get_with(&1, &narrow(2)).await.is_err());
    assert!(cache.get_with(&1, &narrow(3)).await.unwrap().error().is_some());
}

#[tokio::test]
async fn an_invalidated_value_is_not_endured() {
    let (cache, _, hands) = cache([Step::Value(7), Step::Fail]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(11));
    cache.invalidate(&1);
    assert!(cache.get(&1).await.is_err());
}

#[tokio::test]
async fn no_caller_bypasses_the_back_off() {
    let (cache, source, hands) = cache([Step::Value(7), Step::Fail, Step::Fail, Step::Value(8)]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    // The first failure is free; the second is followed by a wait of 3 to 4 s.
    for fetches in [2, 3] {
        assert!(cache.get(&1).await.unwrap().error().is_some());
        assert_eq!(source.fetches(), fetches);
    }
    hands.advance(secs(2));
    let now = Request::DEFAULT.max_age(secs(0));
    assert!(cache.get(&1).await.unwrap().error().is_some());
    assert!(cache.get_with(&1, &now).await.unwrap().error().is_some());
    cache.invalidate(&1);
    assert!(matches!(cache.get(&1).await, Err(Error::Source(_))));
    cache.invalidate_all();
    assert!(matches!(cache.get_with(&1, &now).await, Err(Error::Source(_))));
    assert_eq!(source.fetches(), 3);
    hands.advance(secs(2));
    assert_eq!((*cache.get(&1).await.unwrap(), source.fetches()), (8, 4));
}

#[tokio::test]
async fn a_success_resets_the_back_off() {
    let script = [Step::Fail, Step::Fail, Step::Value(1), Step::Fail, Step::Value(2)];
    let (cache, source, hands) = cache(script);
    assert!(cache.get(&1).await.is_err());
    assert!(cache.get(&1).await.is_err());
    hands.advance(secs(4));
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    assert!(cache.get(&1).await.unwrap().error().is_some());
    assert_eq!((*cache.get(&1).await.unwrap(), source.fetches()), (2, 5));
}

#[tokio::test]
async fn the_wait_doubles_up_to_the_cap() {
    let (cache, source, hands) = cache((0..50).map(|_| Step::Fail));
    let mut fetches_at = Vec::new();
    for second in 0..80 {
        let before = source.fetches();
        let _ = cache.get(&1).await;
        if source.fetches() > before {
            fetches_at.push(second);
        }
        hands.advance(secs(1));
    }
    let waits: Vec<u64> = fetches_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (n, bounds) in [1..=1, 3..=4, 6..=8, 12..=16, 12..=16].into_iter().enumerate() {
        assert!(bounds.contains(&waits[n]), "wait {n} of {waits:?}");
    }
}

#[tokio::test]
async fn the_error_ttl_is_a_wait_even_for_the_first_failure() {
    let source = Scripted::new([Step::Fail, Step::Value(1)]);
    let (mut options, hands) = options();
    options.error_ttl = secs(2);
    let cache = Cache::new(source.clone(), options).unwrap();
    assert!(cache.get(&1).await.is_err());
    hands.advance(secs(1));
    assert!(cache.get(&1).await.is_err());
    assert_eq!(source.fetches(), 1);
    hands.advance(secs(1));
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_remembered_about_failing_keys_is_bounded() {
    let source = Scripted::new((0..2_000).map(|_| Step::Absent));
    let (mut options, _hands) = options();
    (options.limits.troubles, options.limits.keepers) = (40, 10);
    let cache = Cache::new(source.clone(), options).unwrap();
    for key in 0..1_000 {
        assert!(cache.get(&key).await.is_err());
    }
    for key in 0..1_000 {
        assert!(cache.get(&key).await.is_err());
    }
    let remembered = cache.stats().negative;
    assert!(remembered <= 100, "{remembered} answers from memory");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_times_out() {
    let (cache, source, hands) = cache([Step::Hang, Step::Value(1), Step::Hang]);
    assert!(matches!(cache.get(&1).await, Err(Error::TimedOut(after)) if after == secs(3)));
    assert_eq!((source.running(), cache.stats().timed_out), (0, 1));
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    let reply = cache.get(&1).await.unwrap();
    assert!(matches!(reply.origin(), Origin::Stale(_)));
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_gets_the_stale_value_and_the_fetch_goes_on() {
    let (cache, source, hands) = cache([Step::Value(1), Step::Gate, Step::Value(2)]);
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    let hasty = Request::DEFAULT.timeout(secs(1));
    let reply = cache.get_with(&1, &hasty).await.unwrap();
    let beside = reply.error().unwrap().downcast_ref::<Error<Down>>();
    assert!(matches!(beside, Some(Error::Impatient(after)) if *after == secs(1)));
    assert_eq!((*reply, source.running()), (1, 1));
    source.open();
    settle().await;
    assert_eq!((*cache.peek(&1).unwrap(), source.fetches()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_without_a_value_gets_the_error() {
    let (cache, ..) = cache([Step::Hang]);
    let hasty = Request::DEFAULT.timeout(secs(1));
    assert!(matches!(cache.get_with(&1, &hasty).await, Err(Error::Impatient(_))));
}
