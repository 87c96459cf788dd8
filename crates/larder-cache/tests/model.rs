//! Random operations against a naive reference.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;

use larder_cache::{Cache, Error, Origin, Put, Request};
use proptest::prelude::*;
use support::{Scripted, Step, options, secs};

#[derive(Debug, Clone)]
enum Operation {
    Get {
        key: u32,
        max_age: Option<u64>,
        bound: Option<u64>,
    },
    Peek {
        key: u32,
    },
    Put {
        key: u32,
        value: u64,
    },
    PutIfAbsent {
        key: u32,
        value: u64,
    },
    Invalidate {
        key: u32,
    },
    InvalidateAll,
    Pass {
        secs: u64,
    },
    /// From now on the source answers this.
    Source {
        answers: Answers,
    },
}

#[derive(Debug, Clone, Copy)]
enum Answers {
    Value(u64),
    NotModified,
    Absent,
    Fail,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Hit(u64, u64),
    Miss(u64, u64),
    Stale(u64, u64),
    Absent,
    Failed,
}

/// Without back-off: the reference says in one screen what a lookup means.
struct Reference {
    now: u64,
    answers: Answers,
    values: HashMap<u32, Held>,
    absent: HashMap<u32, u64>,
    fetches: usize,
}

#[derive(Clone, Copy)]
struct Held {
    value: u64,
    vouched: u64,
}

const TTL: u64 = 10;
const ENDURE: u64 = 20;
const ABSENT_TTL: u64 = 5;

impl Reference {
    fn new() -> Self {
        let (values, absent) = (HashMap::new(), HashMap::new());
        Self { now: 0, answers: Answers::Value(0), values, absent, fetches: 0 }
    }

    fn age(&self, held: Held) -> u64 {
        self.now - held.vouched
    }

    fn fresh(&self, key: u32, max_age: Option<u64>) -> Option<Held> {
        let held = *self.values.get(&key)?;
        (self.age(held) < TTL.min(max_age.unwrap_or(TTL))).then_some(held)
    }

    fn put(&mut self, key: u32, value: u64) {
        self.absent.remove(&key);
        self.values.insert(key, Held { value, vouched: self.now });
    }

    fn get(&mut self, key: u32, max_age: Option<u64>, bound: Option<u64>) -> Seen {
        if let Some(held) = self.fresh(key, max_age) {
            return Seen::Hit(held.value, self.age(held));
        }
        if let Some(since) = self.absent.get(&key)
            && self.now - since < ABSENT_TTL.min(max_age.unwrap_or(ABSENT_TTL))
        {
            return Seen::Absent;
        }
        self.fetches += 1;
        match (self.answers, self.values.get(&key).copied()) {
            (Answers::Value(value), _) => {
                self.put(key, value);
                Seen::Miss(value, 0)
            }
            (Answers::NotModified, Some(held)) => {
                self.put(key, held.value);
                Seen::Miss(held.value, 0)
            }
            (Answers::Absent, _) => {
                self.values.remove(&key);
                self.absent.insert(key, self.now);
                Seen::Absent
            }
            (Answers::Fail | Answers::NotModified, held) => {
                self.absent.remove(&key);
                self.endure(held, max_age, bound)
            }
        }
    }

    fn endure(&self, held: Option<Held>, max_age: Option<u64>, bound: Option<u64>) -> Seen {
        let allowed = TTL.min(max_age.unwrap_or(TTL)) + ENDURE.min(bound.unwrap_or(ENDURE));
        match held {
            Some(held) if self.age(held) < allowed => Seen::Stale(held.value, self.age(held)),
            _ => Seen::Failed,
        }
    }
}

struct Subject {
    runtime: tokio::runtime::Runtime,
    cache: Cache<Scripted>,
    source: Scripted,
    hands: larder_cache::Hands,
}

impl Subject {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let source = Scripted::new([]);
        let (mut options, hands) = options();
        options.backoff.free_failures = u32::MAX;
        let cache = runtime.block_on(async { Cache::new(source.clone(), options).unwrap() });
        Self { runtime, cache, source, hands }
    }

    fn get(&self, key: u32, answers: Answers, max_age: Option<u64>, bound: Option<u64>) -> Seen {
        self.source.only(match answers {
            Answers::Value(value) => Step::Value(value),
            Answers::NotModified => Step::NotModified,
            Answers::Absent => Step::Absent,
            Answers::Fail => Step::Fail,
        });
        let mut request = Request::DEFAULT;
        if let Some(max_age) = max_age {
            request = request.max_age(secs(max_age));
        }
        if let Some(bound) = bound {
            request = request.stale_if_error(secs(bound));
        }
        match self.runtime.block_on(self.cache.get_with(&key, &request)) {
            Ok(reply) => {
                let age = reply.age().as_secs();
                match reply.origin() {
                    Origin::Hit => Seen::Hit(*reply, age),
                    Origin::Miss | Origin::Unchanged => Seen::Miss(*reply, age),
                    Origin::Stale(_) => Seen::Stale(*reply, age),
                }
            }
            Err(Error::Absent) => Seen::Absent,
            Err(_) => Seen::Failed,
        }
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0_u32..3;
    let answers = prop_oneof![
        (1_u64..100).prop_map(Answers::Value),
        Just(Answers::NotModified),
        Just(Answers::Absent),
        Just(Answers::Fail),
    ];
    let bounds = (prop::option::of(0_u64..15), prop::option::of(0_u64..25));
    prop_oneof![
        5 => (key.clone(), bounds)
            .prop_map(|(key, (max_age, bound))| Operation::Get { key, max_age, bound }),
        1 => key.clone().prop_map(|key| Operation::Peek { key }),
        1 => (key.clone(), 100_u64..200).prop_map(|(key, value)| Operation::Put { key, value }),
        1 => (key.clone(), 200_u64..300)
            .prop_map(|(key, value)| Operation::PutIfAbsent { key, value }),
        1 => key.prop_map(|key| Operation::Invalidate { key }),
        1 => Just(Operation::InvalidateAll),
        3 => (0_u64..12).prop_map(|secs| Operation::Pass { secs }),
        3 => answers.prop_map(|answers| Operation::Source { answers }),
    ]
}

fn step(
    operation: &Operation,
    model: &mut Reference,
    subject: &Subject,
) -> Result<(), TestCaseError> {
    let cache = &subject.cache;
    match *operation {
        Operation::Get { key, max_age, bound } => {
            let seen = subject.get(key, model.answers, max_age, bound);
            prop_assert_eq!(seen, model.get(key, max_age, bound));
        }
        Operation::Peek { key } => {
            let expected = model.fresh(key, None).map(|held| held.value);
            prop_assert_eq!(cache.peek(&key).map(|reply| *reply), expected);
        }
        Operation::Put { key, value } => {
            prop_assert_eq!(cache.put(&key, value), Put::Stored);
            model.put(key, value);
        }
        Operation::PutIfAbsent { key, value } => {
            let held = model.values.contains_key(&key);
            let expected = if held { Put::Present } else { Put::Stored };
            prop_assert_eq!(cache.put_if_absent(&key, value), expected);
            if !held {
                model.put(key, value);
            }
        }
        Operation::Invalidate { key } => {
            model.absent.remove(&key);
            prop_assert_eq!(cache.invalidate(&key), model.values.remove(&key).is_some());
        }
        Operation::InvalidateAll => {
            (model.values, model.absent) = (HashMap::new(), HashMap::new());
            cache.invalidate_all();
        }
        Operation::Pass { secs: seconds } => {
            model.now += seconds;
            subject.hands.advance(secs(seconds));
        }
        Operation::Source { answers } => model.answers = answers,
    }
    prop_assert_eq!(subject.source.fetches(), model.fetches);
    prop_assert_eq!(cache.stats().entries, model.values.len() as u64);
    Ok(())
}

proptest! {
    #[test]
    fn a_cache_is_what_the_reference_says(
        operations in prop::collection::vec(operation(), 1..60)
    ) {
        let (mut model, subject) = (Reference::new(), Subject::new());
        for operation in &operations {
            step(operation, &mut model, &subject)?;
        }
    }
}
