//! What becomes of a source's answer: it is stored, posted, remembered, or dropped because the key has
//! moved on.

use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::engine::{Arrival, Engine, Outcome};
use crate::entry::{Entry, Freshness};
use crate::error::Error;
use crate::keep::Refresh;
use crate::slots::Slot;
use crate::source::{Attempt, Blame, Fetched, Fresh, Previous, Removal, Source};
use crate::standing::Turn;
use crate::stats::Event;
use crate::trouble::{Failing, Trouble};
use crate::upstream::spread;

/// A source's answer to one fetch, with what only the source could tell about it. It is all asked
/// before a lock is taken: a source's code is foreign code.
pub(crate) struct Answer<V> {
    pub(crate) fetched: Fetched<V>,
    pub(crate) weight: u64,
    /// How old that is which it says.
    pub(crate) age: Duration,
    /// It came without an index where one is needed.
    pub(crate) uncounted: bool,
}

/// An answer, or a failure and whom to blame for it.
pub(crate) type Answered<S> =
    Result<Answer<<S as Source>::Value>, (Error<<S as Source>::Error>, Blame)>;

/// A fetch that has begun.
pub(crate) struct Order<V> {
    pub(crate) previous: Option<Entry<V>>,
    pub(crate) began_at: Time,
    /// It waits at the source for news.
    pub(crate) parked: bool,
    /// Since when the source owes the first word; none once it has spoken, or need not soon. What it then
    /// fails to say, it failed to say at that time.
    pub(crate) unanswered_since: Option<Time>,
}

/// What is known when an answer lands.
#[derive(Debug, Clone, Copy)]
struct Landing {
    now: Time,
    /// The answer is wanted, and nobody has put or invalidated the key since the fetch began.
    current: bool,
    /// The key is in the store.
    stored: bool,
}

/// What has become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landed {
    /// The key has the value that the answer brought, or none, as it said.
    Changed,
    /// The key has its previous value, and the source says that it holds.
    Unchanged,
    /// The answer changed nothing: it was an error, or somebody has overtaken it.
    Dropped,
}

impl<S: Source> Engine<S> {
    /// Weighs an answer and compares it with the previous value: one that says the same becomes "not
    /// modified".
    pub(crate) fn assess(
        &self,
        key: &S::Key,
        mut fetched: Fetched<S::Value>,
        previous: Option<&Entry<S::Value>>,
    ) -> Answer<S::Value> {
        let Fetched::Fresh(fresh) = &mut fetched else {
            return Answer { fetched, weight: 0, age: Duration::ZERO, uncounted: false };
        };
        let blocking = matches!(self.options.refresh, Refresh::Blocking { .. });
        let uncounted = blocking && fresh.index == 0;
        if uncounted {
            // Consul stores it as 1, too: asking past 0 would not block.
            fresh.index = 1;
        }
        let age = fresh.age;
        if previous.is_some_and(|before| self.says_the_same(before, fresh, uncounted)) {
            let fetched = Fetched::NotModified { ttl: fresh.ttl };
            return Answer { fetched, weight: 0, age, uncounted };
        }
        let weight = self.source.weigh(key, &fresh.value);
        Answer { fetched, weight, age, uncounted }
    }

    fn says_the_same(
        &self,
        before: &Entry<S::Value>,
        fresh: &Fresh<S::Value>,
        uncounted: bool,
    ) -> bool {
        // A new index with an equal value is still news for those who wait for the index.
        // So is that it will not change any more. What is not kept says nothing of what is.
        if !fresh.kept {
            return false;
        }
        if fresh.index != before.source_index() || fresh.terminal != before.standing().is_terminal()
        {
            return false;
        }
        let blocking = matches!(self.options.refresh, Refresh::Blocking { .. });
        (blocking && !uncounted) || self.source.is_same(before.value(), &fresh.value)
    }

    /// Whom to blame for an error of the source.
    pub(crate) fn failure(&self, error: S::Error) -> (Error<S::Error>, Blame) {
        let blame = self.source.blame(&error);
        (Error::Source(Arc::new(error)), blame)
    }

    /// Publishes an answer that lands at `now`, and ends its round. Those who wait for the next round
    /// wait on, unless the source failed and must be left alone: then they get the same error. The shard
    /// is locked.
    pub(crate) fn land(
        &self,
        key: &S::Key,
        slot: &mut Slot<S>,
        answered: Answered<S>,
        order: &Order<S::Value>,
        now: Time,
        aftermath: &mut Aftermath<S>,
    ) -> Landed {
        let stored = order.previous.as_ref().is_some_and(|previous| {
            // What a batch flies is in the store unless it says otherwise, which spares a look at that.
            previous.standing().turn() == Turn::Flying || self.store.contains(key)
        });
        let wanted = stored || is_wanted(slot, order);
        let current = slot.rounds.is_current() && !self.tasks.is_closing() && wanted;
        let landing = Landing { now, current, stored };
        let (outcome, leave_alone) = match answered {
            Ok(answer) => self.settle(key, slot, answer, order, landing, aftermath),
            Err((error, blame)) => {
                let leave_alone = self.fail(key, slot, &error, blame, order, landing, aftermath);
                (Err(error), leave_alone)
            }
        };
        if leave_alone {
            // Those who wait for the next round would have it bypass the back-off.
            slot.rounds.end().for_each(|round| aftermath.tell(round, &outcome));
        } else if let Some(round) = slot.rounds.land() {
            aftermath.tell(round, &outcome);
        }
        let landed = match &outcome {
            _ if !current => Landed::Dropped,
            Ok(arrival)
                if order
                    .previous
                    .as_ref()
                    .is_some_and(|old| Entry::ptr_eq(old, &arrival.entry)) =>
            {
                Landed::Unchanged
            }
            Ok(_) | Err(Error::Absent) => Landed::Changed,
            Err(_) => Landed::Dropped,
        };
        if landed != Landed::Unchanged {
            // Nobody may have waited, and nobody may have stored it.
            aftermath.hold(outcome.ok().map(|arrival| arrival.entry));
        }
        landed
    }

    /// Turns an answer into an outcome; stores it if it is current. Says also whether the source must be
    /// left alone.
    fn settle(
        &self,
        key: &S::Key,
        slot: &Slot<S>,
        answer: Answer<S::Value>,
        order: &Order<S::Value>,
        landing: Landing,
        aftermath: &mut Aftermath<S>,
    ) -> (Outcome<S>, bool) {
        let Answer { fetched, weight, age, uncounted } = answer;
        let Landing { now, current, .. } = landing;
        let outcome = match (fetched, &order.previous) {
            (Fetched::NotModified { .. }, None) => {
                let error = Error::NothingToConfirm;
                let leave_alone =
                    self.fail(key, slot, &error, Blame::Entry, order, landing, aftermath);
                return (Err(error), leave_alone);
            }
            (Fetched::NotModified { ttl }, Some(entry)) => {
                // A value that was put may have no index: what says that it still holds would say so for
                // ever.
                let blocking = matches!(self.options.refresh, Refresh::Blocking { .. });
                let uncounted = uncounted || (blocking && entry.source_index() == 0);
                self.succeed(key, uncounted, current, now, aftermath);
                let freshness = Freshness::new(now, age, self.ttl(ttl));
                self.vouch(key, slot, entry, freshness, landing, aftermath);
                Ok(Arrival { entry: Entry::clone(entry), at: now })
            }
            (Fetched::Fresh(fresh), _) => {
                self.succeed(key, uncounted, current, now, aftermath);
                Ok(self.settle_fresh(key, slot, fresh, weight, landing, aftermath))
            }
            (Fetched::Absent { remember_for }, _) => {
                self.succeed(key, false, current, now, aftermath);
                self.settle_absent(key, slot, remember_for, current, aftermath)
            }
        };
        (outcome, false)
    }

    fn settle_absent(
        &self,
        key: &S::Key,
        slot: &Slot<S>,
        remember_for: Option<Duration>,
        current: bool,
        aftermath: &mut Aftermath<S>,
    ) -> Outcome<S> {
        self.counters.count(Event::Absent);
        if current {
            self.become_absent(key, Some(slot), remember_for, aftermath);
        }
        Err(Error::Absent)
    }

    fn settle_fresh(
        &self,
        key: &S::Key,
        slot: &Slot<S>,
        fresh: Fresh<S::Value>,
        weight: u64,
        landing: Landing,
        aftermath: &mut Aftermath<S>,
    ) -> Arrival<S::Value> {
        self.counters.count(Event::Fetched);
        let at = landing.now;
        if !landing.current {
            // An outdated answer follows nothing: it must not look newer than what overtook it.
            return Arrival { entry: self.entry(fresh, weight, None, None, at), at };
        }
        let previous = self.previous(key, Some(slot));
        let kept = fresh.kept;
        let entry = self.entry(fresh, weight, previous.as_ref(), Some(slot), at);
        aftermath.hold(previous);
        if !kept {
            // Those who are subscribed have it, and those who wait; the store has neither it nor the one before.
            if let Some((key, old)) = self.store.remove(key) {
                aftermath.removed(key, old, Removal::Replaced);
            }
            slot.topic.note_index(entry.index());
            aftermath.posted(slot.topic.post_value(&entry));
            return Arrival { entry, at };
        }
        self.publish(key, Some(slot), &entry, aftermath);
        Arrival { entry, at }
    }

    /// The source says that the value still holds.
    fn vouch(
        &self,
        key: &S::Key,
        slot: &Slot<S>,
        entry: &Entry<S::Value>,
        freshness: Freshness,
        landing: Landing,
        aftermath: &mut Aftermath<S>,
    ) {
        self.counters.count(Event::Unmodified);
        // What a publisher has connected stays so.
        if !entry.is_connected() || self.options.refresh.connects() {
            entry.vouch(freshness);
        }
        if landing.current {
            aftermath.posted(slot.topic.post_vouched(entry));
            // It may have been evicted while the source was asked.
            if landing.stored {
                self.enlist(key, Some(slot), aftermath);
            } else {
                // Its row may have come up meanwhile, and a batch that it was in may have landed: it comes
                // back as a new one.
                if entry.standing().come_back() {
                    self.strike();
                }
                self.admit(key, Some(slot), entry, aftermath);
            }
        }
    }

    /// A row of the schedule counts no more.
    pub(crate) fn strike(&self) {
        if let Some(enlist) = &self.enlist {
            enlist.0.schedule().strike();
        }
    }

    /// The source has answered; `uncounted` if without an index where one is needed, which is no failure
    /// of the value, but one of the blocking: it backs off.
    pub(crate) fn succeed(
        &self,
        key: &S::Key,
        uncounted: bool,
        current: bool,
        now: Time,
        aftermath: &mut Aftermath<S>,
    ) {
        aftermath.wake(self.upstream.succeeded(now));
        if uncounted {
            self.remember_failure(key, Error::NoIndex, Blame::Entry, now, now, aftermath);
        } else {
            // What was said about the key after an outdated fetch began stands.
            let over = |trouble: &Trouble<S::Error>| current || !trouble.is_absent();
            aftermath.forgotten(self.troubles.remove_if(key, over));
        }
    }

    /// A fetch has failed. Says whether the source must be left alone for now.
    #[expect(clippy::too_many_arguments, reason = "it is one step of a landing")]
    fn fail(
        &self,
        key: &S::Key,
        slot: &Slot<S>,
        error: &Error<S::Error>,
        blame: Blame,
        order: &Order<S::Value>,
        landing: Landing,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        self.count_failure(error, blame);
        if matches!(error, Error::Closed) {
            return true;
        }
        let Landing { now, current, .. } = landing;
        let asked_at = order.unanswered_since.unwrap_or(now);
        if blame == Blame::Upstream {
            aftermath.wake(self.upstream.failed(asked_at, now));
        } else if matches!(error, Error::Source(_)) {
            // It has something against this key, so it is there.
            aftermath.wake(self.upstream.succeeded(now));
        }
        if let Some(entry) = order.previous.as_ref().filter(|_| self.options.refresh.connects()) {
            // A fetch that was never heard of again may have lost contact as soon as it began.
            let silent = matches!(error, Error::TimedOut(_) | Error::Stream(_));
            let since = if silent { order.began_at } else { now };
            entry.disconnect(since, self.options.ttl);
        }
        // What was said about the key after an outdated fetch began stands.
        let overtaken = !current && self.trouble(key).is_some_and(|trouble| trouble.is_absent());
        let leave_alone = !overtaken
            && self.remember_failure(key, error.clone(), blame, asked_at, now, aftermath);
        if current {
            aftermath.posted(slot.topic.post_error(error));
        }
        leave_alone
    }

    fn count_failure(&self, error: &Error<S::Error>, blame: Blame) {
        let event = match error {
            Error::Closed => return,
            Error::TimedOut(_) => Event::TimedOut,
            Error::Panicked => Event::Panicked,
            _ => Event::Failed,
        };
        self.counters.count(event);
        if blame == Blame::Refusal {
            self.counters.count(Event::Refusal);
        }
    }

    /// Remembers one more failure, of what was asked at `asked_at`; says whether the key is to be left
    /// alone for a while.
    fn remember_failure(
        &self,
        key: &S::Key,
        error: Error<S::Error>,
        blame: Blame,
        asked_at: Time,
        now: Time,
        aftermath: &mut Aftermath<S>,
    ) -> bool {
        let trouble = self.trouble(key);
        let recovered_at = self.upstream.recovered_at();
        let failing = trouble.as_ref().and_then(Trouble::failing);
        let before = failing.filter(|row| !row.is_over(recovered_at)).map_or(0, |row| row.failures);
        let failures = before.saturating_add(1);
        let dice = self.throw_dice(key, now.as_millis() ^ u64::from(failures));
        let wait = if blame == Blame::Refusal {
            self.options.backoff.cap
        } else {
            let random = u32::try_from(dice >> 32).unwrap_or(u32::MAX);
            self.options.backoff.wait(failures, random).max(self.options.error_ttl)
        };
        let failing = Failing {
            failures,
            failed_at: asked_at,
            retry_at: now.after(wait),
            jitter: spread(dice),
            blame,
            error,
        };
        self.set_trouble(key, Trouble::Failing(failing), aftermath);
        !wait.is_zero()
    }

    /// What the source is told.
    pub(crate) fn attempt(&self, order: &Order<S::Value>, max_age: Duration) -> Attempt<S::Value> {
        let wait = match (self.options.refresh, &order.previous) {
            (Refresh::Blocking { wait }, Some(previous)) if order.parked => {
                Some(crate::source::Wait { past: previous.source_index(), at_most: wait })
            }
            _ => None,
        };
        // A source may take a sixteenth longer, as Consul's servers do to spread those who wait.
        let slack =
            wait.map_or(Duration::ZERO, |wait| wait.at_most.saturating_add(wait.at_most / 16));
        let time_allowed = self.options.fetch_timeout.saturating_add(slack);
        let previous = order.previous.clone().map(Previous::Entry);
        Attempt { previous, max_age, wait, time_allowed }
    }
}

/// Whether what a fetch brings may be kept, although its key is not in the store. One that nobody asked
/// for, of an entry that has left meanwhile, does not bring it back.
fn is_wanted<S: Source>(slot: &Slot<S>, order: &Order<S::Value>) -> bool {
    order.previous.is_none() || slot.rounds.is_joined() || slot.topic.is_interesting()
}
