//! What callers see, on time that is moved by hand.

mod model;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::backoff::Backoff;
use crate::clock::Hands;

/// What the source does next.
#[derive(Debug)]
enum Step {
    Value(u64),
    ValueFor(u64, Duration),
    NotModified,
    Absent(Duration),
    Fail,
    Panic,
    Hang,
    /// Waits until the test opens the gate, then gives this value.
    Gate(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("it is down")]
struct Down;

/// A source that does what it is told, and then repeats the number of its fetch.
struct Script {
    steps: Mutex<VecDeque<Step>>,
    fetches: AtomicU64,
    gate: Semaphore,
}

impl Source for Arc<Script> {
    type Key = u64;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, _: &u64, attempt: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        let fetch = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        let step = lock(&self.steps).pop_front();
        match step.unwrap_or(Step::Value(fetch)) {
            Step::Value(value) => Ok(Fetched::value(value).with_index(fetch)),
            Step::ValueFor(value, ttl) => Ok(Fetched::value(value).with_ttl(ttl)),
            Step::NotModified => {
                assert_eq!(attempt.time_allowed, Duration::from_secs(30));
                Ok(Fetched::not_modified())
            }
            Step::Absent(remember) => Ok(Fetched::absent(remember)),
            Step::Fail => Err(Down),
            Step::Panic => panic!("the script says so"),
            Step::Hang => std::future::pending().await,
            Step::Gate(value) => {
                self.gate.acquire().await.expect("nobody closes it").forget();
                Ok(Fetched::value(value))
            }
        }
    }

    /// Values beyond a thousand weigh what they say.
    fn weigh(&self, _: &u64, value: &u64) -> u64 {
        if *value > 1_000 { *value } else { 1 }
    }
}

struct Bench {
    cache: Cache<Arc<Script>>,
    script: Arc<Script>,
    hands: Hands,
}

impl Bench {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with(steps, Options::default())
    }

    /// Values are fresh for ten seconds, and may stand in for a minute.
    #[expect(clippy::needless_pass_by_value, reason = "the tests read better")]
    fn with(steps: impl IntoIterator<Item = Step>, options: Options) -> Self {
        let (clock, hands) = Clock::by_hand(0);
        let script = Arc::new(Script {
            steps: Mutex::new(steps.into_iter().collect()),
            fetches: AtomicU64::new(0),
            gate: Semaphore::new(0),
        });
        let options = Options {
            ttl: secs(10),
            stale_if_error: secs(60),
            clock: Some(clock),
            capacity: 10_000,
            ..options
        };
        let cache = Cache::new(script.clone(), options).expect("the options are valid");
        Self { cache, script, hands }
    }

    async fn get(&self) -> Result<Reply<u64, Down>, Error<Down>> {
        self.cache.get(&1).await
    }

    async fn value(&self) -> (u64, Origin) {
        let reply = self.get().await.expect("there is a value");
        (*reply, reply.origin())
    }

    fn fetches(&self) -> u64 {
        self.script.fetches.load(Ordering::SeqCst)
    }

    fn open_gate(&self) {
        self.script.gate.add_permits(1);
    }

    /// A call that waits for a flight, which has taken off.
    async fn waiter(&self) -> tokio::task::JoinHandle<Result<Reply<u64, Down>, Error<Down>>> {
        let before = self.cache.stats().waiters;
        let cache = self.cache.clone();
        let call = tokio::spawn(async move { cache.get(&1).await });
        while self.cache.stats().waiters == before {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        call
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test]
async fn a_value_is_fetched_once_and_served_until_its_ttl_is_over() {
    let bench = Bench::new([]);
    assert_eq!(bench.value().await, (1, Origin::Miss));
    bench.hands.advance(Duration::from_millis(9_999));
    assert_eq!(bench.value().await, (1, Origin::Hit));
    bench.hands.advance(Duration::from_millis(1));
    assert_eq!(bench.value().await, (2, Origin::Miss));
}

#[tokio::test]
async fn a_reply_tells_its_age_and_index() {
    let bench = Bench::new([]);
    bench.value().await;
    bench.hands.advance(secs(7));
    let reply = bench.get().await.expect("it is cached");
    assert_eq!((reply.age(), reply.index()), (secs(7), 1));
}

#[tokio::test]
async fn the_source_may_shorten_the_ttl_and_not_lengthen_it() {
    for (said, effective) in [(secs(2), 2_000), (secs(99), 10_000)] {
        let bench = Bench::new([Step::ValueFor(7, said)]);
        bench.value().await;
        bench.hands.advance(Duration::from_millis(effective - 1));
        assert_eq!(bench.value().await, (7, Origin::Hit));
        bench.hands.advance(Duration::from_millis(1));
        assert_eq!(bench.value().await, (2, Origin::Miss));
    }
}

#[tokio::test]
async fn a_caller_may_ask_for_a_younger_value() {
    let bench = Bench::new([]);
    bench.value().await;
    bench.hands.advance(secs(5));
    let young = Request { max_age: secs(4), ..Request::default() };
    assert_eq!(*bench.cache.get_with(&1, &young).await.expect("there is a value"), 2);
}

#[tokio::test]
async fn not_modified_keeps_the_value_and_makes_it_young() {
    let bench = Bench::new([Step::Value(7), Step::NotModified]);
    bench.value().await;
    bench.hands.advance(secs(11));
    assert_eq!(bench.value().await, (7, Origin::Miss));
    bench.hands.advance(secs(9));
    let reply = bench.get().await.expect("it is cached");
    assert_eq!((*reply, reply.age(), reply.origin()), (7, secs(9), Origin::Hit));
}

#[tokio::test]
async fn not_modified_without_a_value_is_the_sources_error() {
    let bench = Bench::new([Step::NotModified]);
    assert!(matches!(bench.get().await, Err(Error::NothingToConfirm)));
}

#[tokio::test]
async fn an_absence_is_remembered_as_long_as_the_source_says() {
    let bench = Bench::new([Step::Absent(secs(3))]);
    for _ in 0..3 {
        assert!(matches!(bench.get().await, Err(Error::Absent)));
    }
    assert_eq!(bench.fetches(), 1);
    bench.hands.advance(secs(3));
    assert_eq!(bench.value().await, (2, Origin::Miss));
}

#[tokio::test]
async fn a_value_that_is_absent_now_does_not_stand_in() {
    let bench = Bench::new([Step::Value(7), Step::Absent(secs(3))]);
    bench.value().await;
    bench.hands.advance(secs(10));
    assert!(matches!(bench.get().await, Err(Error::Absent)));
    assert!(bench.cache.peek(&1).is_none());
}

#[tokio::test]
async fn a_stale_value_stands_in_for_a_failure_with_its_real_age_and_the_error() {
    let bench = Bench::new([Step::Value(7), Step::Fail]);
    bench.value().await;
    bench.hands.advance(secs(30));
    let reply = bench.get().await.expect("the stale value stands in");
    assert_eq!((*reply, reply.age(), reply.origin()), (7, secs(30), Origin::Stale));
    assert!(matches!(reply.error(), Some(Error::Source(_))));
    assert_eq!(bench.cache.stats().stale_served, 1);
}

#[tokio::test]
async fn a_value_beyond_the_bound_does_not_stand_in() {
    let bench = Bench::new([Step::Value(7), Step::Fail]);
    bench.value().await;
    bench.hands.advance(secs(71));
    assert!(matches!(bench.get().await, Err(Error::Source(_))));
}

#[tokio::test]
async fn a_caller_may_prefer_an_error_to_a_stale_value() {
    let bench = Bench::new([Step::Value(7), Step::Fail]);
    bench.value().await;
    bench.hands.advance(secs(11));
    let strict = Request { stale_if_error: Duration::ZERO, ..Request::default() };
    assert!(matches!(bench.cache.get_with(&1, &strict).await, Err(Error::Source(_))));
}

#[tokio::test]
async fn without_a_value_a_failure_is_an_error_after_one_attempt() {
    let bench = Bench::new([Step::Fail]);
    assert!(matches!(bench.get().await, Err(Error::Source(_))));
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_back_off_cannot_be_got_around_by_asking_again() {
    let bench = Bench::new([Step::Fail, Step::Fail]);
    for _ in 0..100 {
        assert!(matches!(bench.get().await, Err(Error::Source(_))));
    }
    assert_eq!(bench.fetches(), 2, "one failure is free, the second is waited for");
    bench.hands.advance(Backoff::default().first);
    assert_eq!(bench.value().await, (3, Origin::Miss));
}

#[tokio::test]
async fn a_stale_value_is_served_during_the_back_off() {
    let bench = Bench::new([Step::Value(7), Step::Fail, Step::Fail]);
    bench.value().await;
    bench.hands.advance(secs(11));
    for _ in 0..10 {
        assert_eq!(bench.value().await, (7, Origin::Stale));
    }
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_of_a_cold_key_cause_one_fetch() {
    for (step, succeeds) in [(Step::Gate(7), true), (Step::Fail, false)] {
        let bench = Bench::with(
            [step],
            Options {
                backoff: Backoff { free_failures: 0, ..Backoff::default() },
                ..Options::default()
            },
        );
        let calls: Vec<_> = (0..10_000)
            .map(|_| {
                let cache = bench.cache.clone();
                tokio::spawn(async move { cache.get(&1).await.is_ok() })
            })
            .collect();
        bench.open_gate();
        for call in calls {
            assert_eq!(call.await.expect("it does not panic"), succeeds);
        }
        assert_eq!(bench.fetches(), 1);
    }
}

#[tokio::test]
async fn a_caller_who_gives_up_ends_nothing() {
    let bench = Bench::new([Step::Gate(7)]);
    let first = bench.waiter().await;
    let second = bench.waiter().await;
    first.abort();
    assert!(first.await.expect_err("it was aborted").is_cancelled());
    bench.open_gate();
    assert_eq!(*second.await.expect("it runs").expect("there is a value"), 7);
    assert_eq!((bench.fetches(), bench.cache.stats().waiters), (1, 0));
}

#[tokio::test]
async fn a_fetch_goes_on_after_its_only_caller_gave_up() {
    let bench = Bench::new([Step::Gate(7)]);
    bench.waiter().await.abort();
    bench.open_gate();
    while bench.cache.stats().flights > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.value().await, (7, Origin::Hit));
}

#[tokio::test]
async fn a_panic_of_the_source_releases_everyone() {
    let bench = Bench::new([Step::Panic]);
    let (first, second) = tokio::join!(bench.get(), bench.get());
    assert!(matches!((first, second), (Err(Error::Panicked), Err(Error::Panicked))));
    assert_eq!((bench.fetches(), bench.cache.stats().failed), (1, 1));
    assert_eq!(bench.value().await, (2, Origin::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up_when_its_time_is_over() {
    let bench = Bench::new([Step::Hang]);
    assert!(matches!(bench.get().await, Err(Error::TimedOut(after)) if after == secs(30)));
    assert_eq!(bench.cache.stats().flights, 0);
}

#[tokio::test]
async fn a_fetch_that_began_before_an_invalidation_cannot_undo_it() {
    let bench = Bench::new([Step::Gate(7), Step::Value(8)]);
    let early = bench.waiter().await;
    bench.cache.invalidate(&1);
    assert_eq!(bench.value().await, (8, Origin::Miss), "who comes later is not told of the past");
    bench.open_gate();
    assert_eq!(*early.await.expect("it runs").expect("it is answered"), 7);
    assert_eq!(bench.value().await, (8, Origin::Hit));
    assert_eq!(bench.cache.stats().superseded, 1);
}

#[tokio::test]
async fn a_fetch_that_began_before_a_put_cannot_undo_it() {
    let bench = Bench::new([Step::Gate(7)]);
    let early = bench.waiter().await;
    bench.cache.put(1, 9).expect("it is light");
    bench.open_gate();
    early.await.expect("it runs").expect("it is answered");
    assert_eq!(bench.value().await, (9, Origin::Hit));
}

#[tokio::test]
async fn a_failure_that_began_before_an_invalidation_starts_no_back_off() {
    let bench = Bench::with([Step::Hang], Options::default());
    let early = bench.waiter().await;
    bench.cache.invalidate(&1);
    assert_eq!(bench.value().await, (2, Origin::Miss));
    bench.cache.close().await;
    assert!(matches!(early.await.expect("it runs"), Ok(reply) if reply.origin() == Origin::Stale));
}

#[tokio::test]
async fn invalidating_forgets_the_value_the_absence_and_the_back_off() {
    let bench = Bench::new([Step::Value(1), Step::Absent(secs(99)), Step::Fail, Step::Fail]);
    bench.value().await;
    bench.cache.invalidate(&1);
    assert!(matches!(bench.get().await, Err(Error::Absent)));
    bench.cache.invalidate(&1);
    for _ in 0..2 {
        assert!(bench.get().await.is_err());
    }
    bench.cache.invalidate(&1);
    assert_eq!(bench.value().await, (5, Origin::Miss));
}

#[tokio::test]
async fn a_put_ends_a_remembered_absence() {
    let bench = Bench::new([Step::Absent(secs(99))]);
    assert!(bench.get().await.is_err());
    bench.cache.put(1, 9).expect("it is light");
    assert_eq!(bench.value().await, (9, Origin::Hit));
}

#[tokio::test]
async fn peek_never_asks_the_source_and_says_whether_the_value_is_fresh() {
    let bench = Bench::new([]);
    assert!(bench.cache.peek(&1).is_none());
    bench.value().await;
    let origin = || bench.cache.peek(&1).map(|reply| reply.origin());
    assert_eq!(origin(), Some(Origin::Hit));
    bench.hands.advance(secs(10));
    assert_eq!(origin(), Some(Origin::Stale));
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_value_too_heavy_to_be_stored_is_still_handed_out() {
    let bench = Bench::with([Step::Value(9_000)], Options { shards: 8, ..Options::default() });
    assert_eq!(bench.value().await, (9_000, Origin::Miss));
    assert_eq!(bench.value().await, (2, Origin::Miss));
    assert_eq!(bench.cache.stats().refused, 1);
    let most = 10_000 / 8;
    assert_eq!(bench.cache.put(1, 9_000), Err(TooHeavy { weight: 9_000, most }));
    assert!(bench.cache.peek(&1).is_none(), "the older value is no longer right");
}

#[tokio::test]
async fn closing_releases_everyone_who_waits_and_refuses_new_fetches() {
    let bench = Bench::new([Step::Hang]);
    let waiter = bench.waiter().await;
    bench.cache.close().await;
    assert!(matches!(waiter.await.expect("it runs"), Err(Error::Closed)));
    assert!(matches!(bench.cache.get(&2).await, Err(Error::Closed)));
    assert_eq!((bench.cache.stats().flights, bench.cache.stats().waiters), (0, 0));
    bench.cache.close().await;
}

#[tokio::test]
async fn a_flight_that_never_took_off_lands_when_the_cache_is_closed() {
    let bench = Bench::new([]);
    // Polled once: the flight is spawned and has not run yet.
    let mut call = Box::pin(bench.get());
    assert!(futures_poll(call.as_mut()).is_pending());
    bench.cache.close().await;
    assert!(matches!(call.await, Err(Error::Closed)));
    assert_eq!(bench.fetches(), 0);
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn fetches_and_waiters_beyond_their_limits_are_refused() {
    let limits = Options { max_flights: 1, max_waiters: 2, ..Options::default() };
    let bench = Bench::with([Step::Gate(7)], limits);
    let first = bench.waiter().await;
    assert!(matches!(bench.cache.get(&2).await, Err(Error::Overloaded(Limit::Flights(1)))));
    let second = bench.waiter().await;
    assert!(matches!(bench.get().await, Err(Error::Overloaded(Limit::Waiters(2)))));
    assert_eq!(bench.cache.stats().overloaded, 2);
    bench.open_gate();
    for waiter in [first, second] {
        assert_eq!(*waiter.await.expect("it runs").expect("it is answered"), 7);
    }
    assert_eq!(bench.cache.get(&2).await.map(|reply| *reply).ok(), Some(2));
}

#[tokio::test]
async fn finished_fetches_leave_nothing_behind() {
    let bench = Bench::new([]);
    for key in 0..1_000 {
        bench.cache.get(&key).await.expect("there is a value");
    }
    let tasks = lock(&bench.cache.core.tasks).as_ref().map(JoinSet::len);
    assert!(tasks.is_some_and(|tasks| tasks <= 2), "{tasks:?}");
}

#[tokio::test]
async fn an_option_out_of_range_is_refused() {
    let (clock, _hands) = Clock::by_hand(0);
    let options = Options { capacity: 0, clock: Some(clock), ..Options::default() };
    let script = Bench::new([]).script;
    let refused = Cache::new(script, options).expect_err("nothing fits");
    assert_eq!(refused.to_string(), "the option capacity must be at least 1");
}

#[tokio::test]
async fn one_cache_in_front_of_another_keeps_age_and_index_and_asks_again_when_stale() {
    let front = |bench: &Bench, clock| {
        let options = Options { ttl: secs(5), clock: Some(clock), ..Options::default() };
        Cache::new(bench.cache.clone(), options).expect("the options are valid")
    };
    let bench = Bench::new([Step::Value(7), Step::Fail]);
    let outer = front(&bench, bench.cache.core.clock.clone());
    bench.value().await;
    bench.hands.advance(secs(4));
    let reply = outer.get(&1).await.expect("the inner cache has it");
    assert_eq!((*reply, reply.age(), reply.index()), (7, secs(4), 1));
    bench.hands.advance(secs(6));
    assert_eq!(*outer.get(&1).await.expect("the inner value stands in"), 7);
    assert_eq!(outer.get(&1).await.map(|reply| *reply).ok(), Some(3), "stale is not fresh outside");
}

#[tokio::test]
async fn a_value_is_fresh_behind_two_caches_no_longer_than_in_the_inner_one() {
    let bench = Bench::new([]);
    let clock = Some(bench.cache.core.clock.clone());
    let options = Options { clock, ..Options::default() };
    let outer = Cache::new(bench.cache.clone(), options).expect("the options are valid");
    bench.value().await;
    bench.hands.advance(secs(9));
    assert_eq!(outer.get(&1).await.map(|reply| *reply).ok(), Some(1));
    bench.hands.advance(secs(1));
    assert_eq!(outer.get(&1).await.map(|reply| *reply).ok(), Some(2));
}

#[tokio::test]
async fn an_absence_behind_two_caches_is_remembered_by_the_inner_one() {
    let bench = Bench::new([Step::Absent(secs(3))]);
    let clock = Some(bench.cache.core.clock.clone());
    let options = Options { clock, ..Options::default() };
    let outer = Cache::new(bench.cache.clone(), options).expect("the options are valid");
    for _ in 0..3 {
        assert!(matches!(outer.get(&1).await, Err(Error::Absent)));
    }
    assert_eq!(bench.fetches(), 1);
    bench.hands.advance(secs(3));
    assert_eq!(outer.get(&1).await.map(|reply| *reply).ok(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_cache_of_its_own_clock_lets_values_grow_old_and_stops_its_ticker() {
    let script = Bench::new([]).script;
    let options = Options { ttl: secs(10), ..Options::default() };
    let cache = Cache::new(script, options).expect("the options are valid");
    assert_eq!(cache.get(&1).await.map(|reply| *reply).ok(), Some(1));
    tokio::time::sleep(secs(9)).await;
    assert_eq!(cache.get(&1).await.map(|reply| *reply).ok(), Some(1));
    tokio::time::sleep(secs(2)).await;
    assert_eq!(cache.get(&1).await.map(|reply| *reply).ok(), Some(2));
    cache.close().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
