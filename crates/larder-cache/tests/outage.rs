//! An upstream that is down: nobody hammers it, everybody is served, and all come back when it does.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Blame, Cache, Clock, Error, Fetched, Options, Origin, Refresh, Request, Source,
    Upstream,
};
use support::{Down, secs};

/// Answers with its key while it is up.
#[derive(Clone)]
struct Registry(Arc<State>);

struct State {
    up: AtomicBool,
    fetches: AtomicUsize,
    blame: Blame,
    /// When fetches began, in milliseconds.
    begun: Mutex<Vec<u64>>,
    clock: Clock,
}

impl Registry {
    fn new(blame: Blame) -> Self {
        Self(Arc::new(State {
            up: AtomicBool::new(true),
            fetches: AtomicUsize::new(0),
            blame,
            begun: Mutex::default(),
            clock: Clock::running(),
        }))
    }

    fn turn(&self, up: bool) {
        self.0.up.store(up, Ordering::SeqCst);
        self.0.begun.lock().unwrap().clear();
    }

    fn begun(&self) -> Vec<u64> {
        self.0.begun.lock().unwrap().clone()
    }
}

impl Source for Registry {
    type Key = u64;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, key: &u64, _: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        self.0.begun.lock().unwrap().push(self.0.clock.now().as_millis());
        if self.0.up.load(Ordering::SeqCst) { Ok(Fetched::value(*key)) } else { Err(Down) }
    }

    fn is_same(&self, before: &u64, after: &u64) -> bool {
        before == after
    }

    fn blame(&self, _: &Down) -> Blame {
        self.0.blame
    }
}

fn polling(registry: &Registry) -> Cache<Registry> {
    let options = Options { refresh: Refresh::Poll { every: secs(10) }, ..Options::default() };
    Cache::new(registry.clone(), options).unwrap()
}

#[tokio::test(start_paused = true)]
async fn while_an_upstream_is_down_it_is_asked_once_a_second_for_all_keys_together() {
    let registry = Registry::new(Blame::Upstream);
    let cache = polling(&registry);
    for key in 0..500 {
        cache.get(&key).await.unwrap();
    }
    registry.turn(false);
    tokio::time::sleep(secs(60)).await;
    let begun = registry.begun();
    assert!((20..=82).contains(&begun.len()), "{}", begun.len());
    // The first three close it, and what has begun by then; from then on they are a second apart, less
    // up to a quarter of it.
    let later: Vec<_> = begun.iter().filter(|at| **at > begun[0] + 100).collect();
    let gaps = later.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min().unwrap() >= 750, "{begun:?}");
    assert!(cache.upstream().down_for().unwrap() > secs(45));
    assert_eq!(cache.stats().upstream_down_for, cache.upstream().down_for());
}

#[tokio::test(start_paused = true)]
async fn everybody_is_served_from_memory_at_once_while_it_is_down() {
    let registry = Registry::new(Blame::Upstream);
    let cache = polling(&registry);
    for key in 0..100 {
        cache.get(&key).await.unwrap();
    }
    registry.turn(false);
    tokio::time::sleep(secs(120)).await;
    let before = Clock::running();
    for key in 0..100 {
        let reply = cache.get(&key).await.unwrap();
        assert!(matches!(reply.origin(), Origin::Stale(_)));
        assert!(reply.age() >= secs(119), "{:?}", reply.age());
    }
    assert!(matches!(cache.get(&777).await, Err(Error::Down | Error::Source(_))));
    assert_eq!(before.now().as_millis(), 0, "nobody waited");
}

#[tokio::test(start_paused = true)]
async fn when_it_is_back_all_keys_are_asked_for_again_within_a_second_or_so() {
    let registry = Registry::new(Blame::Upstream);
    let cache = polling(&registry);
    for key in 0..200 {
        cache.get(&key).await.unwrap();
    }
    registry.turn(false);
    tokio::time::sleep(secs(600)).await;
    registry.turn(true);
    // A look that finds it up, and a second over which all are spread.
    tokio::time::sleep(secs(3)).await;
    let fresh = (0..200).filter(|key| cache.peek(key).is_some_and(|r| r.age() < secs(4))).count();
    assert_eq!(fresh, 200);
    let begun = registry.begun();
    let most =
        (0..30).map(|slot| begun.iter().filter(|at| **at / 100 == begun[0] / 100 + slot).count());
    assert!(most.max().unwrap() < 150, "not all at once: {begun:?}");
    assert_eq!(cache.upstream().down_for(), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_by_itself_closes_nothing() {
    let registry = Registry::new(Blame::Entry);
    let cache = polling(&registry);
    registry.turn(false);
    for key in 0..10 {
        assert!(cache.get(&key).await.is_err());
    }
    assert_eq!(cache.upstream().down_for(), None);
    registry.turn(true);
    assert_eq!(*cache.get(&99).await.unwrap(), 99);
}

#[tokio::test(start_paused = true)]
async fn caches_of_one_upstream_learn_from_each_other() {
    let registry = Registry::new(Blame::Upstream);
    let upstream = Upstream::new(Clock::running());
    let cache = || {
        let options = Options { upstream: Some(upstream.clone()), ..Options::default() };
        Cache::new(registry.clone(), options).unwrap()
    };
    let (one, other) = (cache(), cache());
    registry.turn(false);
    for key in 0..3 {
        assert!(one.get(&key).await.is_err());
    }
    let fetches = registry.begun().len();
    assert!(matches!(other.get(&1).await, Err(Error::Down)));
    assert_eq!(registry.begun().len(), fetches);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_ends_the_refreshing_and_keeps_the_value() {
    let registry = Registry::new(Blame::Refusal);
    let cache = polling(&registry);
    cache.get(&1).await.unwrap();
    registry.turn(false);
    tokio::time::sleep(secs(50)).await;
    assert_eq!((registry.begun().len(), cache.stats().keepers.total), (1, 0));
    assert_eq!(*cache.peek(&1).unwrap(), 1, "within its ttl");
    tokio::time::sleep(secs(50)).await;
    let reply = cache.get(&1).await.unwrap();
    assert!(matches!(reply.origin(), Origin::Stale(_)));
    assert_eq!(registry.begun().len(), 2, "a caller who finds it stale has it tried once more");
    registry.turn(true);
    tokio::time::sleep(secs(61)).await;
    assert_eq!(cache.get(&1).await.unwrap().age(), Duration::ZERO);
    tokio::time::sleep(secs(25)).await;
    assert_eq!(cache.stats().keepers.total, 1, "and from then on it is kept again");
}

#[tokio::test(start_paused = true)]
async fn no_caller_bypasses_the_back_off_of_a_failing_key() {
    let registry = Registry::new(Blame::Entry);
    let cache = polling(&registry);
    registry.turn(false);
    let asked = Request::DEFAULT.must_revalidate();
    for _ in 0..10_000 {
        assert!(cache.get_with(&1, &asked).await.is_err());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let fetches = registry.begun().len();
    assert!((4..=9).contains(&fetches), "{fetches} in ten seconds");
}
