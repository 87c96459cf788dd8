//! What overtakes what: puts, invalidations and absences beside fetches, and what is told of them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use larder_cache::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Counted, Scripted, Step, secs, settle};

fn with(source: &Scripted, change: impl FnOnce(&mut Options)) -> Cache<Scripted> {
    let mut options = Options::default();
    change(&mut options);
    Cache::new(source.clone(), options).unwrap()
}
fn at(value: u64, index: u64) -> Step {
    Step::Fresh(Fresh::new(value).index(index))
}

#[tokio::test(start_paused = true)]
async fn an_outdated_answer_has_no_higher_index_than_what_overtook_it() {
    let source = Scripted::new([Step::Gate, at(1, 10)]);
    let cache = with(&source, |_| {});
    let caller = tokio::spawn({
        let c = cache.clone();
        async move { c.get(&1).await }
    });
    settle().await;
    let _ = cache.put(&1, Fresh::new(2).index(20));
    source.open();
    let old = caller.await.unwrap().unwrap();
    let new = cache.get(&1).await.unwrap();
    assert_eq!((*old, *new), (1, 2));
    assert!(old.index() <= new.index(), "old {} new {}", old.index(), new.index());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_does_not_undo_a_published_absence() {
    let source = Scripted::new([Step::Gate, Step::Value(1), Step::Value(2)]);
    let cache = with(&source, |o| o.refresh = Refresh::Pushed);
    let mut publisher = cache.publisher().unwrap();
    let caller = tokio::spawn({
        let c = cache.clone();
        async move { c.get(&1).await.map(|r| *r) }
    });
    settle().await;
    publisher.remove(&1);
    source.open();
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    let after = cache.get(&1).await;
    assert!(matches!(after, Err(Error::Absent)), "{after:?}, {} fetches", source.fetches());
}

struct Stream(tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Change<u64, ()>>>);
impl Source for Stream {
    type Key = u32;
    type Value = u64;
    type Error = support::Down;
    async fn fetch(&self, _: &u32, _: Attempt<u64>) -> Result<Fetched<u64>, support::Down> {
        Ok(Fresh::new(1).index(1).into())
    }
}
impl Watch for Stream {
    type Item = ();
    async fn watch(
        &self,
        _: &u32,
        _: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, support::Down> {
        let mut changes = self.0.lock().await;
        feed.heard();
        while let Some(change) = changes.recv().await {
            feed.tell(change);
        }
        std::future::pending().await
    }
    fn build(&self, _: &u32, _: Option<&u64>, _: Vec<Edit<()>>) -> u64 {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_from_a_stream_ends_the_absence_before_it() {
    let (say, said) = tokio::sync::mpsc::channel(9);
    let options =
        Options { refresh: Refresh::Watch { idle_timeout: secs(1000) }, ..Options::default() };
    let cache = Cache::watching(Stream(tokio::sync::Mutex::new(said)), options).unwrap();
    cache.get(&1).await.unwrap();
    settle().await;
    say.send(Change::Absent).await.unwrap();
    say.send(Change::Whole(Fresh::new(7).index(7))).await.unwrap();
    settle().await;
    assert_eq!(*cache.get(&1).await.unwrap(), 7);
    let mut sub = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let update = sub.changed().await.unwrap();
    assert!(update.error.is_none(), "{update:?}");
}

async fn failing_keepers(troubles: u32) -> usize {
    let source = Scripted::new([Step::Broken]);
    let cache = with(&source, |o| {
        o.refresh = Refresh::Poll { every: secs(60) };
        o.limits.troubles = troubles;
    });
    let subs: Vec<_> = (0..200).map(|k| cache.subscribe(&k, &Request::DEFAULT).unwrap()).collect();
    tokio::time::sleep(secs(30)).await;
    let fetches = source.fetches();
    cache.close().await;
    drop(subs);
    fetches
}
#[tokio::test(start_paused = true)]
async fn more_failing_keepers_than_troubles_still_back_off() {
    let (plenty, few) = (failing_keepers(10_000).await, failing_keepers(20).await);
    assert!(few < plenty * 2, "{plenty} fetches with room for all, {few} without");
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_not_read_forgets_subscriptions_that_ended() {
    let source = Scripted::new([]);
    let cache = with(&source, |o| o.refresh = Refresh::Pushed);
    let _ = cache.put(&1, 1);
    let inbox: Inbox<u64> = Inbox::new();
    let mark = Arc::new(());
    for _ in 0..1_000 {
        let mine = Arc::clone(&mark);
        drop(
            cache
                .notify(&1, &Request::DEFAULT, "x", &inbox, move |_| {
                    let _ = &mine;
                    1
                })
                .unwrap(),
        );
    }
    assert_eq!(inbox.len(), 0);
    assert!(Arc::strong_count(&mark) < 200, "{} conversions held", Arc::strong_count(&mark) - 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_latest_swallows_no_update() {
    let cache = with(&Scripted::new([]), |o| o.refresh = Refresh::Pushed);
    let _ = cache.put(&1, 1);
    let mut sub = cache.subscribe_to(&1, &Request::DEFAULT, Delivery::Each(9)).unwrap();
    let _ = cache.put(&1, 2);
    let _ = cache.put(&1, 3);
    assert_eq!(sub.latest(), Some(&3));
    let mut seen = Vec::new();
    while let Ok(Some(u)) = tokio::time::timeout(secs(1), sub.changed()).await {
        seen.push((*u.value.unwrap(), u.missed));
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 0)]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_index_without_a_value_gets_the_error() {
    let owner = Counted::new(1);
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    cache.get(&1).await.unwrap();
    settle().await;
    let clock = Clock::running();
    let caller = tokio::spawn({
        let c = cache.clone();
        async move { c.get_with(&1, &Request::DEFAULT.min_index(10, secs(3_000))).await.map(|r| *r) }
    });
    settle().await;
    owner.fail(true);
    tokio::time::sleep(secs(5)).await;
    cache.invalidate(&1);
    let answer = caller.await.unwrap();
    assert!(answer.is_err());
    assert!(clock.now().as_millis() < 200_000, "after {:?}: {answer:?}", clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_value_too_heavy_to_keep_is_unchanged_too() {
    let source = Scripted::new([at(1_000_000, 5), at(1_000_000, 5), Step::Quiet]);
    let cache = with(&source, |o| {
        o.refresh = Refresh::Blocking { wait: secs(300) };
        o.capacity = 1_000;
    });
    let reply = cache.get_with(&1, &Request::DEFAULT.min_index(5, secs(10))).await;
    assert!(matches!(reply.as_ref().map(Reply::origin), Ok(Origin::Unchanged)), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_ticker() {
    let cache = with(&Scripted::new([]), |o| o.refresh = Refresh::Pushed);
    let _ = cache.put(&1, 1);
    let sub = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    settle().await;
    drop(cache);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    drop(sub);
}

#[tokio::test(start_paused = true)]
async fn a_value_leaves_once() {
    let source = Scripted::new([]);
    let cache = with(&source, |o| {
        o.refresh = Refresh::Pushed;
    });
    let _ = cache.put(&1, 77);
    let sub = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    cache.resize(1);
    for k in 2..200 {
        let _ = cache.put(&k, 1);
    }
    assert!(cache.peek(&1).is_none());
    let there = cache.invalidate(&1);
    let left = source.removals().into_iter().filter(|(v, _)| *v == 77).collect::<Vec<_>>();
    assert_eq!(left.len(), 1, "{left:?}, was there: {there}");
    drop(sub);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_tier_over_one_on_demand_does_not_spin() {
    let below = Cache::new(Scripted::new([at(1, 5)]), Options::default()).unwrap();
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let above = Cache::new(below.clone(), options).unwrap();
    above.get(&1).await.unwrap();
    tokio::time::sleep(secs(50)).await;
    assert!(above.stats().unmodified < 200, "{:?}", above.stats().unmodified);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_cuts_a_parked_fetch_has_a_flight_of_its_own() {
    let source = Scripted::new([at(1, 5), Step::Hang]);
    let cache = with(&source, |o| o.refresh = Refresh::Blocking { wait: secs(300) });
    cache.get(&1).await.unwrap();
    settle().await;
    source.only(Step::Hang);
    let caller = tokio::spawn({
        let c = cache.clone();
        async move { c.get_with(&1, &Request::DEFAULT.must_revalidate()).await.map(|r| *r) }
    });
    settle().await;
    let stats = cache.stats();
    assert_eq!((stats.flights, stats.joins), (1, 0));
    caller.abort();
}

struct Slow(Arc<AtomicBool>, Arc<AtomicUsize>);
impl Source for Slow {
    type Key = u32;
    type Value = u64;
    type Error = support::Down;
    async fn fetch(&self, _: &u32, a: Attempt<u64>) -> Result<Fetched<u64>, support::Down> {
        if let Some(wait) = a.wait() {
            self.1.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(wait.at_most).await;
            return Ok(Fetched::NotModified { ttl: None });
        }
        if self.0.load(Ordering::SeqCst) {
            return Err(support::Down);
        }
        Ok(Fresh::new(1).index(1).into())
    }
    fn blame(&self, _: &support::Down) -> Blame {
        Blame::Upstream
    }
}
#[tokio::test(start_paused = true)]
async fn a_probe_of_a_closed_upstream_does_not_wait_for_news() {
    let broken = Arc::new(AtomicBool::new(false));
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let cache = Cache::new(Slow(Arc::clone(&broken), Arc::default()), options).unwrap();
    cache.get(&1).await.unwrap();
    settle().await;
    broken.store(true, Ordering::SeqCst);
    for key in 2..6 {
        let _ = cache.get(&key).await;
    }
    assert!(cache.stats().upstream_down_for.is_some());
    let _ = cache.put(&1, Fresh::new(2).index(2));
    tokio::time::sleep(secs(4)).await;
    let age = cache.peek(&1).map(|r| r.age());
    assert!(
        age > Some(Duration::ZERO),
        "down for {:?}, age {age:?}",
        cache.stats().upstream_down_for
    );
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_value_is_not_told_to_a_new_subscriber() {
    let source = Scripted::new([Step::Broken]);
    let cache = with(&source, |o| {
        o.refresh = Refresh::Poll { every: secs(10) };
    });
    let _ = cache.put(&1, 1);
    let _a = cache.subscribe_to(&1, &Request::DEFAULT, Delivery::Each(4)).unwrap();
    tokio::time::sleep(secs(20)).await;
    cache.invalidate(&1);
    let mut b = cache.subscribe_to(&1, &Request::DEFAULT, Delivery::Each(4)).unwrap();
    let update = b.changed().await.unwrap();
    assert!(update.value.is_none(), "{update:?}");
}
