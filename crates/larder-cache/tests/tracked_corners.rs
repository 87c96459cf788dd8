//! Tracked items, and keys that are fetched many at a time, when something comes in between.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, AutoRefresh, AutoRefreshOptions, Backoff, Batches, Blame, Cache, FetchMany, Fetched,
    Fresh, OneOfMany, OneSynced, Options, Rate, Refresh, Request, Source, SyncSource, Synced,
    Tracked, Updated,
};
use support::{Down, secs, settle};
use tokio::time::sleep;

/// What the owner of the items does with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Counts,
    Fails,
    Refuses,
    Breaks,
    /// Waits until the mood is another one.
    Hangs,
}

const DONE: u64 = 1_000_000;

#[derive(Clone)]
struct Jobs(Arc<Shared>);

struct Shared {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<u32>>,
    running: Mutex<HashSet<u32>>,
    /// How often it was asked about an item that it was being asked about.
    twice: AtomicUsize,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Trouble(Mood);

impl Jobs {
    fn new(mood: Mood) -> Self {
        Self(Arc::new(Shared {
            mood: Mutex::new(mood),
            asked: Mutex::default(),
            running: Mutex::default(),
            twice: AtomicUsize::new(0),
        }))
    }

    fn mood(&self) -> Mood {
        *self.0.mood.lock().unwrap()
    }

    fn turn_to(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    /// How often it was asked about an item.
    fn asked(&self, id: u32) -> usize {
        self.0.asked.lock().unwrap().iter().filter(|asked| **asked == id).count()
    }

    fn asked_in_all(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }
}

impl SyncSource for Jobs {
    type Id = u32;
    type Item = u64;
    type Error = Trouble;

    async fn sync(&self, batch: Vec<(u32, Tracked<u64>)>) -> Result<Vec<OneSynced<Self>>, Trouble> {
        let ids: Vec<u32> = batch.iter().map(|(id, _)| *id).collect();
        self.0.asked.lock().unwrap().extend(&ids);
        let added = ids.iter().filter(|id| self.0.running.lock().unwrap().insert(**id)).count();
        self.0.twice.fetch_add(ids.len() - added, Ordering::Relaxed);
        while self.mood() == Mood::Hangs {
            sleep(Duration::from_millis(10)).await;
        }
        let mood = self.mood();
        self.0.running.lock().unwrap().retain(|id| !ids.contains(id));
        let answer = |(id, item): (u32, Tracked<u64>)| match mood {
            Mood::Counts | Mood::Hangs => (id, Ok(Synced::Updated(*item + 1))),
            mood => (id, Err(Trouble(mood))),
        };
        Ok(batch.into_iter().map(answer).collect())
    }

    fn is_terminal(&self, _: &u32, item: &u64) -> bool {
        *item >= DONE
    }

    /// Large ones are asked about every second.
    fn period(&self, _: &u32, item: &u64) -> Option<Duration> {
        (*item >= 1_000).then_some(secs(1))
    }

    fn blame(&self, error: &Trouble) -> Blame {
        match error.0 {
            Mood::Refuses => Blame::Refusal,
            Mood::Breaks => Blame::Upstream,
            _ => Blame::Entry,
        }
    }
}

fn options() -> AutoRefreshOptions<u32, u64> {
    AutoRefreshOptions {
        period: secs(10),
        refresh_rate: None,
        create_rate: None,
        ..AutoRefreshOptions::default()
    }
}

fn tracking(jobs: &Jobs, options: AutoRefreshOptions<u32, u64>) -> AutoRefresh<Jobs> {
    let tracking = AutoRefresh::new(jobs.clone(), options).unwrap();
    tracking.start().unwrap();
    tracking
}

/// Its slot said that the batch would put it back, and the batch put back only what had been in it.
#[tokio::test(start_paused = true)]
async fn an_item_created_again_while_its_predecessor_is_in_flight_is_synced() {
    for sync_on_create in [true, false] {
        let jobs = Jobs::new(Mood::Hangs);
        let tracked = tracking(&jobs, AutoRefreshOptions { sync_on_create, ..options() });
        tracked.get_or_create(&1, 0).unwrap();
        sleep(secs(11)).await;
        assert_eq!(jobs.asked(1), 1);
        assert!(tracked.delete(&1));
        assert!(tracked.get_or_create(&1, 500).unwrap().is_new);
        sleep(secs(1)).await;
        jobs.turn_to(Mood::Counts);
        sleep(secs(25)).await;
        assert!(*tracked.get(&1).unwrap() >= 502, "{:?}", tracked.get(&1));
        let before = jobs.asked(1);
        sleep(secs(100)).await;
        assert!((9..=10).contains(&(jobs.asked(1) - before)), "{}", jobs.asked(1) - before);
    }
}

#[tokio::test(start_paused = true)]
async fn the_period_is_that_of_the_newest_state() {
    let jobs = Jobs::new(Mood::Counts);
    let tracked = tracking(&jobs, AutoRefreshOptions { period: secs(3600), ..options() });
    tracked.get_or_create(&1, 999).unwrap();
    sleep(secs(20)).await;
    assert!(*tracked.get(&1).unwrap() > 1_010, "{:?}", tracked.get(&1));
}

#[tokio::test(start_paused = true)]
async fn what_fails_and_leaves_is_not_remembered_as_failing() {
    let jobs = Jobs::new(Mood::Fails);
    let tracked = tracking(&jobs, options());
    for id in 0..100 {
        tracked.get_or_create(&id, 0).unwrap();
    }
    sleep(secs(1)).await;
    assert_eq!(tracked.stats().backing_off, 100);
    for id in 0..100 {
        tracked.delete(&id);
        assert!(tracked.last_error(&id).is_none());
    }
    assert_eq!(tracked.stats().backing_off, 0);
}

#[tokio::test(start_paused = true)]
async fn an_item_created_again_after_a_refusal_is_synced() {
    let jobs = Jobs::new(Mood::Refuses);
    let tracked = tracking(&jobs, options());
    tracked.get_or_create(&1, 0).unwrap();
    sleep(secs(30)).await;
    assert_eq!(jobs.asked(1), 1);
    jobs.turn_to(Mood::Counts);
    assert!(tracked.delete(&1));
    tracked.get_or_create(&1, 0).unwrap();
    sleep(secs(1)).await;
    assert_eq!(jobs.asked(1), 2);
}

/// A row that came up before its back-off was over, by another throw of the dice, waited for a period.
#[tokio::test(start_paused = true)]
async fn all_that_failed_is_asked_again_within_a_second_of_the_recovery() {
    let jobs = Jobs::new(Mood::Counts);
    let options = AutoRefreshOptions {
        period: secs(1800),
        backoff: Backoff { base: secs(500), ..options().backoff },
        batches: Batches::by_size(10),
        ..options()
    };
    let tracked = tracking(&jobs, options);
    jobs.turn_to(Mood::Breaks);
    for id in 0..100 {
        tracked.get_or_create(&id, 0).unwrap();
    }
    sleep(secs(30)).await;
    assert_eq!(tracked.stats().backing_off, 100);
    jobs.turn_to(Mood::Counts);
    tracked.get_or_create(&1_000, 0).unwrap();
    // The probe, and the second over which they are spread.
    sleep(secs(3)).await;
    let back = (0..100).filter(|id| *tracked.get(id).unwrap() == 1).count();
    assert_eq!((back, tracked.stats().backing_off), (100, 0));
}

/// Each batch of rows whose items had left used up a second's probe.
#[tokio::test(start_paused = true)]
async fn what_has_left_delays_no_probe() {
    let jobs = Jobs::new(Mood::Counts);
    let tracked = tracking(&jobs, AutoRefreshOptions { sync_on_create: false, ..options() });
    for id in 0..400 {
        tracked.get_or_create(&id, 0).unwrap();
    }
    sleep(secs(9)).await;
    jobs.turn_to(Mood::Breaks);
    sleep(Duration::from_millis(1_700)).await;
    for id in 0..200 {
        tracked.delete(&id);
    }
    let before = jobs.asked_in_all();
    sleep(secs(20)).await;
    assert!(jobs.asked_in_all() - before >= 17, "{} probes", jobs.asked_in_all() - before);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_delete_waits_for_no_token_no_worker_and_no_upstream() {
    let slow = Some(Rate { burst: 1, per_second: 0.001 });
    for (mood, refresh_rate, workers) in
        [(Mood::Counts, slow, 10), (Mood::Hangs, None, 1), (Mood::Breaks, None, 10)]
    {
        let jobs = Jobs::new(mood);
        let sync_timeout = secs(1_000);
        let some = AutoRefreshOptions { refresh_rate, workers, sync_timeout, ..options() };
        let tracked = tracking(&jobs, AutoRefreshOptions { sync_on_create: false, ..some });
        for id in 0..50 {
            tracked.get_or_create(&id, 0).unwrap();
        }
        // All are overdue.
        sleep(secs(25)).await;
        let idle: Vec<u32> = (0..50).filter(|id| jobs.asked(*id) == 0).collect();
        for id in &idle {
            assert!(tracked.delete_delayed(id));
        }
        sleep(secs(6)).await;
        let left = idle.iter().filter(|id| tracked.get(id).is_some()).count();
        assert_eq!(left, 0, "{mood:?}: of {}", idle.len());
    }
}

/// A second call between the tick and the end of its bucket put it off by a period.
#[tokio::test(start_paused = true)]
async fn whoever_deletes_an_item_all_the_time_does_not_put_it_off() {
    let jobs = Jobs::new(Mood::Counts);
    let tracked = tracking(&jobs, AutoRefreshOptions { period: secs(100), ..options() });
    tracked.get_or_create(&1, 0).unwrap();
    tracked.delete_delayed(&1);
    sleep(Duration::from_millis(99_900)).await;
    for _ in 0..300 {
        tracked.delete_delayed(&1);
        sleep(Duration::from_millis(1)).await;
    }
    assert!(tracked.get(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_the_doomed_leave_and_the_terminal_stay() {
    let jobs = Jobs::new(Mood::Counts);
    let options = AutoRefreshOptions { terminal_ttl: Some(secs(1_000)), ..options() };
    let tracked = tracking(&jobs, options);
    for (id, item) in [(1, 0), (2, DONE), (3, 0)] {
        tracked.get_or_create(&id, item).unwrap();
    }
    sleep(secs(1)).await;
    assert!(tracked.delete_delayed(&3));
    tracked.stop().await;
    let there = [1, 2, 3].map(|id| tracked.get(&id).is_some());
    assert_eq!(there, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_its_predecessor_does_not_end_an_item() {
    let jobs = Jobs::new(Mood::Hangs);
    let tracked = tracking(&jobs, AutoRefreshOptions { sync_on_create: false, ..options() });
    tracked.get_or_create(&1, 0).unwrap();
    sleep(secs(11)).await;
    assert_eq!(jobs.asked(1), 1);
    tracked.delete(&1);
    tracked.get_or_create(&1, 0).unwrap();
    jobs.turn_to(Mood::Refuses);
    sleep(Duration::from_millis(15)).await;
    jobs.turn_to(Mood::Counts);
    sleep(secs(100)).await;
    assert!(tracked.last_error(&1).is_none() && jobs.asked(1) > 5, "{}", jobs.asked(1));
}

/// Whatever is done to items, in whichever order: none is lost, none is synced twice at once, and the
/// numbers are right.
#[tokio::test(start_paused = true)]
async fn after_any_changes_each_item_is_synced_once_a_period() {
    for seed in 1..=10_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut dice = move |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 20) % sides
        };
        let jobs = Jobs::new(Mood::Counts);
        let batches = match dice(4) {
            0 => Batches::single(),
            1 => Batches::by_size(3),
            2 => Batches::by_key(2, |id: &u32, _: &u64| id % 3),
            // It drops one, names another one twice, and invents one.
            _ => Batches::by(|due| {
                let ids: Vec<u32> = due.iter().map(|(id, _)| **id).collect();
                vec![ids.iter().skip(1).copied().collect(), vec![ids[ids.len() - 1], 99]]
            }),
        };
        let changed = AutoRefreshOptions {
            size: 6 + usize::try_from(dice(6)).unwrap(),
            batches,
            workers: 1 + u32::try_from(dice(3)).unwrap(),
            sync_on_create: dice(2) == 0,
            terminal_ttl: (dice(2) == 0).then_some(secs(7)),
            backoff: Backoff { cap: secs(8), ..options().backoff },
            ..options()
        };
        let tracked = tracking(&jobs, changed);
        for _ in 0..200 {
            let id = u32::try_from(dice(12)).unwrap();
            match dice(14) {
                0..=3 => drop(tracked.get_or_create(&id, 0)),
                4 => drop(tracked.get_or_create(&id, DONE)),
                5 => drop(tracked.delete(&id)),
                6 => drop(tracked.delete_delayed(&id)),
                7 => {
                    let _ = tracked.update(&id, 10);
                }
                8 => {
                    let _ = tracked.update(&id, DONE);
                }
                9 => jobs.turn_to(Mood::Hangs),
                10 => jobs.turn_to(Mood::Fails),
                11 => jobs.turn_to(Mood::Breaks),
                _ => jobs.turn_to(Mood::Counts),
            }
            sleep(Duration::from_millis(dice(3_000))).await;
        }
        jobs.turn_to(Mood::Counts);
        sleep(secs(45)).await;
        let (live, terminal): (Vec<u32>, Vec<u32>) = (0..12)
            .filter(|id| tracked.get(id).is_some())
            .partition(|id| *tracked.get(id).unwrap() < DONE);
        let stats = tracked.stats();
        assert_eq!(stats.items, (live.len() + terminal.len()) as u64, "{seed}: {stats:?}");
        assert_eq!((stats.terminal, stats.backing_off), (terminal.len() as u64, 0), "{seed}");
        assert_eq!(stats.queued + stats.in_flight, live.len() as u64, "{seed}: {stats:?}");
        jobs.0.asked.lock().unwrap().clear();
        sleep(secs(110)).await;
        for id in &live {
            assert!((4..=11).contains(&jobs.asked(*id)), "{seed}, {id}: {}", jobs.asked(*id));
        }
        for id in &terminal {
            assert_eq!(jobs.asked(*id), 0);
        }
        assert_eq!(jobs.0.twice.load(Ordering::Relaxed), 0, "{seed}");
        tracked.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_before_the_start_leaves_nothing_behind() {
    let jobs = Jobs::new(Mood::Counts);
    let tracked = AutoRefresh::new(jobs.clone(), options()).unwrap();
    for id in 0..10_000 {
        tracked.get_or_create(&id, 0).unwrap();
        tracked.delete(&id);
    }
    tracked.get_or_create(&1, 0).unwrap();
    sleep(secs(50)).await;
    assert_eq!((jobs.asked_in_all(), tracked.stats().queued), (0, 1));
    tracked.start().unwrap();
    settle().await;
    sleep(secs(1)).await;
    assert_eq!(jobs.asked_in_all(), 1);
}

#[tokio::test]
async fn the_largest_of_everything_is_accepted() {
    let jobs = Jobs::new(Mood::Counts);
    let extreme = Rate { burst: u32::MAX, per_second: 0.001 };
    let options = AutoRefreshOptions {
        size: usize::MAX,
        period: secs(100 * 24 * 3600),
        workers: 10_000,
        batches: Batches::by_size(100_000),
        refresh_rate: Some(extreme),
        create_rate: Some(extreme),
        sync_timeout: Duration::MAX,
        terminal_ttl: Some(Duration::MAX),
        ..options()
    };
    assert_eq!(options.validate(), Ok(()));
    let tracked = tracking(&jobs, options);
    tracked.get_or_create(&1, 0).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(jobs.asked(1), 1);
    assert_eq!(tracked.update(&1, DONE), Updated::Stored);
    assert_eq!(tracked.stats().terminal, 1);
    tracked.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_terminal_item_leaves_in_its_time_however_long_the_period_is() {
    let jobs = Jobs::new(Mood::Counts);
    let options = AutoRefreshOptions {
        period: secs(100 * 24 * 3600),
        terminal_ttl: Some(secs(1)),
        ..options()
    };
    let tracked = tracking(&jobs, options);
    tracked.get_or_create(&1, DONE).unwrap();
    sleep(secs(2)).await;
    assert_eq!(tracked.len(), 0);
}

/// Panics as it is dropped, if it is told to.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "a bomb");
    }
}

#[derive(Clone, Default)]
struct Bombs(Arc<AtomicU32>);

impl SyncSource for Bombs {
    type Id = u32;
    type Item = Bomb;
    type Error = Down;

    async fn sync(&self, batch: Vec<(u32, Tracked<Bomb>)>) -> Result<Vec<OneSynced<Self>>, Down> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(batch.into_iter().map(|(id, _)| (id, Ok(Synced::Updated(Bomb(false))))).collect())
    }

    fn is_terminal(&self, _: &u32, _: &Bomb) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_panics_as_it_is_dropped_ends_nothing_else() {
    let bombs = Bombs::default();
    let some = AutoRefreshOptions { period: secs(10), ..AutoRefreshOptions::default() };
    let options = AutoRefreshOptions { sync_on_create: false, ..some };
    let tracked = AutoRefresh::new(bombs.clone(), options).unwrap();
    tracked.start().unwrap();
    for (id, explodes) in [(1, false), (2, true), (3, true)] {
        tracked.get_or_create(&id, Bomb(explodes)).unwrap();
    }
    sleep(secs(1)).await;
    // One in the hands of the driver, the other one in those of a sync.
    tracked.delete_delayed(&2);
    sleep(secs(25)).await;
    assert_eq!((tracked.len(), tracked.stats().listener_panics), (2, 2));
    let before = bombs.0.load(Ordering::Relaxed);
    sleep(secs(100)).await;
    assert!(bombs.0.load(Ordering::Relaxed) - before >= 18);
}

/// A source of a plain cache that is fetched many at a time.
#[derive(Clone, Default)]
struct Quiet(Arc<Calls>);

#[derive(Default)]
struct Calls {
    singles: AtomicU32,
    batched: AtomicU32,
    gate: AtomicBool,
    done: AtomicBool,
}

impl Source for Quiet {
    type Key = u32;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, _: &u32, attempt: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        self.0.singles.fetch_add(1, Ordering::Relaxed);
        Ok(attempt.previous().map_or(Fetched::value(1), |_| Fetched::NotModified { ttl: None }))
    }

    fn is_same(&self, before: &u64, after: &u64) -> bool {
        before == after
    }
}

impl FetchMany for Quiet {
    async fn fetch_many(
        &self,
        batch: Vec<(u32, Attempt<u64>)>,
    ) -> Result<Vec<OneOfMany<Self>>, Down> {
        self.0.batched.fetch_add(1, Ordering::Relaxed);
        while self.0.gate.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
        let done = self.0.done.load(Ordering::Relaxed);
        let answer = |(key, _)| {
            let fresh = Fresh::new(1);
            (key, Ok(if done { fresh.terminal() } else { fresh }.into()))
        };
        Ok(batch.into_iter().map(answer).collect())
    }
}

fn batching(quiet: &Quiet) -> Cache<Quiet> {
    let refresh = Refresh::Batch { every: secs(10), size: 3, parallel: 2 };
    Cache::batching(quiet.clone(), Options { refresh, ..Options::default() }).unwrap()
}

fn batched(quiet: &Quiet) -> u32 {
    quiet.0.batched.load(Ordering::Relaxed)
}

/// Makes room for nobody, for a moment.
fn evict(cache: &Cache<Quiet>) {
    cache.resize(1);
    for key in 1_000..1_100 {
        let _ = cache.put(&key, 1);
    }
    assert!(cache.peek(&7).is_none());
    cache.invalidate_where(|key| *key >= 1_000);
    cache.resize(1_000);
}

/// Subscribed, evicted, its row comes up and is dropped (or its batch lands and finds nothing); then its
/// pilot has the old entry confirmed, which came back with a ticket for a row that was gone (or in flight
/// for ever).
#[tokio::test(start_paused = true)]
async fn what_was_evicted_and_is_confirmed_for_its_subscriber_is_refreshed_again() {
    for in_flight in [false, true] {
        let quiet = Quiet::default();
        let cache = batching(&quiet);
        cache.get(&7).await.unwrap();
        let mut held = cache.subscribe(&7, &Request::DEFAULT).unwrap();
        held.changed().await.unwrap();
        settle().await;
        if in_flight {
            quiet.0.gate.store(true, Ordering::Relaxed);
            sleep(secs(11)).await;
            assert_eq!(batched(&quiet), 1);
        }
        evict(&cache);
        sleep(secs(1)).await;
        quiet.0.gate.store(false, Ordering::Relaxed);
        // Its row comes up for nothing, and its pilot asks.
        sleep(secs(40)).await;
        assert!(cache.peek(&7).is_some());
        let before = batched(&quiet);
        sleep(secs(100)).await;
        assert!(batched(&quiet) - before >= 9, "in flight: {in_flight}: {}", batched(&quiet));
        drop(held);
    }
}

/// As above, with a caller who joins the batch: what it brings is a new entry, which nobody else seats.
#[tokio::test(start_paused = true)]
async fn what_is_fetched_by_joining_the_batch_of_an_evicted_value_is_refreshed_again() {
    let quiet = Quiet::default();
    let cache = batching(&quiet);
    cache.get(&7).await.unwrap();
    quiet.0.gate.store(true, Ordering::Relaxed);
    sleep(secs(11)).await;
    assert_eq!(batched(&quiet), 1);
    evict(&cache);
    let joins = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&7).await.map(|reply| *reply) }
    });
    settle().await;
    quiet.0.gate.store(false, Ordering::Relaxed);
    assert_eq!(joins.await.unwrap().unwrap(), 1);
    sleep(secs(100)).await;
    assert!(batched(&quiet) >= 9, "{}", batched(&quiet));
}

#[tokio::test(start_paused = true)]
async fn an_equal_value_that_is_terminal_now_is_terminal() {
    let quiet = Quiet::default();
    let cache = batching(&quiet);
    cache.get(&7).await.unwrap();
    quiet.0.done.store(true, Ordering::Relaxed);
    sleep(secs(11)).await;
    assert_eq!(batched(&quiet), 1);
    sleep(secs(100)).await;
    assert_eq!(batched(&quiet), 1);
}
