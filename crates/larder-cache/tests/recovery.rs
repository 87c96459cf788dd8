//! Who asks, and when, while an upstream is down and once it is back: keys that are followed by streams,
//! readers who are busy, and those who ask without a cache.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Backoff, Blame, Cache, Change, Clock, Edit, Ended, Error, Feed, Fetched, Fresh,
    Options, Origin, Refresh, Request, Source, Upstream, Watch,
};
use support::{Down, secs, settle};
use tokio::sync::watch;

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Works,
    Fails,
    /// No answer while the line is this.
    Hangs,
    /// No answer, ever, to what was asked while the line was this.
    Loses,
}

/// Of fetches, and of streams.
type Lines = (Line, Line);

#[derive(Clone)]
struct Registry(Arc<State>);

struct State {
    lines: watch::Sender<Lines>,
    /// When it was asked anything, in milliseconds.
    asked: Mutex<Vec<u64>>,
    clock: Clock,
}

impl Registry {
    fn new() -> Self {
        let (lines, clock) = (watch::Sender::new((Line::Works, Line::Works)), Clock::running());
        Self(Arc::new(State { lines, asked: Mutex::default(), clock }))
    }

    fn turn(&self, fetches: Line, streams: Line) {
        self.0.lines.send_replace((fetches, streams));
        self.0.asked.lock().unwrap().clear();
    }

    fn now(&self) -> u64 {
        self.0.clock.now().as_millis()
    }

    fn asked(&self) -> Vec<u64> {
        self.0.asked.lock().unwrap().clone()
    }

    async fn pass(&self, of: impl Fn(&Lines) -> Line) -> Result<(), Down> {
        let now = self.now();
        self.0.asked.lock().unwrap().push(now);
        let mut lines = self.0.lines.subscribe();
        if of(&lines.borrow()) == Line::Loses {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let line = lines.wait_for(|lines| of(lines) != Line::Hangs).await;
        if line.is_ok_and(|lines| of(&lines) == Line::Works) { Ok(()) } else { Err(Down) }
    }
}

impl Source for Registry {
    type Key = u64;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, _: &u64, _: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.pass(|lines| lines.0).await?;
        Ok(Fresh::new(self.now()).into())
    }

    fn blame(&self, _: &Down) -> Blame {
        Blame::Upstream
    }
}

impl Watch for Registry {
    type Item = Infallible;

    async fn watch(
        &self,
        _: &u64,
        _: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Down> {
        self.pass(|lines| lines.1).await?;
        feed.tell(Change::Whole(Fresh::new(self.now())));
        let mut lines = self.0.lines.subscribe();
        let _ = lines.wait_for(|lines| lines.1 != Line::Works).await;
        Err(Down)
    }

    fn build(&self, _: &u64, _: Option<&u64>, _: Vec<Edit<Infallible>>) -> u64 {
        0
    }
}

/// As reflectors back off.
const BACKOFF: Backoff =
    Backoff { free_failures: 0, base: Duration::from_millis(800), cap: Duration::from_secs(30) };

fn options() -> Options {
    Options {
        backoff: BACKOFF,
        refresh: Refresh::Watch { idle_timeout: Duration::MAX },
        stale_if_error: Duration::MAX,
        rate: None,
        ..Options::default()
    }
}

fn watching(registry: &Registry) -> Cache<Registry> {
    Cache::watching(registry.clone(), options()).unwrap()
}

fn gaps(asked: &[u64]) -> Vec<u64> {
    asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn one_key_alone_is_tried_every_second_however_long_it_would_back_off() {
    let registry = Registry::new();
    let cache = watching(&registry);
    let _held = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    settle().await;
    registry.turn(Line::Fails, Line::Fails);
    tokio::time::sleep(secs(300)).await;
    let asked = registry.asked();
    // The first failures back off by themselves.
    let tried = gaps(&asked[3..]);
    assert!(tried.iter().all(|gap| (750..=1_000).contains(gap)), "{tried:?}");
    assert!(tried.iter().max() != tried.iter().min(), "with jitter: {tried:?}");
    registry.turn(Line::Works, Line::Works);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(cache.peek(&1).unwrap().age(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_keys_are_back_two_seconds_after_their_upstream_and_none_in_a_crowd() {
    let registry = Registry::new();
    let cache = watching(&registry);
    let held: Vec<_> =
        (0..1_000).map(|key| cache.subscribe(&key, &Request::DEFAULT).unwrap()).collect();
    settle().await;
    registry.turn(Line::Fails, Line::Fails);
    tokio::time::sleep(secs(3)).await;
    registry.turn(Line::Fails, Line::Fails);
    tokio::time::sleep(secs(300)).await;
    let tried = registry.asked().len();
    assert!((280..=401).contains(&tried), "{tried} times in five minutes");
    registry.turn(Line::Works, Line::Works);
    tokio::time::sleep(secs(2)).await;
    assert!((0..1_000).all(|key| cache.peek(&key).unwrap().age().is_zero()));
    let asked = registry.asked();
    assert!((1_000..=1_001).contains(&asked.len()), "once each, and a probe: {}", asked.len());
    let most =
        (0..20).map(|slot| asked.iter().filter(|at| *at / 100 == asked[0] / 100 + slot).count());
    assert!(most.max().unwrap() < 250, "{asked:?}");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn readers_who_ask_all_the_time_ask_no_more_than_once_for_each_key_and_not_all_at_once() {
    let registry = Registry::new();
    // Without a stream or a keeper: it is the readers who ask.
    let options = Options { refresh: Refresh::OnDemand, ttl: secs(5), ..options() };
    let cache = Cache::new(registry.clone(), options).unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for key in 0..100 {
        cache.get(&key).await.unwrap();
        let cache = cache.clone();
        readers.spawn(async move {
            while !matches!(cache.get(&key).await, Err(Error::Closed)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    registry.turn(Line::Fails, Line::Fails);
    tokio::time::sleep(secs(10)).await;
    registry.turn(Line::Fails, Line::Fails);
    tokio::time::sleep(secs(60)).await;
    let tried = gaps(&registry.asked());
    assert!(tried.iter().all(|gap| (750..=1_020).contains(gap)), "{tried:?}");

    registry.turn(Line::Works, Line::Works);
    tokio::time::sleep(secs(2)).await;
    let asked = registry.asked();
    assert_eq!(asked.len(), 100, "once each: {asked:?}");
    let most =
        (0..20).map(|slot| asked.iter().filter(|at| *at / 100 == asked[0] / 100 + slot).count());
    assert!(most.max().unwrap() < 40, "{asked:?}");
    for key in 0..100 {
        assert!(cache.get(&key).await.unwrap().error().is_none());
    }
    cache.close().await;
    readers.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_with_something_to_read_waits_for_a_probe_that_hangs() {
    let registry = Registry::new();
    let cache = watching(&registry);
    for key in 0..5 {
        cache.get(&key).await.unwrap();
    }
    settle().await;
    registry.turn(Line::Hangs, Line::Fails);
    tokio::time::sleep(secs(1)).await;
    registry.turn(Line::Hangs, Line::Hangs);
    let clock = Clock::running();
    // Longer than the ttl, so that all of it is stale.
    for second in 0..120 {
        let asked = clock.now();
        for key in 0..5 {
            let reply = cache.get(&key).await.unwrap();
            assert_eq!(reply.age() > secs(60), matches!(reply.origin(), Origin::Stale(_)));
        }
        assert_eq!(clock.now(), asked, "in second {second}");
        tokio::time::sleep(secs(1)).await;
    }
    registry.turn(Line::Works, Line::Works);
    tokio::time::sleep(secs(2)).await;
    assert!((0..5).all(|key| cache.peek(&key).unwrap().age().is_zero()));
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_lost_put_nobody_off() {
    let registry = Registry::new();
    let cache = watching(&registry);
    let held: Vec<_> =
        (0..50).map(|key| cache.subscribe(&key, &Request::DEFAULT).unwrap()).collect();
    settle().await;
    registry.turn(Line::Loses, Line::Fails);
    tokio::time::sleep(secs(2)).await;
    registry.turn(Line::Loses, Line::Loses);
    tokio::time::sleep(secs(60)).await;
    let tried = gaps(&registry.asked());
    assert!(tried.iter().all(|gap| (750..=2_000).contains(gap)), "{tried:?}");
    registry.turn(Line::Works, Line::Works);
    // What was asked before is late only by now, some of it, and says nothing about what is.
    tokio::time::sleep(secs(2)).await;
    assert_eq!(cache.upstream().down_for(), None);
    // Those whose last question was lost wait for it to be late.
    tokio::time::sleep(options().fetch_timeout).await;
    assert!((0..50).all(|key| cache.peek(&key).unwrap().age().is_zero()));
    assert_eq!(cache.upstream().down_for(), None);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_opens_is_given_up_and_holds_up_no_fetch() {
    let registry = Registry::new();
    registry.turn(Line::Works, Line::Loses);
    let cache = watching(&registry);
    let mut events = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let told = tokio::time::timeout(secs(11), events.changed()).await.unwrap().unwrap();
    assert!(matches!(told.error, Some(Error::TimedOut(_))), "{told:?}");
    tokio::time::sleep(secs(190)).await;
    // Ten seconds each, and longer and longer waits between them.
    let opened = registry.asked();
    assert!((6..=9).contains(&opened.len()), "{opened:?}");
    let gaps = gaps(&opened);
    assert!(gaps.first().unwrap() + 20_000 < *gaps.last().unwrap(), "{gaps:?}");
    assert_eq!(cache.upstream().down_for(), None, "fetches may go through");
    assert!(cache.get(&1).await.unwrap().error().is_none());

    registry.turn(Line::Works, Line::Works);
    tokio::time::sleep(secs(41)).await;
    assert!(cache.peek(&1).unwrap().age().is_zero(), "it is followed");
}

#[tokio::test(start_paused = true)]
async fn where_streams_alone_fail_values_are_no_older_than_their_ttl_and_a_turn() {
    let registry = Registry::new();
    let cache = watching(&registry);
    cache.get(&1).await.unwrap();
    settle().await;
    registry.turn(Line::Works, Line::Fails);
    for _ in 0..600 {
        tokio::time::sleep(secs(1)).await;
        let reply = cache.get(&1).await.unwrap();
        assert!(reply.age() <= secs(62), "{:?}", reply.age());
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_without_a_cache_takes_turns_and_is_called_when_it_is_back() {
    let clock = Clock::running();
    let upstream = Upstream::new(clock.clone());
    let (failed_at, long) = (clock.now(), secs(3_600));
    upstream.note_failure(failed_at);
    // Not down, and yet nobody waits for an hour.
    let (one, other) = (upstream.retry(failed_at, long), upstream.retry(failed_at, long));
    let (first, second) = tokio::join!(
        async {
            one.await;
            clock.now().as_millis()
        },
        async {
            other.await;
            clock.now().as_millis()
        }
    );
    let (first, second) = (first.min(second), first.max(second));
    assert!((750..=1_000).contains(&first) && (750..=1_000).contains(&(second - first)));

    for _ in 0..3 {
        upstream.note_failure(clock.now());
    }
    assert!(upstream.down_for().is_some());
    let failed_at = clock.now();
    let back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        upstream.note_success();
        clock.now()
    };
    // One more than there are turns before that.
    let (back, (), ()) =
        tokio::join!(back, upstream.retry(failed_at, long), upstream.retry(failed_at, long));
    assert!(clock.now().since(back) < Duration::from_millis(750));
}
