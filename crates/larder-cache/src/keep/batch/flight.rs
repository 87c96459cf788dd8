//! Keys in flight together, in a task of their own. However that ends, nobody is left waiting.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::{Entry, Versioned};
use crate::error::Error;
use crate::guarded::{Panicked, caught, within};
use crate::keep::batch::desk::Desk;
use crate::keep::batch::plan::Plan;
use crate::keep::batch::seating::{Facts, due, seat};
use crate::keep::batch::{FetchMany, OneOfMany};
use crate::landing::{Answer, Answered, Landed, Order};
use crate::pilot;
use crate::slots::Shard;
use crate::source::{Blame, Fetched, Removal, Source};
use crate::standing::Turn;
use crate::stats::Event;
use crate::tasks::Live;
use crate::topic::Topic;
use crate::trouble::Trouble;

/// A key in flight.
pub(crate) struct Passenger<S: Source> {
    pub(crate) key: S::Key,
    /// Taken when it lands.
    pub(crate) order: Option<Order<S::Value>>,
}

pub(crate) struct Flight<S: FetchMany> {
    engine: Arc<Engine<S>>,
    desk: Arc<Desk<S::Key, S::Value>>,
    plan: Arc<Plan<S>>,
    passengers: Vec<Passenger<S>>,
}

/// What became of a batch: `None` if it took too long.
type Answers<S> = Option<Result<Result<Vec<OneOfMany<S>>, <S as Source>::Error>, Panicked>>;

/// A slot that gets a pilot.
type Orphan<S> = (Arc<Topic<<S as Source>::Value, <S as Source>::Error>>, Live);

/// Where the passengers sit. Most answers come in the order of the questions; a map is made for others.
struct Seats<K> {
    expected: usize,
    by_key: HashMap<K, usize>,
}

impl<K: Hash + Eq + Clone> Seats<K> {
    fn find<S: Source<Key = K>>(&mut self, passengers: &[Passenger<S>], key: &K) -> Option<usize> {
        if passengers.get(self.expected).is_none_or(|passenger| passenger.key != *key) {
            if self.by_key.is_empty() {
                let seats = passengers.iter().enumerate();
                self.by_key = seats.map(|(place, seated)| (seated.key.clone(), place)).collect();
            }
            self.expected = *self.by_key.get(key)?;
        }
        self.expected += 1;
        Some(self.expected - 1)
    }
}

impl<S: FetchMany> Flight<S> {
    pub(crate) fn take_off(
        engine: Arc<Engine<S>>,
        desk: Arc<Desk<S::Key, S::Value>>,
        plan: Arc<Plan<S>>,
        passengers: Vec<Passenger<S>>,
    ) -> Self {
        desk.took_off(passengers.len());
        Self { engine, desk, plan, passengers }
    }

    pub(crate) async fn fly(mut self) {
        let engine = Arc::clone(&self.engine);
        let time_allowed = engine.options.fetch_timeout;
        let began_at = engine.clock.now();
        let batch = self
            .passengers
            .iter()
            .filter_map(|passenger| {
                let order = passenger.order.as_ref()?;
                Some((passenger.key.clone(), engine.attempt(order, Duration::MAX)))
            })
            .collect();
        let fetch = within(time_allowed, caught(async { engine.source.fetch_many(batch).await }));
        // Cancel-safe: the losing arm is dropped, which is what closing means.
        let answers = tokio::select! {
            biased;
            () = engine.tasks.closing() => return,
            answers = fetch => answers,
        };
        self.arrive(answers, began_at, time_allowed);
    }

    fn arrive(&mut self, answers: Answers<S>, began_at: Time, time_allowed: Duration) {
        let engine = Arc::clone(&self.engine);
        let now = engine.clock.now();
        self.desk.latency.took(self.passengers.len(), began_at, now);
        match answers {
            None => {
                let silence = self.plan.silence;
                self.land_all(now, || (Error::TimedOut(time_allowed), silence));
            }
            Some(Err(Panicked)) => self.land_all(now, || (Error::Panicked, Blame::Entry)),
            Some(Ok(Err(error))) => {
                let (error, blame) = engine.failure(error);
                self.land_all(now, || (error.clone(), blame));
            }
            Some(Ok(Ok(answers))) => self.land_each(answers, now),
        }
    }

    fn land_each(&mut self, answers: Vec<OneOfMany<S>>, now: Time) {
        let engine = Arc::clone(&self.engine);
        let (mut strays, mut seats) = (0, Seats { expected: 0, by_key: HashMap::new() });
        for (key, answer) in answers {
            let order = seats.find(&self.passengers, &key);
            let Some(order) = order.and_then(|place| self.passengers[place].order.take()) else {
                strays += 1;
                continue;
            };
            let assess = AssertUnwindSafe(|| {
                answer
                    .map(|fetched| engine.assess(&key, fetched, order.previous.as_ref()))
                    .map_err(|error| engine.failure(error))
            });
            let answered = catch_unwind(assess).unwrap_or(Err((Error::Panicked, Blame::Entry)));
            self.land(&key, answered, order, now);
        }
        if strays > 0 {
            engine.counters.add(Event::Stray, strays);
            tracing::warn!(
                strays,
                "a batch was answered with keys that were not asked for, or twice with the same: \
                 those answers are ignored"
            );
        }
        for place in 0..self.passengers.len() {
            let Some(order) = self.passengers[place].order.take() else { continue };
            let key = self.passengers[place].key.clone();
            let unmentioned = Fetched::NotModified { ttl: None };
            let answer = engine.assess(&key, unmentioned, order.previous.as_ref());
            self.land(&key, Ok(answer), order, now);
        }
    }

    fn land_all(&mut self, now: Time, failure: impl Fn() -> (Error<S::Error>, Blame)) {
        for place in 0..self.passengers.len() {
            let Some(order) = self.passengers[place].order.take() else { continue };
            let key = self.passengers[place].key.clone();
            self.land(&key, Err(failure()), order, now);
        }
    }

    fn land(&self, key: &S::Key, answered: Answered<S>, order: Order<S::Value>, now: Time) {
        let (engine, plan) = (&self.engine, &self.plan);
        // Of the value that it brings, or else of the one as it was: the source is asked before the lock is
        // taken.
        let seen = match &answered {
            Ok(Answer { fetched: Fetched::Fresh(fresh), .. }) => Some(&fresh.value),
            _ => order.previous.as_deref().map(Versioned::value),
        };
        let due = seen.map_or(now, |seen| due(engine, plan, key, seen, now));
        let first = plan.first.is_at_once();
        let facts = Facts { landed: true, failed: false, due, tick: now, first, now };
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(key);
        let mut landed = Landed::Dropped;
        if let Some(slot) = shard.get_mut(key) {
            landed = engine.land(key, slot, answered, &order, now, &mut aftermath);
            if !slot.has_no_pilot {
                aftermath.wake(slot.topic.beacon.raise());
            }
        }
        let entry = match landed {
            Landed::Unchanged => order.previous.clone(),
            Landed::Changed | Landed::Dropped => engine.store.peek(key),
        };
        if let Some(entry) = &entry {
            self.put_back(key, entry, landed, &facts, &mut shard, &mut aftermath);
        }
        let orphan = self.end_slot(key, &mut shard, &mut aftermath);
        drop(shard);
        aftermath.settle_guarded(engine);
        if let Some((topic, live)) = orphan {
            pilot::start(engine, key.clone(), topic, live);
        }
        if landed == Landed::Changed {
            self.tell_of_end(key, entry.as_ref());
        }
        engine.let_fall([order.previous, entry]);
    }

    /// Back to the schedule, or out of the cache.
    fn put_back(
        &self,
        key: &S::Key,
        entry: &Entry<S::Value>,
        landed: Landed,
        facts: &Facts,
        shard: &mut Shard<S>,
        aftermath: &mut Aftermath<S>,
    ) {
        let engine = &self.engine;
        let turn = entry.standing().turn();
        if landed == Landed::Dropped && !matches!(turn, Turn::Flying | Turn::Gone) {
            // What was said about its predecessor does not end it, or hold it up.
            aftermath.forgotten(engine.troubles.remove_if(key, |_| true));
        }
        // One that is new came while its predecessor was in flight: nobody else gives it a place.
        let back = matches!(turn, Turn::Flying | Turn::Waiting | Turn::New)
            // Or else its row could stay behind when the cache is closed.
            && !engine.tasks.is_closing();
        // What is terminal is not asked about when its upstream is back.
        let alive = !entry.standing().is_terminal();
        let failing = |trouble: Trouble<S::Error>| trouble.failing().is_some();
        let failed = alive && engine.trouble(key).is_some_and(failing);
        if !back {
            self.desk.schedule().note_outcome(key, failed);
        } else if seat(engine, &self.desk, key, entry, &Facts { failed, ..*facts }) {
            engine.forget(key, shard, Removal::Deleted, aftermath);
        }
    }

    /// Ends the slot, if nobody else flies the key. Whoever came meanwhile and needs more than this batch
    /// gets a pilot.
    fn end_slot(
        &self,
        key: &S::Key,
        shard: &mut Shard<S>,
        aftermath: &mut Aftermath<S>,
    ) -> Option<Orphan<S>> {
        let engine = &self.engine;
        let slot = shard.get_mut(key)?;
        if !std::mem::take(&mut slot.has_no_pilot) {
            return None;
        }
        let wanted = slot.rounds.is_asked() || slot.topic.is_interesting();
        if wanted && !engine.tasks.is_closing() {
            return Some((Arc::clone(&slot.topic), engine.tasks.reserve()));
        }
        engine.end_slot(shard, key, &Error::Closed, aftermath);
        None
    }

    /// Tells the source if this was the end of the key.
    fn tell_of_end(&self, key: &S::Key, entry: Option<&Entry<S::Value>>) {
        let Some(entry) = entry.filter(|entry| entry.standing().is_terminal()) else { return };
        if self.plan.tracks {
            self.desk.note_ended(key);
        }
        let listener = AssertUnwindSafe(|| self.engine.source.finished(key, entry.value()));
        // Unwind-safe: a listener that panics leaves behind what it likes, but nothing of ours.
        if catch_unwind(listener).is_err() {
            self.engine.counters.count(Event::ListenerPanic);
        }
    }
}

impl<S: FetchMany> Drop for Flight<S> {
    fn drop(&mut self) {
        // Closed, dropped by the runtime, or dropping the source's future panicked: nobody is left
        // waiting.
        let panicked = std::thread::panicking();
        let now = self.engine.clock.now();
        self.land_all(now, || {
            let error = if panicked { Error::Panicked } else { Error::Closed };
            (error, Blame::Entry)
        });
        self.desk.landed(self.passengers.len());
    }
}
