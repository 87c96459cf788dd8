//! Corners: interleavings, odd sources and long runs in which an engine like this goes wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![allow(missing_debug_implementations, reason = "it is a test")]
#![allow(clippy::type_complexity, clippy::too_many_lines, reason = "it is a test")]

mod support;

use std::cell::RefCell;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use larder_cache::{
    Attempt, Backoff, Blame, Budget, Cache, Change, Clock, Delivery, Edit, Ended, Error, Feed,
    FetchMany, Fetched, Fresh, Inbox, OneOfMany, Options, Put, Rate, Refresh, Removal, Request,
    Source, Upstream, Watch,
};
use support::{Counted, Scripted, Step, secs, settle};

#[derive(Debug, thiserror::Error)]
#[error("boom")]
struct Boom;

type Answer = Result<Fetched<u64>, Boom>;

/// A source that answers at once, as a closure says.
#[derive(Clone)]
struct Src(Arc<Owner>);

struct Owner {
    fetches: AtomicUsize,
    batches: AtomicUsize,
    streams: AtomicUsize,
    answer: Box<dyn Fn(usize, u32) -> Answer + Send + Sync>,
    stream: Mutex<Option<fn(usize) -> Result<Ended, Boom>>>,
    blame: Blame,
    same: bool,
    weigh: fn(u64) -> u64,
    removed: Mutex<Option<Box<dyn Fn(u32, Removal) + Send>>>,
}

fn src(answer: impl Fn(usize, u32) -> Answer + Send + Sync + 'static) -> Owner {
    Owner {
        fetches: AtomicUsize::new(0),
        batches: AtomicUsize::new(0),
        streams: AtomicUsize::new(0),
        answer: Box::new(answer),
        stream: Mutex::default(),
        blame: Blame::Entry,
        same: false,
        weigh: |_| 1,
        removed: Mutex::default(),
    }
}

impl Owner {
    fn make(self) -> Src {
        Src(Arc::new(self))
    }
}

impl Src {
    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }
    fn batches(&self) -> usize {
        self.0.batches.load(Ordering::SeqCst)
    }
    fn streams(&self) -> usize {
        self.0.streams.load(Ordering::SeqCst)
    }
}

impl Source for Src {
    type Key = u32;
    type Value = u64;
    type Error = Boom;
    async fn fetch(&self, key: &u32, _: Attempt<u64>) -> Answer {
        let n = self.0.fetches.fetch_add(1, Ordering::SeqCst);
        (self.0.answer)(n, *key)
    }
    fn weigh(&self, _: &u32, value: &u64) -> u64 {
        (self.0.weigh)(*value)
    }
    fn is_same(&self, a: &u64, b: &u64) -> bool {
        self.0.same && a == b
    }
    fn blame(&self, _: &Boom) -> Blame {
        self.0.blame
    }
    fn removed(&self, key: &u32, _: &u64, cause: Removal) {
        if let Some(removed) = &*self.0.removed.lock().unwrap() {
            removed(*key, cause);
        }
    }
}

impl FetchMany for Src {
    async fn fetch_many(
        &self,
        batch: Vec<(u32, Attempt<u64>)>,
    ) -> Result<Vec<OneOfMany<Self>>, Boom> {
        let n = self.0.batches.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(batch.into_iter().map(|(key, _)| (key, (self.0.answer)(1_000 + n, key))).collect())
    }
}

impl Watch for Src {
    type Item = u64;
    async fn watch(
        &self,
        _: &u32,
        _: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Boom> {
        let n = self.0.streams.fetch_add(1, Ordering::SeqCst);
        let stream = self.0.stream.lock().unwrap().unwrap();
        feed.heard();
        stream(n)
    }
    fn build(&self, _: &u32, _: Option<&u64>, _: Vec<Edit<u64>>) -> u64 {
        0
    }
}

fn batch(every: u64) -> Refresh {
    Refresh::Batch { every: secs(every), size: 100, parallel: 2 }
}

/// Runs `body` in a thread of its own; `None` if it takes longer than `limit` of real time.
fn within_real<T: Send + 'static>(
    limit: Duration,
    body: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = tell.send(body());
    });
    told.recv_timeout(limit).ok()
}

// ---- closing -------------------------------------------------------------------------------------

#[test]
fn close_ends_every_subscription_although_pilots_notice_it_first() {
    for _ in 0..5 {
        let closed = within_real(secs(10), || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options =
                    Options { refresh: Refresh::Poll { every: secs(30) }, ..Options::default() };
                let cache = Cache::new(src(|_, _| Ok(Fetched::value(1))).make(), options).unwrap();
                for key in 0..3_000 {
                    cache.notify_with(&key, &Request::DEFAULT, |_| {}).unwrap().keep();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                cache.close().await;
            });
            runtime.shutdown_background();
        });
        assert!(closed.is_some(), "close() waits for a subscriber that nobody has told");
    }
}

#[test]
fn close_releases_callers_who_wait_for_the_rate_limit() {
    for _ in 0..5 {
        let left = within_real(secs(30), || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let left = runtime.block_on(async {
                let options = Options {
                    rate: Some(Rate { burst: 1, per_second: 0.001 }),
                    ..Options::default()
                };
                let cache = Cache::new(src(|_, _| Ok(Fetched::value(1))).make(), options).unwrap();
                let mut callers = Vec::new();
                for key in 0..3_000 {
                    cache.get(&key).await.unwrap();
                    let cache = cache.clone();
                    callers.push(tokio::spawn(async move {
                        let now = Request::DEFAULT.must_revalidate();
                        let _ = cache.get_with(&key, &now).await;
                    }));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                cache.close().await;
                let mut left = 0;
                for caller in callers {
                    let told = tokio::time::timeout(Duration::from_millis(500), caller).await;
                    left += usize::from(told.is_err());
                    if left > 3 {
                        break;
                    }
                }
                left
            });
            runtime.shutdown_background();
            left
        });
        assert_eq!(left, Some(0), "callers left behind by close()");
    }
}

// ---- lost wake-ups -------------------------------------------------------------------------------

thread_local! {
    static ON_HASH: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// A key whose hash runs what the test wants to happen at that very moment.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hooked(u32);

impl Hash for Hooked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        let hook = ON_HASH.with(|hook| hook.try_borrow_mut().ok().and_then(|mut hook| hook.take()));
        if let Some(mut hook) = hook {
            hook();
            // Unless it has disarmed itself.
            ON_HASH.with(|slot| *slot.borrow_mut() = Some(hook));
        }
    }
}

struct HookedSource(Arc<AtomicUsize>);

impl Source for HookedSource {
    type Key = Hooked;
    type Value = u64;
    type Error = Boom;
    async fn fetch(&self, _: &Hooked, attempt: Attempt<u64>) -> Answer {
        if attempt.wait().is_some() {
            std::future::pending::<()>().await;
        }
        let n = self.0.fetch_add(1, Ordering::SeqCst) as u64;
        Ok(Fresh::new(n).index(n + 10).into())
    }
}

/// A thing that another thread may do while the pilot decides: the last subscriber leaves.
#[tokio::test(start_paused = true)]
async fn a_subscriber_who_leaves_while_the_pilot_decides_is_noticed() {
    let mut lost = Vec::new();
    for nth in 1..40 {
        let options = Options { refresh: Refresh::Pushed, ..Options::default() };
        let cache = Cache::new(HookedSource(Arc::default()), options).unwrap();
        let key = Hooked(1);
        let _ = cache.put(&key, Fresh::new(1).index(1));
        let subscription = cache.subscribe(&key, &Request::DEFAULT).unwrap();
        // The pilot is spawned and has not run. It runs with the hook armed.
        let mut calls = 0;
        let mut victim = Some(subscription);
        ON_HASH.with(|hook| {
            *hook.borrow_mut() = Some(Box::new(move || {
                calls += 1;
                if calls == nth {
                    drop(victim.take());
                }
            }));
        });
        settle().await;
        ON_HASH.with(|hook| *hook.borrow_mut() = None);
        settle().await;
        tokio::time::sleep(secs(5)).await;
        let stats = cache.stats();
        if stats.subscriptions == 0 && stats.keepers.total > 0 {
            lost.push(nth);
        }
        cache.close().await;
    }
    assert!(lost.is_empty(), "the pilot sleeps for ever when they leave at hash number {lost:?}");
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A parked caller that is polled (by another thread) between the post and the store of the new value.
#[tokio::test(start_paused = true)]
async fn a_parked_caller_who_looks_between_post_and_store_is_woken() {
    let mut lost = Vec::new();
    for nth in 1..12 {
        let options = Options { refresh: Refresh::Pushed, ..Options::default() };
        let cache = Cache::new(HookedSource(Arc::default()), options).unwrap();
        let key = Hooked(1);
        let _ = cache.put(&key, Fresh::new(1).index(1));
        let index = cache.peek(&key).unwrap().index();
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let request = Request::DEFAULT.min_index(index, secs(60));
        let (parked_cache, parked_key) = (cache.clone(), key.clone());
        let parked: std::pin::Pin<Box<dyn Future<Output = u64>>> =
            Box::pin(
                async move { parked_cache.get_with(&parked_key, &request).await.unwrap().index() },
            );
        let parked = std::rc::Rc::new(RefCell::new(parked));
        assert!(parked.borrow_mut().as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        settle().await;
        flag.0.store(false, Ordering::SeqCst);
        let done = std::rc::Rc::new(std::cell::Cell::new(false));
        let mut calls = 0;
        let (hooked, hook_done, hook_flag) =
            (std::rc::Rc::clone(&parked), std::rc::Rc::clone(&done), Arc::clone(&flag));
        let hook_waker = waker.clone();
        ON_HASH.with(|hook| {
            *hook.borrow_mut() = Some(Box::new(move || {
                calls += 1;
                if calls == nth {
                    hook_flag.0.store(false, Ordering::SeqCst);
                    let mut context = Context::from_waker(&hook_waker);
                    hook_done.set(hooked.borrow_mut().as_mut().poll(&mut context).is_ready());
                }
            }));
        });
        let _ = cache.put(&key, Fresh::new(2).index(2));
        ON_HASH.with(|hook| *hook.borrow_mut() = None);
        settle().await;
        // Whoever was woken, or not, looks again: the value that it waits for is stored.
        let mut context = Context::from_waker(&waker);
        if !done.get() && parked.borrow_mut().as_mut().poll(&mut context).is_pending() {
            lost.push(nth);
        }
        drop(parked);
        cache.close().await;
    }
    assert!(lost.is_empty(), "not woken when it looks at hash number {lost:?}");
}

// ---- batches -------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_panic_in_weigh_within_a_batch_leaves_nobody_waiting() {
    let source = Owner {
        weigh: |value| if value >= 1_000 { panic!("as the test wants it") } else { 1 },
        ..src(|n, _| Ok(Fetched::value(if n >= 1_000 { 1_000 } else { 1 })))
    };
    let options = Options { refresh: batch(10), ..Options::default() };
    let cache = Cache::batching(source.make(), options).unwrap();
    cache.get(&1).await.unwrap();
    tokio::time::sleep(secs(15)).await;
    let now = Request::DEFAULT.must_revalidate();
    let answer = tokio::time::timeout(secs(3600), cache.get_with(&1, &now)).await;
    assert!(answer.is_ok(), "the key is stuck for ever");
}

/// The value changes at every fetch.
fn changing() -> Src {
    let value = AtomicUsize::new(0);
    src(move |_, _| Ok(Fetched::value(value.fetch_add(1, Ordering::SeqCst) as u64))).make()
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_key_is_refreshed_in_batches_beyond_the_idle_time() {
    let options = Options { refresh: batch(10), idle: secs(60), ..Options::default() };
    let source = changing();
    let cache = Cache::batching(source.clone(), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    tokio::time::sleep(secs(300)).await;
    subscription.changed().await.unwrap();
    let idle = cache.stats().idle;
    let before = source.batches();
    tokio::time::sleep(secs(300)).await;
    let after = source.batches();
    assert!(after - before > 20, "{before} batches, then {after}; {idle} swept out as idle");
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_value_is_not_swept_out_as_idle() {
    let options = Options {
        refresh: Refresh::Poll { every: secs(10) },
        idle: secs(60),
        ..Options::default()
    };
    let cache = Cache::new(changing(), options).unwrap();
    let _subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    tokio::time::sleep(secs(600)).await;
    assert_eq!(cache.stats().idle, 0, "times swept out although subscribed");
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_key_is_refreshed_in_batches_after_its_eviction() {
    let options =
        Options { refresh: batch(10), capacity: 10, expected_entries: 10, ..Options::default() };
    let source = changing();
    let cache = Cache::batching(source.clone(), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    settle().await;
    for key in 100..1_000 {
        let _ = cache.put(&key, 0);
        let _ = cache.peek(&key);
    }
    assert!(cache.peek(&1).is_none(), "it is evicted");
    while tokio::time::timeout(secs(1), subscription.changed()).await.is_ok() {}
    let update = tokio::time::timeout(secs(600), subscription.changed()).await;
    assert!(update.is_ok(), "never refreshed again");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_of_an_absent_key_hears_when_it_appears_in_a_cache_of_batches() {
    let options = Options { refresh: batch(10), ..Options::default() };
    let source = src(|n, _| {
        Ok(if n == 0 { Fetched::Absent { remember_for: None } } else { Fetched::value(7) })
    });
    let cache = Cache::batching(source.make(), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let update = subscription.changed().await.unwrap();
    assert!(matches!(update.error, Some(Error::Absent)));
    let update = tokio::time::timeout(secs(3_600), subscription.changed()).await;
    assert!(update.is_ok(), "never asked again");
}

#[tokio::test(start_paused = true)]
async fn batches_leave_an_upstream_alone_that_is_down() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let source = Owner {
        blame: Blame::Upstream,
        ..src(
            move |_, _| {
                if fails.load(Ordering::SeqCst) { Err(Boom) } else { Ok(Fetched::value(1)) }
            },
        )
    }
    .make();
    let options = Options {
        refresh: Refresh::Batch { every: Duration::from_millis(100), size: 1, parallel: 100 },
        ..Options::default()
    };
    let cache = Cache::batching(source.clone(), options).unwrap();
    for key in 0..100 {
        cache.get(&key).await.unwrap();
    }
    failing.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(cache.upstream().down_for().is_some());
    let before = source.batches();
    tokio::time::sleep(secs(2)).await;
    let asked = source.batches() - before;
    assert!(asked <= 4, "{asked} batches to an upstream that is down, in 2 s");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_refused_returns_to_the_batches_when_it_is_confirmed() {
    let refuses = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&refuses);
    let source = Owner {
        blame: Blame::Refusal,
        ..src(move |n, _| match n {
            0 => Ok(Fetched::value(1)),
            _ if does.load(Ordering::SeqCst) => Err(Boom),
            _ => Ok(Fetched::NotModified { ttl: None }),
        })
    }
    .make();
    let options = Options { refresh: batch(10), ..Options::default() };
    let cache = Cache::batching(source.clone(), options).unwrap();
    cache.get(&1).await.unwrap();
    refuses.store(true, Ordering::SeqCst);
    tokio::time::sleep(secs(200)).await;
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(source.batches(), 1);
    let now = Request::DEFAULT.must_revalidate();
    cache.get_with(&1, &now).await.unwrap();
    tokio::time::sleep(secs(200)).await;
    assert!(source.batches() > 5, "never asked again in the background");
}

#[test]
fn a_value_put_while_its_batch_lands_is_refreshed_in_batches() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let later = runtime.block_on(async {
        let source = src(|n, _| {
            Ok(if n == 1_000 { Fetched::Absent { remember_for: None } } else { Fetched::value(1) })
        })
        .make();
        let options = Options {
            refresh: Refresh::Batch { every: Duration::from_millis(50), size: 10, parallel: 4 },
            ..Options::default()
        };
        let cache = Cache::batching(source.clone(), options).unwrap();
        let again = cache.clone();
        *source.0.removed.lock().unwrap() = Some(Box::new(move |key, cause| {
            if cause == Removal::Absent {
                // From another thread, so that the driver runs on another worker meanwhile.
                let again = again.clone();
                std::thread::spawn(move || assert_eq!(again.put(&key, 2), Put::Stored))
                    .join()
                    .unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
        }));
        cache.get(&1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let before = source.batches();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let later = source.batches() - before;
        *source.0.removed.lock().unwrap() = None;
        later
    });
    runtime.shutdown_background();
    assert!(later > 0, "its enlistment was lost");
}

static KEYS: AtomicIsize = AtomicIsize::new(0);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LiveKey(u32);

impl LiveKey {
    fn new(n: u32) -> Self {
        KEYS.fetch_add(1, Ordering::SeqCst);
        Self(n)
    }
}

impl Clone for LiveKey {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for LiveKey {
    fn drop(&mut self) {
        KEYS.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Many;

impl Source for Many {
    type Key = LiveKey;
    type Value = u64;
    type Error = Boom;
    async fn fetch(&self, _: &LiveKey, _: Attempt<u64>) -> Answer {
        Ok(Fetched::value(1))
    }
}

impl FetchMany for Many {
    async fn fetch_many(
        &self,
        _: Vec<(LiveKey, Attempt<u64>)>,
    ) -> Result<Vec<OneOfMany<Self>>, Boom> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_of_batches_is_bounded_by_what_the_cache_holds() {
    let options = Options {
        capacity: 100,
        expected_entries: 100,
        ttl: secs(3_600),
        refresh: batch(3_600),
        ..Options::default()
    };
    let cache = Cache::batching(Many, options).unwrap();
    for key in 0..50_000 {
        let _ = cache.put(&LiveKey::new(key), 1);
        if key % 100 == 0 {
            settle().await;
        }
    }
    settle().await;
    let keys = KEYS.load(Ordering::SeqCst);
    assert!(keys < 5_000, "{keys} keys live for {} entries", cache.stats().entries);
}

// ---- hot loops -----------------------------------------------------------------------------------

fn opens(stream: fn(usize) -> Result<Ended, Boom>, rate: Option<Rate>) -> Option<(usize, usize)> {
    within_real(secs(5), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let source = src(|n, _| Ok(Fresh::new(1).index(n as u64 + 1).into())).make();
            *source.0.stream.lock().unwrap() = Some(stream);
            let options = Options {
                refresh: Refresh::Watch { idle_timeout: secs(60) },
                rate,
                ..Options::default()
            };
            let cache = Cache::watching(source.clone(), options).unwrap();
            cache.get(&1).await.unwrap();
            tokio::time::sleep(secs(2)).await;
            cache.close().await;
            (source.streams(), source.fetches())
        })
    })
}

#[test]
fn a_stream_that_says_a_word_and_ends_is_not_opened_again_in_a_hot_loop() {
    let opens = opens(|_| Ok(Ended::Over), Some(Rate::default()));
    assert!(opens.is_some_and(|(streams, _)| streams < 500), "{opens:?}; None: the thread hangs");
}

#[test]
fn a_stream_that_refuses_every_index_backs_off() {
    let opens = opens(|_| Ok(Ended::IndexRefused), Some(Rate::default()));
    assert!(opens.is_some_and(|(_, fetches)| fetches < 50), "{opens:?} streams, fetches in 2 s");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_who_accepts_no_age_does_not_make_a_poll_spin() {
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    let source = changing();
    let cache = Cache::new(source.clone(), options).unwrap();
    assert!(cache.subscribe(&1, &Request::DEFAULT.must_revalidate()).is_err());
    tokio::time::sleep(secs(20)).await;
    assert!(source.fetches() < 30, "{} fetches in 20 s", source.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_who_accepts_half_a_millisecond_does_not_make_a_poll_spin() {
    let source = changing();
    let cache = Cache::new(source.clone(), Options::default()).unwrap();
    let hasty = Request::DEFAULT.max_age(Duration::from_micros(500));
    let subscription = cache.subscribe(&1, &hasty);
    let refused = subscription.is_err();
    tokio::time::sleep(secs(20)).await;
    assert!(refused || source.fetches() < 30, "{} fetches in 20 s", source.fetches());
}

#[test]
fn a_hot_loop_without_a_rate_limit_still_lets_others_run() {
    let ran = within_real(secs(5), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = Options {
                refresh: Refresh::Blocking { wait: secs(10) },
                rate: None,
                ..Options::default()
            };
            let never_waits = src(|n, _| Ok(Fresh::new(0).index(n as u64 + 1).into())).make();
            let cache = Cache::new(never_waits, options).unwrap();
            let _subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            cache.close().await;
        });
    });
    assert!(ran.is_some(), "a pilot that never waits holds its thread for ever");
}

#[tokio::test(start_paused = true)]
async fn a_poll_of_a_cache_below_does_not_spin() {
    let below = Cache::new(changing(), Options { ttl: secs(60), ..Options::default() }).unwrap();
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    let above = Cache::new(below.clone(), options).unwrap();
    let _subscription = above.subscribe(&1, &Request::DEFAULT).unwrap();
    tokio::time::sleep(secs(60)).await;
    let stats = above.stats();
    let asked = stats.fetched + stats.unmodified;
    assert!(asked < 30, "{asked} fetches in 60 s");
}

#[tokio::test(start_paused = true)]
async fn an_absence_that_is_not_remembered_does_not_make_a_blocking_keeper_spin() {
    let source = src(|_, _| Ok(Fetched::Absent { remember_for: Some(Duration::ZERO) })).make();
    let options = Options { refresh: Refresh::Blocking { wait: secs(60) }, ..Options::default() };
    let cache = Cache::new(source.clone(), options).unwrap();
    let _subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    tokio::time::sleep(secs(20)).await;
    assert!(source.fetches() < 100, "{} fetches in 20 s", source.fetches());
}

// ---- publishers ----------------------------------------------------------------------------------

fn pushed() -> (Cache<Scripted>, Scripted) {
    let source = Scripted::new([Step::NotModified, Step::Fail]);
    let options = Options { refresh: Refresh::Pushed, ..Options::default() };
    (Cache::new(source.clone(), options).unwrap(), source)
}

#[tokio::test(start_paused = true)]
async fn a_published_value_has_no_age_after_a_subscriber_has_left() {
    let (cache, _) = pushed();
    let mut publisher = cache.publisher().unwrap();
    let _ = publisher.publish(&1, 7);
    drop(cache.subscribe(&1, &Request::DEFAULT).unwrap());
    settle().await;
    tokio::time::sleep(secs(30)).await;
    assert_eq!(cache.peek(&1).unwrap().age(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_published_value_has_no_age_after_the_source_has_confirmed_it() {
    let (cache, source) = pushed();
    let mut publisher = cache.publisher().unwrap();
    let _ = publisher.publish(&1, 7);
    cache.get_with(&1, &Request::DEFAULT.max_age(secs(0))).await.unwrap();
    assert_eq!(source.fetches(), 1);
    tokio::time::sleep(secs(30)).await;
    assert_eq!(cache.peek(&1).unwrap().age(), Duration::ZERO);
}

// ---- indexes and ages ----------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_index_does_not_go_backwards_for_a_subscriber_after_an_invalidation() {
    let owner = Counted::new(1);
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let before = subscription.changed().await.unwrap().value.unwrap().index();
    owner.restart(2, 3);
    let restarted = subscription.changed().await.unwrap().value.unwrap().index();
    assert!(restarted > before);
    cache.invalidate(&1);
    let after = subscription.changed().await.unwrap().value.unwrap().index();
    assert!(after >= restarted, "{before}, {restarted}, then {after}");
}

#[tokio::test(start_paused = true)]
async fn a_value_keeps_its_age_through_a_blocking_tier() {
    let below = Cache::new(
        src(|_, _| Ok(Fresh::new(1).index(5).into())).make(),
        Options { refresh: Refresh::Poll { every: secs(50) }, ..Options::default() },
    )
    .unwrap();
    let options = Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let above = Cache::new(below.clone(), options).unwrap();
    above.get(&1).await.unwrap();
    tokio::time::sleep(secs(40)).await;
    let (here, there) = (above.get(&1).await.unwrap().age(), below.get(&1).await.unwrap().age());
    assert!(here >= there, "{here:?} above, {there:?} below");
}

#[tokio::test(start_paused = true)]
async fn a_value_is_not_said_to_be_fresh_while_the_tier_below_has_lost_its_owner() {
    let owner = Counted::new(1);
    let blocking =
        || Options { refresh: Refresh::Blocking { wait: secs(300) }, ..Options::default() };
    let below = Cache::new(owner.clone(), blocking()).unwrap();
    let above = Cache::new(below.clone(), blocking()).unwrap();
    above.get(&1).await.unwrap();
    tokio::time::sleep(secs(10)).await;
    owner.fail(true);
    tokio::time::sleep(secs(50)).await;
    let (here, there) = (above.peek(&1).unwrap().age(), below.peek(&1).unwrap().age());
    assert!(there > secs(40));
    assert!(here > secs(20), "{here:?} above, {there:?} below");
}

#[tokio::test(start_paused = true)]
async fn values_grow_old_in_a_cache_that_has_its_clock_from_its_upstream() {
    let upstream = Upstream::new(Clock::running());
    let options = Options { upstream: Some(upstream), ttl: secs(10), ..Options::default() };
    let source = changing();
    let cache = Cache::new(source.clone(), options).unwrap();
    cache.get(&1).await.unwrap();
    tokio::time::sleep(secs(60)).await;
    cache.get(&1).await.unwrap();
    assert_eq!(source.fetches(), 2, "a hit, six times too old");
}

// ---- leaks ---------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_dropped_inbox_ends_its_subscriptions() {
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    let source = Owner { same: true, ..src(|_, _| Ok(Fetched::value(1))) }.make();
    let cache = Cache::new(source, options).unwrap();
    let mut inbox = Inbox::new();
    cache.notify(&1, &Request::DEFAULT, "a", &inbox, |update| update).unwrap().keep();
    inbox.recv().await;
    // It looks once more, finds nothing, and leaves its waker.
    assert!(tokio::time::timeout(secs(1), inbox.recv()).await.is_err());
    drop(inbox);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(cache.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_of_an_evicted_value_ends() {
    let owner = Counted::new(1);
    let options = Options {
        refresh: Refresh::Blocking { wait: secs(300) },
        capacity: 10,
        expected_entries: 10,
        idle: secs(60),
        ..Options::default()
    };
    let cache = Cache::new(owner.clone(), options).unwrap();
    for key in 0..1_000 {
        cache.get(&key).await.unwrap();
    }
    // Nobody reads; the owner changes every half a minute.
    for value in 0..60 {
        tokio::time::sleep(secs(30)).await;
        owner.set(value);
    }
    let stats = cache.stats();
    assert!(
        stats.keepers.total <= 20,
        "{} keepers for {} entries that nobody has read for half an hour",
        stats.keepers.total,
        stats.entries
    );
}

// ---- budgets, standings, topics -------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_budget_does_not_undo_a_resize() {
    let budget = Budget::new(10_000);
    let options = Options {
        capacity: 5_000,
        expected_entries: 5_000,
        share: Some(budget.share(0.5)),
        ..Options::default()
    };
    let cache = Cache::new(changing(), options).unwrap();
    cache.resize(100);
    for key in 0..3_000 {
        let _ = cache.put(&key, 1);
    }
    assert!(cache.stats().entries <= 150, "{} entries of 100", cache.stats().entries);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_fetched_once_do_not_push_out_what_is_known_about_absent_ones() {
    let source = src(|_, key| {
        Ok(if key < 50 { Fetched::Absent { remember_for: None } } else { Fetched::value(1) })
    })
    .make();
    let mut options = Options { absent_ttl: secs(600), ..Options::default() };
    options.limits.troubles = 200;
    let cache = Cache::new(source, options).unwrap();
    for key in 0..5_000 {
        let _ = cache.get(&key).await;
    }
    for key in 0..50 {
        let _ = cache.get(&key).await;
    }
    let remembered = cache.stats().negative;
    assert_eq!(remembered, 50, "of 50 troubles, where 200 may be remembered");
}

#[tokio::test(start_paused = true)]
async fn who_wants_each_gets_what_was_known_first() {
    let (cache, _) = pushed();
    let _ = cache.put(&1, 1);
    let mut subscription = cache.subscribe_to(&1, &Request::DEFAULT, Delivery::Each(10)).unwrap();
    let _ = cache.put(&1, 2);
    let update = subscription.changed().await.unwrap();
    assert_eq!((*update.value.unwrap(), update.missed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_uncounted_value_that_is_the_same_is_no_news() {
    let source = Owner { same: true, ..src(|_, _| Ok(Fetched::value(1))) }.make();
    let options = Options { refresh: Refresh::Blocking { wait: secs(60) }, ..Options::default() };
    let cache = Cache::new(source.clone(), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let mut updates = 0;
    while tokio::time::timeout(secs(300), subscription.changed()).await.is_ok() && updates < 5 {
        updates += 1;
    }
    assert_eq!(updates, 1, "updates in {} fetches of one value", source.fetches());
}

#[tokio::test(start_paused = true)]
async fn the_fetch_of_a_kept_key_counts_as_a_flight() {
    let source = Scripted::new([Step::Value(1), Step::Gate, Step::Value(2)]);
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    let cache = Cache::new(source.clone(), options).unwrap();
    cache.get(&1).await.unwrap();
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.map(|r| *r) }
    });
    settle().await;
    let stats = cache.stats();
    assert_eq!((source.running(), stats.flights, stats.joins), (1, 1, 0));
    source.open();
    caller.await.unwrap().unwrap();
}

// ---- upstream ------------------------------------------------------------------------------------

/// Fails after a third of a second.
struct Unreachable(Arc<AtomicUsize>);

impl Source for Unreachable {
    type Key = u32;
    type Value = u64;
    type Error = Boom;
    async fn fetch(&self, _: &u32, _: Attempt<u64>) -> Answer {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        Err(Boom)
    }
    fn blame(&self, _: &Boom) -> Blame {
        Blame::Upstream
    }
}

#[tokio::test(start_paused = true)]
async fn one_blocking_fetch_a_second_reaches_an_upstream_that_is_down() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let options = Options { refresh: Refresh::Blocking { wait: secs(60) }, ..Options::default() };
    let cache = Cache::new(Unreachable(Arc::clone(&fetches)), options).unwrap();
    for key in 0..3 {
        let _ = cache.get(&(1_000 + key)).await;
    }
    assert!(cache.upstream().down_for().is_some());
    let mut subscriptions = Vec::new();
    for key in 0..100 {
        let _ = cache.put(&key, Fresh::new(1).index(5));
        subscriptions.push(cache.subscribe(&key, &Request::DEFAULT).unwrap());
    }
    let before = fetches.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let asked = fetches.load(Ordering::SeqCst) - before;
    assert!(asked <= 4, "{asked} fetches in 2.5 s");
}

// ---- foreign code --------------------------------------------------------------------------------

struct Noisy(Arc<Mutex<Option<Cache<Echo>>>>);

impl Drop for Noisy {
    fn drop(&mut self) {
        // Asks the cache something, about its own key.
        let cache = self.0.lock().unwrap().clone();
        if let Some(cache) = cache {
            cache.invalidate(&1);
        }
    }
}

struct Echo;

impl Source for Echo {
    type Key = u32;
    type Value = Noisy;
    type Error = Boom;
    async fn fetch(&self, _: &u32, _: Attempt<Noisy>) -> Result<Fetched<Noisy>, Boom> {
        std::future::pending().await
    }
    fn weigh(&self, _: &u32, _: &Noisy) -> u64 {
        1_000_000
    }
}

#[test]
fn a_value_that_asks_the_cache_as_it_is_dropped_does_not_lock_up_invalidate_all() {
    let done = within_real(secs(5), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = Options { refresh: Refresh::Pushed, ..Options::default() };
            let cache = Cache::new(Echo, options).unwrap();
            let handle = Arc::new(Mutex::new(Some(cache.clone())));
            let _subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
            // Too heavy to be kept: only the topic has it.
            assert_eq!(cache.put(&1, Noisy(Arc::clone(&handle))), Put::TooHeavy);
            cache.invalidate_all();
            handle.lock().unwrap().take();
        });
    });
    assert!(done.is_some(), "a value is dropped under the lock of its shard");
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the drop panics, as the test wants it");
    }
}

struct Mined(AtomicUsize);

impl Source for Mined {
    type Key = u32;
    type Value = u64;
    type Error = Boom;
    async fn fetch(&self, _: &u32, _: Attempt<u64>) -> Answer {
        if self.0.fetch_add(1, Ordering::SeqCst) == 1 {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        }
        Ok(Fetched::value(1))
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_as_it_is_dropped_does_not_end_subscriptions() {
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    let cache = Cache::new(Mined(AtomicUsize::new(0)), options).unwrap();
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    assert!(subscription.changed().await.is_some());
    assert!(subscription.changed().await.is_some(), "told that the cache is closed");
}

#[test]
fn a_back_off_for_ever_does_not_panic() {
    let forever = Backoff { free_failures: 0, base: Duration::MAX, cap: Duration::MAX };
    forever.wait(1, 0);
}

fn _uses(_: Change<u64, u64>) {}

#[test]
fn a_panic_that_takes_the_runtime_along_ends_subscribed_pilots() {
    let unwound = std::panic::catch_unwind(|| {
        // Declared first, so dropped last: the runtime ends while there is a subscription.
        let held;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        held = runtime.block_on(async {
            let (cache, ..) = support::cache([]);
            let subscription = cache.subscribe(&1, &Request::DEFAULT.max_age(secs(4))).unwrap();
            settle().await;
            (cache, subscription)
        });
        assert!(held.0.stats().subscriptions > 1, "as the test wants it");
    });
    unwound.unwrap_err();
}
