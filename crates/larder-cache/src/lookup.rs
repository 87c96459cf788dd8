//! The long way of a request that found nothing fresh: join a fetch, wait for an index, endure a failure.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Answer, Cache};
use crate::clock::Time;
use crate::crowd::Place;
use crate::engine::{Arrival, Outcome};
use crate::entry::{Entry, Verdict, Versioned, judge};
use crate::error::{Crowd, Error};
use crate::get::Miss;
use crate::guarded::within;
use crate::pilot;
use crate::reply::{Origin, Reason, Reply};
use crate::request::{Newer, Request};
use crate::rounds::Round;
use crate::slots::Slot;
use crate::source::Source;
use crate::stats::Event;
use crate::subscription::Interest;
use crate::topic::News;

/// Where a request that found nothing fresh goes on.
enum Way<S: Source> {
    /// The value has arrived meanwhile.
    Arrived(Reply<S::Value>),
    /// Wait for this round.
    Wait(Arc<Round<Outcome<S>>>),
}

/// What a parked caller waits with.
struct Held<S: Source> {
    /// It began to wait with a value that is young enough for its request.
    young: bool,
    interest: Option<Interest<S>>,
}

fn is_fresh<V>(entry: &Versioned<V>, request: &Request, now: Time) -> bool {
    judge(entry.freshness(), request, Duration::ZERO, now) == Verdict::Fresh
}

impl<S: Source> Cache<S> {
    /// Boxed and out of line, so that the future of a hit stays small.
    #[cold]
    #[inline(never)]
    pub(crate) fn miss(&self, key: &S::Key, request: Request) -> Miss<'_, S> {
        self.engine.counters.count(Event::Miss);
        let key = key.clone();
        let parks = self.engine.options.refresh.can_park();
        Box::pin(async move {
            let answer = match request.timeout {
                // Cancel-safe: a caller's wait holds nothing but a place among the waiters.
                Some(patience) => within(patience, self.find(&key, &request, parks))
                    .await
                    .unwrap_or(Err(Error::Impatient(patience))),
                None => self.find(&key, &request, parks).await,
            };
            let answer = answer.or_else(|error| self.endure(&key, &request, error));
            if answer.as_ref().is_ok_and(|reply| reply.error().is_some()) {
                self.engine.counters.count(Event::Stale);
            }
            answer
        })
    }

    async fn find(&self, key: &S::Key, request: &Request, parks: bool) -> Answer<S> {
        match request.newer {
            Some(newer) if parks => {
                let mut held = Held { young: false, interest: None };
                // Cancel-safe: parking holds nothing but an interest and a place.
                match within(newer.wait, self.park(key, request, newer, &mut held)).await {
                    Some(answer) => answer,
                    None => self.unchanged(key, request, newer.wait, &held),
                }
            }
            _ => self.load(key, request).await,
        }
    }

    /// Waits for a value from the source that is young enough for the request.
    async fn load(&self, key: &S::Key, request: &Request) -> Answer<S> {
        let (reply, age_on_arrival) = self.wait(key, request, false).await?;
        if age_on_arrival <= request.greatest_age() {
            return Ok(reply);
        }
        // The fetch was started by a caller who minded less, and the source is itself a cache. The
        // second one is asked for this caller's bound; what it brings is the best there is.
        self.wait(key, request, true).await.map(|(reply, _)| reply)
    }

    /// A reply, and how old the value was when it arrived: the time that the caller took to wake up
    /// is not the source's.
    async fn wait(
        &self,
        key: &S::Key,
        request: &Request,
        strict: bool,
    ) -> Result<(Reply<S::Value>, Duration), Error<S::Error>> {
        let _chair = self.chair()?;
        match self.join(key, request, strict)? {
            Way::Arrived(reply) => Ok((reply, Duration::ZERO)),
            Way::Wait(round) => {
                let Arrival { entry, at } = round.outcome().await?;
                let age = Duration::from_millis(entry.freshness().age_ms(at));
                // The landing has read the exact time a moment ago.
                let now = self.engine.clock.coarse();
                // It follows a value that may have been read long ago.
                entry.touch(now);
                Ok((Reply::new(entry, now, Origin::Miss), age))
            }
        }
    }

    fn chair(&self) -> Result<Place, Error<S::Error>> {
        self.engine.crowds.waiters.take().ok_or_else(|| self.overloaded(Crowd::Waiters))
    }

    /// Joins the fetch for `key`, and has one started if there is none.
    fn join(
        &self,
        key: &S::Key,
        request: &Request,
        strict: bool,
    ) -> Result<Way<S>, Error<S::Error>> {
        let engine = &self.engine;
        // Declared before the guard, so dropped after it: it may be the last holder by then.
        let entry;
        let mut shard = engine.slots.shard(key);
        if engine.tasks.is_closing() {
            return Err(Error::Closed);
        }
        let now = engine.clock.now();
        // Look again. A caller that found nothing may get here after the flight that it should have
        // joined has landed: without a second look it would start another one.
        entry = engine.store.get(key);
        if let Some(entry) = entry.as_ref().filter(|entry| is_fresh(entry, request, now)) {
            entry.touch(now);
            return Ok(Way::Arrived(Reply::new(Entry::clone(entry), now, Origin::Hit)));
        }
        if let Some(trouble) = engine.troubles.get(key)
            && let Some(error) =
                trouble.answer(request.greatest_age(), engine.upstream.condition(), now)
        {
            engine.counters.count(Event::Negative);
            return Err(error);
        }
        let slot = shard.get_mut(key);
        let keeps = engine.options.refresh.keeps_what_is_read();
        let has_keeper = slot
            .as_ref()
            .is_some_and(|slot| slot.keeper.is_some() && (keeps || slot.topic.is_interesting()));
        if let Some(entry) = &entry
            && engine.has_its_turn_to_come(key, entry, has_keeper, now)
            && self.may_endure(entry, request, now)
        {
            engine.counters.count(Event::Negative);
            return Err(Error::Down);
        }
        let max_age = request.greatest_age();
        let flies = |slot: &&mut Slot<S>| slot.rounds.is_under_way() || slot.rounds.is_asked();
        if !slot.as_ref().is_some_and(flies) && engine.upstream.closed_until(now).is_some() {
            engine.counters.count(Event::Negative);
            return Err(Error::Down);
        }
        let joins = slot.as_ref().is_some_and(|slot| slot.rounds.would_join(max_age, strict));
        let seat = if joins {
            engine.counters.count(Event::Join);
            None
        } else {
            let seat = engine.crowds.flights.take();
            Some(seat.ok_or_else(|| self.overloaded(Crowd::Flights))?)
        };
        let Some(slot) = slot else {
            let mut slot = Slot::new();
            let round = slot.rounds.join(max_age, strict);
            slot.seat = seat;
            let (topic, live) = (Arc::clone(&slot.topic), engine.tasks.reserve());
            shard.insert(key.clone(), slot);
            drop(shard);
            pilot::start(engine, key.clone(), topic, live);
            return Ok(Way::Wait(round));
        };
        let round = slot.rounds.join(max_age, strict);
        slot.seat = seat.or(slot.seat.take());
        let beacon = slot.topic.beacon.raise();
        drop(shard);
        beacon.wake(&engine.tasks);
        Ok(Way::Wait(round))
    }

    /// Waits for a value whose index has passed. While the source fails it waits on, unless there is no
    /// value. Notes in `held` what it waits with.
    async fn park(
        &self,
        key: &S::Key,
        request: &Request,
        newer: Newer,
        held: &mut Held<S>,
    ) -> Answer<S> {
        // A value first: the source may have something newer already, or nothing at all.
        match self.load(key, request).await.or_else(|error| self.endure(key, request, error)) {
            Ok(reply) if reply.index() > newer.min_index => return Ok(reply),
            Ok(reply) => held.young = reply.error().is_none(),
            Err(error) => return Err(error),
        }
        self.engine.counters.count(Event::Parked);
        let _chair = self.chair()?;
        let interest = held.interest.insert(self.interest(key, Duration::MAX, 0)?);
        loop {
            let seen = interest.topic.posted.version();
            if self.engine.tasks.is_closing() || interest.topic.is_closed() {
                return Err(Error::Closed);
            }
            let now = self.engine.clock.now();
            match self.engine.store.peek(key).or_else(|| interest.topic.entry()) {
                Some(entry) if entry.index() > newer.min_index => {
                    return Ok(Reply::new(entry, now, Origin::Miss));
                }
                // While the source fails, a caller with a value waits on; a tier above must know.
                Some(_) if !newer.heeds_errors => {}
                _ => {
                    if let Some(error) = interest.topic.error() {
                        return Err(error);
                    }
                }
            }
            interest.topic.posted.past(seen).await;
        }
    }

    /// The time for waiting is over: the value as it is. If it was young enough when the wait began,
    /// and the source has been well since then, the wait itself is not held against it.
    fn unchanged(
        &self,
        key: &S::Key,
        request: &Request,
        wait: Duration,
        held: &Held<S>,
    ) -> Answer<S> {
        let engine = &*self.engine;
        let now = engine.clock.now();
        // An evicted value is still with those who wait for the next.
        let evicted = || held.interest.as_ref().and_then(|interest| interest.topic.entry());
        let entry = engine.store.get(key).or_else(evicted).ok_or(Error::Impatient(wait))?;
        let error = engine.trouble(key).map(|trouble| trouble.error());
        let lax = request.max_age(Duration::MAX);
        let request = if held.young && error.is_none() { &lax } else { request };
        match judge(entry.freshness(), request, engine.options.stale_if_error, now) {
            Verdict::Fresh => Ok(Reply::new(entry, now, Origin::Unchanged)),
            verdict => {
                let error = error.unwrap_or(Error::Impatient(wait));
                if verdict == Verdict::Expired {
                    return Err(error);
                }
                Ok(Reply::new(entry, now, Origin::Stale(Reason::new(error))))
            }
        }
    }

    /// The last good value with the error beside it, or else the error.
    fn endure(&self, key: &S::Key, request: &Request, error: Error<S::Error>) -> Answer<S> {
        let engine = &*self.engine;
        // An absence is an answer, not a failure; a closed cache has no values.
        if matches!(error, Error::Absent | Error::Closed) {
            return Err(error);
        }
        let Some(entry) = engine.store.get(key) else { return Err(error) };
        let now = engine.clock.now();
        let verdict = judge(entry.freshness(), request, engine.options.stale_if_error, now);
        if verdict != Verdict::Expired {
            // Or else what is read all through a long outage would leave as idle.
            entry.touch(now);
        }
        match verdict {
            Verdict::Fresh => {
                let unchanged = engine.options.refresh.can_park()
                    && request.newer.is_some_and(|newer| entry.index() <= newer.min_index);
                let origin = if unchanged { Origin::Unchanged } else { Origin::Hit };
                Ok(Reply::new(entry, now, origin))
            }
            Verdict::Stale => Ok(Reply::new(entry, now, Origin::Stale(Reason::new(error)))),
            Verdict::Expired => Err(error),
        }
    }

    /// Whether a failure is answered with this value, however old.
    fn may_endure(&self, entry: &Entry<S::Value>, request: &Request, now: Time) -> bool {
        let endure = self.engine.options.stale_if_error;
        judge(entry.freshness(), request, endure, now) != Verdict::Expired
    }

    /// Takes an interest in a key; has its keeper started if there is none.
    pub(crate) fn interest(
        &self,
        key: &S::Key,
        max_age: Duration,
        depth: usize,
    ) -> Result<Interest<S>, Error<S::Error>> {
        let engine = &self.engine;
        let mut shard = engine.slots.shard(key);
        if engine.tasks.is_closing() {
            return Err(Error::Closed);
        }
        let is_new = !shard.contains_key(key);
        if is_new {
            shard.insert(key.clone(), Slot::new());
        }
        let Some(slot) = shard.get_mut(key) else { return Err(Error::Closed) };
        if slot.keeper.is_none() {
            slot.keeper = engine.crowds.keepers.take();
        }
        if slot.keeper.is_none() {
            let unused = is_new.then(|| shard.remove_entry(key));
            drop(shard);
            drop(unused);
            return Err(self.overloaded(Crowd::Keepers));
        }
        let topic = Arc::clone(&slot.topic);
        let seen = topic.enter(max_age, depth, || News {
            entry: engine.store.peek(key),
            error: engine.trouble(key).map(|trouble| trouble.error()),
        });
        let beacon = topic.beacon.raise();
        let live = is_new.then(|| engine.tasks.reserve());
        drop(shard);
        beacon.wake(&engine.tasks);
        let interest =
            Interest { engine: Arc::clone(engine), key: key.clone(), topic, max_age, seen };
        if let Some(live) = live {
            pilot::start(engine, key.clone(), Arc::clone(&interest.topic), live);
        }
        Ok(interest)
    }

    #[cold]
    pub(crate) fn overloaded(&self, crowd: Crowd) -> Error<S::Error> {
        self.engine.counters.count(Event::Overloaded);
        Error::Overloaded(crowd)
    }
}
