//! How long a tracked item is held: the schedule holds each one that it has a row for.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use larder_cache::{
    AutoRefresh, AutoRefreshOptions, OneSynced, SyncSource, Synced, Tracked, Updated,
};
use support::{Down, secs, settle};
use tokio::time::sleep;

/// Counts those that are alive; says its number when it is synced.
struct Alive {
    count: Arc<AtomicU32>,
    number: u32,
    panics: bool,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        assert!(!self.panics || std::thread::panicking(), "as the test wants it");
    }
}

#[derive(Clone, Default)]
struct Holder {
    alive: Arc<AtomicU32>,
    /// The sum of the numbers of what was synced.
    synced: Arc<AtomicU32>,
}

impl Holder {
    fn item(&self, number: u32) -> Alive {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive { count: Arc::clone(&self.alive), number, panics: false }
    }

    fn fragile(&self) -> Alive {
        let mut item = self.item(0);
        item.panics = true;
        item
    }

    fn alive(&self) -> u32 {
        self.alive.load(Ordering::Relaxed)
    }

    fn synced(&self) -> u32 {
        self.synced.load(Ordering::Relaxed)
    }
}

impl SyncSource for Holder {
    type Id = u32;
    type Item = Alive;
    type Error = Down;

    async fn sync(&self, batch: Vec<(u32, Tracked<Alive>)>) -> Result<Vec<OneSynced<Self>>, Down> {
        let sum = batch.iter().map(|(_, item)| item.number).sum();
        self.synced.fetch_add(sum, Ordering::Relaxed);
        Ok(batch.into_iter().map(|(id, _)| (id, Ok(Synced::Unchanged))).collect())
    }

    fn is_terminal(&self, _: &u32, _: &Alive) -> bool {
        false
    }
}

fn tracking(holder: &Holder) -> AutoRefresh<Holder> {
    let options = AutoRefreshOptions {
        period: secs(10),
        sync_on_create: false,
        refresh_rate: None,
        ..AutoRefreshOptions::default()
    };
    let tracked = AutoRefresh::new(holder.clone(), options).unwrap();
    tracked.start().unwrap();
    tracked
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_is_held_for_a_period_at_most() {
    let holder = Holder::default();
    let tracked = tracking(&holder);
    tracked.get_or_create(&1, holder.item(1)).unwrap();
    settle().await;
    assert!(tracked.delete(&1));
    assert_eq!(tracked.stats().queued, 0);
    sleep(secs(11)).await;
    assert_eq!((holder.alive(), holder.synced()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_updated_is_synced_as_it_is_now_and_its_former_state_dropped_then() {
    let holder = Holder::default();
    let tracked = tracking(&holder);
    tracked.get_or_create(&1, holder.item(1)).unwrap();
    settle().await;
    assert_eq!(tracked.update(&1, holder.item(100)), Updated::Stored);
    sleep(secs(11)).await;
    assert_eq!((holder.alive(), holder.synced()), (1, 100));
    sleep(secs(11)).await;
    assert_eq!((holder.alive(), holder.synced(), tracked.stats().queued), (1, 200, 1));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_deleted_and_created_all_the_time_holds_few_items() {
    let holder = Holder::default();
    let tracked = tracking(&holder);
    for number in 0..1_000 {
        tracked.get_or_create(&1, holder.item(number)).unwrap();
        settle().await;
        assert!(holder.alive() <= 70, "{} are held", holder.alive());
        assert_eq!(tracked.stats().queued, 1);
        assert!(tracked.delete(&1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_holds_nothing_that_is_deleted_and_a_close_nothing_at_all() {
    let holder = Holder::default();
    let tracked = tracking(&holder);
    for id in 0..10 {
        tracked.get_or_create(&id, holder.item(id)).unwrap();
    }
    settle().await;
    assert!(tracked.delete(&0));
    tracked.stop().await;
    assert_eq!((holder.alive(), tracked.len()), (9, 9));
    assert!(tracked.delete(&1));
    assert_eq!((holder.alive(), tracked.len()), (8, 8));
    tracked.close().await;
    assert_eq!(holder.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_start_holds_nothing() {
    let holder = Holder::default();
    let options = AutoRefreshOptions::default();
    let tracked = AutoRefresh::new(holder.clone(), options).unwrap();
    for id in 0..10 {
        tracked.get_or_create(&id, holder.item(id)).unwrap();
    }
    settle().await;
    tracked.close().await;
    assert_eq!(holder.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn items_that_panic_as_their_rows_are_swept_end_nothing_else() {
    let holder = Holder::default();
    let tracked = tracking(&holder);
    tracked.get_or_create(&0, holder.item(1)).unwrap();
    for id in 1..=200 {
        tracked.get_or_create(&id, holder.fragile()).unwrap();
    }
    settle().await;
    assert!((1..=200).all(|id| tracked.delete(&id)));
    tracked.get_or_create(&201, holder.item(10)).unwrap();
    settle().await;
    assert_eq!((holder.alive(), tracked.stats().listener_panics), (2, 200));
    sleep(secs(11)).await;
    assert_eq!(holder.synced(), 11);
}
