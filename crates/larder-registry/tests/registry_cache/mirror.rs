//! A mirror: a whole registry that is copied and followed.

use std::sync::Mutex;

use super::*;
use crate::faulty::{Flow, Line};
use larder_cache::Clock;
use larder_registry::catalog::Change;
use larder_registry::model::Action;
use larder_registry::{Copied, Error, Guarded, Mirror, Observer, View, guard};

fn mirror_of(registry: &Arc<Faulty>) -> Mirror {
    Mirror::start(registry.clone(), 1_000, Clock::running())
}

/// A mirror that has read everything.
async fn ready(registry: &Arc<Faulty>) -> Mirror {
    let mirror = mirror_of(registry);
    assert!(mirror.wait_until_ready(5 * SECOND).await);
    mirror
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(u64, String)>>);

impl Observer for Recorder {
    fn changed(&self, changes: &[Change]) {
        let told = changes.iter().map(|change| {
            let sign = match change.action {
                Action::Added => '+',
                Action::Modified => '~',
                Action::Deleted => '-',
            };
            (change.revision, format!("{sign}{}", change.instance.key()))
        });
        self.0.lock().expect("nobody panics with it").extend(told);
    }
}

impl Recorder {
    fn of(mirror: &Mirror) -> Arc<Self> {
        let recorder = Arc::new(Self::default());
        let observer: Arc<dyn Observer> = recorder.clone();
        mirror.observe(Arc::downgrade(&observer));
        recorder
    }

    /// What was told since the last look, in its order; revisions must have grown.
    fn told(&self, since: &mut u64) -> Vec<String> {
        let told = std::mem::take(&mut *self.0.lock().expect("nobody panics with it"));
        for (revision, what) in &told {
            assert!(revision > since, "{what}: {revision} after {since}");
            *since = *revision;
        }
        told.into_iter().map(|(_, what)| what).collect()
    }
}

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[tokio::test(start_paused = true)]
async fn before_the_first_listing_nobody_is_told_that_there_is_nothing() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.flow = Flow::HeldInListing);
    let mirror = mirror_of(&registry);
    assert!(!mirror.wait_until_ready(MINUTE).await);
    assert_eq!(mirror.copy(), Some(Copied::Nothing));
    assert!(mirror.snapshot().is_empty(), "half of a listing is not seen");
    let unavailable = |error: &Error| matches!(error, Error::Unavailable { .. });
    assert!(mirror.service(&name("orders")).await.is_err_and(|error| unavailable(&error)));
    assert!(mirror.services().await.is_err_and(|error| unavailable(&error)));
    let mut watch = mirror.watch(None).await.unwrap();
    assert!(tokio::time::timeout(MINUTE, watch.next()).await.is_err(), "it has not begun");
    registry.recover();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(self::told(&watch.next().await.unwrap().unwrap()));
    }
    assert_eq!(told, ["init", "=a", "done"]);
    assert_eq!(mirror.copy(), Some(Copied::Connected));
    assert_eq!(ids(&mirror.service(&name("orders")).await.unwrap()), ["a"]);
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_registry_is_empty_and_not_out_of_reach() {
    let registry = registry_of(&[]).await;
    let mirror = ready(&registry).await;
    assert!(matches!(mirror.service(&name("orders")).await, Err(Error::NotFound(_))));
    assert!(mirror.services().await.unwrap().is_empty());
    assert_eq!(mirror.copy(), Some(Copied::Connected));
    mirror.close().await;
}

/// What one transaction made.
fn step(revision: u64) -> [Event; 3] {
    let apply = |id: &str| Event::Apply { revision, instance: Arc::new(on_host(id, "new")) };
    let gone = Event::Delete { revision, instance: Arc::new(instance("b")) };
    [apply("a"), gone, apply("c")]
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<usize>>);

impl Observer for Told {
    fn changed(&self, changes: &[Change]) {
        self.0.lock().unwrap().push(changes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_in_one_step_is_seen_at_once_by_readers_of_a_mirror_and_of_a_cache() {
    for mode in [guard::Mode::Off, guard::Mode::Warn, guard::Mode::On] {
        let registry = registry_of(&["a", "b"]).await;
        let options = guard::Options { mode, ..guard::Options::default() };
        let guarded = Arc::new(Guarded::new(registry.clone(), options, Clock::running()));
        let mirror = Mirror::start(guarded.clone(), 100, Clock::running());
        assert!(mirror.wait_until_ready(SECOND).await);
        let told = Arc::new(Told::default());
        mirror.observe(Arc::downgrade(&told) as std::sync::Weak<dyn Observer>);
        let cache = RegistryCache::new(guarded, Options::default()).unwrap();
        let mut events = cache.subscribe(&name("orders")).unwrap();
        take(&mut events, 4).await;

        registry.tell_step(step(u64::MAX / 2));
        assert_eq!(next(&mut events).await, "-b");
        assert!(events.is_amid_step(), "the others came with it");
        assert_eq!(take(&mut events, 2).await, ["+a", "+c"]);
        assert!(!events.is_amid_step());
        settle().await;
        assert_eq!(*told.0.lock().unwrap(), [3], "{mode:?}");
        assert_eq!(ids(mirror.snapshot().service(&name("orders")).unwrap()), ["a", "c"]);
        cache.stop().await;
        mirror.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_at_first_is_found_when_it_is_up() {
    let registry = registry_of(&["a"]).await;
    registry.die();
    let mirror = mirror_of(&registry);
    assert!(!mirror.wait_until_ready(MINUTE).await);
    let opens = registry.opens();
    assert!((55..=82).contains(&opens), "about once a second, and {opens} times in a minute");
    registry.recover();
    assert!(mirror.wait_until_ready(SECOND).await, "the next one comes through");
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_relisting_puts_the_difference_in_place_at_once_and_tells_each_change_once() {
    let registry = registry_of(&["a", "b", "c"]).await;
    let mirror = ready(&registry).await;
    let recorder = Recorder::of(&mirror);
    let mut since = mirror.snapshot().revision();
    let before = mirror.snapshot();
    registry.die();
    settle().await;
    let memory = registry.memory();
    memory.deregister(&key("orders", "a")).await.unwrap();
    memory.register(on_host("b", "moved")).await.unwrap();
    memory.register(instance("d")).await.unwrap();
    memory.register(Instance::new("new", "n")).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(mirror.snapshot().revision(), since);
    registry.recover();
    registry.set(|faults| faults.flow = Flow::HeldInListing);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(mirror.snapshot().revision(), since, "half of a listing is not seen");
    registry.set(|faults| faults.flow = Flow::Passes);
    settle().await;
    let told = recorder.told(&mut since);
    assert_eq!(told.len(), 4, "c has not changed: {told:?}");
    assert!(told[0].starts_with('-'), "first what is gone: {told:?}");
    let expected: Vec<_> =
        [("-", "orders", "a"), ("~", "orders", "b"), ("+", "orders", "d"), ("+", "new", "n")]
            .iter()
            .map(|(sign, service, id)| format!("{sign}{}", key(service, id)))
            .collect();
    assert_eq!(sorted(told), sorted(expected));
    assert_eq!(mirror.snapshot().revision(), since);
    assert_eq!(mirror.changes_since(before.revision()).unwrap().len(), 4);
    assert_eq!(before.len(), 3, "who holds a snapshot keeps it");
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn contact_is_lost_and_found_and_the_age_is_that_of_the_loss() {
    let registry = registry_of(&["a"]).await;
    let mirror = ready(&registry).await;
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(mirror.copy(), Some(Copied::Connected), "silence is no loss");
    registry.die();
    for secs in [10, 20, 30] {
        tokio::time::sleep(10 * SECOND).await;
        let Some(Copied::Stale(age)) = mirror.copy() else { panic!("{:?}", mirror.copy()) };
        let said = Duration::from_secs(secs);
        assert!(age >= said.saturating_sub(SECOND) && age <= said, "{age:?} after {said:?}");
        assert_eq!(ids(&mirror.service(&name("orders")).await.unwrap()), ["a"]);
    }
    registry.recover();
    tokio::time::sleep(RECOVERED).await;
    assert_eq!(mirror.copy(), Some(Copied::Connected));
    registry.set(|faults| faults.opens = Line::Fails);
    registry.end_watches();
    settle().await;
    assert!(matches!(mirror.copy(), Some(Copied::Stale(_))), "an end is a loss as well");
    registry.recover();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(mirror.copy(), Some(Copied::Connected));
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn revisions_grow_although_those_of_the_registry_behind_begin_again() {
    let registry = registry_of(&["a"]).await;
    let mirror = ready(&registry).await;
    let recorder = Recorder::of(&mirror);
    let mut since = mirror.snapshot().revision();
    registry.tell(Event::Init);
    registry.tell(Event::InitApply(Arc::new(instance("z"))));
    registry.tell(Event::InitDone { revision: 1 });
    registry.tell(Event::Apply { revision: 2, instance: Arc::new(instance("y")) });
    settle().await;
    let expected = [("-", "a"), ("+", "z"), ("+", "y")]
        .map(|(sign, id)| format!("{sign}{}", key("orders", id)));
    assert_eq!(recorder.told(&mut since), expected);
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_is_told_once_and_services_may_come_in_any_order() {
    let registry = registry_of(&[]).await;
    let mirror = ready(&registry).await;
    let recorder = Recorder::of(&mirror);
    let mut since = mirror.snapshot().revision();
    for flow in [Flow::Twice, Flow::Reordered] {
        registry.set(|faults| faults.flow = flow);
        settle().await;
        for service in ["s1", "s2", "s3"] {
            for id in ["a", "b"] {
                registry.memory().register(Instance::new(service, id)).await.unwrap();
            }
            registry.memory().deregister(&key(service, "a")).await.unwrap();
        }
        settle().await;
        let told = recorder.told(&mut since);
        for service in ["s1", "s2", "s3"] {
            let of: Vec<_> = told.iter().filter(|it| it.contains(service)).collect();
            let (b, sign) = (key(service, "b"), if flow == Flow::Twice { '+' } else { '~' });
            let a = key(service, "a");
            let mut expected = vec![format!("+{a}"), format!("{sign}{b}"), format!("-{a}")];
            // Registered again, it has only a new time.
            if flow == Flow::Reordered {
                expected.remove(1);
            }
            assert_eq!(of.len(), expected.len(), "{flow:?}: {of:?}");
            assert!(of.into_iter().eq(&expected), "{flow:?}: {told:?}");
        }
        for service in registry.memory().snapshot().services() {
            let shown = mirror.service(service.name()).await.unwrap();
            assert_eq!(ids(&shown), ids(service), "{flow:?}");
        }
    }
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_creation_brings_no_deleted_instance_back() {
    let registry = registry_of(&["a", "b"]).await;
    let mirror = ready(&registry).await;
    let (late, revision) = (Arc::new(instance("b")), registry.memory().snapshot().revision());
    registry.memory().deregister(&key("orders", "b")).await.unwrap();
    settle().await;
    registry.tell(Event::Apply { revision, instance: late });
    settle().await;
    assert_eq!(ids(&mirror.service(&name("orders")).await.unwrap()), ["a"]);
    registry.memory().register(on_host("b", "anew")).await.unwrap();
    settle().await;
    assert_eq!(ids(&mirror.service(&name("orders")).await.unwrap()), ["a", "b"]);
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_shows_when_it_is_answered() {
    let registry = registry_of(&["a"]).await;
    let mirror = ready(&registry).await;
    for round in 0..20 {
        let host = round.to_string();
        mirror.register(on_host("b", &host)).await.unwrap();
        let shown = mirror.snapshot().instance(&key("orders", "b")).cloned().unwrap();
        assert_eq!(shown.address.host.as_deref(), Some(&*host));
        mirror.deregister(&key("orders", "b")).await.unwrap();
        assert!(mirror.snapshot().instance(&key("orders", "b")).is_none());
    }
    registry.set(|faults| faults.flow = Flow::Held);
    settle().await;
    let written = tokio::time::timeout(SECOND, mirror.register(instance("c"))).await;
    written.expect("soon, although nothing is told").expect("it was done");
    registry.set(|faults| faults.writes = Line::Fails);
    let error = mirror.register(instance("d")).await.expect_err("writes fail");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn closing_joins_the_task_and_ends_watches_even_while_the_registry_hangs() {
    let registry = registry_of(&["a"]).await;
    let mirror = ready(&registry).await;
    let mut watch = mirror.watch(None).await.unwrap();
    for _ in 0..3 {
        watch.next().await;
    }
    let waiting = tokio::spawn(async move { watch.next().await.is_none() });
    registry.set(|faults| faults.opens = Line::Hangs);
    registry.end_watches();
    tokio::time::sleep(2 * SECOND).await;
    tokio::time::timeout(SECOND, mirror.close()).await.expect("it ends");
    assert_eq!(registry.watches(), 0);
    assert!(waiting.await.unwrap());
    assert!(matches!(mirror.service(&name("orders")).await, Err(Error::Closed)));
    assert!(matches!(mirror.watch(None).await, Err(Error::Closed)));
}
