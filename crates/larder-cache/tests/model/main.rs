//! Random operations against a naive reference.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod found;
mod kept;
mod operation;
mod reference;
mod subject;

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use operation::{Bounds, Operation, operation};
use proptest::prelude::*;
use reference::{Check, DOWN, Found, Reference};
use subject::{Happened, Subject};
use support::{secs, settle};

fn same<T: PartialEq + Debug>(seen: &T, expected: &T) -> Check {
    if seen == expected { Ok(()) } else { Err(format!("{seen:?}, and it should be {expected:?}")) }
}

async fn step(operation: Operation, model: &mut Reference, subject: &mut Subject) -> Check {
    model.now = subject.now();
    let nth = |nth: usize, subject: &Subject| nth.checked_rem(subject.subscriptions.len());
    match operation {
        Operation::Get(key, bounds) => get(key, bounds, model, subject).await?,
        Operation::AskAndLeave(key) => {
            let seen = subject.ask_and_leave(key);
            let refused = seen.as_ref().is_some_and(|seen| seen.error() == Some(DOWN));
            let found = Found { began: seen.is_none(), refused };
            let way = model.ask(key, Bounds::default(), found);
            if let Some(seen) = seen {
                same(&seen, &model.got(key, Bounds::default(), way))?;
            } else if !matches!(way, reference::Way::Round(_)) {
                return Err("it waits, and should not".into());
            }
        }
        Operation::Peek(key) => {
            same(&subject.cache.peek(&key).map(|reply| *reply), &model.peek(key))?;
        }
        Operation::Put(key, value) => {
            same(&subject.cache.put(&key, value), &model.put(key, value))?;
        }
        Operation::PutIfAbsent(key, value) => {
            same(&subject.cache.put_if_absent(&key, value), &model.put_if_absent(key, value))?;
        }
        Operation::Invalidate(key) => {
            same(&subject.cache.invalidate(&key), &model.invalidate(key))?;
        }
        Operation::InvalidateBelow(key) => {
            let gone = subject.cache.invalidate_where(|other| *other < key);
            same(&gone, &model.invalidate_below(key))?;
        }
        Operation::InvalidateAll => {
            subject.cache.invalidate_all();
            model.invalidate_below(operation::KEYS);
        }
        Operation::Resize(capacity) => {
            subject.cache.resize(capacity);
            model.resize(capacity);
        }
        Operation::Subscribe { key, max_age } => {
            subject.subscribe(key, max_age);
            model.subscribe(key, max_age);
        }
        Operation::Unsubscribe(n) => {
            if let Some(n) = nth(n, subject) {
                drop(subject.subscriptions.remove(n));
                model.unsubscribe(n);
            }
        }
        Operation::Latest(n) => {
            if let Some(n) = nth(n, subject) {
                same(&subject.subscriptions[n].latest().copied(), &model.latest(n))?;
            }
        }
        Operation::Changed(n) => {
            if let Some(n) = nth(n, subject) {
                same(&subject.changed(n), &model.changed(n))?;
            }
        }
        Operation::Pass(time) => tokio::time::sleep(secs(time)).await,
        Operation::Answer { what, secs } => subject.answer(what, secs),
    }
    settle().await;
    settled(model, subject)
}

async fn get(key: u32, bounds: Bounds, model: &mut Reference, subject: &Subject) -> Check {
    let seen = subject.get(key, bounds).await;
    let events = subject.events();
    let began =
        |event: &subject::Event| event.key == key && matches!(event.what, Happened::Began { .. });
    let found = Found { began: events.iter().any(began), refused: seen.error() == Some(DOWN) };
    let way = model.ask(key, bounds, found);
    let trace = format!("asked at {}: {found:?} {way:?}, then {events:?}", model.now);
    for event in events {
        model.happened(event)?;
    }
    model.now = subject.now();
    same(&seen, &model.got(key, bounds, way)).map_err(|why| format!("{why}\n{trace}"))
}

/// Compares all that can be seen while nothing is on its way.
fn settled(model: &mut Reference, subject: &Subject) -> Check {
    for event in subject.events() {
        model.happened(event)?;
    }
    model.now = subject.now();
    let stats = subject.cache.stats();
    same(&(stats.entries, stats.weight), &model.holdings())?;
    model.is_up_to_date()
}

async fn run(operations: &[Operation]) -> Check {
    let (mut model, mut subject) = (Reference::new(), Subject::new());
    for (n, operation) in operations.iter().enumerate() {
        step(*operation, &mut model, &mut subject)
            .await
            .map_err(|why| format!("{why}\nafter {:?}", &operations[..=n]))?;
    }
    Ok(())
}

/// Jitter differs from cache to cache. Once a scenario has failed, each smaller one gets many tries.
fn tried(once: impl Fn() -> Check) -> Check {
    static SHRINKING: AtomicBool = AtomicBool::new(false);
    let tries = if SHRINKING.load(Ordering::Relaxed) { 50 } else { 1 };
    let checked = (0..tries).try_for_each(|_| once());
    SHRINKING.fetch_or(checked.is_err(), Ordering::Relaxed);
    checked
}

/// On tokio's paused time.
fn on_paused_time<T>(scenario: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(scenario)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_is_what_the_reference_says(
        operations in prop::collection::vec(operation(), 1..60)
    ) {
        tried(|| on_paused_time(run(&operations))).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_kept_entry_follows_its_owner(
        refresh in prop::sample::select(&kept::REFRESHES[..]),
        changes in prop::collection::vec(kept::change(), 1..25),
    ) {
        tried(|| on_paused_time(kept::run(refresh, &changes))).map_err(TestCaseError::fail)?;
    }
}
