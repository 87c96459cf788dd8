//! A registry with a real [`Memory`] in it and a bad line before it: calls fail, hang, take their time or
//! are counted; watches break, end, fall silent, lose, repeat, delay and reorder what they tell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_cache::Clock;
use larder_registry::catalog::Service;
use larder_registry::model::{CheckKey, Instance, Key, Name};
use larder_registry::{
    Backend, BoxFuture, Error, Event, Memory, OverrideChange, Phase, Report, Watch, memory,
};
use tokio::sync::watch;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Line {
    #[default]
    Works,
    Fails,
    /// No answer until the line is another.
    Hangs,
    /// Reads alone: the service is there and has no instance, as Consul says of one that is all critical.
    Empty,
}

/// What becomes of the events of watches that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Flow {
    #[default]
    Passes,
    /// Nothing comes; it all comes later.
    Held,
    /// Listings begin, and end when the flow is another.
    HeldInListing,
    /// Changes are lost. Whoever turns this on breaks the watch afterwards: no registry that tells nobody
    /// of a loss can be followed.
    Lossy,
    /// Changes come twice.
    Twice,
    /// Changes that wait come service by service, the last service first.
    Reordered,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) reads: Line,
    pub(crate) lists: Line,
    pub(crate) writes: Line,
    /// Of new watches, and of broken ones that go on.
    pub(crate) opens: Line,
    pub(crate) flow: Flow,
    /// The one service that reads and new watches are bad of; all of them without.
    pub(crate) only: Option<Name>,
    /// How long every call takes.
    pub(crate) delay: Duration,
    breaks: usize,
    ends: usize,
    told: Vec<Event>,
}

impl Faults {
    fn of(&self, service: Option<&Name>, line: Line) -> Line {
        let concerned = self.only.is_none() || self.only.as_ref() == service;
        if concerned { line } else { Line::Works }
    }
}

/// How often something was asked for.
#[derive(Debug, Default)]
struct Calls {
    reads: AtomicUsize,
    lists: AtomicUsize,
    opens: AtomicUsize,
    watches: AtomicUsize,
}

/// The registry.
#[derive(Debug)]
pub(crate) struct Faulty {
    memory: Arc<Memory>,
    faults: watch::Sender<Faults>,
    calls: Arc<Calls>,
}

impl Faulty {
    pub(crate) fn start() -> Arc<Self> {
        let memory = Arc::new(Memory::start(memory::Options::default(), Clock::running()));
        Arc::new(Self { memory, faults: watch::Sender::default(), calls: Arc::default() })
    }

    /// The registry behind the bad line.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    /// Nothing answers any more, and what stood is broken.
    pub(crate) fn die(&self) {
        self.set(|faults| {
            (faults.reads, faults.lists) = (Line::Fails, Line::Fails);
            (faults.writes, faults.opens) = (Line::Fails, Line::Fails);
            faults.breaks += 1;
        });
    }

    /// Everything works, from now on.
    pub(crate) fn recover(&self) {
        self.set(|faults| {
            (faults.reads, faults.lists) = (Line::Works, Line::Works);
            (faults.writes, faults.opens) = (Line::Works, Line::Works);
            faults.flow = Flow::Passes;
        });
    }

    /// Every watch that stands says an error, once.
    pub(crate) fn break_watches(&self) {
        self.set(|faults| faults.breaks += 1);
    }

    /// Every watch that stands ends.
    pub(crate) fn end_watches(&self) {
        self.set(|faults| faults.ends += 1);
    }

    /// Has every watch that stands tell this, whatever is true.
    pub(crate) fn tell(&self, event: Event) {
        self.set(|faults| faults.told.push(event));
    }

    /// The same of several changes that were made in one step.
    pub(crate) fn tell_step(&self, changes: impl IntoIterator<Item = Event>) {
        self.set(|faults| faults.told.extend(changes));
    }

    pub(crate) fn reads(&self) -> usize {
        self.calls.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn lists(&self) -> usize {
        self.calls.lists.load(Ordering::SeqCst)
    }

    /// Whether watches that stand say nothing, or not all, and nobody can know.
    pub(crate) fn is_silent(&self) -> bool {
        let faults = self.faults.borrow();
        matches!(faults.flow, Flow::Held | Flow::HeldInListing | Flow::Lossy)
    }

    /// How often a watch was asked for.
    pub(crate) fn opens(&self) -> usize {
        self.calls.opens.load(Ordering::SeqCst)
    }

    /// How many watches are held.
    pub(crate) fn watches(&self) -> usize {
        self.calls.watches.load(Ordering::SeqCst)
    }

    /// Everything that was asked for the sake of reading.
    pub(crate) fn asked(&self) -> usize {
        self.reads() + self.lists() + self.opens()
    }

    async fn pass(&self, phase: Phase, of: impl Fn(&Faults) -> Line) -> Result<Line, Error> {
        let mut faults = self.faults.subscribe();
        let delay = faults.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let line = faults.wait_for(|faults| of(faults) != Line::Hangs).await;
        match line.map(|faults| of(&faults)) {
            Ok(Line::Fails) => Err(unreachable_while(phase)),
            Ok(line) => Ok(line),
            Err(_) => Err(Error::Closed),
        }
    }

    async fn write(&self) -> Result<(), Error> {
        self.pass(Phase::Write, |faults| faults.writes).await.map(drop)
    }
}

pub(crate) fn unreachable_while(phase: Phase) -> Error {
    Error::Unavailable { phase, reason: "connection refused".to_owned() }
}

impl Backend for Faulty {
    fn kind(&self) -> &'static str {
        "faulty"
    }

    fn register(&self, instance: Instance) -> BoxFuture<'_, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            self.write().await?;
            self.memory.register(instance).await
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        dirty_at: Option<u64>,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.write().await?;
            self.memory.renew(key, dirty_at).await
        })
    }

    fn deregister<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            self.write().await?;
            self.memory.deregister(key).await
        })
    }

    fn set_override<'a>(
        &'a self,
        key: &'a Key,
        change: OverrideChange,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async move {
            self.write().await?;
            self.memory.set_override(key, change).await
        })
    }

    fn report<'a>(
        &'a self,
        check: &'a CheckKey,
        report: Report,
    ) -> BoxFuture<'a, Result<Arc<Instance>, Error>> {
        Box::pin(async {
            self.write().await?;
            self.memory.report(check, report).await
        })
    }

    fn service<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Arc<Service>, Error>> {
        Box::pin(async {
            self.calls.reads.fetch_add(1, Ordering::SeqCst);
            match self.pass(Phase::Read, |faults| faults.of(Some(name), faults.reads)).await? {
                Line::Empty => Ok(Arc::new(Service::new(name.clone(), 1, []))),
                _ => self.memory.service(name).await,
            }
        })
    }

    fn services(&self) -> BoxFuture<'_, Result<Vec<Name>, Error>> {
        Box::pin(async {
            self.calls.lists.fetch_add(1, Ordering::SeqCst);
            self.pass(Phase::List, |faults| faults.lists).await?;
            self.memory.services().await
        })
    }

    fn watch(&self, service: Option<Name>) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        Box::pin(async {
            self.calls.opens.fetch_add(1, Ordering::SeqCst);
            let of = service.as_ref();
            self.pass(Phase::Watch, |faults| faults.of(of, faults.opens)).await?;
            let standing = self.memory.watch(service.clone()).await?;
            self.calls.watches.fetch_add(1, Ordering::SeqCst);
            let faults = self.faults.subscribe();
            let now = faults.borrow().clone();
            Ok(Box::new(FaultyWatch {
                memory: self.memory.clone(),
                service,
                standing,
                is_broken: false,
                faults,
                breaks: now.breaks,
                ends: now.ends,
                told: now.told.len(),
                ready: VecDeque::new(),
                calls: self.calls.clone(),
            }) as Box<dyn Watch>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.memory.close()
    }
}

/// A watch of the memory, over the line.
#[derive(Debug)]
struct FaultyWatch {
    memory: Arc<Memory>,
    service: Option<Name>,
    standing: Box<dyn Watch>,
    /// It has said an error, and lists anew when the line works.
    is_broken: bool,
    faults: watch::Receiver<Faults>,
    breaks: usize,
    ends: usize,
    told: usize,
    /// What has come and was not told yet.
    ready: VecDeque<Event>,
    calls: Arc<Calls>,
}

/// How often a broken watch says that it still is.
const STILL_BROKEN: Duration = Duration::from_secs(1);

impl FaultyWatch {
    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            let faults = self.faults.borrow_and_update().clone();
            if faults.ends > self.ends {
                return None;
            }
            if faults.breaks > self.breaks {
                (self.breaks, self.is_broken) = (faults.breaks, true);
                self.ready.clear();
                return Some(Err(unreachable_while(Phase::Watch)));
            }
            if self.is_broken && faults.of(self.service.as_ref(), faults.opens) != Line::Works {
                let pause = tokio::time::timeout(STILL_BROKEN, self.faults.changed());
                if pause.await.is_err() && faults.opens == Line::Fails {
                    return Some(Err(unreachable_while(Phase::Watch)));
                }
                continue;
            }
            if self.is_broken {
                self.standing = self.memory.watch(self.service.clone()).await.ok()?;
                self.is_broken = false;
            }
            if let Some(event) = faults.told.get(self.told) {
                self.told += 1;
                return Some(Ok(event.clone()));
            }
            let in_listing = matches!(self.ready.front(), Some(Event::InitDone { .. }));
            let held =
                faults.flow == Flow::Held || faults.flow == Flow::HeldInListing && in_listing;
            if !held && let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if held {
                self.faults.changed().await.ok()?;
                continue;
            }
            // Cancel-safe: a dropped call of `next` loses no event, and `changed` takes nothing.
            tokio::select! {
                biased;
                changed = self.faults.changed() => changed.ok()?,
                event = self.standing.next() => self.come(event?.ok()?, faults.flow).await,
            }
        }
    }

    async fn come(&mut self, event: Event, flow: Flow) {
        let is_change = matches!(event, Event::Apply { .. } | Event::Delete { .. });
        match flow {
            Flow::Lossy if is_change => {}
            Flow::Twice if is_change => self.ready.extend([event.clone(), event]),
            Flow::Reordered if is_change => {
                self.ready.push_back(event);
                while let Ok(Some(Ok(event))) =
                    tokio::time::timeout(Duration::ZERO, self.standing.next()).await
                {
                    self.ready.push_back(event);
                }
                let service = |event: &Event| match event {
                    Event::Apply { instance, .. } | Event::Delete { instance, .. } => {
                        Some(std::cmp::Reverse(instance.service.clone()))
                    }
                    _ => None,
                };
                self.ready.make_contiguous().sort_by_key(service);
            }
            _ => self.ready.push_back(event),
        }
    }
}

impl Watch for FaultyWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(self.next_event())
    }

    fn is_amid_step(&self) -> bool {
        let faults = self.faults.borrow();
        let revision = |event: &Event| match event {
            Event::Apply { revision, .. } | Event::Delete { revision, .. } => Some(*revision),
            _ => None,
        };
        let last = self.told.checked_sub(1).and_then(|last| faults.told.get(last));
        let next = faults.told.get(self.told);
        last.zip(next).is_some_and(|(last, next)| revision(last) == revision(next))
    }
}

impl Drop for FaultyWatch {
    fn drop(&mut self) {
        self.calls.watches.fetch_sub(1, Ordering::SeqCst);
    }
}
