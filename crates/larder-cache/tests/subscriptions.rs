//! Subscriptions and inboxes: who hears what, and that nobody holds anybody up.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Cache, Caches, CachesError, Crowd, Delivery, Error, Inbox, NamedSubscribeError, Options,
    Refresh, Request, SubscribeError, Update,
};
use support::{Counted, Down, Scripted, Step, secs, settle};

fn blocking(owner: &Counted) -> Cache<Counted> {
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    Cache::new(owner.clone(), options).unwrap()
}

fn pushed() -> Cache<Scripted> {
    let options = Options { refresh: Refresh::Pushed, ..Options::default() };
    Cache::new(Scripted::new([]), options).unwrap()
}

type Told = Update<u64, Down>;

fn value(update: &Told) -> Option<u64> {
    update.value.as_ref().map(|reply| **reply)
}

#[tokio::test(start_paused = true)]
async fn polling_without_a_max_age_is_refused() {
    let cache = Cache::new(Scripted::new([]), Options::default()).unwrap();
    for request in [Request::DEFAULT, Request::DEFAULT.max_age(Duration::ZERO)] {
        let refused = cache.subscribe(&1, &request).unwrap_err();
        assert_eq!(refused, SubscribeError::NoMaxAge);
    }
    assert_eq!(cache.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_subscribers_cost_one_fetch() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut held: Vec<_> =
        (0..1_000).map(|_| cache.subscribe(&1, &Request::DEFAULT).unwrap()).collect();
    for subscription in &mut held {
        assert_eq!(value(&subscription.changed().await.unwrap()), Some(1));
    }
    owner.set(2);
    for subscription in &mut held {
        assert_eq!(value(&subscription.changed().await.unwrap()), Some(2));
    }
    settle().await;
    // The first one, and those that waited at the owner.
    assert_eq!((owner.fetches(), cache.stats().keepers.total), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_latest_and_is_told_what_it_missed() {
    let cache = pushed();
    let _ = cache.put(&1, 1);
    let mut slow = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    slow.changed().await.unwrap();
    for next in 2..=10 {
        let _ = cache.put(&1, next);
    }
    let update = slow.changed().await.unwrap();
    assert_eq!((value(&update), update.missed), (Some(10), 8));
}

#[tokio::test(start_paused = true)]
async fn who_wants_each_gets_each_as_far_as_the_backlog_goes() {
    let cache = pushed();
    let mut each = cache.subscribe_to(&1, &Request::DEFAULT, Delivery::Each(4)).unwrap();
    for next in 1..=3 {
        let _ = cache.put(&1, next);
    }
    for next in 1..=3 {
        assert_eq!(value(&each.changed().await.unwrap()), Some(next));
    }
    for next in 4..=10 {
        let _ = cache.put(&1, next);
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        let update = each.changed().await.unwrap();
        seen.push((value(&update).unwrap(), update.missed));
    }
    assert_eq!(seen, [(7, 3), (8, 0), (9, 0), (10, 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_error_and_the_recovery_are_told_and_nothing_between() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    assert_eq!(value(&held.changed().await.unwrap()), Some(1));
    owner.fail(true);
    let update = held.changed().await.unwrap();
    assert_eq!(value(&update), Some(1), "the last good value");
    assert!(matches!(update.error, Some(Error::Source(_))));
    let waited = tokio::time::timeout(secs(600), held.changed()).await;
    assert!(waited.is_err(), "the same trouble is no news");
    owner.fail(false);
    let update = held.changed().await.unwrap();
    assert!(value(&update) == Some(1) && update.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_told_and_so_is_the_return() {
    let cache = pushed();
    let mut publisher = cache.publisher().unwrap();
    let _ = publisher.publish(&1, 5);
    let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    held.changed().await.unwrap();
    publisher.remove(&1);
    let update = held.changed().await.unwrap();
    assert!(value(&update).is_none() && matches!(update.error, Some(Error::Absent)));
    assert!(held.latest().is_none());
    let _ = publisher.publish(&1, 6);
    assert_eq!(value(&held.changed().await.unwrap()), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_key_that_is_invalidated_is_fetched_again_at_once() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    held.changed().await.unwrap();
    settle().await;
    let before = owner.fetches();
    cache.invalidate(&1);
    assert_eq!(value(&held.changed().await.unwrap()), Some(1));
    settle().await;
    assert_eq!(owner.fetches(), before + 2, "a fetch, and one that waits");
}

#[tokio::test(start_paused = true)]
async fn an_eviction_takes_nothing_from_subscribers() {
    let owner = Counted::new(1);
    let refresh = Refresh::Blocking { wait: secs(300) };
    let options = Options { refresh, capacity: 4, expected_entries: 4, ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    let mut held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    held.changed().await.unwrap();
    for other in 100..200 {
        let _ = cache.put(&other, 0);
    }
    assert_eq!(held.latest(), Some(&1));
    owner.set(2);
    assert_eq!(value(&held.changed().await.unwrap()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_subscription_ends_the_keeper_after_the_idle_time() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let (first, second) =
        (cache.subscribe(&1, &Request::DEFAULT), cache.subscribe(&1, &Request::DEFAULT));
    settle().await;
    drop(first);
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(cache.stats().keepers.total, 1);
    drop(second);
    tokio::time::sleep(secs(19 * 60)).await;
    assert_eq!(cache.stats().keepers.total, 1);
    tokio::time::sleep(secs(2 * 60)).await;
    let stats = cache.stats();
    assert_eq!((stats.keepers.total, stats.entries, stats.idle), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_subscriptions_and_keepers_than_the_limits_say() {
    let mut options = Options { refresh: Refresh::Pushed, ..Options::default() };
    (options.limits.subscriptions, options.limits.keepers) = (3, 1);
    let cache = Cache::new(Scripted::new([]), options).unwrap();
    let one = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let refused = cache.subscribe(&2, &Request::DEFAULT).unwrap_err();
    assert_eq!(refused, SubscribeError::Overloaded(Crowd::Keepers));
    let _two = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let _three = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let refused = cache.subscribe(&1, &Request::DEFAULT).unwrap_err();
    assert_eq!(refused, SubscribeError::Overloaded(Crowd::Subscriptions));
    drop(one);
    assert!(cache.subscribe(&1, &Request::DEFAULT).is_ok());
}

#[derive(Debug, PartialEq)]
enum Either {
    Number(Option<u64>),
    Text(Option<usize>),
}

struct Lengths;

impl larder_cache::Source for Lengths {
    type Key = String;
    type Value = usize;
    type Error = std::convert::Infallible;

    async fn fetch(
        &self,
        key: &String,
        _: larder_cache::Attempt<usize>,
    ) -> Result<larder_cache::Fetched<usize>, Self::Error> {
        Ok(larder_cache::Fetched::value(key.len()))
    }
}

#[tokio::test(start_paused = true)]
async fn one_inbox_hears_of_many_keys_of_several_caches() {
    let owner = Counted::new(1);
    let mut caches = Caches::new();
    caches.insert("numbers", blocking(&owner));
    let options = Options { refresh: Refresh::Poll { every: secs(5) }, ..Options::default() };
    caches.insert("lengths", Cache::new(Lengths, options).unwrap());
    let mut inbox = Inbox::new();
    let number = |update: Told| Either::Number(update.value.map(|reply| *reply));
    let text = |update: Update<usize, _>| Either::Text(update.value.map(|reply| *reply));
    let any = Request::DEFAULT;
    caches.notify::<Counted, _, _>("numbers", &1, &any, "n1", &inbox, number).unwrap().keep();
    let abc = "abc".to_owned();
    caches.notify::<Lengths, _, _>("lengths", &abc, &any, "l3", &inbox, text).unwrap().keep();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let event = inbox.recv().await;
        heard.push((event.correlation_id.to_string(), event.update));
    }
    heard.sort_by(|a, b| a.0.cmp(&b.0));
    let first = ("l3".to_owned(), Either::Text(Some(3)));
    assert_eq!(heard, [first, ("n1".to_owned(), Either::Number(Some(1)))]);
    owner.set(2);
    loop {
        let event = inbox.recv().await;
        if &*event.correlation_id == "n1" {
            break assert_eq!(event.update, Either::Number(Some(2)));
        }
    }
    let refused = caches.notify::<Counted, _, _>("words", &1, &any, "x", &inbox, number);
    let unknown = CachesError::Unknown("words".to_owned());
    assert_eq!(refused.unwrap_err(), NamedSubscribeError::Name(unknown));
    let other = CachesError::OtherSource("lengths".to_owned());
    assert_eq!(caches.cache::<Counted>("lengths").unwrap_err(), other);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_not_read_holds_the_latest_of_each_and_no_more() {
    let cache = pushed();
    let mut inbox = Inbox::new();
    for key in 0..10 {
        let id = key.to_string();
        cache.notify(&key, &Request::DEFAULT, id, &inbox, |update| update).unwrap().keep();
    }
    for round in 1..=1_000 {
        (0..10).for_each(|key| _ = cache.put(&key, round));
    }
    let mut last = Vec::new();
    for _ in 0..10 {
        let event = inbox.recv().await;
        last.push((event.correlation_id.to_string(), value(&event.update).unwrap()));
    }
    last.sort();
    let latest: Vec<_> = (0..10).map(|key| (key.to_string(), 1_000)).collect();
    assert_eq!(last, latest);
    assert!(tokio::time::timeout(secs(1), inbox.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_notification_or_inbox_ends_the_subscription() {
    let cache = pushed();
    let mut inbox = Inbox::new();
    let notify = |key: u32| {
        cache.notify(&key, &Request::DEFAULT, "id", &inbox, |update: Told| update).unwrap()
    };
    let (one, two) = (notify(1), notify(2));
    // What is not published is fetched, once.
    inbox.recv().await;
    inbox.recv().await;
    assert_eq!((inbox.len(), cache.stats().subscriptions), (2, 2));
    drop(one);
    assert_eq!((inbox.len(), cache.stats().subscriptions), (1, 1));
    let _ = cache.put(&1, 1);
    assert!(tokio::time::timeout(secs(1), inbox.recv()).await.is_err());
    two.keep();
    drop(inbox);
    let _ = cache.put(&2, 1);
    settle().await;
    assert_eq!(cache.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_cache_ends_its_subscriptions_in_an_inbox() {
    let (cache, inbox) = (pushed(), Inbox::new());
    cache.notify(&1, &Request::DEFAULT, "id", &inbox, |update: Told| update).unwrap().keep();
    let mut inbox = inbox;
    cache.close().await;
    assert!(tokio::time::timeout(secs(1), inbox.recv()).await.is_err());
    assert!(inbox.is_empty());
    let refused = cache.subscribe(&1, &Request::DEFAULT).unwrap_err();
    assert_eq!(refused, SubscribeError::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_told_the_same_and_its_panic_harms_nobody() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ledger = Arc::clone(&heard);
    let callback = move |update: Told| ledger.lock().unwrap().push(value(&update).unwrap());
    let listening = cache.notify_with(&1, &Request::DEFAULT, callback).unwrap();
    let panicking = cache.notify_with(&1, &Request::DEFAULT, |_| panic!("as the test wants it"));
    panicking.unwrap().keep();
    settle().await;
    owner.set(2);
    settle().await;
    drop(listening);
    settle().await;
    owner.set(3);
    settle().await;
    assert_eq!(*heard.lock().unwrap(), [1, 2]);
    let stats = cache.stats();
    assert_eq!((stats.listener_panics, stats.subscriptions), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn several_pollers_share_fetches_and_the_most_demanding_one_sets_the_pace() {
    let source = Scripted::new((0..100).map(Step::Value));
    let cache = Cache::new(source.clone(), Options::default()).unwrap();
    let lax = cache.subscribe(&1, &Request::DEFAULT.max_age(secs(50))).unwrap();
    settle().await;
    let strict = cache.subscribe(&1, &Request::DEFAULT.max_age(secs(10))).unwrap();
    tokio::time::sleep(secs(100)).await;
    let fetches = source.fetches();
    assert!((10..=11).contains(&fetches), "{fetches}");
    drop(strict);
    tokio::time::sleep(secs(100)).await;
    let slower = source.fetches() - fetches;
    assert!((1..=3).contains(&slower), "{slower}");
    drop(lax);
    settle().await;
    let ended = source.fetches();
    tokio::time::sleep(secs(1_000)).await;
    assert_eq!((source.fetches(), cache.stats().keepers.total), (ended, 0));
}
