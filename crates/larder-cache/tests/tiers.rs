//! A cache over a cache.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use larder_cache::{Cache, Error, Fresh, Request};
use support::{Down, Scripted, Step, options, secs};

struct Tiers {
    top: Cache<Cache<Scripted>>,
    bottom: Cache<Scripted>,
    source: Scripted,
    hands: larder_cache::Hands,
}

fn tiers(steps: impl IntoIterator<Item = Step>) -> Tiers {
    let source = Scripted::new(steps);
    let (options, hands) = options();
    let bottom = Cache::new(source.clone(), options.clone()).unwrap();
    let top = Cache::new(bottom.clone(), options).unwrap();
    Tiers { top, bottom, source, hands }
}

#[tokio::test]
async fn a_value_keeps_its_age_on_the_way_up() {
    let Tiers { top, bottom, hands, .. } = tiers([Step::Value(1)]);
    bottom.get(&1).await.unwrap();
    hands.advance(secs(8));
    assert_eq!(top.get(&1).await.unwrap().age(), secs(8));
    hands.advance(secs(9));
    assert_eq!(top.get(&1).await.unwrap().age(), secs(17), "the ttl above counts from the arrival");
}

#[tokio::test]
async fn a_callers_bound_holds_through_both_tiers() {
    let Tiers { top, bottom, source, hands } = tiers([Step::Value(1), Step::Value(2)]);
    bottom.get(&1).await.unwrap();
    hands.advance(secs(8));
    let young = Request::DEFAULT.max_age(secs(5));
    let reply = top.get_with(&1, &young).await.unwrap();
    assert_eq!((*reply, reply.age(), source.fetches()), (2, secs(0), 2));
}

#[tokio::test]
async fn callers_of_one_fetch_that_has_not_begun_have_it_asked_for_the_strictest_bound() {
    let Tiers { top, bottom, source, hands } = tiers([Step::Value(1), Step::Value(2)]);
    bottom.get(&1).await.unwrap();
    hands.advance(secs(8));
    let young = Request::DEFAULT.max_age(secs(5));
    // On one thread both callers are in the round before its fetch begins.
    let (lax, strict) = tokio::join!(top.get(&1), top.get_with(&1, &young));
    assert_eq!((*lax.unwrap(), *strict.unwrap(), source.fetches()), (2, 2, 2));
}

#[tokio::test]
async fn a_caller_who_joins_a_laxer_fetch_gets_what_it_asked_for() {
    let old = Fresh::new(1).age(secs(8));
    let Tiers { top, source, .. } = tiers([Step::Gate, Step::Fresh(old), Step::Value(2)]);
    let lax = tokio::spawn({
        let top = top.clone();
        async move { top.get(&1).await.map(|reply| *reply) }
    });
    support::settle().await;
    let young = Request::DEFAULT.max_age(secs(5));
    source.open();
    let strict = top.get_with(&1, &young).await.unwrap();
    assert_eq!((lax.await.unwrap().unwrap(), *strict, source.fetches()), (1, 2, 2));
}

#[tokio::test]
async fn the_top_serves_its_last_good_value_with_the_error_of_the_bottom() {
    let Tiers { top, hands, .. } = tiers([Step::Value(1), Step::Fail]);
    top.get(&1).await.unwrap();
    hands.advance(secs(10));
    let reply = top.get(&1).await.unwrap();
    let beside = reply.error().unwrap().downcast_ref::<Error<Error<Down>>>();
    assert!(matches!(beside, Some(Error::Source(error)) if matches!(**error, Error::Source(_))));
}

#[tokio::test]
async fn absent_is_absent_on_both_tiers() {
    let Tiers { top, bottom, .. } = tiers([Step::Absent]);
    assert!(matches!(top.get(&1).await, Err(Error::Absent)));
    assert_eq!((top.stats().absent, bottom.stats().absent), (1, 1));
}

#[tokio::test]
async fn many_callers_of_the_top_make_one_fetch_at_the_bottom() {
    let Tiers { top, source, .. } = tiers([Step::Gate, Step::Value(7)]);
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let top = top.clone();
            tokio::spawn(async move { *top.get(&1).await.unwrap() })
        })
        .collect();
    while top.stats().waiters < 1_000 {
        tokio::task::yield_now().await;
    }
    source.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 7);
    }
    assert_eq!(source.fetches(), 1);
}
