//! What waits to be told to one peer.
//!
//! Pure: the time is an argument. Every operation costs the same however much waits, but for taking a
//! batch, which costs as much as it takes. Nothing is ever looked for in the line: a task's place follows
//! from its number.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use larder_cache::Time;
use larder_registry::model::Key;

use super::news::News;
use crate::wire::replication::{Action, Sent};

/// How a [`Queue`] is bounded, and when it gives a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many tasks wait at most; one more drops the oldest. 1 or more.
    pub(crate) tasks: usize,
    /// How many tasks make a batch. 1 or more.
    pub(crate) batch: usize,
    /// How long a task waits for others to go with it.
    pub(crate) delay: Duration,
}

/// Something to be told, and for how long it is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// As it is sent.
    pub(crate) item: Sent,
    /// Since when it waits; of a task that was replaced, since when the first one did.
    queued_at: Time,
    expires_at: Time,
}

/// What became of tasks that were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// A newer task of the same kind about the same instance took its place.
    pub(crate) replaced: u64,
    /// It waited for too long.
    pub(crate) expired: u64,
    /// It was the oldest when there was no more room.
    pub(crate) overflowed: u64,
}

/// What a task is known by: a newer one with the same takes its place.
type Id = (Action, Key);

/// The line in front of a peer. Holds up to [`Limits::tasks`].
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    /// A hole is left by a task that was moved to the end; there is none in front.
    slots: VecDeque<Option<Task>>,
    /// The number of the first slot. Those behind count up from it, those put back before it count down.
    first: i64,
    /// The numbers of the slots that hold a task.
    numbers: HashMap<Id, i64>,
    counts: Counts,
}

impl Queue {
    /// Nobody waits.
    pub(crate) fn new(limits: Limits) -> Self {
        let (slots, numbers) = (VecDeque::new(), HashMap::new());
        Self { limits, slots, first: 0, numbers, counts: Counts::default() }
    }

    /// How many tasks wait.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// What became of those that were not sent.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// When a batch is to be taken: at once if there is a whole one, else when the first task has waited
    /// for long enough; never if nobody waits.
    pub(crate) fn due_at(&self) -> Option<Time> {
        if self.len() >= self.limits.batch {
            return Some(Time::ZERO);
        }
        let first = self.slots.front()?.as_ref()?;
        Some(first.queued_at.after(self.limits.delay))
    }

    /// Puts in a task. An older one with its id gives it its place, and its time of waiting: who renews
    /// often would else put off for ever whoever stands behind.
    ///
    /// Unless something else was done to the instance after the older one: a registration that comes after
    /// a departure must be told after it, so that the older registration is forgotten and the newer one goes
    /// to the end.
    pub(crate) fn push(&mut self, news: News, now: Time) {
        let News { item, lifetime } = news;
        let expires_at = now.after(lifetime);
        let number = self.numbers.get(&id(&item)).copied();
        let Some(number) = number else { return self.append(item, now, expires_at) };
        self.counts.replaced += 1;
        if self.was_followed(&item, number) {
            self.remove(number, &id(&item));
            self.append(item, now, expires_at);
        } else if let Some(task) = self.slot(number) {
            task.item = item;
            task.expires_at = expires_at;
        }
    }

    /// Takes the next batch, of `most` tasks at most. Those that have expired are dropped on the way.
    pub(crate) fn take(&mut self, most: usize, now: Time) -> Vec<Task> {
        let mut batch = Vec::new();
        while batch.len() < most.min(self.limits.batch) {
            let Some(task) = self.pop() else { break };
            if task.expires_at <= now {
                self.counts.expired += 1;
            } else {
                batch.push(task);
            }
        }
        batch
    }

    /// Puts tasks that could not be sent back in front, in their order; but for those that have expired,
    /// that a newer one with the same id has come for, or that there is no room for.
    pub(crate) fn put_back(&mut self, tasks: Vec<Task>, now: Time) {
        for task in tasks.into_iter().rev() {
            let id = id(&task.item);
            if task.expires_at <= now {
                self.counts.expired += 1;
            } else if self.numbers.contains_key(&id) {
                self.counts.replaced += 1;
            } else if self.len() >= self.limits.tasks {
                self.counts.overflowed += 1;
            } else {
                self.first -= 1;
                self.numbers.insert(id, self.first);
                self.slots.push_front(Some(task));
            }
        }
    }

    fn append(&mut self, item: Sent, queued_at: Time, expires_at: Time) {
        if self.len() >= self.limits.tasks {
            self.pop();
            self.counts.overflowed += 1;
        }
        self.close_holes();
        let number = self.first + i64::try_from(self.slots.len()).unwrap_or(i64::MAX);
        self.numbers.insert(id(&item), number);
        self.slots.push_back(Some(Task { item, queued_at, expires_at }));
    }

    /// Whether something else that changes the instance was done after the task of this number. A heartbeat
    /// changes nothing.
    fn was_followed(&self, item: &Sent, number: i64) -> bool {
        item.action != Action::Heartbeat
            && Action::CHANGES.into_iter().filter(|action| *action != item.action).any(|action| {
                let other = self.numbers.get(&(action, item.key.clone()));
                other.is_some_and(|other| *other > number)
            })
    }

    fn slot(&mut self, number: i64) -> Option<&mut Task> {
        let place = usize::try_from(number - self.first).ok()?;
        self.slots.get_mut(place)?.as_mut()
    }

    fn remove(&mut self, number: i64, id: &Id) {
        self.numbers.remove(id);
        if let Ok(place) = usize::try_from(number - self.first)
            && let Some(slot) = self.slots.get_mut(place)
        {
            *slot = None;
        }
        self.trim();
    }

    fn pop(&mut self) -> Option<Task> {
        let task = self.slots.pop_front()??;
        self.first += 1;
        self.numbers.remove(&id(&task.item));
        self.trim();
        Some(task)
    }

    /// Takes away the holes in front.
    fn trim(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Numbers everything anew once there are more holes than tasks, so that an instance which comes and
    /// goes while the peer is down takes no more and more room. That many holes paid for it.
    fn close_holes(&mut self) {
        if self.slots.len() <= 2 * self.len() + 16 {
            return;
        }
        self.slots.retain(Option::is_some);
        for (number, task) in (self.first..).zip(self.slots.iter().flatten()) {
            self.numbers.insert(id(&task.item), number);
        }
    }
}

fn id(item: &Sent) -> Id {
    (item.action, item.key.clone())
}

#[cfg(test)]
mod tests;
