//! What nobody reads goes, and stays away until it is asked for.

use std::time::Duration;

use larder_cache::expiry::Deadlines;
use larder_cache::{Cache, Clock, Origin, Refresh, Removal, Request, Time};

use crate::support::{Scripted, Step, secs, settle};
use crate::{BLOCKING, ask, at, changed, is_hit, millis, pass, past};

/// Entries go after 40 s without a read.
fn idling(source: &Scripted, refresh: Refresh) -> Cache<Scripted> {
    changed(source, |options| {
        (options.idle, options.refresh, options.ttl) = (secs(40), refresh, secs(3600));
    })
}

async fn is_a_miss(cache: &Cache<Scripted>) -> bool {
    matches!(cache.get(&1).await.unwrap().origin(), Origin::Miss)
}

// TestCacheGet_expire
#[tokio::test(start_paused = true)]
async fn an_entry_that_nobody_reads_goes_and_is_fetched_anew() {
    for refresh in [Refresh::OnDemand, Refresh::Poll { every: secs(3600) }] {
        let source = Scripted::new([Step::Value(1), Step::Value(2)]);
        let cache = idling(&source, refresh);
        assert!(is_a_miss(&cache).await);
        pass(millis(20)).await;
        let answer = cache.get(&1).await;
        assert!(is_hit(&answer));
        assert_eq!(answer.unwrap().age(), millis(20));
        // Where no task keeps it, within a quarter more.
        pass(secs(50)).await;
        assert_eq!(cache.stats().entries, 0);
        assert!(is_a_miss(&cache).await);
        assert_eq!(source.fetches(), 2);
    }
}

// TestCacheGet_expireBackgroudRefreshCancel
#[tokio::test(start_paused = true)]
async fn the_end_of_an_entry_ends_its_blocking_fetch() {
    let source = Scripted::new([at(8, 4), Step::Hang, at(8, 5)]);
    let cache = idling(&source, BLOCKING);
    assert!(is_a_miss(&cache).await);
    settle().await;
    assert_eq!(source.running(), 1);
    pass(secs(40)).await;
    let stats = cache.stats();
    assert_eq!((source.running(), stats.entries, stats.keepers.total), (0, 0, 0));
    pass(secs(400)).await;
    assert_eq!((source.fetches(), cache.stats().entries), (2, 0));
    assert!(is_a_miss(&cache).await);
}

// TestCacheGet_expireBackgroudRefresh
#[tokio::test(start_paused = true)]
async fn a_fetch_that_ends_after_its_entry_does_not_bring_it_back() {
    let source = Scripted::new([Step::Value(1), Step::Gate, Step::Value(2)]);
    let cache = changed(&source, |options| {
        (options.idle, options.ttl) = (secs(40), secs(3600));
        (options.refresh, options.fetch_timeout) = (Refresh::Poll { every: secs(30) }, secs(300));
    });
    assert!(is_a_miss(&cache).await);
    pass(secs(60)).await;
    assert_eq!((source.running(), cache.stats().entries), (1, 0));
    source.open();
    pass(secs(1)).await;
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.keepers.total, source.fetches()), (0, 0, 2));
    assert!(is_a_miss(&cache).await);
}

// TestCacheGet_expireResetGet
#[tokio::test(start_paused = true)]
async fn each_read_keeps_the_entry_for_another_while() {
    for refresh in [Refresh::OnDemand, BLOCKING] {
        let source = Scripted::new([at(8, 4), Step::Quiet]);
        let cache = idling(&source, refresh);
        assert!(is_a_miss(&cache).await);
        for _ in 0..5 {
            pass(secs(35)).await;
            assert!(is_hit(&cache.get(&1).await), "{refresh:?}");
        }
        pass(secs(50)).await;
        assert!(is_a_miss(&cache).await, "{refresh:?}");
    }
}

// TestCacheGet_expireResetGetNoChange
#[tokio::test(start_paused = true)]
async fn who_waits_for_an_index_keeps_the_entry_for_longer_than_its_idle_time() {
    let source = Scripted::new([at(8, 4), Step::Hang]);
    let cache = idling(&source, BLOCKING);
    assert!(is_a_miss(&cache).await);
    let (clock, waiting) = (Clock::running(), ask(&cache, past(4, secs(100))));
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((*reply, reply.index(), clock.now().as_millis()), (8, 4, 100_000));
    pass(secs(39)).await;
    assert!(is_hit(&cache.get(&1).await));
    assert_eq!((source.fetches(), source.running()), (2, 1));
}

// TestCacheGet_expireClose; a source keeps no state here, it hears of each value that leaves.
#[tokio::test(start_paused = true)]
async fn the_source_hears_that_an_idle_value_has_left() {
    for refresh in [Refresh::OnDemand, BLOCKING] {
        let source = Scripted::new([at(8, 4), Step::Quiet]);
        let cache = idling(&source, refresh);
        assert!(is_a_miss(&cache).await);
        assert_eq!(source.removals(), []);
        pass(secs(50)).await;
        assert_eq!(source.removals(), [(8, Removal::Idle)]);
    }
}

const fn second(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

// TestExpiryHeap; what wakes the loop there is what `next` says here: a driver looks after each change.
#[test]
fn the_next_deadline_moves_when_the_head_does_and_only_then() {
    let mut heap = Deadlines::default();
    assert_eq!((heap.next(), heap.len()), (None, 0));
    heap.set("first", second(100));
    assert_eq!(heap.next(), Some(second(100)));
    heap.set("before it", second(50));
    assert_eq!(heap.next(), Some(second(50)));
    heap.set("at the end", second(1000));
    assert_eq!(heap.next(), Some(second(50)));
}

// TestExpiryHeap, Remove(0) and Update; an old head may wake a driver once for nothing, never too late.
#[test]
fn a_head_that_is_removed_or_put_off_is_not_due_at_its_old_time() {
    let mut heap = Deadlines::default();
    heap.set("a", second(50));
    heap.set("b", second(100));
    heap.set("c", second(150));
    assert_eq!(heap.remove(&"a"), Some(second(50)));
    assert_eq!((heap.pop(second(50)), heap.next()), (None, Some(second(100))));
    heap.set("b", second(200));
    assert_eq!((heap.pop(second(100)), heap.next()), (None, Some(second(150))), "another head");
    heap.set("c", second(175));
    assert_eq!((heap.pop(second(150)), heap.next()), (None, Some(second(175))), "in its place");
    assert_eq!(heap.pop(second(999)), Some(("c", second(175))));
    assert_eq!(heap.pop(second(999)), Some(("b", second(200))));
    assert!(heap.is_empty());
}

// TestExpiryHeap, Update to an earlier time: ignored there, while here a deadline may come forward.
#[test]
fn a_deadline_that_comes_forward_is_kept() {
    let mut heap = Deadlines::default();
    heap.set("a", second(100));
    heap.set("b", second(200));
    heap.set("b", second(10));
    assert_eq!((heap.next(), heap.get(&"b")), (Some(second(10)), Some(second(10))));
    assert_eq!(heap.pop(second(10)), Some(("b", second(10))));
    assert_eq!(heap.pop(second(999)), Some(("a", second(100))));
    assert_eq!(heap.pop(second(999)), None);
}

// TestCacheGet_expireResetGet, by way of a subscription.
#[tokio::test(start_paused = true)]
async fn the_idle_time_begins_when_the_last_subscription_ends() {
    let source = Scripted::new([at(8, 4), Step::Quiet]);
    let cache = idling(&source, BLOCKING);
    let subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    pass(secs(200)).await;
    drop(subscription);
    pass(secs(39)).await;
    assert_eq!((cache.stats().entries, source.running()), (1, 1));
    pass(secs(2)).await;
    assert_eq!((cache.stats().entries, source.running()), (0, 0));
    assert_eq!(cache.stats().keepers.total, 0);
    pass(Duration::from_secs(400)).await;
    assert_eq!(cache.stats().entries, 0);
}
