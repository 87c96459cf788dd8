//! What goes on behind the callers: polling, blocking fetches, errors, refusals.

use std::time::Duration;

use larder_cache::{Error, Origin, Refresh, Request};

use crate::support::{Scripted, Step, secs, settle};
use crate::{BLOCKING, at, is_hit, keeping, millis, pass};

const POLL: Refresh = Refresh::Poll { every: millis(100) };

// TestCacheGet_periodicRefresh
#[tokio::test(start_paused = true)]
async fn a_polled_value_changes_after_the_period_without_a_caller_who_waits() {
    let cache = keeping(&Scripted::new([Step::Value(1), Step::Value(12)]), POLL);
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
    pass(millis(99)).await;
    assert_eq!(*cache.peek(&1).unwrap(), 1);
    // The period may be a sixteenth longer.
    pass(millis(8)).await;
    assert_eq!(*cache.peek(&1).unwrap(), 12);
}

// TestCacheGet_periodicRefreshMultiple
#[tokio::test(start_paused = true)]
async fn the_polling_goes_on() {
    let source = Scripted::new((0..4).map(Step::Value));
    let cache = keeping(&source, POLL);
    cache.get(&1).await.unwrap();
    for value in 1..4 {
        pass(millis(107)).await;
        let answer = cache.get(&1).await;
        assert!(is_hit(&answer));
        assert_eq!(*answer.unwrap(), value);
    }
}

// TestCacheGet_periodicRefreshErrorBackoff
#[tokio::test(start_paused = true)]
async fn a_background_fetch_that_fails_backs_off_and_the_value_stays() {
    for refresh in [BLOCKING, Refresh::Poll { every: millis(1) }] {
        let source = Scripted::new([at(1, 4), Step::Broken]);
        let cache = keeping(&source, refresh);
        cache.get(&1).await.unwrap();
        pass(millis(500)).await;
        // The first, three failures without a wait, and one more before the wait.
        assert_eq!(source.fetches(), 5, "{refresh:?}");
        let reply = cache.get(&1).await.unwrap();
        assert_eq!((*reply, reply.index()), (1, 4));
        assert!(reply.error().is_none());
    }
}

// TestCacheGet_periodicRefreshBadRPCZeroIndexErrorBackoff
#[tokio::test(start_paused = true)]
async fn a_source_without_an_index_is_served_and_not_asked_in_a_loop() {
    let source = Scripted::new((1..100).map(Step::Value));
    let cache = keeping(&source, BLOCKING);
    cache.get(&1).await.unwrap();
    pass(millis(500)).await;
    assert!(source.fetches() < 10, "{} fetches", source.fetches());
    let answer = cache.get(&1).await;
    assert!(is_hit(&answer));
    assert_eq!(usize::try_from(*answer.unwrap()), Ok(source.fetches()));
}

// TestCacheGet_noIndexSetsOne
#[tokio::test(start_paused = true)]
async fn only_the_first_fetch_does_not_wait_for_an_index() {
    for index in [0, 1] {
        let source = Scripted::new([at(1, index), at(1, index), at(1, index), at(1, index)]);
        let cache = keeping(&source, BLOCKING);
        assert_eq!(cache.get(&1).await.unwrap().index(), 1);
        pass(millis(100)).await;
        let told = source.told();
        assert!(told.len() > 2 && told[0].wait.is_none());
        assert!(told[1..].iter().all(|told| told.wait.is_some_and(|wait| wait.past == 1)));
    }
}

// TestCacheGet_refreshAge
#[tokio::test(start_paused = true)]
async fn the_age_grows_from_the_first_failure_until_the_recovery() {
    let source = Scripted::new([at(1, 4), Step::Gate, Step::Broken]);
    let cache = keeping(&source, BLOCKING);
    cache.get(&1).await.unwrap();
    for _ in 0..2 {
        pass(secs(10)).await;
        assert_eq!(cache.get(&1).await.unwrap().age(), Duration::ZERO);
    }
    source.open();
    for seconds in 1..30 {
        pass(secs(1)).await;
        let answer = cache.get(&1).await;
        assert!(is_hit(&answer));
        let reply = answer.unwrap();
        assert_eq!((*reply, reply.age()), (1, secs(seconds)));
    }
    source.only(Step::Quiet);
    pass(secs(32)).await;
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((*reply, reply.index(), reply.age()), (1, 4, Duration::ZERO));
    assert!(reply.error().is_none());
}

// TestCache_RefreshLifeCycle, permission denied; to wait for an index is to wait for the recovery here,
// so it is who must revalidate that hears of the error.
#[tokio::test(start_paused = true)]
async fn an_error_reaches_who_asked_and_the_refresh_goes_on() {
    let source = Scripted::new([at(1, 4), Step::Hang]);
    let cache = keeping(&source, BLOCKING);
    cache.get(&1).await.unwrap();
    settle().await;
    source.only(Step::Fail);
    let now = Request::DEFAULT.must_revalidate();
    assert!(matches!(cache.get_with(&1, &now).await, Err(Error::Source(_))));
    source.only(Step::Quiet);
    pass(secs(2)).await;
    assert_eq!((source.running(), cache.stats().keepers.connected), (1, 1));
}

// TestCache_RefreshLifeCycle, ACL not found
#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_refresh_and_leaves_the_entry() {
    let source = Scripted::new([at(1, 4), Step::Hang]);
    let cache = keeping(&source, BLOCKING);
    cache.get(&1).await.unwrap();
    settle().await;
    source.only(Step::Refuse);
    let now = Request::DEFAULT.must_revalidate();
    assert!(matches!(cache.get_with(&1, &now).await, Err(Error::Source(_))));
    source.only(Step::Quiet);
    pass(secs(59)).await;
    assert_eq!((source.fetches(), cache.stats().keepers.total), (3, 0));
    assert!(is_hit(&cache.get(&1).await));
    // A later request that is not satisfied starts it again.
    pass(secs(2)).await;
    assert!(matches!(cache.get(&1).await.unwrap().origin(), Origin::Miss));
    settle().await;
    assert_eq!((source.running(), cache.stats().keepers.connected), (1, 1));
}
