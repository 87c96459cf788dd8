//! Changes that happen at the worst moment: between a look and a wait, or between two looks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use larder_cache::Clock;
use larder_registry::catalog::{Change, Service, Snapshot};
use larder_registry::model::{CheckKey, Instance, Key, Name};
use larder_registry::{
    Backend, BoxFuture, Error, Memory, Observer, OverrideChange, Report, View, Watch, memory,
};

use super::support::Stand;

/// A registry in memory, in which something happens right after a snapshot was taken: the longest that a
/// reader can be behind.
#[derive(Debug)]
struct Meddled {
    memory: Memory,
    /// After how many snapshots from now on, and what.
    soon: Mutex<VecDeque<(usize, Instance)>>,
    snapshots: AtomicUsize,
}

impl Meddled {
    fn start(clock: Clock) -> Arc<Self> {
        let memory = Memory::start(memory::Options::default(), clock);
        Arc::new(Self { memory, soon: Mutex::default(), snapshots: AtomicUsize::new(0) })
    }

    /// Registers the instance right after the snapshot that comes after `further` more.
    fn register_after(&self, further: usize, instance: Instance) {
        let when = self.snapshots.load(Ordering::SeqCst) + further;
        lock(&self.soon).push_back((when, instance));
    }

    fn has_meddled(&self) -> bool {
        lock(&self.soon).is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View for Meddled {
    fn snapshot(&self) -> Snapshot {
        let snapshot = self.memory.snapshot();
        let number = self.snapshots.fetch_add(1, Ordering::SeqCst);
        let due = {
            let mut soon = lock(&self.soon);
            if soon.front().is_some_and(|(when, _)| *when <= number) {
                soon.pop_front()
            } else {
                None
            }
        };
        if let Some((_, instance)) = due {
            let done = self.memory.register(instance).now_or_never();
            done.expect("memory does not wait").expect("there is room");
        }
        snapshot
    }

    fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.memory.instance(key)
    }

    fn changes_since(&self, revision: u64) -> Option<Vec<Change>> {
        self.memory.changes_since(revision)
    }

    fn recent_changes(&self, wall: u64) -> (Snapshot, Option<Vec<Change>>) {
        self.memory.recent_changes(wall)
    }

    fn observe(&self, observer: Weak<dyn Observer>) {
        self.memory.observe(observer);
    }
}

impl Backend for Meddled {
    fn kind(&self) -> &'static str {
        self.memory.kind()
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        self.memory.register(instance)
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.memory.renew(key, dirty_at)
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.memory.deregister(key)
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.memory.set_override(key, change)
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        self.memory.report(check, report)
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        self.memory.service(name)
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        self.memory.services()
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        self.memory.watch(service)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.memory.close()
    }
}

fn stand() -> (Stand, Arc<Meddled>) {
    let clock = Clock::running();
    let meddled = Meddled::start(clock.clone());
    (Stand::over(meddled.clone(), |_| {}, clock), meddled)
}

/// Every kind of read that sees the late instance.
const READS: [&str; 9] = [
    "/v1/catalog/services",
    "/v1/catalog/nodes",
    "/v1/catalog/service/late",
    "/v1/catalog/node/late-host",
    "/v1/catalog/node-services/late-host",
    "/v1/health/service/late",
    "/v1/health/checks/late",
    "/v1/health/node/late-host",
    "/v1/health/state/any",
];

fn late() -> Instance {
    let mut late = Instance::new("late", "late-1");
    late.address.host = Some("late-host".to_owned());
    late.status = larder_registry::model::Status::Down;
    late
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_change_never_has_the_index_of_the_change() {
    for path in READS {
        for moment in 0..6 {
            let (stand, registry) = stand();
            stand.register(r#"{"Name":"web"}"#).await;
            registry.register_after(moment, late());
            let told = stand.get(path).await;
            while !registry.has_meddled() {
                registry.snapshot();
            }
            if told.text().contains("late") {
                continue;
            }
            let next = stand.get(&format!("{path}?index={}&wait=60s", told.index())).await;
            assert_eq!(
                next.took,
                Duration::ZERO,
                "{path} at {moment}: the change was slept through"
            );
            assert!(next.text().contains("late"), "{path} at {moment}: {}", next.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_between_the_look_and_the_wait_is_not_slept_through() {
    for path in READS {
        for moment in 0..6 {
            let (stand, registry) = stand();
            stand.register(r#"{"Name":"web"}"#).await;
            let seen = stand.get(path).await.index();
            registry.register_after(moment, late());
            let waiting = stand.begin(&format!("{path}?index={seen}&wait=60s"));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            while !registry.has_meddled() {
                registry.snapshot();
            }
            let told = waiting.told().await;
            assert_eq!(told.took, Duration::ZERO, "{path} at {moment}");
            assert!(told.index() > seen && told.text().contains("late"), "{path} at {moment}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_follow_indexes_see_every_last_change_while_writers_write() {
    let stand = Arc::new(Stand::new());
    stand.put("/v1/kv/last", "0").await;
    let readers =
        ["/v1/health/service/web", "/v1/catalog/services", "/v1/kv/last?raw"].map(|path| {
            let stand = stand.clone();
            tokio::spawn(async move {
                let mut index = 0;
                loop {
                    let separator = if path.contains('?') { '&' } else { '?' };
                    let told = stand.get(&format!("{path}{separator}index={index}&wait=30s")).await;
                    assert!(
                        told.took < Duration::from_secs(20),
                        "{path} slept through the last change"
                    );
                    assert!(told.index() >= index, "{path} went backwards");
                    index = told.index();
                    if told.text().contains("done") {
                        return;
                    }
                }
            })
        });
    for number in 0..300 {
        let service = if number % 2 == 0 { "web" } else { "other" };
        stand.register(&format!(r#"{{"Name":"{service}","Tags":["t{number}"]}}"#)).await;
        stand.put("/v1/kv/last", number.to_string()).await;
        tokio::task::yield_now().await;
    }
    stand.register(r#"{"Name":"web","Tags":["done"]}"#).await;
    stand.put("/v1/kv/last", "done").await;
    for reader in readers {
        reader.await.expect("it sees the last change");
    }
    assert_eq!(stand.consul.parked(), 0);
}
