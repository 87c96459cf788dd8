//! At most one fetch per key, and nobody is left waiting.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::Duration;

use larder_cache::{Cache, Crowd, Error, Options, Put, Request};
use support::{Down, Scripted, Step, cache, options, secs, settle};
use tokio::task::JoinHandle;

type Caller = JoinHandle<Result<u64, Error<Down>>>;

fn call(cache: &Cache<Scripted>, key: u32) -> Caller {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get(&key).await.map(|reply| *reply) })
}

/// Lets the callers run until `n` of them wait.
async fn waiting(cache: &Cache<Scripted>, n: u64) {
    for _ in 0..10_000 {
        if cache.stats().waiters == n {
            return settle().await;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} callers wait, not {n}", cache.stats().waiters);
}

fn call_many(cache: &Cache<Scripted>, callers: usize) -> Vec<Caller> {
    (0..callers).map(|_| call(cache, 1)).collect()
}

#[tokio::test]
async fn ten_thousand_callers_of_a_cold_key_make_one_fetch() {
    let (cache, source, _) = cache([Step::Gate, Step::Value(7)]);
    let callers = call_many(&cache, 10_000);
    waiting(&cache, 10_000).await;
    assert_eq!((cache.stats().waiters, cache.stats().flights), (10_000, 1));
    source.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 7);
    }
    let stats = cache.stats();
    assert_eq!((source.fetches(), stats.joins, stats.waiters), (1, 9_999, 0));
}

#[tokio::test]
async fn ten_thousand_callers_share_one_failure() {
    let (cache, source, _) = cache([Step::Gate, Step::Fail]);
    let callers = call_many(&cache, 10_000);
    waiting(&cache, 10_000).await;
    source.open();
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Error::Source(_))));
    }
    assert_eq!((source.fetches(), cache.stats().failed), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_callers_on_many_threads_make_one_fetch() {
    let (cache, source, _) = cache([Step::Value(7)]);
    for caller in call_many(&cache, 10_000) {
        assert_eq!(caller.await.unwrap().unwrap(), 7);
    }
    assert_eq!(source.fetches(), 1);
}

#[tokio::test]
async fn the_death_of_the_first_caller_ends_nothing() {
    let (cache, source, _) = cache([Step::Gate, Step::Value(7)]);
    let leader = call(&cache, 1);
    settle().await;
    let follower = call(&cache, 1);
    settle().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    source.open();
    assert_eq!(follower.await.unwrap().unwrap(), 7);
    assert_eq!((source.fetches(), cache.stats().waiters), (1, 0));
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_any_more_is_still_published() {
    let (cache, source, _) = cache([Step::Gate, Step::Value(7)]);
    let leader = call(&cache, 1);
    settle().await;
    leader.abort();
    source.open();
    settle().await;
    assert_eq!(*cache.peek(&1).unwrap(), 7);
}

#[tokio::test]
async fn a_panic_of_the_source_releases_every_waiter() {
    let (cache, source, _) = cache([Step::Gate, Step::Panic, Step::Value(1)]);
    let callers = call_many(&cache, 100);
    waiting(&cache, 100).await;
    source.open();
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Error::Panicked)));
    }
    assert_eq!((source.fetches(), cache.stats().panicked), (1, 1));
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_releases_every_waiter() {
    let (cache, source, _) = cache([Step::Hang]);
    for caller in call_many(&cache, 100) {
        assert!(matches!(caller.await.unwrap(), Err(Error::TimedOut(_))));
    }
    assert_eq!((source.fetches(), cache.stats().flights), (1, 0));
}

#[tokio::test]
async fn an_invalidation_during_a_load_is_not_undone_by_it() {
    let (cache, source, _) = cache([Step::Gate, Step::Value(1)]);
    let before = call(&cache, 1);
    settle().await;
    cache.invalidate(&1);
    source.open();
    assert_eq!(before.await.unwrap().unwrap(), 1, "who joined before gets an answer");
    assert!(cache.peek(&1).is_none());
}

#[tokio::test]
async fn who_asks_after_an_invalidation_gets_a_later_fetch_and_there_is_one_at_a_time() {
    let script = [Step::Gate, Step::Value(1), Step::Gate, Step::Value(2)];
    let (cache, source, _) = cache(script);
    let before = call(&cache, 1);
    settle().await;
    cache.invalidate_all();
    let after = call_many(&cache, 10);
    settle().await;
    assert_eq!((source.fetches(), source.running()), (1, 1));
    source.open();
    assert_eq!(before.await.unwrap().unwrap(), 1);
    settle().await;
    assert_eq!((source.fetches(), source.running()), (2, 1));
    source.open();
    for caller in after {
        assert_eq!(caller.await.unwrap().unwrap(), 2);
    }
    assert_eq!((*cache.peek(&1).unwrap(), source.fetches()), (2, 2));
}

#[tokio::test]
async fn the_next_round_does_not_bypass_the_back_off() {
    let script = [Step::Fail, Step::Gate, Step::Fail];
    let (cache, source, _) = cache(script);
    assert!(cache.get(&1).await.is_err());
    let before = call(&cache, 1);
    settle().await;
    cache.invalidate(&1);
    let after = call(&cache, 1);
    settle().await;
    source.open();
    assert!(before.await.unwrap().is_err());
    assert!(after.await.unwrap().is_err());
    assert_eq!(source.fetches(), 2);
}

#[tokio::test]
async fn a_put_during_a_load_is_not_undone_by_it() {
    let (cache, source, _) = cache([Step::Gate, Step::Value(1), Step::Gate, Step::Absent]);
    for (key, value) in [(1, 10), (2, 20)] {
        let before = call(&cache, key);
        settle().await;
        assert_eq!(cache.put(&key, value), Put::Stored);
        source.open();
        let _ = before.await.unwrap();
        assert_eq!(*cache.get(&key).await.unwrap(), value);
    }
}

#[tokio::test]
async fn closing_releases_every_waiter_and_ends_every_task() {
    let (cache, source, _) = cache([Step::Hang]);
    assert_eq!(cache.put(&2, 5), Put::Stored);
    let callers = call_many(&cache, 100);
    waiting(&cache, 100).await;
    assert_eq!(source.running(), 1);
    cache.close().await;
    assert_eq!((source.running(), cache.stats().flights), (0, 0));
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Error::Closed)));
    }
    assert!(matches!(cache.get(&2).await, Err(Error::Closed)));
    assert_eq!(cache.put(&2, 6), Put::Closed);
    assert_eq!((cache.stats().entries, source.fetches()), (0, 1));
}

#[tokio::test]
async fn closing_does_not_start_the_next_round() {
    let (cache, source, _) = cache([Step::Hang]);
    let before = call(&cache, 1);
    settle().await;
    cache.invalidate(&1);
    let after = call(&cache, 1);
    settle().await;
    cache.close().await;
    assert!(matches!(before.await.unwrap(), Err(Error::Closed)));
    assert!(matches!(after.await.unwrap(), Err(Error::Closed)));
    assert_eq!(source.fetches(), 1);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_fetch() {
    let (cache, source, _) = cache([Step::Hang]);
    let caller = call(&cache, 1);
    settle().await;
    caller.abort();
    let _ = caller.await;
    assert_eq!(source.running(), 1);
    drop(cache);
    settle().await;
    assert_eq!(source.running(), 0);
}

#[test]
fn a_runtime_that_shuts_down_releases_the_waiters_of_another() {
    let owner = tokio::runtime::Runtime::new().unwrap();
    let (cache, source, _hands) = owner.block_on(async { cache([Step::Hang]) });
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = other.block_on(async {
        let caller = call(&cache, 1);
        while source.running() == 0 {
            tokio::task::yield_now().await;
        }
        owner.shutdown_background();
        caller.await.unwrap()
    });
    assert!(matches!(outcome, Err(Error::Closed)));
    let late = other.block_on(async { cache.get(&2).await.map(|reply| *reply) });
    assert!(matches!(late, Err(Error::Closed)), "a fetch that cannot be spawned: {late:?}");
}

fn limited(source: &Scripted, change: impl FnOnce(&mut Options)) -> Cache<Scripted> {
    let (mut options, _) = options();
    change(&mut options);
    Cache::new(source.clone(), options).unwrap()
}

#[tokio::test]
async fn one_flight_more_than_the_limit_is_refused_and_a_seat_is_given_back() {
    let source = Scripted::new([Step::Gate, Step::Gate]);
    let cache = limited(&source, |options| options.limits.flights = 2);
    let flying = [call(&cache, 1), call(&cache, 2)];
    settle().await;
    assert!(matches!(cache.get(&3).await, Err(Error::Overloaded(Crowd::Flights))));
    let joined = call(&cache, 1);
    source.open();
    source.open();
    for caller in flying.into_iter().chain([joined]) {
        caller.await.unwrap().unwrap();
    }
    settle().await;
    cache.get(&3).await.unwrap();
    assert_eq!(cache.stats().overloaded, 1);
}

#[tokio::test]
async fn one_waiter_more_than_the_limit_is_refused_and_a_chair_is_given_back() {
    let source = Scripted::new([Step::Gate]);
    let cache = limited(&source, |options| options.limits.waiters = 2);
    let mut waiting = call_many(&cache, 2);
    settle().await;
    assert!(matches!(cache.get(&1).await, Err(Error::Overloaded(Crowd::Waiters))));
    waiting.pop().unwrap().abort();
    settle().await;
    let third = call(&cache, 1);
    settle().await;
    source.open();
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_overloaded_cache_serves_what_it_has() {
    let source = Scripted::new([Step::Value(1), Step::Gate]);
    let (mut options, hands) = options();
    options.limits.flights = 1;
    let cache = Cache::new(source.clone(), options).unwrap();
    cache.get(&1).await.unwrap();
    hands.advance(secs(10));
    let _flying = call(&cache, 2);
    settle().await;
    let reply = cache.get(&1).await.unwrap();
    assert_eq!(*reply, 1);
    assert_eq!(reply.error().unwrap().to_string(), "too many fetches are under way already");
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_takes_its_time_is_not_held_against_the_value() {
    let (cache, source, hands) = cache([Step::Gate, Step::Value(1)]);
    let asking = cache.clone();
    let now = Request::DEFAULT.max_age(Duration::ZERO);
    let caller = tokio::spawn(async move { asking.get_with(&1, &now).await.map(|r| r.age()) });
    settle().await;
    source.open();
    // The flight lands in the first turns; its caller is polled after the clock has moved.
    while source.running() == 1 {
        tokio::task::yield_now().await;
    }
    hands.advance(secs(5));
    caller.await.unwrap().unwrap();
    assert_eq!(source.fetches(), 1);
}
