//! Whoever subscribes hears what is known, then what is new, and nothing else.

use std::time::Duration;

use larder_cache::{Cache, Inbox, Notification, Options, Refresh, Request, Source, Update};
use tokio::time::timeout;

use crate::support::{Counted, Down, Scripted, Step, secs};
use crate::{BLOCKING, Heard, at, changed, heard, keeping, millis, next, pass};

/// What there is to hear now, without waiting.
async fn at_once(inbox: &mut Inbox<Update<u64, Down>>) -> Option<(String, Heard)> {
    let event = timeout(Duration::ZERO, inbox.recv()).await.ok()?;
    Some((event.correlation_id.to_string(), heard(&event.update)))
}

fn notify<S: Source<Key = u32, Value = u64, Error = Down>>(
    cache: &Cache<S>,
    id: &str,
    inbox: &Inbox<Update<u64, Down>>,
) -> Notification {
    cache.notify(&1, &Request::DEFAULT, id, inbox, |update| update).unwrap()
}

// TestCacheNotify, and its regression: after an error a first index of 1 is heard of.
#[tokio::test(start_paused = true)]
async fn a_first_error_is_told_and_then_each_new_index() {
    let script = [Step::Fail, Step::Gate, at(2, 1), Step::Gate, at(3, 5), Step::Quiet];
    let source = Scripted::new(script);
    let cache = keeping(&source, BLOCKING);
    let (mut inbox, mut late) = (Inbox::new(), Inbox::new());
    let _first = notify(&cache, "first", &inbox);
    let event = |id: &str, heard| Some((id.to_owned(), heard));
    pass(millis(10)).await;
    assert_eq!(at_once(&mut inbox).await, event("first", (None, 0, true)));
    source.open();
    pass(millis(10)).await;
    assert_eq!(at_once(&mut inbox).await, event("first", (Some(2), 1, false)));
    let fetches = source.fetches();
    // A second one hears at once what is known, by its own name, and costs nothing.
    let second = notify(&cache, "second", &late);
    assert_eq!(at_once(&mut late).await, event("second", (Some(2), 1, false)));
    assert_eq!(source.fetches(), fetches);
    source.open();
    pass(millis(10)).await;
    assert_eq!(at_once(&mut inbox).await, event("first", (Some(3), 5, false)));
    assert_eq!(at_once(&mut late).await, event("second", (Some(3), 5, false)));
    // Some long polls without news.
    pass(secs(1000)).await;
    assert_eq!((at_once(&mut inbox).await, at_once(&mut late).await), (None, None));
    drop(second);
    assert_eq!((late.len(), cache.stats().subscriptions), (0, 1));
}

// TestCacheNotify: what is told is never from a hit of the subscriber's own, and a cancelled one is done.
#[tokio::test(start_paused = true)]
async fn a_change_is_told_to_everyone_by_one_fetch() {
    let owner = Counted::new(1);
    let options = Options { refresh: BLOCKING, ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    let mut inbox = Inbox::new();
    let mut listening: Vec<_> = ["a", "b", "c"].map(|id| notify(&cache, id, &inbox)).into();
    for value in [1, 7] {
        owner.set(value);
        pass(millis(10)).await;
        for id in ["a", "b", "c"] {
            let told = at_once(&mut inbox).await.unwrap();
            assert_eq!(told, (id.to_owned(), (Some(value), owner.index(), false)));
        }
    }
    // The first, and one that waits for each change.
    assert_eq!(owner.fetches(), 3);
    listening.clear();
    owner.set(8);
    pass(millis(10)).await;
    assert_eq!(at_once(&mut inbox).await, None);
}

fn polling(every: Duration) -> Request {
    Request::DEFAULT.max_age(every)
}

// TestCacheNotifyPolling
#[tokio::test(start_paused = true)]
async fn a_polling_subscription_hears_of_a_change_after_its_age_and_not_before() {
    let source = Scripted::new((1..).map(Step::Value).take(100));
    let cache = keeping(&source, Refresh::OnDemand);
    let request = polling(millis(100));
    let mut first = cache.subscribe(&1, &request).unwrap();
    assert_eq!(next(&mut first).await, (Some(1), 0, false));
    for value in 2..5 {
        assert!(timeout(millis(99), first.changed()).await.is_err(), "too early");
        assert_eq!(timeout(millis(8), next(&mut first)).await, Ok((Some(value), 0, false)));
    }
    // Another one shares the value and the fetches.
    let mut second = cache.subscribe(&1, &request).unwrap();
    assert_eq!(timeout(Duration::ZERO, next(&mut second)).await, Ok((Some(4), 0, false)));
    assert_eq!(next(&mut first).await, (Some(5), 0, false));
    assert_eq!(next(&mut second).await, (Some(5), 0, false));
    assert_eq!(source.fetches(), 5);
}

// TestCacheNotifyPolling says how often; who does not is refused, as there.
#[tokio::test(start_paused = true)]
async fn a_polling_subscription_that_does_not_say_how_often_is_refused() {
    let cache = keeping(&Scripted::new([]), Refresh::OnDemand);
    for request in [Request::DEFAULT, polling(Duration::ZERO)] {
        let refused = cache.subscribe(&1, &request).unwrap_err();
        assert_eq!(refused, larder_cache::SubscribeError::NoMaxAge);
    }
}

// TestCacheWatch_ErrorBackoff, TestCacheWatch_ErrorBackoffNonBlocking; where Consul may say nothing, one
// event tells of the trouble.
#[tokio::test(start_paused = true)]
async fn errors_after_a_value_are_one_event_and_few_fetches() {
    for refresh in [BLOCKING, Refresh::OnDemand, Refresh::Poll { every: millis(1) }] {
        let source = Scripted::new([at(0, 4), Step::Gate, Step::Broken]);
        let cache = keeping(&source, refresh);
        let mut subscription = cache.subscribe(&1, &polling(millis(1))).unwrap();
        assert_eq!(next(&mut subscription).await, (Some(0), 4, false));
        source.open();
        assert_eq!(next(&mut subscription).await, (Some(0), 4, true));
        assert!(timeout(millis(600), subscription.changed()).await.is_err(), "{refresh:?}");
        assert!(source.fetches() < 10, "{refresh:?}: {} fetches", source.fetches());
    }
}

// Test_isEqual; what is equal is for the source to say.
#[tokio::test(start_paused = true)]
async fn an_equal_value_is_no_news_where_the_source_compares() {
    let script = || [5, 5, 5, 6].map(Step::Value);
    for (source, told) in [(Scripted::new(script()), 4), (Scripted::comparing(script()), 2)] {
        let cache = changed(&source, |options| options.refresh = Refresh::OnDemand);
        let mut subscription = cache.subscribe(&1, &polling(secs(10))).unwrap();
        for _ in 1..told {
            assert_eq!(next(&mut subscription).await, (Some(5), 0, false));
        }
        assert_eq!(next(&mut subscription).await, (Some(6), 0, false));
        assert_eq!(source.fetches(), 4);
    }
}
