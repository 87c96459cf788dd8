use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;

fn store() -> Kv {
    Kv::new(Limits::default(), 100)
}

fn key(name: &str) -> Scope {
    Scope::Key(name.into())
}

fn prefix(name: &str) -> Scope {
    Scope::Prefix(name.into())
}

fn put(kv: &Kv, key: &str, value: &str) {
    assert_eq!(kv.put(key, value.as_bytes(), Put::default()), Ok(true));
}

fn look<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_has_changed_already_is_not_waited_for() {
    let kv = store();
    put(&kv, "a", "1");
    for (scope, seen) in
        [(key("a"), 0), (key("a"), 100), (prefix(""), 100), (key("a"), 102), (key("b"), 99)]
    {
        assert!(look(pin!(kv.wait(&scope, seen))).is_ready(), "{scope:?} {seen}");
    }
    assert_eq!(kv.waiting(), 0);
}

#[test]
fn a_change_wakes_whoever_waits_for_it_and_nobody_else() {
    let kv = store();
    put(&kv, "a/b", "1");
    let scopes =
        [key("a/b"), prefix("a/"), prefix(""), key("a/c"), prefix("a/c"), key("a"), prefix("b")];
    let mut waits: Vec<_> = scopes.iter().map(|scope| Box::pin(kv.wait(scope, 101))).collect();
    assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_pending()));
    put(&kv, "a/b", "1");
    assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_pending()), "nothing has changed");
    put(&kv, "a/b", "2");
    let woken: Vec<_> = waits.iter_mut().map(|wait| look(wait.as_mut()).is_ready()).collect();
    assert_eq!(woken, [true, true, true, false, false, false, false]);
    assert_eq!(kv.waiting(), 4);
    kv.delete("a", Delete::Prefix);
    put(&kv, "a/c", "1");
    let woken: Vec<_> = waits[3..].iter_mut().map(|wait| look(wait.as_mut()).is_ready()).collect();
    assert_eq!(woken, [true, true, false, false]);
}

#[test]
fn what_is_not_there_is_waited_for_until_it_is() {
    let kv = store();
    let missing = key("a");
    let mut wait = pin!(kv.wait(&missing, kv.get("a").index));
    assert!(look(wait.as_mut()).is_pending());
    put(&kv, "b", "1");
    assert!(look(wait.as_mut()).is_pending());
    put(&kv, "a", "1");
    assert!(look(wait.as_mut()).is_ready());
}

#[test]
fn a_missing_key_whose_index_was_moved_by_others_is_not_answered_at_once() {
    let kv = store();
    let seen = kv.get("a").index;
    put(&kv, "b", "1");
    // As a client's next request after a timeout, with the index of the time before.
    assert!(look(pin!(kv.wait(&key("a"), seen))).is_pending());
}

#[test]
fn a_deletion_wakes_who_waits_for_a_key_or_a_prefix() {
    let kv = store();
    put(&kv, "a/b", "1");
    let scopes = [key("a/b"), prefix("a")];
    for delete in [Delete::Key, Delete::Cas(103), Delete::Prefix] {
        let mut waits: Vec<_> =
            scopes.iter().map(|scope| Box::pin(kv.wait(scope, kv.get("a/b").index))).collect();
        assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_pending()));
        assert!(kv.delete("a/b", delete));
        assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_ready()), "{delete:?}");
        put(&kv, "a/b", "1");
    }
}

#[test]
fn whoever_gives_up_frees_its_place_at_once() {
    let kv = Kv::new(Limits { max_waiting: 2, ..Limits::default() }, 100);
    let scopes = [key("a"), prefix("a")];
    let mut waits: Vec<_> = scopes.iter().map(|scope| Box::pin(kv.wait(scope, 100))).collect();
    assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_pending()));
    let third = key("b");
    let refused = Poll::Ready(Err(Refused::TooManyWaiting { max: 2 }));
    assert_eq!(look(pin!(kv.wait(&third, 100))), refused);
    assert_eq!(kv.waiting(), 2);
    waits.pop();
    assert_eq!(kv.waiting(), 1);
    assert!(look(pin!(kv.wait(&third, 100))).is_pending());
    drop(waits);
    assert_eq!(kv.waiting(), 0);
}

#[test]
fn a_wait_takes_little_memory() {
    let kv = store();
    let scope = key("a");
    let size = size_of_val(&kv.wait(&scope, 100));
    assert!(size <= 320, "{size} bytes");
}

#[test]
fn whoever_is_woken_and_not_polled_any_more_frees_its_place() {
    let kv = store();
    let scope = key("a");
    let mut wait = Box::pin(kv.wait(&scope, 100));
    assert!(look(wait.as_mut()).is_pending());
    put(&kv, "a", "1");
    drop(wait);
    assert_eq!(kv.waiting(), 0);
}

#[tokio::test]
async fn a_change_between_the_look_and_the_wait_is_not_lost() {
    let kv = store();
    let scope = key("a");
    let (place, changed) = kv.park(&scope, 100).unwrap().expect("there is something to wait for");
    put(&kv, "a", "1");
    changed.await;
    drop(place);
    assert_eq!(kv.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_follow_a_key_see_its_last_value_whatever_the_timing() {
    const LAST: u32 = 2_000;
    let kv = Arc::new(store());
    let readers: Vec<_> = (0..8)
        .map(|number| {
            let kv = Arc::clone(&kv);
            tokio::spawn(async move {
                let scope = if number % 2 == 0 { key("n/a") } else { prefix("n/") };
                let mut index = 0;
                loop {
                    kv.wait(&scope, index).await.unwrap();
                    let read = kv.get("n/a");
                    assert!(read.index >= index);
                    index = read.index;
                    let value = read.value.map(|entry| entry.value).unwrap_or_default();
                    if *value == *LAST.to_string().as_bytes() {
                        break;
                    }
                }
            })
        })
        .collect();
    for number in 1..=LAST {
        put(&kv, "n/a", &number.to_string());
        put(&kv, "m", &number.to_string());
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(20), reader)
            .await
            .expect("nobody sleeps on")
            .unwrap();
    }
    assert_eq!(kv.waiting(), 0);
}

#[test]
fn ten_thousand_who_wait_for_other_keys_are_left_alone() {
    let kv = store();
    let scopes: Vec<_> = (0..10_000).map(|number| key(&format!("k/{number}"))).collect();
    let mut waits: Vec<_> = scopes.iter().map(|scope| Box::pin(kv.wait(scope, 100))).collect();
    assert!(waits.iter_mut().all(|wait| look(wait.as_mut()).is_pending()));
    put(&kv, "k/77", "1");
    let woken =
        waits.iter_mut().filter_map(|wait| look(wait.as_mut()).is_ready().then_some(())).count();
    assert_eq!((woken, kv.waiting()), (1, 9_999));
}
