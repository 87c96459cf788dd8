//! Random scenarios against a naive reference: one map, no tasks, no time but a number.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Operation {
    Get(u64),
    Put(u64),
    Invalidate(u64),
    Advance(u64),
    /// From now on the source answers like this.
    Source(Mood),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Absent,
    Failing,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0_u64..3;
    let mood = prop_oneof![Just(Mood::Well), Just(Mood::Absent), Just(Mood::Failing)];
    prop_oneof![
        5 => key.clone().prop_map(Operation::Get),
        1 => key.clone().prop_map(Operation::Put),
        1 => key.prop_map(Operation::Invalidate),
        3 => (0_u64..30).prop_map(Operation::Advance),
        2 => mood.prop_map(Operation::Source),
    ]
}

/// Answers by its mood; each value is the number of its fetch.
struct Moody {
    mood: Mutex<Mood>,
    fetches: AtomicU64,
}

impl Source for Arc<Moody> {
    type Key = u64;
    type Value = u64;
    type Error = Down;

    async fn fetch(&self, _: &u64, _: Attempt<u64>) -> Result<Fetched<u64>, Down> {
        let fetch = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        match *lock(&self.mood) {
            Mood::Well => Ok(Fetched::value(fetch)),
            Mood::Absent => Ok(Fetched::absent(secs(5))),
            Mood::Failing => Err(Down),
        }
    }
}

/// What the contract says, in the fewest words: values live 10 s and stand in for 20 s more, absence
/// 5 s; the first failure is free and each further one is waited for 4 s.
#[derive(Debug, Default)]
struct Reference {
    now: u64,
    fetches: u64,
    values: HashMap<u64, (u64, u64)>,
    absent_until: HashMap<u64, u64>,
    failing: HashMap<u64, (u32, u64)>,
}

/// The value, its age, and whether it stands in; or whether the failure is an absence.
type Answer = Result<(u64, u64, bool), bool>;

impl Reference {
    fn get(&mut self, key: u64, mood: Mood) -> Answer {
        if let Some((value, since)) = self.values.get(&key).filter(|(_, at)| self.now < at + 10) {
            return Ok((*value, self.now - since, false));
        }
        if self.absent_until.get(&key).is_some_and(|until| self.now < *until) {
            return Err(true);
        }
        if self.failing.get(&key).is_some_and(|(_, retry_at)| self.now < *retry_at) {
            return self.endure(key);
        }
        self.fetches += 1;
        match mood {
            Mood::Well => {
                self.put(key, self.fetches);
                Ok((self.fetches, 0, false))
            }
            Mood::Absent => {
                self.forget(key);
                self.absent_until.insert(key, self.now + 5);
                Err(true)
            }
            Mood::Failing => {
                self.absent_until.remove(&key);
                let failures = self.failing.get(&key).map_or(0, |(failures, _)| *failures) + 1;
                let wait = if failures > 1 { 4 } else { 0 };
                self.failing.insert(key, (failures, self.now + wait));
                self.endure(key)
            }
        }
    }

    fn endure(&self, key: u64) -> Answer {
        let (value, since) = self.values.get(&key).ok_or(false)?;
        if self.now - since <= 30 { Ok((*value, self.now - since, true)) } else { Err(false) }
    }

    fn put(&mut self, key: u64, value: u64) {
        self.forget(key);
        self.values.insert(key, (value, self.now));
    }

    fn forget(&mut self, key: u64) {
        self.values.remove(&key);
        self.absent_until.remove(&key);
        self.failing.remove(&key);
    }
}

async fn run(operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let (clock, hands) = Clock::by_hand(0);
    let moody = Arc::new(Moody { mood: Mutex::new(Mood::Well), fetches: AtomicU64::new(0) });
    let backoff = Backoff { free_failures: 1, first: secs(4), cap: secs(4) };
    let options = Options {
        ttl: secs(10),
        stale_if_error: secs(20),
        backoff,
        clock: Some(clock),
        ..Options::default()
    };
    let cache = Cache::new(moody.clone(), options).expect("the options are valid");
    let mut reference = Reference::default();
    for operation in operations {
        match operation {
            Operation::Get(key) => {
                let answer = match cache.get(&key).await {
                    Ok(reply) => Ok((*reply, reply.age().as_secs(), reply.error().is_some())),
                    Err(error) => Err(matches!(error, Error::Absent)),
                };
                let mood = *lock(&moody.mood);
                prop_assert_eq!(answer, reference.get(key, mood));
            }
            Operation::Put(key) => {
                cache.put(key, 1_000).expect("it is light");
                reference.put(key, 1_000);
            }
            Operation::Invalidate(key) => {
                cache.invalidate(&key);
                reference.forget(key);
            }
            Operation::Advance(by) => {
                hands.advance(secs(by));
                reference.now += by;
            }
            Operation::Source(mood) => *lock(&moody.mood) = mood,
        }
        prop_assert_eq!(moody.fetches.load(Ordering::SeqCst), reference.fetches);
    }
    cache.close().await;
    Ok(())
}

proptest! {
    #[test]
    fn any_scenario_goes_as_the_contract_says(
        operations in prop::collection::vec(operation(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be had").block_on(run(operations))?;
    }
}
