//! Events of many subscriptions, in one inbox or by callbacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_cache::{Inbox, Refresh, Request};

use crate::owner::{
    BLOCKING, KEY, Mood, OTHER, cache, close, explore, for_a_while, start, turns, until,
};

#[test]
fn the_last_event_of_every_subscription_arrives() {
    explore(12_000, || async {
        let (cache, _owner) = cache(Refresh::Pushed, Mood::Answers);
        let mut inbox = Inbox::new();
        for (key, id) in [(KEY, "one"), (OTHER, "other")] {
            let _ = cache.put(&key, 1);
            let notification = cache
                .notify(&key, &Request::DEFAULT, id, &inbox, |update| *update.value.unwrap())
                .unwrap();
            notification.keep();
            let cache = cache.clone();
            drop(start(async move {
                for value in 2..=3 {
                    let _ = cache.put(&key, value);
                }
            }));
        }
        let mut last = [0, 0];
        while last != [3, 3] {
            if let Some(event) = for_a_while(inbox.recv()).await {
                let place = usize::from(&*event.correlation_id == "other");
                assert!(event.update > last[place]);
                last[place] = event.update;
            }
            // The last look waits for as long as it takes.
            if last != [3, 3] {
                let event = inbox.recv().await;
                let place = usize::from(&*event.correlation_id == "other");
                assert!(event.update > last[place]);
                last[place] = event.update;
            }
        }
        drop(inbox);
        close(&cache).await;
    });
}

#[test]
fn subscriptions_end_with_their_notification_or_their_inbox() {
    explore(12_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let mut inbox = Inbox::new();
        let notify = |key: u32| {
            cache
                .notify(&key, &Request::DEFAULT, key.to_string(), &inbox, |update| {
                    *update.value.unwrap()
                })
                .unwrap()
        };
        let (one, other) = (notify(KEY), notify(OTHER));
        let ends = start(async move {
            turns().await;
            drop(one);
        });
        owner.change();
        loop {
            let event = inbox.recv().await;
            if *event.correlation_id == *"2" && event.update == 2 {
                break;
            }
        }
        ends.await.unwrap();
        assert_eq!((inbox.len(), cache.stats().subscriptions), (1, 1));
        // It leaves a waker behind.
        for_a_while(inbox.recv()).await;
        drop(inbox);
        assert_eq!(cache.stats().subscriptions, 0);
        drop(other);
        close(&cache).await;
    });
}

#[test]
fn an_inbox_outlives_a_cache_that_closes() {
    explore(9_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let mut inbox = Inbox::new();
        let notification = cache
            .notify(&KEY, &Request::DEFAULT, "one", &inbox, |update| update.value.is_some())
            .unwrap();
        let changes = start(async move { owner.change() });
        let closes = start({
            let cache = cache.clone();
            async move {
                turns().await;
                cache.close().await;
            }
        });
        until(|| cache.stats().entries == 0).await;
        for_a_while(inbox.recv()).await;
        closes.await.unwrap();
        changes.await.unwrap();
        drop(notification);
        assert!(inbox.is_empty());
        close(&cache).await;
    });
}

#[test]
fn a_callback_hears_the_last_value_and_ends_with_its_notification() {
    explore(9_000, || async {
        let (cache, owner) = cache(BLOCKING, Mood::Answers);
        let heard = Arc::new(AtomicU64::new(0));
        let greatest = Arc::clone(&heard);
        let notification = cache
            .notify_with(&KEY, &Request::DEFAULT, move |update| {
                greatest.fetch_max(*update.value.unwrap(), Ordering::SeqCst);
            })
            .unwrap();
        owner.change();
        until(|| heard.load(Ordering::SeqCst) == 2).await;
        drop(notification);
        until(|| cache.stats().subscriptions == 0).await;
        close(&cache).await;
    });
}
