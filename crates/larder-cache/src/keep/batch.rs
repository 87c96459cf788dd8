//! Staying fresh by fetching many keys at a time.
//!
//! Keys come due one by one, so the work of a cycle grows with what is due and not with what is cached.
//! [`Schedule`] says which; the driver, one task for a cache, fetches them in a few batches at a time.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::Error;
use crate::expiry::Deadlines;
use crate::guarded::{Panicked, caught, within};
use crate::keep::Refresh;
use crate::landing::{Answered, Order};
use crate::pilot;
use crate::signal::{Signal, Wakers};
use crate::slots::Slot;
use crate::source::{Attempt, Blame, Fetched, Removal, Source};
use crate::stats::Event;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock, sleep, yield_now};

/// A source that can be asked about many keys at once; used by caches made with
/// [`Cache::batching`](crate::Cache::batching).
pub trait FetchMany: Source {
    /// Asks the owner for many values. Keys that the answer does not mention count as
    /// [`Fetched::NotModified`]; an error counts for each key.
    ///
    /// A request that finds no value still asks [`fetch`](Source::fetch).
    fn fetch_many(
        &self,
        batch: Vec<(Self::Key, Attempt<Self::Value>)>,
    ) -> impl Future<Output = Result<Vec<OneOfMany<Self>>, Self::Error>> + Send;
}

/// What [`FetchMany`] says about one key.
pub type OneOfMany<S> =
    (<S as Source>::Key, Result<Fetched<<S as Source>::Value>, <S as Source>::Error>);

/// When each key is due, and which are in flight: a key is never in flight twice.
///
/// Pure: `now` is an argument.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    due: Deadlines<K>,
    in_flight: HashSet<K>,
    /// With how many keys the next tidying is worth its look at all of them.
    tidy_at: usize,
}

impl<K: Hash + Eq + Ord + Clone> Schedule<K> {
    pub(crate) fn new() -> Self {
        Self { due: Deadlines::default(), in_flight: HashSet::new(), tidy_at: 0 }
    }

    /// Adds a key, due at `at`, unless it is known.
    pub(crate) fn enlist(&mut self, key: K, at: Time) {
        if !self.in_flight.contains(&key) && self.due.get(&key).is_none() {
            self.due.set(key, at);
        }
    }

    /// Takes up to `most` keys that are due, the longest overdue first; they are in flight now.
    pub(crate) fn take(&mut self, most: usize, now: Time) -> Vec<K> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((key, _)) = self.due.pop(now)
        {
            self.in_flight.insert(key.clone());
            taken.push(key);
        }
        taken
    }

    /// A key is back: due again at `next`, or gone.
    pub(crate) fn put_back(&mut self, key: K, next: Option<Time>) {
        self.in_flight.remove(&key);
        if let Some(next) = next {
            self.due.set(key, next);
        }
    }

    /// Forgets what is not `wanted`, if there is much more than `expected`.
    pub(crate) fn tidy(&mut self, expected: usize, wanted: impl Fn(&K) -> bool) {
        if self.due.len() > self.tidy_at.max(2 * expected + 64) {
            let gone: Vec<K> = self.due.keys().filter(|key| !wanted(key)).cloned().collect();
            for key in gone {
                self.due.remove(&key);
            }
            self.tidy_at = 2 * self.due.len();
        }
    }

    /// Brings a key forward to `at`, if it is due later.
    pub(crate) fn hasten(&mut self, key: K, at: Time) {
        if self.due.get(&key).is_some_and(|due| due > at) {
            self.due.set(key, at);
        }
    }

    /// When something is due, at the earliest.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.next()
    }
}

/// How the rest of the cache tells the driver about keys.
#[derive(Debug)]
pub(crate) struct Enlist<K>(Arc<Desk<K>>);

/// What the driver has been told and not yet read. Bounded by the keys that the cache holds.
#[derive(Debug)]
pub(crate) struct Desk<K> {
    new: Mutex<HashSet<K>>,
    back: Mutex<Vec<(K, Option<Time>)>>,
    /// How many batches are in flight.
    running: AtomicUsize,
    changed: Signal,
}

impl<K: Hash + Eq + Clone> Enlist<K> {
    pub(crate) fn new() -> (Self, Arc<Desk<K>>) {
        let (new, back) = (Mutex::default(), Mutex::default());
        let running = AtomicUsize::new(0);
        let desk = Arc::new(Desk { new, back, running, changed: Signal::default() });
        (Self(Arc::clone(&desk)), desk)
    }

    /// A key has a value; the driver finds out whether that is news.
    pub(crate) fn key(&self, key: &K) -> Wakers {
        let mut new = lock(&self.0.new);
        new.insert(key.clone());
        drop(new);
        self.0.changed.raise()
    }
}

/// The task that keeps a cache's entries fresh in batches.
pub(crate) struct Driver<S: FetchMany>
where
    S::Key: Ord,
{
    engine: Arc<Engine<S>>,
    desk: Arc<Desk<S::Key>>,
    schedule: Schedule<S::Key>,
    plan: Plan,
    /// Keys whose last batch failed: they are due soon after their upstream is back.
    failed: HashSet<S::Key>,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    every: Duration,
    size: usize,
    parallel: usize,
}

/// Keys in flight together. However its task ends, its drop releases who waits and tells the driver.
struct Flight<S: Source> {
    engine: Arc<Engine<S>>,
    desk: Arc<Desk<S::Key>>,
    every: Duration,
    orders: HashMap<S::Key, Order<S::Value>>,
}

impl<S: FetchMany> Driver<S>
where
    S::Key: Ord,
{
    /// `None` if the options name another way of refreshing.
    pub(crate) fn new(engine: Arc<Engine<S>>, desk: Arc<Desk<S::Key>>) -> Option<Self> {
        let Refresh::Batch { every, size, parallel } = engine.options.refresh else { return None };
        let plan = Plan { every, size: size as usize, parallel: parallel as usize };
        let failed = HashSet::new();
        Some(Self { engine, desk, schedule: Schedule::new(), plan, failed })
    }

    pub(crate) async fn run(mut self) {
        let engine = Arc::clone(&self.engine);
        let (tasks, back) = (&engine.tasks, engine.upstream.back());
        let mut recoveries = back.version();
        while !tasks.is_closing() {
            let seen = self.desk.changed.version();
            if back.version() != recoveries {
                recoveries = back.version();
                self.hasten_failed();
            }
            self.read_desk();
            let next = self.start_batches();
            let pause = next.map(|next| next.since(self.engine.clock.now()));
            // Cancel-safe: all four take nothing.
            tokio::select! {
                biased;
                () = tasks.closing() => {}
                () = self.desk.changed.past(seen) => {}
                () = back.past(recoveries) => {}
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            // A schedule that is always behind must not keep a thread to itself.
            yield_now().await;
        }
    }

    /// The upstream is back: what failed is asked for again within a second.
    fn hasten_failed(&mut self) {
        let now = self.engine.clock.now();
        for key in std::mem::take(&mut self.failed) {
            let turn = self.engine.throw_dice(&key, now.as_millis()) % 1000;
            self.schedule.hasten(key, now.after(Duration::from_millis(turn)));
        }
    }

    fn read_desk(&mut self) {
        let now = self.engine.clock.now();
        // In this order: what is new came back before it was new.
        let new = std::mem::take(&mut *lock(&self.desk.new));
        for (key, next) in std::mem::take(&mut *lock(&self.desk.back)) {
            if self.engine.troubles.contains(&key) {
                self.failed.insert(key.clone());
            } else {
                self.failed.remove(&key);
            }
            self.schedule.put_back(key, next);
        }
        for key in new {
            let due = next_due(&self.engine, &key, self.plan.every, now);
            self.schedule.enlist(key, due);
        }
        let (store, slots) = (&self.engine.store, &self.engine.slots);
        // What is in neither is gone; what has a slot is subscribed, and its pilot wants to be told.
        let wanted = |key: &S::Key| store.contains(key) || slots.shard(key).contains_key(key);
        self.schedule.tidy(store.len(), wanted);
    }

    /// Starts as many batches as may be; says when there may be more, if time alone decides that.
    fn start_batches(&mut self) -> Option<Time> {
        while self.desk.running.load(Ordering::Acquire) < self.plan.parallel {
            let now = self.engine.clock.now();
            if self.schedule.next().is_none_or(|next| next > now) {
                return self.schedule.next();
            }
            if let Err(until) = self.engine.upstream.enter(now) {
                return Some(until);
            }
            let keys = self.schedule.take(self.plan.size, now);
            let orders: HashMap<_, _> = keys
                .into_iter()
                .filter_map(|key| self.begin(&key, now).map(|order| (key, order)))
                .collect();
            if orders.is_empty() {
                continue;
            }
            self.desk.running.fetch_add(1, Ordering::AcqRel);
            let flight = Flight {
                engine: Arc::clone(&self.engine),
                desk: Arc::clone(&self.desk),
                every: self.plan.every,
                orders,
            };
            self.engine.tasks.spawn(flight.fly());
        }
        None
    }

    /// Begins one key's part of a batch, unless it is gone, idle, or being fetched already.
    fn begin(&mut self, key: &S::Key, now: Time) -> Option<Order<S::Value>> {
        let engine = &*self.engine;
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(key);
        let begun = match engine.store.peek(key) {
            None => {
                // Its subscribers' pilot goes on alone.
                if let Some(slot) = shard.get(key) {
                    aftermath.wake(slot.topic.beacon.raise());
                }
                Err(None)
            }
            Some(entry) if is_idle(engine, shard.get(key), &entry, now) => {
                engine.counters.count(Event::Idle);
                engine.forget(key, &mut shard, Removal::Idle, &mut aftermath);
                Err(None)
            }
            Some(entry) => {
                let rests_until = engine.rests_until(key);
                let is_new = !shard.contains_key(key);
                let slot = shard.entry(key.clone()).or_insert_with(Slot::new);
                let busy = slot.rounds.is_under_way() || slot.rounds.is_asked();
                if rests_until == Time::MAX || busy || rests_until > now {
                    if is_new {
                        aftermath.ended(shard.remove_entry(key));
                    }
                    aftermath.hold(Some(entry));
                    let later = rests_until.max(next_due(engine, key, self.plan.every, now));
                    Err((rests_until < Time::MAX).then_some(later))
                } else {
                    slot.has_no_pilot = is_new;
                    slot.rounds.begin(false);
                    Ok(Order { previous: Some(entry), began_at: now, parked: false })
                }
            }
        };
        drop(shard);
        aftermath.settle(engine);
        match begun {
            Ok(order) => Some(order),
            Err(next) => {
                self.schedule.put_back(key.clone(), next);
                None
            }
        }
    }
}

impl<S: FetchMany> Flight<S> {
    async fn fly(mut self) {
        let engine = Arc::clone(&self.engine);
        let time_allowed = engine.options.fetch_timeout;
        let batch = self
            .orders
            .iter()
            .map(|(key, order)| (key.clone(), engine.attempt(order, Duration::MAX)))
            .collect();
        let fetch = within(time_allowed, caught(async { engine.source.fetch_many(batch).await }));
        // Cancel-safe: the losing arm is dropped, which is what closing means.
        let answers = tokio::select! {
            biased;
            () = engine.tasks.closing() => return,
            answers = fetch => answers,
        };
        match answers {
            None => self.land_all(|| (Error::TimedOut(time_allowed), Blame::Upstream)),
            Some(Err(Panicked)) => self.land_all(|| (Error::Panicked, Blame::Entry)),
            Some(Ok(Err(error))) => {
                let (error, blame) = engine.failure(error);
                self.land_all(|| (error.clone(), blame));
            }
            Some(Ok(Ok(answers))) => self.land_each(answers),
        }
    }

    fn land_each(&mut self, answers: Vec<OneOfMany<S>>) {
        let engine = Arc::clone(&self.engine);
        for (key, answer) in answers {
            // An answer about a key that was not asked for, or for the second time, is no answer.
            let Some(order) = self.orders.remove(&key) else { continue };
            let assess = std::panic::AssertUnwindSafe(|| {
                answer
                    .map(|fetched| engine.assess(&key, fetched, order.previous.as_ref()))
                    .map_err(|error| engine.failure(error))
            });
            let answered =
                std::panic::catch_unwind(assess).unwrap_or(Err((Error::Panicked, Blame::Entry)));
            self.land(key, answered, &order);
        }
        for (key, order) in std::mem::take(&mut self.orders) {
            let unmentioned = Fetched::NotModified { ttl: None };
            let answer = engine.assess(&key, unmentioned, order.previous.as_ref());
            self.land(key, Ok(answer), &order);
        }
    }

    fn land_all(&mut self, failure: impl Fn() -> (Error<S::Error>, Blame)) {
        for (key, order) in std::mem::take(&mut self.orders) {
            self.land(key, Err(failure()), &order);
        }
    }
}

impl<S: Source> Flight<S> {
    fn land(&self, key: S::Key, answered: Answered<S>, order: &Order<S::Value>) {
        let engine = &self.engine;
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&key);
        let mut orphan = None;
        if let Some(slot) = shard.get_mut(&key) {
            engine.land(&key, slot, answered, order, &mut aftermath);
            aftermath.wake(slot.topic.beacon.raise());
            if std::mem::take(&mut slot.has_no_pilot) {
                // Whoever came meanwhile and needs more than this batch gets a pilot.
                let wanted = slot.rounds.is_asked() || slot.topic.is_interesting();
                if wanted && !engine.tasks.is_closing() {
                    orphan = Some((Arc::clone(&slot.topic), engine.tasks.reserve(), key.clone()));
                } else {
                    engine.end_slot(&mut shard, &key, &Error::Closed, &mut aftermath);
                }
            }
        }
        // Under the shard's lock, so that whoever puts the key after this enlists it after this.
        let next = self.next(&key);
        lock(&self.desk.back).push((key, next));
        drop(shard);
        aftermath.settle(engine);
        if let Some((topic, live, key)) = orphan {
            pilot::start(engine, key, topic, live);
        }
        drop(self.desk.changed.raise());
    }

    /// When a key is due again: a period after it landed, and later by its back-off.
    fn next(&self, key: &S::Key) -> Option<Time> {
        let engine = &*self.engine;
        let now = engine.clock.now();
        let rests_until = engine.rests_until(key);
        let kept = engine.store.contains(key) && rests_until < Time::MAX;
        kept.then(|| next_due(engine, key, self.every, now).after(rests_until.since(now)))
    }
}

impl<S: Source> Drop for Flight<S> {
    fn drop(&mut self) {
        // Closed, dropped by the runtime, or dropping the source's future panicked: nobody is left
        // waiting.
        let panicked = std::thread::panicking();
        for (key, order) in std::mem::take(&mut self.orders) {
            let error = if panicked { Error::Panicked } else { Error::Closed };
            self.land(key, Err((error, Blame::Entry)), &order);
        }
        self.desk.running.fetch_sub(1, Ordering::AcqRel);
        drop(self.desk.changed.raise());
    }
}

fn is_idle<S: Source>(
    engine: &Engine<S>,
    slot: Option<&Slot<S>>,
    entry: &Entry<S::Value>,
    now: Time,
) -> bool {
    let interesting = slot.is_some_and(|slot| slot.topic.is_interesting());
    !interesting && entry.read_at().after(engine.options.idle) <= now
}

/// One period from now, and up to a sixteenth more, so that keys that came together drift apart.
fn next_due<S: Source>(engine: &Engine<S>, key: &S::Key, every: Duration, now: Time) -> Time {
    let dice = u16::try_from(engine.throw_dice(key, now.as_millis()) >> 48).unwrap_or(0);
    let jitter = (every / 16).mul_f64(f64::from(dice) / f64::from(u16::MAX));
    now.after(every.saturating_add(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn only_what_is_due_is_taken_and_the_longest_overdue_first() {
        let mut schedule = Schedule::new();
        for (key, due) in [("c", 30), ("a", 10), ("b", 20), ("d", 40)] {
            schedule.enlist(key, at(due));
        }
        assert_eq!(schedule.take(2, at(30)), ["a", "b"]);
        assert_eq!(schedule.take(2, at(30)), ["c"]);
        assert_eq!(schedule.next(), Some(at(40)));
    }

    #[test]
    fn a_key_in_flight_is_not_taken_again_until_it_is_back() {
        let mut schedule = Schedule::new();
        schedule.enlist("a", at(0));
        assert_eq!(schedule.take(9, at(0)), ["a"]);
        schedule.enlist("a", at(0));
        assert!(schedule.take(9, at(100)).is_empty());
        schedule.put_back("a", Some(at(50)));
        assert_eq!(schedule.take(9, at(100)), ["a"]);
        schedule.put_back("a", None);
        assert_eq!(schedule.next(), None);
    }
}
