//! Random changes and random faults against a plain record of what was true and when.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::faulty::{Flow, Line};
use larder_cache::{Clock, Error as CacheError};
use larder_registry::catalog::Snapshot;
use larder_registry::{Mirror, View};

type Hosts = BTreeMap<String, Option<String>>;

#[derive(Debug, Clone)]
enum Step {
    Register {
        service: u8,
        id: u8,
        host: u8,
    },
    /// With a lease of so many seconds.
    Lease {
        service: u8,
        id: u8,
        secs: u8,
    },
    Deregister {
        service: u8,
        id: u8,
    },
    Die,
    /// Reads, new watches or both do not answer.
    Hang {
        reads: bool,
        opens: bool,
    },
    Recover,
    Break,
    End,
    /// What happens is lost, until the watches break.
    Lose,
    Flow(Flow),
    Wait {
        millis: u16,
    },
    Read {
        service: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (service, id) = (0..3_u8, 0..4_u8);
    let flow = prop_oneof![
        Just(Flow::Passes),
        Just(Flow::Held),
        Just(Flow::HeldInListing),
        Just(Flow::Twice),
        Just(Flow::Reordered)
    ];
    let step = prop_oneof![
        8 => (service.clone(), id.clone(), 0..3_u8)
            .prop_map(|(service, id, host)| Step::Register { service, id, host }),
        2 => (service.clone(), id.clone(), 1..20_u8)
            .prop_map(|(service, id, secs)| Step::Lease { service, id, secs }),
        6 => (service.clone(), id).prop_map(|(service, id)| Step::Deregister { service, id }),
        1 => Just(Step::Die),
        1 => any::<(bool, bool)>().prop_map(|(reads, opens)| Step::Hang { reads, opens }),
        2 => Just(Step::Recover),
        2 => Just(Step::Break),
        1 => Just(Step::End),
        1 => Just(Step::Lose),
        2 => flow.prop_map(Step::Flow),
        6 => (1..20_000_u16).prop_map(|millis| Step::Wait { millis }),
        8 => service.prop_map(|service| Step::Read { service }),
    ];
    prop::collection::vec(step, 1..60)
}

fn service_name(service: u8) -> Name {
    name(&format!("s{service}"))
}

/// Everything that was true, and from when on.
struct Truth {
    clock: Clock,
    history: Vec<(u64, Snapshot)>,
    /// For how long watches have said nothing, without a word, until now: what they vouched for may be
    /// older by as much.
    silence: Duration,
    /// When that was looked at last, and whether they were silent.
    looked: (u64, bool),
}

impl Truth {
    fn note(&mut self, registry: &Faulty) {
        let (now, is_silent) = (self.clock.now().as_millis(), registry.is_silent());
        if is_silent || self.looked.1 {
            self.silence += Duration::from_millis(now - self.looked.0);
        }
        self.looked = (now, is_silent);
        let snapshot = registry.memory().snapshot();
        if self.history.last().is_none_or(|(_, last)| last.revision() != snapshot.revision()) {
            self.history.push((self.clock.now().as_millis(), snapshot));
        }
    }

    /// Whether the service was like this at some moment within the last `age`, and a tick.
    fn was(&self, service: &Name, hosts: &Hosts, age: Duration) -> bool {
        let age = u64::try_from((age + self.silence).as_millis()).expect("it is short") + 50;
        let earliest = self.clock.now().as_millis().saturating_sub(age);
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        let mut states = self.history.iter().zip(ends).filter(|(_, end)| *end >= earliest);
        states.any(|((_, state), _)| hosts_in(state, service) == *hosts)
    }
}

fn hosts_in(state: &Snapshot, service: &Name) -> Hosts {
    state.service(service).map(|service| hosts(service)).unwrap_or_default()
}

async fn apply(registry: &Faulty, truth: &mut Truth, cache: &RegistryCache, step: Step) {
    let memory = registry.memory();
    let of = |service: u8, id: u8| Instance::new(service_name(service).as_str(), &id.to_string());
    match step {
        Step::Register { service, id, host } => {
            let mut instance = of(service, id);
            instance.address.host = Some(host.to_string());
            memory.register(instance).await.unwrap();
        }
        Step::Lease { service, id, secs } => {
            let lease = Lease { duration_secs: secs.into(), ..Lease::default() };
            let lease = Some(lease);
            memory.register(Instance { lease, ..of(service, id) }).await.unwrap();
        }
        Step::Deregister { service, id } => drop(memory.deregister(&of(service, id).key()).await),
        Step::Die => registry.die(),
        Step::Hang { reads, opens } => registry.set(|faults| {
            let line = |hangs| if hangs { Line::Hangs } else { Line::Works };
            (faults.reads, faults.opens) = (line(reads), line(opens));
        }),
        Step::Recover => registry.recover(),
        Step::Break => registry.break_watches(),
        Step::End => registry.end_watches(),
        Step::Lose => {
            // As soon as something is lost, whoever follows is told.
            registry.set(|faults| faults.flow = Flow::Lossy);
            memory.register(of(0, 9)).await.unwrap();
            registry.break_watches();
            registry.set(|faults| faults.flow = Flow::Passes);
        }
        Step::Flow(flow) => registry.set(|faults| faults.flow = flow),
        Step::Wait { millis } => {
            // In small steps, so that it is noted when a lease runs out.
            for _ in 0..millis.div_ceil(20) {
                truth.note(registry);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Step::Read { service } => read(registry, truth, cache, &service_name(service)).await,
    }
    truth.note(registry);
}

/// What is served was true when its age says, whatever happens to the registry.
async fn read(registry: &Faulty, truth: &mut Truth, cache: &RegistryCache, service: &Name) {
    settle().await;
    truth.note(registry);
    match cache.get(service).await {
        Ok(read) => {
            truth.note(registry);
            let (shown, age) = (hosts(&read), read.age());
            assert!(!shown.is_empty(), "nothing is not a service");
            assert!(truth.was(service, &shown, age), "{service} was not {shown:?} for {age:?}");
        }
        Err(CacheError::Absent) => {
            truth.note(registry);
            assert!(
                truth.was(service, &Hosts::new(), 6 * SECOND),
                "{service} was there all the time"
            );
        }
        Err(error) => assert!(
            matches!(error, CacheError::Source(_) | CacheError::TimedOut(_) | CacheError::Down),
            "{error}"
        ),
    }
}

async fn run(steps: VecDeque<Step>) {
    let registry = registry_of(&[]).await;
    let cache = cache_over(&registry);
    let mirror = Mirror::start(registry.clone(), 1_000, Clock::running());
    let mut truth = Truth {
        clock: Clock::running(),
        history: Vec::new(),
        silence: Duration::ZERO,
        looked: (0, false),
    };
    truth.note(&registry);
    // Of one service nobody hears but readers.
    let mut subscribers: Vec<_> = (0..2)
        .map(|service| (service_name(service), cache.subscribe(&service_name(service)).unwrap()))
        .map(|(service, events)| (service, events, Fold::default()))
        .collect();
    for step in steps {
        apply(&registry, &mut truth, &cache, step).await;
    }
    registry.recover();
    // The longest back-off, and an absence; leases that run out meanwhile are told as well.
    tokio::time::sleep(RECOVERED + 10 * SECOND).await;
    let now = registry.memory().snapshot();
    for (service, events, fold) in &mut subscribers {
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
            if let Ok(event) = event.expect("it is open") {
                fold.take(event);
            }
        }
        assert_eq!(fold.state, hosts_in(&now, service), "told of {service}");
    }
    for service in (0..3).map(service_name) {
        let expected = hosts_in(&now, &service);
        match cache.get(&service).await {
            Ok(read) => {
                assert_eq!(hosts(&read), expected, "{service}");
                assert!(read.error().is_none(), "{service}: {:?}", read.error());
            }
            Err(CacheError::Absent) => assert_eq!(expected, Hosts::new(), "{service}"),
            Err(error) => panic!("{service}: {error}"),
        }
        assert_eq!(hosts_in(&mirror.snapshot(), &service), expected, "the mirror's {service}");
    }
    cache.stop().await;
    mirror.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_served_was_true_when_its_age_says_and_after_recovery_everything_is(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps.into()));
    }
}
