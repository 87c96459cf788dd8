use std::collections::BTreeSet;
use std::sync::Arc;

use larder_registry::model::{Instance, Status};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { tasks: 6, batch: 4, delay: Duration::from_millis(500) };

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn news(action: Action, id: &str, mark: u64, lifetime: u64) -> News {
    let item = Sent {
        action,
        key: Key::new("web", id),
        dirty_at: Some(mark),
        status_override: None,
        status: None,
        instance: None,
    };
    News { item, lifetime: Duration::from_millis(lifetime) }
}

fn queue(told: &[(Action, &str)]) -> Queue {
    let mut queue = Queue::new(LIMITS);
    for ((action, id), mark) in told.iter().zip(0..) {
        queue.push(news(*action, id, mark, 1_000), at(mark));
    }
    queue
}

/// What a task is about, and which of those that were put in it is.
fn shown(task: &Task) -> (Action, &str, u64) {
    (task.item.action, &task.item.key.id, task.item.dirty_at.unwrap_or_default())
}

fn drained(queue: &mut Queue) -> Vec<(Action, String, u64)> {
    let mut all = Vec::new();
    loop {
        let batch = queue.take(usize::MAX, Time::ZERO);
        if batch.is_empty() {
            return all;
        }
        all.extend(batch.iter().map(shown).map(|(action, id, mark)| (action, id.to_owned(), mark)));
    }
}

use Action::{Cancel, DeleteStatusOverride, Heartbeat, Register, StatusUpdate};

#[test]
fn a_newer_task_takes_the_place_of_the_older_with_its_id() {
    let mut queue = queue(&[(Heartbeat, "a"), (Heartbeat, "b"), (Heartbeat, "a")]);
    assert_eq!((queue.len(), queue.counts().replaced), (2, 1));
    let order = [(Heartbeat, "a".to_owned(), 2), (Heartbeat, "b".to_owned(), 1)];
    assert_eq!(drained(&mut queue), order);
}

#[test]
fn a_registration_after_a_departure_is_told_after_it() {
    let told = [(Register, "a"), (Cancel, "a"), (Heartbeat, "b"), (Register, "a")];
    let order: Vec<_> = drained(&mut queue(&told)).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(order, [Cancel, Heartbeat, Register]);
    let told = [(StatusUpdate, "a"), (DeleteStatusOverride, "a"), (StatusUpdate, "a")];
    let order: Vec<_> = drained(&mut queue(&told)).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(order, [DeleteStatusOverride, StatusUpdate]);
}

#[test]
fn a_batch_is_due_when_the_first_has_waited_or_when_it_is_whole() {
    let mut queue = queue(&[]);
    assert_eq!(queue.due_at(), None);
    queue.push(news(Heartbeat, "a", 0, 9_000), at(100));
    queue.push(news(Heartbeat, "b", 0, 9_000), at(300));
    assert_eq!(queue.due_at(), Some(at(600)));
    queue.push(news(Heartbeat, "a", 0, 9_000), at(599));
    assert_eq!(queue.due_at(), Some(at(600)), "who renews often puts off nobody");
    for id in ["c", "d"] {
        queue.push(news(Heartbeat, id, 0, 9_000), at(599));
    }
    assert_eq!(queue.due_at(), Some(Time::ZERO));
}

#[test]
fn a_batch_has_at_most_so_many_tasks_and_none_that_expired() {
    let mut queue = queue(&[(Register, "0"), (Register, "1"), (Register, "2"), (Register, "3")]);
    queue.push(news(Register, "4", 4, 9_000), at(4));
    queue.push(news(Register, "5", 5, 9_000), at(5));
    assert_eq!(queue.take(2, at(0)).len(), 2);
    let ids: Vec<_> =
        queue.take(9, at(1_002)).iter().map(|task| task.item.key.id.clone()).collect();
    assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["3", "4", "5"]);
    assert_eq!(queue.counts().expired, 1);
}

#[test]
fn when_there_is_no_room_the_oldest_is_dropped() {
    let ids = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let mut queue = queue(&ids.map(|id| (Heartbeat, id)));
    assert_eq!((queue.len(), queue.counts().overflowed), (6, 2));
    assert_eq!(drained(&mut queue)[0], (Heartbeat, "2".to_owned(), 2));
}

#[test]
fn what_could_not_be_sent_comes_first_again_in_its_order() {
    let mut queue = queue(&[(Register, "a"), (Register, "b"), (Register, "c")]);
    let batch = queue.take(9, at(10));
    queue.push(news(Register, "d", 3, 1_000), at(10));
    queue.put_back(batch, at(20));
    let order: Vec<_> = drained(&mut queue).into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(order, ["a", "b", "c", "d"]);
}

#[test]
fn what_comes_back_expired_superseded_or_too_many_is_dropped() {
    let mut queue = queue(&[(Register, "a"), (Register, "b")]);
    queue.push(news(Register, "c", 2, 9_000), at(0));
    queue.push(news(Register, "d", 3, 9_000), at(0));
    let batch = queue.take(9, at(10));
    for id in ["d", "4", "5", "6", "7", "8"] {
        queue.push(news(Register, id, 9, 9_000), at(10));
    }
    queue.put_back(batch, at(1_500));
    let counts = Counts { replaced: 1, expired: 2, overflowed: 1 };
    assert_eq!((queue.len(), queue.counts()), (6, counts));
}

#[test]
fn an_instance_that_comes_and_goes_takes_no_more_and_more_room() {
    let mut queue = queue(&[(Register, "stays")]);
    for round in 0..10_000 {
        let action = if round % 2 == 0 { Register } else { Cancel };
        queue.push(news(action, "a", round, 9_000), at(0));
    }
    assert_eq!(queue.len(), 3);
    assert!(queue.slots.len() <= 32, "{} slots", queue.slots.len());
}

#[test]
fn a_heartbeat_keeps_no_instance() {
    let held = Arc::new(Instance::new("web", "i"));
    let mut queue = queue(&[]);
    queue.push(News::renewed(held.key(), &held), at(0));
    assert_eq!(Arc::strong_count(&held), 1);
    queue.push(News::overridden(held.key(), Status::Down, &held), at(0));
    assert_eq!(Arc::strong_count(&held), 1);
}

/// The same in the plainest way: one list, and everything looked for in it.
#[derive(Debug, Default)]
struct Plain {
    tasks: Vec<Task>,
    counts: Counts,
}

impl Plain {
    fn push(&mut self, news: News, now: Time) {
        let expires_at = now.after(news.lifetime);
        let mut task = Task { item: news.item, queued_at: now, expires_at };
        if let Some(place) = self.place(&task) {
            self.counts.replaced += 1;
            let followed = task.item.action != Heartbeat
                && self.tasks[place..].iter().any(|later| {
                    later.item.key == task.item.key
                        && later.item.action != task.item.action
                        && later.item.action != Heartbeat
                });
            if !followed {
                task.queued_at = self.tasks[place].queued_at;
                self.tasks[place] = task;
                return;
            }
            self.tasks.remove(place);
        } else if self.tasks.len() == LIMITS.tasks {
            self.tasks.remove(0);
            self.counts.overflowed += 1;
        }
        self.tasks.push(task);
    }

    fn place(&self, task: &Task) -> Option<usize> {
        self.tasks.iter().position(|held| id(&held.item) == id(&task.item))
    }

    fn take(&mut self, most: usize, now: Time) -> Vec<Task> {
        let mut batch = Vec::new();
        while batch.len() < most.min(LIMITS.batch) && !self.tasks.is_empty() {
            let task = self.tasks.remove(0);
            if task.expires_at > now { batch.push(task) } else { self.counts.expired += 1 }
        }
        batch
    }

    fn put_back(&mut self, tasks: Vec<Task>, now: Time) {
        for task in tasks.into_iter().rev() {
            if task.expires_at <= now {
                self.counts.expired += 1;
            } else if self.place(&task).is_some() {
                self.counts.replaced += 1;
            } else if self.tasks.len() >= LIMITS.tasks {
                self.counts.overflowed += 1;
            } else {
                self.tasks.insert(0, task);
            }
        }
    }

    fn due_at(&self) -> Option<Time> {
        let first = self.tasks.first()?.queued_at.after(LIMITS.delay);
        Some(if self.tasks.len() >= LIMITS.batch { Time::ZERO } else { first })
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(Action, u8, u64),
    Take(usize),
    PutBack,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop::sample::select(vec![Register, Heartbeat, Cancel, StatusUpdate]);
    prop_oneof![
        8 => (action, 0_u8..4, 1_u64..900).prop_map(|(what, id, life)| Step::Push(what, id, life)),
        2 => (1_usize..6).prop_map(Step::Take),
        2 => Just(Step::PutBack),
        2 => (1_u64..300).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_plain_list_does(steps in prop::collection::vec(step(), 1..200)) {
        let (mut queue, mut plain) = (Queue::new(LIMITS), Plain::default());
        let (mut now, mut flying) = (0, Vec::new());
        for (step, mark) in steps.into_iter().zip(0..) {
            match step {
                Step::Push(action, id, lifetime) => {
                    let news = news(action, &id.to_string(), mark, lifetime);
                    queue.push(news.clone(), at(now));
                    plain.push(news, at(now));
                }
                // One batch at a time, as to a peer.
                Step::Take(most) if flying.is_empty() => {
                    flying = queue.take(most, at(now));
                    prop_assert_eq!(&flying, &plain.take(most, at(now)));
                }
                Step::Take(_) => {}
                Step::PutBack => {
                    let batch = std::mem::take(&mut flying);
                    queue.put_back(batch.clone(), at(now));
                    plain.put_back(batch, at(now));
                }
                Step::Pass(millis) => now += millis,
            }
            let tasks: Vec<_> = queue.slots.iter().flatten().collect();
            prop_assert_eq!(tasks, plain.tasks.iter().collect::<Vec<_>>());
            prop_assert_eq!(queue.counts(), plain.counts);
            prop_assert_eq!(queue.due_at(), plain.due_at());
            prop_assert_eq!(queue.len(), plain.tasks.len());
            prop_assert!(queue.slots.len() <= 2 * LIMITS.tasks + 17);
            let mut ids = BTreeSet::new();
            for task in queue.slots.iter().flatten() {
                prop_assert!(ids.insert(id(&task.item)), "one of each id");
            }
        }
    }
}
