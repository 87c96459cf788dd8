//! The task of a mirror: it follows the registry behind, and puts what it hears in place.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Backoff, Upstream};

use super::{Contact, Shared};
use crate::backend::{Backend, Error, Watch};
use crate::catalog::{Change, Snapshot};
use crate::event::Event;
use crate::model::{Action, Instance, Key, Lease, Name};

/// Between attempts to open the watch: 800 ms, doubling to 30 s, as Kubernetes' reflectors. But the one
/// watch of a mirror is also the probe of its upstream, whose turn comes up about once a second.
const BACKOFF: Backoff =
    Backoff { free_failures: 0, base: Duration::from_millis(800), cap: Duration::from_secs(30) };

/// A watch that held for so long was healthy: its end is a first failure, not one more.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// How long what a listing has replaced is kept. Whoever is the last to let go of a state takes it apart, which
/// for a large one takes many milliseconds: that should be this task, and no reader who held it for a moment.
const LINGER: Duration = Duration::from_secs(1);

/// What is not held any more, to be dropped where nobody waits for that.
type Replaced = (Snapshot, Vec<Change>);

/// A listing that has not ended.
#[derive(Debug)]
struct Aside {
    /// What is held. This is the only task that changes it, and does not do so before the end of the listing.
    held: Snapshot,
    /// What was listed; what says the same as what is held, as that.
    listed: Vec<Arc<Instance>>,
}

impl Aside {
    /// Takes a part of the listing. It is compared here, one by one as they come, because at the end of a long
    /// listing nobody else on the thread would run for as long as all of them take.
    fn take(&mut self, listed: Arc<Instance>) {
        let held = held(&self.held, &listed).filter(|held| is_same(held, &listed)).cloned();
        self.listed.push(held.unwrap_or(listed));
    }
}

/// Of how many services the latest revision is remembered; beyond it they are all forgotten.
const LATEST: usize = 100_000;

/// What is known of one watch.
#[derive(Debug, Default)]
struct Heard {
    aside: Option<Aside>,
    /// That of the last listing.
    listed: u64,
    /// What was told of a service since then. Services come in any order; what is told of one in another
    /// order than it happened is old news.
    latest: HashMap<Name, u64>,
}

impl Heard {
    /// Whether an event tells something that was not overtaken. A source that does not count is believed;
    /// several changes of one step share a revision.
    fn is_news(&mut self, instance: &Instance, revision: u64) -> bool {
        if revision == 0 {
            return true;
        }
        if self.latest.len() >= LATEST {
            self.latest.clear();
        }
        let latest = self.latest.entry(instance.service.clone()).or_insert(self.listed);
        let is_news = revision >= *latest;
        *latest = revision.max(*latest);
        is_news
    }
}

/// Follows until the mirror is closed.
pub(super) async fn run(shared: Arc<Shared>, behind: Arc<dyn Backend>) {
    // Cancel-safe: both only look.
    tokio::select! {
        biased;
        () = closed(&shared) => return,
        () = awake(&shared) => {}
    }
    let mut failures = 0;
    let upstream = Upstream::new(shared.clock.clone());
    while !shared.held.is_closed() {
        // Cancel-safe: a watch that was not handed over is dropped.
        let opened = tokio::select! {
            biased;
            () = closed(&shared) => return,
            opened = behind.watch(None) => opened,
        };
        match opened {
            Ok(mut watch) => {
                let since = shared.clock.now();
                follow(&shared, &mut *watch).await;
                // One that ends at once is a failure, whatever it said.
                let healthy = shared.clock.now().since(since) >= HEALTHY_AFTER;
                failures = if healthy { 1 } else { failures + 1 };
            }
            Err(error) => {
                lose_contact(&shared, &error);
                failures += 1;
            }
        }
        // Any bits will do to come back at another time than others.
        let dice = u32::try_from(shared.clock.wall() % 1000).unwrap_or(0).saturating_mul(4_294_967);
        let failed_at = shared.clock.now();
        upstream.note_failure(failed_at);
        // Cancel-safe: both take nothing.
        tokio::select! {
            biased;
            () = closed(&shared) => return,
            () = upstream.retry(failed_at, BACKOFF.wait(failures, dice)) => {}
        }
    }
}

async fn closed(shared: &Shared) {
    let mut progress = shared.held.subscribe();
    // An error means that the mirror itself is gone.
    let _ = progress.wait_for(|progress| progress.closed).await;
}

async fn awake(shared: &Shared) {
    // The sender is `shared`'s, so that it cannot be gone.
    let _ = shared.awake.subscribe().wait_for(|awake| *awake).await;
}

/// Follows one watch to its end.
async fn follow(shared: &Shared, watch: &mut dyn Watch) {
    let mut heard = Heard::default();
    let mut step = None;
    let mut replaced: Option<Replaced> = None;
    loop {
        // Cancel-safe: a dropped call of `next` loses no event, and a sleep that begins anew ends later.
        let event = tokio::select! {
            biased;
            () = closed(shared) => return,
            event = watch.next() => event,
            () = tokio::time::sleep(LINGER), if replaced.is_some() => {
                replaced = None;
                continue;
            }
        };
        // The events of a listing are all ready at once: without this nobody else on the thread would run until
        // the last one.
        tokio::task::consume_budget().await;
        match event {
            None => {
                lose_contact(shared, &Error::Closed);
                return;
            }
            // An error ends nothing: the watch goes on by itself, where it broke off or anew.
            Some(Err(error)) => lose_contact(shared, &error),
            Some(Ok(event)) => {
                let listed = take(shared, &mut heard, &mut step, event);
                let ended = if watch.is_amid_step() { None } else { step.take() };
                replaced = listed.or(ended.and_then(|made| made.show(shared))).or(replaced);
            }
        }
    }
}

fn lose_contact(shared: &Shared, error: &Error) {
    let mut state = shared.held.lock();
    if state.contact == Contact::Now {
        state.contact = Contact::Lost(shared.clock.now());
        tracing::warn!(%error, "the registry behind is out of reach; what is known is served on");
    }
}

/// What the events of a step have made so far, which nobody sees before its end. The task is the only
/// one that changes what is held.
struct Made {
    now: Snapshot,
    changes: Vec<Change>,
}

impl Made {
    fn begin(shared: &Shared) -> Self {
        Self { now: shared.held.lock().catalog.aside(), changes: Vec::new() }
    }

    /// Puts it in place, and hands back what a step of many changes has replaced. What one change replaces is
    /// small, and dropped here, out of the lock.
    fn show(self, shared: &Shared) -> Option<Replaced> {
        install(shared, self.now, &self.changes).filter(|_| self.changes.len() > 1)
    }
}

/// Hands back what a listing has replaced.
fn take(
    shared: &Shared,
    heard: &mut Heard,
    step: &mut Option<Made>,
    event: Event,
) -> Option<Replaced> {
    match event {
        Event::Init => {
            let held = shared.held.lock().catalog.aside();
            heard.aside = Some(Aside { held, listed: Vec::new() });
        }
        Event::InitApply(instance) => {
            if let Some(aside) = &mut heard.aside {
                aside.take(instance);
            }
        }
        Event::InitDone { revision } => {
            let aside = heard.aside.take()?;
            // A listing is the truth, even if its revisions have begun again.
            *heard = Heard { listed: revision, ..Heard::default() };
            // Not under the lock: this is the only writer, and a listing may be long.
            let (now, changes) = relist(aside, shared.clock.wall());
            return install(shared, now, &changes);
        }
        Event::Resumed => {
            let now = shared.held.lock().catalog.aside();
            drop(install(shared, now, &[]));
        }
        Event::Apply { revision, instance } if heard.is_news(&instance, revision) => {
            change(shared, step, |now, wall| put(now, instance, wall));
        }
        Event::Delete { revision, instance } if heard.is_news(&instance, revision) => {
            change(shared, step, |now, wall| remove(now, &instance.key(), wall));
        }
        Event::Apply { .. } | Event::Delete { .. } => {}
    }
    None
}

fn change(
    shared: &Shared,
    step: &mut Option<Made>,
    apply: impl FnOnce(&mut Snapshot, u64) -> Option<Change>,
) {
    let made = step.get_or_insert_with(|| Made::begin(shared));
    made.changes.extend(apply(&mut made.now, shared.clock.wall()));
}

/// Puts a new state in place, and tells everyone. Hands back the one before, out of the lock for which readers
/// wait.
fn install(shared: &Shared, now: Snapshot, changes: &[Change]) -> Option<Replaced> {
    let mut state = shared.held.lock();
    let regained = state.contact != Contact::Now;
    if changes.is_empty() && !regained {
        // Nothing that anybody waits for.
        return None;
    }
    if regained {
        tracing::info!(
            instances = now.len(),
            changes = changes.len(),
            "the registry behind is followed"
        );
    }
    state.contact = Contact::Now;
    let before = state.catalog.replace(now, changes);
    shared.held.tell(&state, changes);
    Some(before)
}

/// What was listed, and what that changes. What is not listed is gone; of two instances with one key the later
/// stays.
fn relist(Aside { held: mut now, mut listed }: Aside, wall: u64) -> (Snapshot, Vec<Change>) {
    listed.sort_by(order);
    let before = now.clone();
    let mut held = before.instances().peekable();
    let (mut gone, mut there) = (Vec::new(), Vec::new());
    for instance in listed {
        while let Some(missing) = held.next_if(|held| order(held, &instance).is_lt()) {
            gone.push(missing.key());
        }
        let held = held.next_if(|held| order(held, &instance).is_eq());
        if held.is_none_or(|held| !Arc::ptr_eq(held, &instance)) {
            there.push(instance);
        }
    }
    gone.extend(held.map(|held| held.key()));
    let mut changes: Vec<Change> =
        gone.iter().filter_map(|key| remove(&mut now, key, wall)).collect();
    changes.extend(there.into_iter().filter_map(|instance| put(&mut now, instance, wall)));
    (now, changes)
}

/// The order in which a snapshot has its instances.
fn order(one: &Arc<Instance>, other: &Arc<Instance>) -> Ordering {
    one.service.cmp(&other.service).then_with(|| one.id.cmp(&other.id))
}

/// What is held under the key of this instance.
fn held<'a>(now: &'a Snapshot, instance: &Instance) -> Option<&'a Arc<Instance>> {
    now.service(&instance.service)?.get(&instance.id)
}

fn put(now: &mut Snapshot, instance: Arc<Instance>, wall: u64) -> Option<Change> {
    let held = held(now, &instance);
    if held.is_some_and(|held| is_same(held, &instance)) {
        return None;
    }
    let action = if held.is_some() { Action::Modified } else { Action::Added };
    // Not a copy, unless the registry behind is in this process.
    let mut instance = Arc::unwrap_or_clone(instance);
    // The order of deltas is that of this registry's clock.
    instance.updated_at = wall;
    instance.action = Some(action);
    let instance = Arc::new(instance);
    let before = now.put(instance.clone());
    Some(Change { revision: now.revision(), wall, action, before, instance })
}

fn remove(now: &mut Snapshot, key: &Key, wall: u64) -> Option<Change> {
    let before = now.remove(key)?;
    let mut gone = Instance::clone(&before);
    gone.updated_at = wall;
    gone.action = Some(Action::Deleted);
    let (revision, action) = (now.revision(), Action::Deleted);
    Some(Change { revision, wall, action, before: Some(before), instance: Arc::new(gone) })
}

/// Whether two copies of an instance say the same, whenever they were made.
pub(super) fn is_same(held: &Instance, told: &Instance) -> bool {
    held.says_the_same(told, |held, told| Lease { renewed_at: held.renewed_at, ..*told } == *held)
}
