//! The ways of staying fresh: polling, blocking fetches, streams and batches.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::Duration;

use larder_cache::{Cache, Fresh, Inbox, Options, Origin, Refresh, Request};
use support::{Counted, secs};

/// A cache over an owner whose clock is tokio's paused one.
fn blocking(owner: &Counted) -> Cache<Counted> {
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    Cache::new(owner.clone(), options).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_blocking_keeper_brings_a_change_without_being_asked() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    assert_eq!(*cache.get(&1).await.unwrap(), 1);
    owner.set(2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((*reply, reply.age()), (2, Duration::ZERO));
    assert!(matches!(reply.origin(), Origin::Hit));
    assert_eq!(cache.stats().keepers.connected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_a_blocking_fetch_waits_to_change_has_no_age() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    cache.get(&1).await.unwrap();
    tokio::time::sleep(secs(250)).await;
    let reply = cache.get(&1).await.unwrap();
    assert_eq!((reply.age(), owner.fetches()), (Duration::ZERO, 2));
}

#[tokio::test(start_paused = true)]
async fn a_parked_caller_wakes_when_the_index_passes() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let index = cache.get(&1).await.unwrap().index();
    let parked = tokio::spawn({
        let cache = cache.clone();
        let request = Request::DEFAULT.min_index(index, secs(60));
        async move { cache.get_with(&1, &request).await.map(|reply| (*reply, reply.index())) }
    });
    tokio::time::sleep(secs(30)).await;
    assert!(!parked.is_finished());
    owner.set(2);
    assert_eq!(parked.await.unwrap().unwrap(), (2, index + 1));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_hears_of_each_change() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    for value in 1..10 {
        owner.set(value);
        let update = subscription.changed().await.unwrap();
        assert_eq!(*update.value.unwrap(), value);
        assert_eq!(subscription.latest(), Some(&value));
    }
    cache.close().await;
    assert!(subscription.changed().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_populated_cache_goes_on_from_there() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let _ = cache.put(&1, Fresh::new(1).index(owner.index()));
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    assert_eq!(*subscription.changed().await.unwrap().value.unwrap(), 1);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(owner.last_wait(), Some(owner.index()));
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_dropped_ends_its_subscriptions_whoever_holds_their_notifications() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut inbox = Inbox::new();
    let one = cache.notify(&1, &Request::DEFAULT, "one", &inbox, |_| ()).unwrap();
    cache.notify(&2, &Request::DEFAULT, "two", &inbox, |_| ()).unwrap().keep();
    inbox.recv().await;
    inbox.recv().await;
    // A look that finds nothing leaves wakers behind, which hold the subscriptions as well.
    tokio::time::timeout(secs(1), inbox.recv()).await.unwrap_err();
    drop(inbox);
    assert_eq!(cache.stats().subscriptions, 0);
    drop(one);
}
