//! Caches that refresh many keys at a time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::{
    Attempt, Cache, FetchMany, Fetched, Fresh, OneOfMany, Options, Refresh, Request, Source,
};
use support::{Down, secs, settle};

#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    values: HashMap<u32, u64>,
    batches: Vec<Vec<u32>>,
    singles: usize,
    failing: Vec<u32>,
    hanging: bool,
    panicking: bool,
    silent: bool,
}

impl Accounts {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    fn set(&self, key: u32, value: u64) {
        self.books().values.insert(key, value);
    }
}

impl Source for Accounts {
    type Key = u32;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, key: &u32, _: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        let mut books = self.books();
        books.singles += 1;
        Ok(Fetched::value(books.values.get(key).copied().unwrap_or_default()))
    }
}

impl FetchMany for Accounts {
    async fn fetch_many(
        &self,
        batch: Vec<(u32, Attempt<u64>)>,
    ) -> Result<Vec<OneOfMany<Self>>, Down> {
        let (hanging, panicking) = {
            let mut books = self.books();
            books.batches.push(batch.iter().map(|(key, _)| *key).collect());
            (books.hanging, books.panicking)
        };
        assert!(!panicking, "the source panics, as the test wants it");
        if hanging {
            std::future::pending::<()>().await;
        }
        let books = self.books();
        if books.silent {
            return Ok(Vec::new());
        }
        let answer = |(key, _): (u32, Attempt<u64>)| match books.values.get(&key) {
            _ if books.failing.contains(&key) => (key, Err(Down)),
            Some(value) => (key, Ok(Fresh::new(*value).into())),
            None => (key, Ok(Fetched::Absent { remember_for: None })),
        };
        Ok(batch.into_iter().map(answer).collect())
    }
}

/// Asks about each key every 10 s, three at a time.
fn batching(accounts: &Accounts) -> Cache<Accounts> {
    let refresh = Refresh::Batch { every: secs(10), size: 3, parallel: 2 };
    Cache::batching(accounts.clone(), Options { refresh, ..Options::default() }).unwrap()
}

async fn filled(accounts: &Accounts, keys: u32) -> Cache<Accounts> {
    let cache = batching(accounts);
    for key in 0..keys {
        accounts.set(key, 1);
        cache.get(&key).await.unwrap();
    }
    cache
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_together_and_in_time() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 7).await;
    (0..7).for_each(|key| accounts.set(key, 2));
    tokio::time::sleep(secs(11)).await;
    assert!((0..7).all(|key| *cache.peek(&key).unwrap() == 2));
    let books = accounts.books();
    let asked: usize = books.batches.iter().map(Vec::len).sum();
    assert_eq!((books.singles, asked), (7, 7));
    assert!(books.batches.iter().all(|batch| batch.len() <= 3));
}

#[tokio::test(start_paused = true)]
async fn an_unmentioned_key_is_unchanged() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 1).await;
    accounts.books().silent = true;
    tokio::time::sleep(secs(55)).await;
    let reply = cache.peek(&0).unwrap();
    assert!(*reply == 1 && reply.age() < secs(11), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_key_is_that_keys_alone() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 3).await;
    (0..3).for_each(|key| accounts.set(key, 2));
    accounts.books().failing = vec![1];
    tokio::time::sleep(secs(12)).await;
    let seen: Vec<u64> = (0..3).map(|key| *cache.peek(&key).unwrap()).collect();
    assert_eq!(seen, [2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_or_a_hang_fails_that_batch_and_the_next_one_comes() {
    for hanging in [false, true] {
        let accounts = Accounts::default();
        let cache = filled(&accounts, 2).await;
        (accounts.books().hanging, accounts.books().panicking) = (hanging, !hanging);
        tokio::time::sleep(secs(22)).await;
        (accounts.books().hanging, accounts.books().panicking) = (false, false);
        accounts.set(0, 9);
        tokio::time::sleep(secs(40)).await;
        assert_eq!(*cache.peek(&0).unwrap(), 9, "hanging: {hanging}");
        assert!(cache.stats().panicked + cache.stats().timed_out >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_in_flight_twice() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 1).await;
    accounts.books().hanging = true;
    tokio::time::sleep(Duration::from_millis(10_700)).await;
    assert_eq!(accounts.books().batches.len(), 1);
    let joins = tokio::spawn({
        let cache = cache.clone();
        let request = Request::DEFAULT.max_age(Duration::ZERO);
        async move { cache.get_with(&0, &request).await.map(|reply| *reply) }
    });
    settle().await;
    assert_eq!(accounts.books().singles, 1, "it joined the batch");
    cache.close().await;
    assert!(joins.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_or_invalidated_leaves_the_schedule() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 2).await;
    accounts.books().values.remove(&0);
    cache.invalidate(&1);
    tokio::time::sleep(secs(12)).await;
    let asked = accounts.books().batches.concat();
    assert_eq!(asked, [0]);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(accounts.books().batches.concat(), asked);
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn subscribers_hear_what_a_batch_brings() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 3).await;
    let mut held = cache.subscribe(&2, &Request::DEFAULT).unwrap();
    assert_eq!(*held.changed().await.unwrap().value.unwrap(), 1);
    accounts.set(2, 5);
    loop {
        let update = held.changed().await.unwrap();
        if *update.value.unwrap() == 5 {
            break;
        }
    }
    assert_eq!(accounts.books().singles, 3);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_let_go() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 3).await;
    tokio::time::sleep(secs(15 * 60)).await;
    cache.get(&1).await.unwrap();
    tokio::time::sleep(secs(10 * 60)).await;
    assert_eq!(cache.stats().entries, 1);
    assert_eq!(cache.stats().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn closing_joins_the_driver_and_its_batches() {
    let accounts = Accounts::default();
    let cache = filled(&accounts, 5).await;
    accounts.books().hanging = true;
    tokio::time::sleep(secs(11)).await;
    cache.close().await;
    assert_eq!((cache.stats().entries, cache.stats().flights), (0, 0));
}
