//! Items that others own, tracked: creations, deletions, updates, evictions and the stop, each against a
//! sync that is landing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_cache::{
    AutoRefresh, AutoRefreshOptions, Clock, OneSynced, Removal, SyncSource, Synced, Tracked,
    Updated,
};

use crate::owner::{Down, KEY, NEVER, OTHER, explore, start, turns, until};

/// Says of every item that it is one more than it was.
#[derive(Clone, Default)]
struct Counter(Arc<Count>);

#[derive(Default)]
struct Count {
    syncs: AtomicU64,
    running: AtomicU64,
    most_running: AtomicU64,
    removed: std::sync::Mutex<Vec<(u32, u64, Removal)>>,
}

type Tracking = AutoRefresh<Counter>;

/// Items from here on are terminal.
const DONE: u64 = 1_000;

impl SyncSource for Counter {
    type Id = u32;
    type Item = u64;
    type Error = Down;

    async fn sync(&self, batch: Vec<(u32, Tracked<u64>)>) -> Result<Vec<OneSynced<Self>>, Down> {
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_running.fetch_max(running, Ordering::SeqCst);
        turns().await;
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        Ok(batch.into_iter().map(|(id, item)| (id, Ok(Synced::Updated(*item + 1)))).collect())
    }

    fn is_terminal(&self, _: &u32, item: &u64) -> bool {
        *item >= DONE
    }

    fn removed(&self, id: &u32, item: &u64, cause: Removal) {
        self.0.removed.lock().unwrap().push((*id, *item, cause));
    }
}

impl Counter {
    fn causes(&self, id: u32) -> Vec<Removal> {
        let removed = self.0.removed.lock().unwrap();
        removed.iter().filter(|(left, ..)| *left == id).map(|(.., cause)| *cause).collect()
    }
}

/// Time stands still: an item has its first sync and no other.
fn tracking(size: usize) -> (Tracking, Counter) {
    let counter = Counter::default();
    let options = AutoRefreshOptions {
        size,
        workers: 2,
        refresh_rate: None,
        create_rate: None,
        period: larder_cache::Time::from_millis(1_000_000).since(larder_cache::Time::ZERO),
        sync_timeout: NEVER,
        clock: Some(Clock::by_hand(0).0),
        ..AutoRefreshOptions::default()
    };
    let tracking = Tracking::new(counter.clone(), options).unwrap();
    tracking.start().unwrap();
    (tracking, counter)
}

/// Closes, and looks whether anything is left.
async fn close(tracking: &Tracking, counter: &Counter) {
    tracking.close().await;
    let stats = tracking.stats();
    assert_eq!((stats.items, stats.in_flight, stats.syncs_running), (0, 0, 0));
    assert_eq!(counter.0.running.load(Ordering::SeqCst), 0);
}

#[test]
fn of_creators_who_race_one_wins_and_all_get_its_item() {
    explore(2_000, || async {
        let (tracking, counter) = tracking(10);
        let creators: Vec<_> = [10, 20, 30]
            .into_iter()
            .map(|item| {
                let tracking = tracking.clone();
                start(async move {
                    turns().await;
                    let creation = tracking.get_or_create(&KEY, item).unwrap();
                    (creation.is_new, *creation.item, item)
                })
            })
            .collect();
        let mut told = Vec::new();
        for creator in creators {
            told.push(creator.await.unwrap());
        }
        let winners: Vec<_> = told.iter().filter(|(is_new, ..)| *is_new).collect();
        assert_eq!(winners.len(), 1);
        let won = winners[0].2;
        // A first sync may have come in between.
        assert!(told.iter().all(|(_, item, _)| (won..=won + 1).contains(item)), "{told:?}");
        until(|| tracking.get(&KEY).is_some_and(|item| *item == won + 1)).await;
        assert_eq!(counter.0.syncs.load(Ordering::SeqCst), 1);
        close(&tracking, &counter).await;
    });
}

#[test]
fn what_is_created_after_a_delayed_delete_stays_whatever_lands() {
    explore(2_000, || async {
        let (tracking, counter) = tracking(10);
        tracking.get_or_create(&KEY, 10).unwrap();
        let deleter = start({
            let tracking = tracking.clone();
            async move {
                turns().await;
                // A sync that ends in between may have taken it out already.
                assert!(tracking.delete_delayed(&KEY));
                turns().await;
                assert!(tracking.get_or_create(&KEY, 50).unwrap().is_new);
            }
        });
        deleter.await.unwrap();
        // Nothing of the old one, and its own first sync: 50, then 51.
        until(|| tracking.get(&KEY).is_some_and(|item| *item == 51)).await;
        assert_eq!(counter.causes(KEY), [Removal::Deleted]);
        assert_eq!(counter.0.most_running.load(Ordering::SeqCst), 1);
        close(&tracking, &counter).await;
    });
}

#[test]
fn an_update_is_never_undone_by_a_sync_that_began_before_it() {
    explore(2_000, || async {
        let (tracking, counter) = tracking(10);
        tracking.get_or_create(&KEY, 10).unwrap();
        turns().await;
        assert_eq!(tracking.update(&KEY, 50), Updated::Stored);
        until(|| counter.0.syncs.load(Ordering::SeqCst) == 1 && tracking.stats().in_flight == 0)
            .await;
        let item = *tracking.get(&KEY).unwrap();
        assert!(item == 50 || item == 51, "{item}");
        close(&tracking, &counter).await;
    });
}

#[test]
fn a_stop_waits_for_every_sync_and_none_begins_after_it() {
    explore(2_000, || async {
        let (tracking, counter) = tracking(10);
        let creator = start({
            let tracking = tracking.clone();
            async move {
                for id in [KEY, OTHER] {
                    let _ = tracking.get_or_create(&id, 10);
                    turns().await;
                }
            }
        });
        turns().await;
        tracking.stop().await;
        let syncs = counter.0.syncs.load(Ordering::SeqCst);
        assert_eq!(counter.0.running.load(Ordering::SeqCst), 0);
        creator.await.unwrap();
        assert!(tracking.get_or_create(&3, 10).is_err());
        turns().await;
        assert_eq!(counter.0.syncs.load(Ordering::SeqCst), syncs);
        assert!(tracking.stats().queued <= tracking.stats().items);
        close(&tracking, &counter).await;
    });
}

#[test]
fn an_evicted_item_is_not_brought_back_by_what_lands() {
    explore(2_000, || async {
        let (tracking, counter) = tracking(1);
        tracking.get_or_create(&KEY, 10).unwrap();
        turns().await;
        tracking.get_or_create(&OTHER, 20).unwrap();
        until(|| tracking.get(&OTHER).is_some_and(|item| *item == 21)).await;
        until(|| tracking.stats().in_flight == 0).await;
        assert!(tracking.get(&KEY).is_none() && tracking.len() == 1);
        assert_eq!((counter.causes(KEY), counter.causes(OTHER)), (vec![Removal::Evicted], vec![]));
        close(&tracking, &counter).await;
    });
}
