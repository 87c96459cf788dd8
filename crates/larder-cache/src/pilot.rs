//! A key's pilot: the one task that fetches it, keeps it fresh while somebody is interested, and then
//! ends.
//!
//! What to do next is decided by [`decide`], under the lock of the key's shard, together with whatever
//! the decision changes there; the pilot only does it and asks again.

mod outlook;

use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::crowd::Counted;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::Error;
use crate::guarded::{Panicked, caught, within};
use crate::keep::{Next, decide, idle_at};
use crate::landing::{Answered, Landed, Order};
use crate::slots::{Shard, Slot};
use crate::source::{Attempt, Blame, Removal, Source};
use crate::stats::Event;
use crate::sync::{sleep, yield_now};
use crate::tasks::Live;
use crate::topic::Topic;
use crate::trouble::Trouble;

use self::outlook::Value;

/// Flies a key: owned by the key's task. However the task ends, its drop releases who waits.
pub(crate) struct Pilot<S: Source> {
    pub(crate) engine: Arc<Engine<S>>,
    pub(crate) key: S::Key,
    topic: Arc<Topic<S::Value, S::Error>>,
    /// Its task has run, so that it may have panicked.
    flying: bool,
    /// The slot is gone, or is another pilot's by now.
    done: bool,
    /// Whether this pilot is among those counted as connected or failing.
    counted: Counted,
    /// When a fetch last succeeded: what it brought may have been old by then.
    landed_at: Time,
    /// The source refused to resume its stream: a list comes first, at this moment.
    pub(crate) relist_at: Option<Time>,
    /// How often in a row it did that.
    pub(crate) refusals: u32,
    /// How often in a row its stream did not open in time.
    pub(crate) lates: u32,
    /// When it was asked for the last time that it did not.
    late_since: Time,
    /// When it may be opened again after that.
    reopen_at: Time,
    /// What it does is the probe of an upstream that is down.
    probes: bool,
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
    /// How often the upstream had gone down or come back.
    turned: u64,
    until: Time,
}

/// Starts the pilot of a slot that was just made. The shard must not be locked: a runtime that is
/// shutting down drops the task here and now, and with it the pilot.
pub(crate) fn start<S: Source>(
    engine: &Arc<Engine<S>>,
    key: S::Key,
    topic: Arc<Topic<S::Value, S::Error>>,
    live: Live,
) {
    let pilot = Pilot {
        engine: Arc::clone(engine),
        key,
        topic,
        flying: false,
        done: false,
        counted: Counted::Neither,
        landed_at: Time::ZERO,
        relist_at: None,
        refusals: 0,
        lates: 0,
        late_since: Time::ZERO,
        reopen_at: Time::ZERO,
        probes: false,
    };
    engine.tasks.run(live, pilot.fly());
}

impl<S: Source> Pilot<S> {
    async fn fly(mut self) {
        self.flying = true;
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
            };
            // A source that answers at once must not keep a thread to itself.
            if !matches!(step, Step::Rest(_) | Step::Land) {
                yield_now().await;
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
        // Before anything is looked at: what changes after this wakes the pilot.
        let look = self.look(Time::MAX);
        let Some(slot) = shard.get_mut(&self.key).filter(|_| !engine.tasks.is_closing()) else {
            return self.retire(shard, aftermath);
        };
        if slot.rounds.is_under_way() {
            // A batch has this key; it raises the beacon when it lands.
            return Step::Rest(look);
        }
        if !slot.rounds.is_asked() && !self.may_stay(slot) {
            // The most frequent end, without another look at anything.
            return self.retire(shard, aftermath);
        }
        let now = engine.clock.now();
        let value = Value::of(&engine, &self.key, slot);
        // The last holder may be this one by the time that it is dropped.
        aftermath.hold(value.stored.clone());
        aftermath.hold(value.previous.clone());
        let trouble = engine.trouble(&self.key);
        self.take_place(slot);
        let situation = self.situation(slot, &value, trouble.as_ref(), now);
        let look = Look { until: idle_at(&situation), ..look };
        let next = decide(&situation, now);
        if next.asks() && engine.upstream.enter(now).is_err() {
            // Another key's fetch has just become the probe.
            return self.plan_in(shard, aftermath);
        }
        self.probes = next.asks() && engine.upstream.is_down();
        self.count(slot, trouble.as_ref(), next == Next::Park);
        let previous = value.previous;
        match next {
            Next::Fetch => {
                self.relist_at = None;
                let order = self.begin(slot, previous, now, false);
                let max_age = slot.rounds.max_age().min(situation.greatest_age());
                Step::Fetch { order, max_age, look }
            }
            Next::Park => {
                if let Some(entry) = &previous
                    && engine.vouches_while_waiting
                {
                    entry.connect();
                }
                let order = self.begin(slot, previous, now, true);
                Step::Fetch { order, max_age: Duration::MAX, look }
            }
            Next::Watch => Step::Watch { order: self.begin(slot, previous, now, true), look },
            Next::Rest(until) => Step::Rest(Look { until: self.spread(until, &situation), ..look }),
            Next::Refuse => {
                slot.seat = None;
                slot.rounds.end().for_each(|round| aftermath.tell(round, &Err(Error::Down)));
                aftermath.posted(slot.topic.post_error(&Error::Down));
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
        now: Time,
        parked: bool,
    ) -> Order<S::Value> {
        slot.rounds.begin(parked);
        self.engine.count_pace(&self.key, previous.as_ref(), now);
        let unanswered_since = (!parked).then_some(now);
        Order { previous, began_at: now, parked, unanswered_since }
    }

    /// A pilot that may stay needs one of the places for keepers.
    fn take_place(&self, slot: &mut Slot<S>) {
        if slot.keeper.is_none() && self.may_stay(slot) {
            slot.keeper = self.engine.crowds.keepers.take();
        }
    }

    fn retire(&mut self, shard: &mut Shard<S>, aftermath: &mut Aftermath<S>) -> Step<S::Value> {
        self.done = true;
        self.set_counted(Counted::Neither);
        self.disconnect(aftermath);
        self.engine.end_slot(shard, &self.key, &Error::Closed, aftermath);
        Step::Land
    }

    /// Nobody keeps the entry fresh from now on: it begins to age.
    fn disconnect(&self, aftermath: &mut Aftermath<S>) {
        let engine = &*self.engine;
        // An evicted value is still with its subscribers.
        let entry = engine.store.peek(&self.key).or_else(|| self.topic.entry());
        if engine.options.refresh.connects()
            && let Some(entry) = entry
        {
            entry.disconnect(engine.clock.now(), engine.options.ttl);
            aftermath.hold(Some(entry));
        }
    }

    fn look(&self, until: Time) -> Look {
        let (seen, turned) = (self.topic.beacon.version(), self.engine.upstream.turned().version());
        Look { seen, turned, until }
    }

    /// Waits until there is reason to look again.
    async fn rest(&self, look: Look) {
        let engine = &*self.engine;
        // Cancel-safe: all four take nothing.
        tokio::select! {
            biased;
            () = engine.tasks.closing() => {}
            () = self.topic.beacon.past(look.seen) => {}
            () = engine.upstream.turned().past(look.turned) => {}
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
        if !order.parked {
            let answered = self.ask(&order, max_age).await;
            return self.land(answered, &order);
        }
        match Box::pin(self.ask_parked(&order, look)).await {
            Some(answered) => self.land(answered, &order),
            None => self.cut(),
        }
    }

    /// Fetches, for those who wait or because the value is too old.
    async fn ask(&self, order: &Order<S::Value>, max_age: Duration) -> Answered<S> {
        let attempt = self.engine.attempt(order, max_age);
        let time_allowed = attempt.time_allowed;
        // Cancel-safe: the losing arm is dropped, which is what closing means. The fetch comes first:
        // one that answers at once costs no registration anywhere.
        tokio::select! {
            biased;
            answered = within(time_allowed, caught(self.inquire(order, attempt))) => {
                assembled::<S>(answered, time_allowed)
            }
            () = self.engine.tasks.closing() => Err((Error::Closed, Blame::Entry)),
        }
    }

    /// Fetches, waiting at the source for news; `None` if that is not wanted any more. Boxed, so that a
    /// pilot that never parks needs no room for it.
    async fn ask_parked(&self, order: &Order<S::Value>, mut look: Look) -> Option<Answered<S>> {
        let attempt = self.engine.attempt(order, Duration::MAX);
        let time_allowed = attempt.time_allowed;
        let mut fetch = Box::pin(within(time_allowed, caught(self.inquire(order, attempt))));
        loop {
            // Cancel-safe: `fetch` is pinned outside and lives on when the other arm wins, which takes
            // nothing. A fetch that is dropped at the end is what closing and cutting mean.
            tokio::select! {
                biased;
                answered = &mut fetch => return Some(assembled::<S>(answered, time_allowed)),
                () = self.disturbance(look) => {}
            }
            if self.engine.tasks.is_closing() {
                return Some(Err((Error::Closed, Blame::Entry)));
            }
            look = self.is_still_wanted()?;
        }
    }

    async fn inquire(&self, order: &Order<S::Value>, attempt: Attempt<S::Value>) -> Answered<S> {
        let engine = &*self.engine;
        match engine.source.fetch(&self.key, attempt).await {
            Ok(fetched) => Ok(engine.assess(&self.key, fetched, order.previous.as_ref())),
            Err(error) => Err(engine.failure(error)),
        }
    }

    /// Whether a parked fetch is still what this key needs; then, when to look again.
    pub(crate) fn is_still_wanted(&self) -> Option<Look> {
        let engine = &*self.engine;
        let look = self.look(Time::MAX);
        // Declared before the guard, so dropped after it: it may be the last holder by then.
        let value;
        let mut shard = engine.slots.shard(&self.key);
        let slot = shard.get_mut(&self.key).filter(|slot| !slot.rounds.is_to_be_cut())?;
        let now = engine.clock.now();
        value = Value::of(engine, &self.key, slot);
        let situation = self.situation(slot, &value, None, now);
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
            let now = engine.clock.now();
            if engine.land(&self.key, slot, answered, order, now, &mut aftermath) != Landed::Dropped
            {
                self.landed_at = now;
            }
            slot.free_seat();
        }
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
            slot.rounds.abandon();
        }
        if std::mem::take(&mut self.probes) {
            // Whoever asks gets the turn of what they cut. Or else readers who ask while a stream opens
            // would end each probe, be refused for its sake, and never see the upstream come back.
            engine.upstream.leave(engine.clock.now());
        }
        self.disconnect(&mut aftermath);
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

    /// The stream did not open in time. That is no failure of the key: a fetch may go through all the same.
    pub(crate) fn note_late(&mut self, asked_at: Time) {
        let (engine, allowed) = (Arc::clone(&self.engine), self.engine.options.fetch_timeout);
        engine.counters.count(Event::TimedOut);
        // A probe that came to nothing has had its turn.
        self.probes = false;
        let now = engine.clock.now();
        self.lates = self.lates.saturating_add(1);
        self.late_since = asked_at;
        let dice = u32::try_from(engine.throw_dice(&self.key, now.as_millis()) >> 32);
        let wait = engine.options.backoff.wait(self.lates, dice.unwrap_or(u32::MAX));
        self.reopen_at = now.after(wait.max(engine.options.error_ttl));
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&self.key);
        if let Some(slot) = shard.get_mut(&self.key).filter(|_| !engine.tasks.is_closing()) {
            aftermath.posted(slot.topic.post_error(&Error::TimedOut(allowed)));
        }
        drop(shard);
        aftermath.settle(&engine);
    }

    /// Counts this keeper as what it is about to be. A stream counts as connected once it has spoken.
    fn count(&mut self, slot: &Slot<S>, trouble: Option<&Trouble<S::Error>>, parks: bool) {
        let counted = match trouble.and_then(Trouble::failing) {
            _ if slot.keeper.is_none() => Counted::Neither,
            Some(_) => Counted::Failing,
            None if parks => Counted::Connected,
            None => Counted::Neither,
        };
        self.set_counted(counted);
    }

    pub(crate) fn set_counted(&mut self, counted: Counted) {
        self.engine.crowds.counted.change(&mut self.counted, counted);
    }
}

impl<S: Source> Drop for Pilot<S> {
    fn drop(&mut self) {
        self.set_counted(Counted::Neither);
        if self.done {
            return;
        }
        // The runtime dropped the task, or dropping the source's future panicked.
        // In a thread that unwinds and takes the runtime along, the successor is dropped right away,
        // and must not have one as well, and so on.
        let panicked = self.flying && std::thread::panicking();
        let error = if panicked { Error::Panicked } else { Error::Closed };
        let engine = Arc::clone(&self.engine);
        let mut aftermath = Aftermath::new();
        let mut shard = engine.slots.shard(&self.key);
        self.disconnect(&mut aftermath);
        let subscribed = shard
            .get_mut(&self.key)
            .filter(|slot| panicked && slot.topic.is_interesting() && !engine.tasks.is_closing());
        let successor = if let Some(slot) = subscribed {
            // Those who wait get the panic; those who are subscribed get another pilot.
            let answered = Err((error, Blame::Entry));
            let now = engine.clock.now();
            let order =
                Order { previous: None, began_at: now, parked: false, unanswered_since: None };
            engine.land(&self.key, slot, answered, &order, now, &mut aftermath);
            slot.free_seat();
            Some((Arc::clone(&slot.topic), engine.tasks.reserve()))
        } else {
            aftermath.end_slot(&mut shard, &self.key, &error);
            None
        };
        drop(shard);
        aftermath.settle(&engine);
        if let Some((topic, live)) = successor {
            start(&engine, self.key.clone(), topic, live);
        }
    }
}

/// What a fetch came to.
fn assembled<S: Source>(
    answered: Option<Result<Answered<S>, Panicked>>,
    time_allowed: Duration,
) -> Answered<S> {
    match answered {
        Some(Ok(answered)) => answered,
        Some(Err(Panicked)) => Err((Error::Panicked, Blame::Entry)),
        None => Err((Error::TimedOut(time_allowed), Blame::Upstream)),
    }
}
