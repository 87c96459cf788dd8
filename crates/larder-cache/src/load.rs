//! A flight's task: ask the source, within its time, and publish what it says.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::engine::{Arrival, Engine, Outcome};
use crate::entry::{Freshness, Versioned};
use crate::error::Error;
use crate::source::{Attempt, Fetched, Source};
use crate::stats::Event;

/// Flies a key: owned by the flight's task. However the task ends, its drop releases who waits.
pub(crate) struct Pilot<S: Source> {
    engine: Arc<Engine<S>>,
    key: S::Key,
    /// The last round has landed: the side table may hold another flight for the key by now.
    done: bool,
    /// Given back last: whoever waits for all seats waits for all of the above.
    _seat: OwnedSemaphorePermit,
}

/// What the source said, weighed.
struct Answer<V> {
    fetched: Fetched<V>,
    weight: u64,
}

type Previous<S> = Option<Arc<Versioned<<S as Source>::Value>>>;
type Answered<S> = Result<Answer<<S as Source>::Value>, Error<<S as Source>::Error>>;

/// Starts the flight of a round that was just made. The shard must not be locked: a runtime that is
/// shutting down drops the task here and now, and with it the pilot.
pub(crate) fn start<S: Source>(
    engine: &Arc<Engine<S>>,
    key: &S::Key,
    max_age: Duration,
    seat: OwnedSemaphorePermit,
) {
    let pilot = Pilot { engine: Arc::clone(engine), key: key.clone(), done: false, _seat: seat };
    engine.runtime.spawn(pilot.fly(max_age));
}

impl<S: Source> Pilot<S> {
    async fn fly(mut self, mut max_age: Duration) {
        loop {
            let previous = self.engine.store.get(&self.key);
            let answered = self.fetch(previous.clone(), max_age).await;
            match self.land(answered, previous) {
                Some(next) => max_age = next,
                None => break,
            }
        }
    }

    async fn fetch(&self, previous: Previous<S>, max_age: Duration) -> Answered<S> {
        let time_allowed = self.engine.options.fetch_timeout;
        let asked = tokio::time::timeout(time_allowed, self.ask(previous, max_age, time_allowed));
        // Cancel-safe: the losing arm is not looked at again. `closing` takes nothing, and a fetch
        // that is dropped is what closing and timing out mean.
        tokio::select! {
            biased;
            () = self.engine.flights.closing() => Err(Error::Closed),
            answer = asked => answer.unwrap_or(Err(Error::TimedOut(time_allowed))),
        }
    }

    async fn ask(
        &self,
        previous: Previous<S>,
        max_age: Duration,
        time_allowed: Duration,
    ) -> Answered<S> {
        let (source, key) = (&self.engine.source, &self.key);
        let fetch = async {
            let attempt = Attempt { previous, max_age, time_allowed };
            let fetched = source.fetch(key, attempt).await?;
            let weight = match &fetched {
                Fetched::Fresh(fresh) => source.weigh(key, &fresh.value),
                Fetched::NotModified { .. } | Fetched::Absent { .. } => 0,
            };
            Ok(Answer { fetched, weight })
        };
        match caught(fetch).await {
            Some(answered) => answered.map_err(|error| Error::Source(Arc::new(error))),
            None => Err(Error::Panicked),
        }
    }

    /// Publishes the answer and ends the round; `Some` if the flight must go on, with the age that
    /// its next round asks for.
    fn land(&mut self, answered: Answered<S>, previous: Previous<S>) -> Option<Duration> {
        let engine = &*self.engine;
        let mut shard = engine.flights.shard(&self.key);
        let current = !shard.is_outdated(&self.key) && !engine.flights.is_closing();
        let outcome = self.settle(answered, previous, current);
        if let Err(error) = &outcome
            && !self.may_ask_again(error)
        {
            // Those who wait for the next round would have it bypass the back-off.
            let rounds = shard.end(&self.key);
            self.done = true;
            drop(shard);
            rounds.for_each(|round| round.tell(outcome.clone()));
            return None;
        }
        let landed = shard.land(&self.key)?;
        self.done = landed.goes_on.is_none();
        drop(shard);
        landed.round.tell(outcome);
        landed.goes_on
    }

    /// Whether the next round may begin after this error. Remembers the failure.
    fn may_ask_again(&self, error: &Error<S::Error>) -> bool {
        match error {
            Error::Absent => true,
            Error::Closed => false,
            failure => self.engine.remember_failure(&self.key, failure.clone()),
        }
    }

    /// Turns an answer into an outcome; stores it if it is `current`, that is, if nobody has put or
    /// invalidated the key since the fetch began.
    fn settle(&self, answered: Answered<S>, previous: Previous<S>, current: bool) -> Outcome<S> {
        let (engine, key) = (&*self.engine, &self.key);
        let count = |event| engine.counters.count(event);
        let answer = answered.inspect_err(|error| count_failure(error, count))?;
        let at = engine.clock.now();
        match (answer.fetched, previous) {
            (Fetched::Fresh(fresh), _) => {
                count(Event::Fetched);
                let entry = engine.entry(fresh, answer.weight, at);
                self.keep(&entry, current);
                Ok(Arrival { entry, at })
            }
            (Fetched::NotModified { ttl }, Some(entry)) => {
                count(Event::Unmodified);
                entry.vouch(Freshness::new(at, Duration::ZERO, engine.ttl(ttl)));
                // It may have been evicted while the source was asked.
                self.keep(&entry, current && !engine.store.contains(key));
                Ok(Arrival { entry, at })
            }
            (Fetched::NotModified { .. }, None) => {
                count(Event::Failed);
                Err(Error::NothingToConfirm)
            }
            (Fetched::Absent { remember_for }, _) => {
                count(Event::Absent);
                if current {
                    engine.remember_absent(key, remember_for, at);
                }
                Err(Error::Absent)
            }
        }
    }

    fn keep(&self, entry: &Arc<Versioned<S::Value>>, store: bool) {
        self.engine.troubles.remove(&self.key);
        if store {
            self.engine.publish(&self.key, entry);
        }
    }
}

impl<S: Source> Drop for Pilot<S> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The runtime dropped the task, or dropping the source's future panicked.
        let error = if std::thread::panicking() { Error::Panicked } else { Error::Closed };
        let rounds = self.engine.flights.shard(&self.key).end(&self.key);
        rounds.for_each(|round| round.tell(Err(error.clone())));
    }
}

fn count_failure<E>(error: &Error<E>, count: impl Fn(Event)) {
    match error {
        Error::TimedOut(_) => count(Event::TimedOut),
        Error::Panicked => count(Event::Panicked),
        Error::Closed => {}
        _ => count(Event::Failed),
    }
}

/// Polls `future`; `None` if it panicked, after which it is not polled again.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
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
