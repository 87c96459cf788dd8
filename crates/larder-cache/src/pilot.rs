//! A key's pilot: the one task that fetches it, keeps it fresh while somebody is interested, and then
//! ends.
//!
//! What to do next is decided by [`decide`], under the lock of the key's shard, together with whatever
//! the decision changes there; the pilot only does it and asks again.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::crowd::Place;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::Error;
use crate::keep::{Next, Situation, decide, idle_at};
use crate::landing::{Answered, Order};
use crate::slots::{Shard, Slot};
use crate::source::{Blame, Removal, Source};
use crate::standing::{Standing, Trouble};
use crate::stats::Event;
use crate::sync::{AtomicUsize, Ordering, sleep, within};
use crate::topic::Topic;

/// Flies a key: owned by the key's task. However the task ends, its drop releases who waits.
pub(crate) struct Pilot<S: Source> {
    pub(crate) engine: Arc<Engine<S>>,
    pub(crate) key: S::Key,
    topic: Arc<Topic<S::Value, S::Error>>,
    /// The slot is gone, or is another pilot's by now.
    done: bool,
    /// Whether this pilot is among those counted as connected or failing.
    counted: Counted,
    /// One of the places for flights, until the first fetch has landed.
    seat: Option<Place>,
}

/// What a pilot does next, and what it needs for that.
enum Step<V> {
    Fetch { order: Order<V>, max_age: Duration, look: Look },
    Watch { order: Order<V>, look: Look },
    Rest(Look),
    Land,
}

/// When to look again, at the latest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The version of the beacon that has been seen.
    seen: u64,
    /// How often the upstream had come back.
    back: u64,
    until: Time,
}

/// How a keeper stands, for the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Neither,
    Connected,
    Failing,
}

/// Why a fetch came to an end.
enum End<S: Source> {
    Answered(Answered<S>),
    /// It was parked, and is not wanted any more.
    Cut,
}

/// Starts the pilot of a slot that was just made. The shard must not be locked: a runtime that is
/// shutting down drops the task here and now, and with it the pilot.
pub(crate) fn start<S: Source>(
    engine: &Arc<Engine<S>>,
    key: S::Key,
    topic: Arc<Topic<S::Value, S::Error>>,
    seat: Option<Place>,
) {
    let pilot = Pilot {
        engine: Arc::clone(engine),
        key,
        topic,
        done: false,
        counted: Counted::Neither,
        seat,
    };
    engine.tasks.spawn(pilot.fly());
}

impl<S: Source> Pilot<S> {
    async fn fly(mut self) {
        let mut step = self.plan();
        loop {
            step = match step {
                Step::Fetch { order, max_age, look } => self.fetch(order, max_age, look).await,
                Step::Watch { order, look } => self.watch(order, look).await,
                Step::Rest(look) => {
                    self.rest(look).await;
                    self.plan()
                }
                Step::Land => return,
            }
        }
    }

    /// Decides what to do next, and begins it.
    fn plan(&mut self) -> Step<S::Value> {
        let engine = Arc::clone(&self.engine);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&self.key);
        let step = self.plan_in(&mut shard, &mut aftermath);
        drop(shard);
        aftermath.settle(&engine);
        step
    }

    fn plan_in(&mut self, shard: &mut Shard<S>, aftermath: &mut Aftermath<S>) -> Step<S::Value> {
        let engine = Arc::clone(&self.engine);
        let now = engine.clock.now();
        let Some(slot) = shard.get_mut(&self.key).filter(|_| !engine.tasks.is_closing()) else {
            return self.retire(shard, aftermath);
        };
        if slot.rounds.is_under_way() {
            // A batch has this key; it raises the beacon when it lands.
            return Step::Rest(self.look(Time::MAX));
        }
        // Before the situation: the last subscription goes, and the upstream comes back, without this
        // lock. What changes after it was looked at must be past the version that was seen.
        let look = self.look(Time::MAX);
        let previous = engine.previous(&self.key, Some(slot));
        let standing = engine.standing(&self.key);
        self.take_place(slot);
        let situation = self.situation(slot, previous.as_ref(), &standing, now);
        let look = Look { until: idle_at(&situation), ..look };
        match decide(&situation, now) {
            Next::Fetch => match engine.upstream.enter(now) {
                Ok(()) => {
                    self.count(&standing, false);
                    self.begin(slot, previous, standing, look, false, now)
                }
                // Another key's fetch has just become the probe.
                Err(_) => self.plan_in(shard, aftermath),
            },
            Next::Park => {
                self.count(&standing, true);
                if let Some(entry) = &previous {
                    entry.connect();
                }
                self.begin(slot, previous, standing, look, true, now)
            }
            Next::Watch => match engine.upstream.enter(now) {
                Ok(()) => {
                    slot.rounds.begin(true);
                    Step::Watch { order: Order { previous, began_at: now, parked: true }, look }
                }
                Err(_) => self.plan_in(shard, aftermath),
            },
            Next::Rest(until) => {
                self.count(&standing, false);
                Step::Rest(Look { until, ..look })
            }
            Next::Refuse => {
                slot.rounds.end().for_each(|round| aftermath.tell(round, &Err(Error::Down)));
                aftermath.wake(slot.topic.post_error(&Error::Down));
                // Without those who asked, there is something else to do.
                self.plan_in(shard, aftermath)
            }
            Next::Retire => self.retire(shard, aftermath),
            Next::Expire => {
                if let Some((key, entry)) = engine.store.remove(&self.key) {
                    engine.counters.count(Event::Idle);
                    aftermath.removed(key, entry, Removal::Idle);
                }
                self.retire(shard, aftermath)
            }
        }
    }

    fn begin(
        &self,
        slot: &mut Slot<S>,
        previous: Option<Entry<S::Value>>,
        standing: Standing<S::Error>,
        look: Look,
        parked: bool,
        now: Time,
    ) -> Step<S::Value> {
        let max_age = slot.rounds.begin(parked);
        if let Some(rate) = self.engine.rate() {
            let pace = standing.pace.fetched(rate, now);
            self.engine.set_standing(&self.key, Standing { pace, ..standing });
        }
        Step::Fetch { order: Order { previous, began_at: now, parked }, max_age, look }
    }

    fn situation(
        &self,
        slot: &Slot<S>,
        previous: Option<&Entry<S::Value>>,
        standing: &Standing<S::Error>,
        now: Time,
    ) -> Situation {
        let engine = &*self.engine;
        let recovered_at = engine.upstream.recovered_at();
        let absent_since = match &standing.trouble {
            Some(Trouble::Absent { since, .. }) => Some(*since),
            _ => None,
        };
        // After a failure the next fetch does not wait at the source: its answer is the sign of life.
        let failing = standing.failing();
        let alive = failing.is_none_or(|failing| matches!(failing.error, Error::NoIndex));
        let confirmed_at = previous.map(|entry| entry.vouched_at(now)).or(absent_since);
        let salt = confirmed_at.map_or(0, Time::as_millis);
        Situation {
            asked: slot.rounds.is_asked(),
            interested: slot.topic.is_interesting(),
            has_place: slot.keeper.is_some(),
            refresh: engine.options.refresh,
            max_age: slot.topic.max_age(),
            idle: engine.options.idle,
            confirmed_at,
            can_wait: alive && previous.is_some_and(|entry| entry.source_index() > 0),
            read_at: engine.store.peek(&self.key).map(|entry| entry.read_at()),
            rests_until: standing.rests_until(recovered_at),
            paced_until: engine.rate().map_or(Time::ZERO, |rate| standing.pace.next(rate)),
            closed_until: engine.upstream.closed_until(now),
            dice: u16::try_from(engine.throw_dice(&self.key, salt) >> 48).unwrap_or(0),
        }
    }

    /// A pilot that may stay needs one of the places for keepers.
    fn take_place(&self, slot: &mut Slot<S>) {
        let may_stay =
            slot.topic.is_interesting() || self.engine.options.refresh.keeps_what_is_read();
        if may_stay && slot.keeper.is_none() {
            slot.keeper = self.engine.crowds.keepers.take();
        }
    }

    fn retire(&mut self, shard: &mut Shard<S>, aftermath: &mut Aftermath<S>) -> Step<S::Value> {
        self.done = true;
        self.set_counted(Counted::Neither);
        self.disconnect();
        let mut ended = shard.remove_entry(&self.key);
        if let Some((_, slot)) = &mut ended
            && self.engine.tasks.is_closing()
        {
            // Whoever shuts the cache may get to this shard only now, and would find nobody here.
            slot.release(&Error::Closed, aftermath);
        }
        aftermath.ended(ended);
        Step::Land
    }

    /// Nobody keeps the entry fresh from now on: it begins to age.
    pub(crate) fn disconnect(&self) {
        if let Some(entry) = self.engine.store.peek(&self.key) {
            entry.disconnect(self.engine.clock.now(), self.engine.options.ttl);
        }
    }

    fn look(&self, until: Time) -> Look {
        let (seen, back) = (self.topic.beacon.version(), self.engine.upstream.back().version());
        Look { seen, back, until }
    }

    /// Waits until there is reason to look again.
    async fn rest(&self, look: Look) {
        let engine = &*self.engine;
        // Cancel-safe: all four take nothing.
        tokio::select! {
            biased;
            () = engine.tasks.closing() => {}
            () = self.topic.beacon.past(look.seen) => {}
            () = engine.upstream.back().past(look.back) => {}
            () = self.until(look.until) => {}
        }
    }

    async fn until(&self, time: Time) {
        if time == Time::MAX {
            return std::future::pending().await;
        }
        sleep(time.since(self.engine.clock.now())).await;
    }

    async fn fetch(
        &mut self,
        order: Order<S::Value>,
        max_age: Duration,
        look: Look,
    ) -> Step<S::Value> {
        match self.ask(&order, max_age, look).await {
            End::Answered(answered) => self.land(answered, &order),
            End::Cut => self.cut(),
        }
    }

    async fn ask(&self, order: &Order<S::Value>, max_age: Duration, mut look: Look) -> End<S> {
        let engine = &*self.engine;
        let attempt = engine.attempt(order, max_age);
        let time_allowed = attempt.time_allowed;
        let fetch = async {
            match engine.source.fetch(&self.key, attempt).await {
                Ok(fetched) => Ok(engine.assess(&self.key, fetched, order.previous.as_ref())),
                Err(error) => Err(engine.failure(error)),
            }
        };
        let mut fetch = pin!(within(time_allowed, caught(fetch)));
        loop {
            // Cancel-safe: `fetch` is pinned outside and lives on when another arm wins; the other
            // arms take nothing. A fetch that is dropped at the end is what closing, cutting and
            // timing out mean.
            tokio::select! {
                biased;
                () = engine.tasks.closing() => {
                    return End::Answered(Err((Error::Closed, Blame::Entry)));
                }
                answered = &mut fetch => {
                    return End::Answered(match answered {
                        Some(Some(answered)) => answered,
                        Some(None) => Err((Error::Panicked, Blame::Entry)),
                        None => Err((Error::TimedOut(time_allowed), Blame::Upstream)),
                    });
                }
                () = self.topic.beacon.past(look.seen), if order.parked => {}
                () = self.until(look.until), if order.parked => {}
            }
            match self.is_still_wanted() {
                Some(next) => look = next,
                None => return End::Cut,
            }
        }
    }

    /// Whether a parked fetch is still what this key needs; then, when to look again.
    pub(crate) fn is_still_wanted(&self) -> Option<Look> {
        let engine = &*self.engine;
        let mut shard = engine.slots.shard(&self.key);
        let slot = shard.get_mut(&self.key).filter(|slot| !slot.rounds.is_to_be_cut())?;
        let now = engine.clock.now();
        // First, as in `plan_in`.
        let look = self.look(Time::MAX);
        let previous = engine.previous(&self.key, Some(slot));
        let situation = self.situation(slot, previous.as_ref(), &Standing::default(), now);
        let idle_at = idle_at(&situation);
        (idle_at > now).then_some(Look { until: idle_at, ..look })
    }

    /// Waits until there is reason to ask whether the fetch is still wanted.
    pub(crate) async fn disturbance(&self, look: Look) {
        // Cancel-safe: all three take nothing.
        tokio::select! {
            biased;
            () = self.engine.tasks.closing() => {}
            () = self.topic.beacon.past(look.seen) => {}
            () = self.until(look.until) => {}
        }
    }

    fn land(&mut self, answered: Answered<S>, order: &Order<S::Value>) -> Step<S::Value> {
        let engine = Arc::clone(&self.engine);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&self.key);
        if let Some(slot) = shard.get_mut(&self.key) {
            engine.land(&self.key, slot, answered, order, &mut aftermath);
        }
        self.seat = None;
        let step = self.plan_in(&mut shard, &mut aftermath);
        drop(shard);
        aftermath.settle(&engine);
        step
    }

    /// A parked fetch was dropped.
    fn cut(&mut self) -> Step<S::Value> {
        let engine = Arc::clone(&self.engine);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&self.key);
        if let Some(slot) = shard.get_mut(&self.key) {
            // Nobody joins a parked fetch, so nobody waits for it.
            slot.rounds.land();
        }
        self.disconnect();
        let step = self.plan_in(&mut shard, &mut aftermath);
        drop(shard);
        aftermath.settle(&engine);
        step
    }

    async fn watch(&mut self, order: Order<S::Value>, look: Look) -> Step<S::Value> {
        let Some(follow) = self.engine.follow else { return self.cut() };
        match follow(self, order, look).await {
            (Some(answered), order) => self.land(answered, &order),
            (None, _) => self.cut(),
        }
    }

    /// Counts this keeper as what it is about to be.
    fn count(&mut self, standing: &Standing<S::Error>, connected: bool) {
        let counted = match standing.failing() {
            _ if connected => Counted::Connected,
            Some(_) => Counted::Failing,
            None => Counted::Neither,
        };
        self.set_counted(counted);
    }

    pub(crate) fn set_counted(&mut self, counted: Counted) {
        let old = std::mem::replace(&mut self.counted, counted);
        let crowds = &self.engine.crowds;
        let tally = |counted| -> Option<&AtomicUsize> {
            match counted {
                Counted::Neither => None,
                Counted::Connected => Some(&crowds.connected),
                Counted::Failing => Some(&crowds.failing),
            }
        };
        if old != counted {
            if let Some(tally) = tally(old) {
                tally.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(tally) = tally(counted) {
                tally.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl<S: Source> Drop for Pilot<S> {
    fn drop(&mut self) {
        self.set_counted(Counted::Neither);
        if self.done {
            return;
        }
        // The runtime dropped the task, or dropping the source's future panicked.
        let error = if std::thread::panicking() { Error::Panicked } else { Error::Closed };
        let mut aftermath = Aftermath::new();
        let mut shard = self.engine.slots.shard(&self.key);
        let mut ended = shard.remove_entry(&self.key);
        if let Some((_, slot)) = &mut ended {
            slot.release(&error, &mut aftermath);
        }
        self.disconnect();
        drop(shard);
        aftermath.ended(ended);
        aftermath.settle(&self.engine);
    }
}

/// Polls `future`; `None` if it panicked, after which it is not polled again.
pub(crate) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // Unwind-safe: what the future may have left half-done is its own, and it is dropped.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
