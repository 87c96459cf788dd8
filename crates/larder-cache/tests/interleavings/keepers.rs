//! Subscribers, parked callers, and the keepers that they cause.

use std::time::Duration;

use larder_cache::{Backoff, Cache, Delivery, Error, Put, Refresh, Request, Subscription};

use crate::owner::{
    BLOCKING, FIRST, KEY, Mood, NEVER, OTHER, Owner, SOON, cache, close, explore, for_a_while,
    options, start, turns, until,
};

/// Reads until `last` comes.
async fn read_to(subscription: &mut Subscription<Owner>, last: u64) {
    let mut before = 0;
    while before < last {
        let update = subscription.changed().await.unwrap();
        let value = *update.value.unwrap();
        assert!(value >= before, "{value} comes after {before}");
        before = value;
    }
}

#[test]
fn every_change_reaches_every_subscriber_who_waits() {
    explore(12_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
                start(async move { read_to(&mut subscription, 3).await })
            })
            .collect();
        owner.change();
        turns().await;
        owner.change();
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn whoever_wants_each_gets_each_once_and_in_order_and_the_end_only_at_the_end() {
    explore(12_000, || async {
        let (cache, _owner) = cache(Refresh::Pushed, Mood::Answers);
        let _ = cache.put(&KEY, 1);
        let mut subscription =
            cache.subscribe_to(&KEY, &Request::DEFAULT, Delivery::Each(9)).unwrap();
        let reader = start(async move {
            let mut read = Vec::new();
            while let Some(update) = subscription.changed().await {
                assert_eq!(update.missed, 0);
                read.push(*update.value.unwrap());
            }
            read
        });
        for value in 2..=3 {
            let _ = cache.put(&KEY, value);
        }
        turns().await;
        cache.close().await;
        let read = reader.await.unwrap();
        assert!([1, 2, 3].starts_with(&read), "{read:?}");
        close(&cache).await;
    });
}

#[test]
fn the_last_value_put_is_the_last_that_a_subscriber_hears() {
    explore(12_000, || async {
        let (cache, _owner) = cache(Refresh::Pushed, Mood::Answers);
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        let puts: Vec<_> = (2..4)
            .map(|value| {
                let cache = cache.clone();
                start(async move { cache.put(&KEY, value) == Put::Stored })
            })
            .collect();
        for put in puts {
            assert!(put.await.unwrap());
        }
        let last = *cache.peek(&KEY).unwrap();
        while *subscription.changed().await.unwrap().value.unwrap() != last {}
        assert_eq!(subscription.latest(), Some(&last));
        drop(subscription);
        close(&cache).await;
    });
}

#[test]
fn a_keeper_ends_with_the_last_subscription_and_another_begins_with_the_next() {
    explore(12_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let request = Request::DEFAULT.max_age(NEVER);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let cache = cache.clone();
                start(async move {
                    turns().await;
                    let mut subscription = cache.subscribe(&KEY, &request).unwrap();
                    for_a_while(subscription.changed()).await;
                    let value = subscription.latest().copied();
                    if value.is_none() {
                        read_to(&mut subscription, 1).await;
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
        until(|| cache.stats().keepers.total == 0).await;
        assert_eq!((owner.most_running(), cache.stats().subscriptions), (1, 0));
        close(&cache).await;
    });
}

#[test]
fn a_keeper_that_polls_brings_what_has_changed() {
    explore(6_000, || async {
        let owner = Owner::new(Mood::Answers);
        let (options, hands) = options(Refresh::OnDemand);
        let cache = Cache::new(owner.clone(), options).unwrap();
        let request = Request::DEFAULT.max_age(SOON);
        let mut subscription = cache.subscribe(&KEY, &request).unwrap();
        let reader = start(async move { read_to(&mut subscription, 2).await });
        turns().await;
        owner.change();
        until(|| {
            hands.advance(SOON);
            reader.is_finished()
        })
        .await;
        until(|| cache.stats().keepers.total == 0).await;
        close(&cache).await;
    });
}

#[test]
fn a_keeper_outlives_its_last_subscription_by_the_idle_time_and_takes_the_entry_along() {
    explore(6_000, || async {
        let owner = Owner::new(Mood::Answers);
        let (mut options, hands) = options(BLOCKING);
        options.idle = SOON;
        let cache = Cache::new(owner.clone(), options).unwrap();
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        read_to(&mut subscription, 1).await;
        let other = start({
            let cache = cache.clone();
            async move {
                turns().await;
                drop(cache.subscribe(&KEY, &Request::DEFAULT).unwrap());
            }
        });
        turns().await;
        drop(subscription);
        other.await.unwrap();
        hands.advance(SOON * 2);
        until(|| cache.stats().keepers.total == 0).await;
        assert_eq!(cache.stats().entries, 0);
        close(&cache).await;
    });
}

#[test]
fn whoever_needs_an_answer_now_does_not_wait_for_a_fetch_that_waits_for_news() {
    explore(12_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        let reader = start(async move { read_to(&mut subscription, 2).await });
        let callers: Vec<_> = (0..2)
            .map(|nth| {
                let cache = cache.clone();
                start(async move {
                    turns().await;
                    let mut request = Request::DEFAULT;
                    if nth == 0 {
                        cache.invalidate(&KEY);
                    } else {
                        request = request.must_revalidate();
                    }
                    cache.get_with(&KEY, &request).await.unwrap();
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        // Only now there is news.
        owner.change();
        reader.await.unwrap();
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_subscribed_key_that_is_invalidated_is_fetched_again_at_once() {
    explore(9_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        for _ in 0..2 {
            read_to(&mut subscription, 1).await;
            turns().await;
            cache.invalidate(&KEY);
        }
        read_to(&mut subscription, 1).await;
        assert_eq!(owner.most_running(), 1);
        drop(subscription);
        close(&cache).await;
    });
}

#[test]
fn parked_callers_wake_when_the_index_passes() {
    explore(12_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let parked: Vec<_> = (0..3)
            .map(|nth| {
                let cache = cache.clone();
                start(async move {
                    let request = Request::DEFAULT.min_index(FIRST, NEVER);
                    if nth == 2 {
                        for_a_while(cache.get_with(&KEY, &request)).await;
                        return;
                    }
                    let reply = cache.get_with(&KEY, &request).await.unwrap();
                    assert_eq!((*reply, reply.index()), (2, FIRST + 1));
                })
            })
            .collect();
        turns().await;
        owner.change();
        for caller in parked {
            caller.await.unwrap();
        }
        assert_eq!(cache.stats().waiters, 0);
        close(&cache).await;
    });
}

#[test]
fn subscribers_and_parked_callers_wake_when_the_cache_closes() {
    explore(18_000, || async {
        let (cache, _owner) = cache(BLOCKING, Mood::Answers);
        let parked: Vec<_> = (0..2)
            .map(|_| {
                let cache = cache.clone();
                start(async move {
                    let request = Request::DEFAULT.min_index(FIRST, NEVER);
                    assert!(matches!(cache.get_with(&KEY, &request).await, Err(Error::Closed)));
                })
            })
            .collect();
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        let reader = start(async move { while subscription.changed().await.is_some() {} });
        turns().await;
        cache.close().await;
        for caller in parked {
            caller.await.unwrap();
        }
        reader.await.unwrap();
        close(&cache).await;
    });
}

#[test]
fn a_subscriber_wakes_when_the_last_handle_goes() {
    explore(12_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let request = Request::DEFAULT.max_age(NEVER);
        let mut subscription = cache.subscribe(&KEY, &request).unwrap();
        let reader = start(async move { while subscription.changed().await.is_some() {} });
        turns().await;
        drop(cache);
        reader.await.unwrap();
        until(|| owner.is_alone()).await;
    });
}

#[test]
fn a_subscriber_hears_of_trouble_and_of_its_end() {
    explore(6_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        read_to(&mut subscription, 1).await;
        let change = start({
            let owner = owner.clone();
            async move { owner.becomes(Mood::Fails) }
        });
        while subscription.changed().await.unwrap().error.is_none() {}
        change.await.unwrap();
        owner.becomes(Mood::Answers);
        while subscription.changed().await.unwrap().error.is_some() {}
        drop(subscription);
        close(&cache).await;
    });
}

#[test]
fn keepers_that_rest_wake_when_the_upstream_is_back() {
    explore(4_500, || async {
        let owner = Owner::new(Mood::CannotBeReached);
        let (mut options, hands) = options(BLOCKING);
        options.backoff = Backoff { free_failures: 0, base: NEVER, cap: NEVER };
        let cache = Cache::new(owner.clone(), options).unwrap();
        let readers: Vec<_> = [KEY, OTHER, 3]
            .into_iter()
            .map(|key| {
                let mut subscription = cache.subscribe(&key, &Request::DEFAULT).unwrap();
                start(async move { while subscription.changed().await.unwrap().error.is_some() {} })
            })
            .collect();
        until(|| cache.upstream().down_for().is_some()).await;
        owner.becomes(Mood::Answers);
        hands.advance(Duration::from_secs(2));
        // Whoever takes the turn finds out, a keeper or this caller; then the other is told that it is down.
        let answer = cache.get(&9).await;
        assert!(matches!(answer, Ok(_) | Err(Error::Down)), "{answer:?}");
        until(|| cache.upstream().down_for().is_none()).await;
        hands.advance(Duration::from_secs(2));
        for reader in readers {
            reader.await.unwrap();
        }
        close(&cache).await;
    });
}

#[test]
fn subscriptions_of_several_keys_come_and_go_while_the_cache_closes() {
    explore(12_000, || async {
        let (cache, _owner) = cache(BLOCKING, Mood::Answers);
        let readers: Vec<_> = [KEY, OTHER, KEY]
            .into_iter()
            .map(|key| {
                let cache = cache.clone();
                start(async move {
                    for _ in 0..2 {
                        let Ok(mut subscription) = cache.subscribe(&key, &Request::DEFAULT) else {
                            return;
                        };
                        if subscription.changed().await.is_none() {
                            return;
                        }
                    }
                })
            })
            .collect();
        turns().await;
        cache.close().await;
        for reader in readers {
            reader.await.unwrap();
        }
        close(&cache).await;
    });
}
