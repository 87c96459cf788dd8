//! Staying fresh by a stream of changes: nothing half-built is ever visible, and a dead stream is
//! noticed.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use crate::aftermath::Aftermath;
use crate::clock::Time;
use crate::crowd::Counted;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::{Error, StreamFault};
use crate::guarded::{Panicked, caught};
use crate::keep::Refresh;
use crate::landing::{Answered, Order};
use crate::pilot::{Look, Pilot};
use crate::signal::Signal;
use crate::slots::{Shard, Slot};
use crate::source::{Blame, Fresh, Source};
use crate::stats::Event;
use crate::sync::{AtomicU64, Mutex, Ordering, lock, sleep};
use crate::trouble::Trouble;

/// A source that can say what changes, as it changes; used by caches made with
/// [`Cache::watching`](crate::Cache::watching).
///
/// A key's value is followed by [`watch`](Self::watch) for as long as somebody is interested. A request
/// that finds no value asks [`fetch`](Source::fetch), which is also how a list is made anew when the
/// stream cannot be resumed.
pub trait Watch: Source {
    /// What a value is made of, if the stream tells changes of parts; `Infallible` if it only ever
    /// tells whole values.
    type Item: Send + 'static;

    /// Follows `key`: tells `feed` every change after index `from`, or, without one, first everything
    /// that there is. The future is dropped when nobody is interested any more.
    ///
    /// A stream that is open says so within the [time for a fetch](crate::Options::fetch_timeout), by
    /// [`Feed::heard`] if there is nothing to tell; one that does not is given up, and opened again after
    /// a back-off that is the stream's alone: whoever finds the value too old meanwhile has it fetched.
    /// An end has the stream opened again, from the last index that was told; an error, silence for the
    /// idle time-out, or an end within a second does so after the entry's back-off.
    fn watch(
        &self,
        key: &Self::Key,
        from: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> impl Future<Output = Result<Ended, Self::Error>> + Send
    where
        Self: Sized;

    /// Makes the value that follows `before` by `edits`; `before` is `None` when the edits are a whole
    /// list. A pure function.
    fn build(
        &self,
        key: &Self::Key,
        before: Option<&Self::Value>,
        edits: Vec<Edit<Self::Item>>,
    ) -> Self::Value;
}

/// One change of one part of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<I> {
    /// It is there, new or changed.
    Apply(I),
    /// It is gone.
    Delete(I),
}

/// What a stream tells.
#[derive(Debug, Clone)]
pub enum Change<V, I> {
    /// The whole value, in place of what there was.
    Whole(Fresh<V>),
    /// A list begins. Until it is done, readers see the value that was there before it.
    Init,
    /// One item of the list.
    InitApply(I),
    /// The list is complete, as of this index: it replaces the value at once.
    InitDone(u64),
    /// One item is new or changed, as of this index.
    Apply(I, u64),
    /// One item is gone, as of this index.
    Delete(I, u64),
    /// The whole value is gone: the owner has no such thing.
    Absent,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Of itself; it can be resumed.
    Over,
    /// The owner no longer knows the index to resume from: the list is fetched anew.
    IndexRefused,
}

/// Where a stream tells its changes to.
pub struct Feed<'a, S: Watch> {
    engine: &'a Arc<Engine<S>>,
    key: &'a S::Key,
    heard: &'a Heard,
    list: Option<Vec<Edit<S::Item>>>,
    last: Option<Entry<S::Value>>,
}

/// What the stream has given to hear, shared with whoever watches over it.
#[derive(Default)]
struct Heard {
    /// When the last sign of life came.
    at_ms: AtomicU64,
    fault: Mutex<Option<StreamFault>>,
    /// Rises with the first sign of life, and with a fault.
    alarm: Signal,
}

/// [`follow`], for a source whose type is known.
pub(crate) type Follow<S> =
    for<'a> fn(&'a mut Pilot<S>, Order<<S as Source>::Value>, Look) -> Following<'a, S>;

type Following<'a, S> = Pin<Box<dyn Future<Output = Followed<S>> + Send + 'a>>;

/// What to land, or `None` if the stream is not wanted any more; and the order as it stands.
type Followed<S> = (Option<Answered<S>>, Order<<S as Source>::Value>);

/// A stream that ends sooner than this is out of order, whatever it said: it backs off.
const BRIEF: Duration = Duration::from_secs(1);

/// How a stream lived.
#[derive(Debug, Clone, Copy)]
struct Life {
    began_at: Time,
    spoke: bool,
    brief: bool,
}

/// Why a stream is over.
enum Ending<E> {
    Ended(Ended),
    Failed(E),
    Panicked,
    /// It did not open in time.
    Late,
    Faulty(StreamFault),
    Unwanted,
}

/// Follows the stream of the pilot's key until it ends, fails, goes quiet, or is not wanted any more.
pub(crate) fn follow<S: Watch>(
    pilot: &mut Pilot<S>,
    mut order: Order<S::Value>,
    look: Look,
) -> Following<'_, S> {
    Box::pin(async move {
        let (engine, key) = (Arc::clone(&pilot.engine), pilot.key.clone());
        let heard = Heard::default();
        heard.note(order.began_at);
        let from = order.previous.as_ref().map(|entry| entry.source_index());
        // Taken: a stream may live for days, and what it has replaced must not stay for as long.
        let last = order.previous.take();
        let mut feed = Feed { engine: &engine, key: &key, heard: &heard, list: None, last };
        let ending = run(pilot, &mut feed, from, look).await;
        let brief = engine.clock.now().since(order.began_at) < BRIEF;
        let life = Life { began_at: order.began_at, spoke: heard.spoke(), brief };
        if life.spoke {
            pilot.lates = 0;
        }
        let unanswered_since = (!life.spoke).then_some(order.began_at);
        let order =
            Order { previous: feed.last.take(), began_at: heard.at(), unanswered_since, ..order };
        (land(pilot, ending, life), order)
    })
}

async fn run<S: Watch>(
    pilot: &mut Pilot<S>,
    feed: &mut Feed<'_, S>,
    from: Option<u64>,
    mut look: Look,
) -> Ending<S::Error> {
    let (engine, heard) = (Arc::clone(feed.engine), feed.heard);
    let mut stream = pin!(caught(engine.source.watch(feed.key, from, feed)));
    let mut alarms = 0;
    loop {
        // Cancel-safe: the stream is pinned outside and lives on when another arm wins; the others
        // take nothing. A stream that is dropped is what its end means.
        tokio::select! {
            biased;
            () = pilot.disturbance(look) => match pilot.is_still_wanted() {
                Some(next) if !engine.tasks.is_closing() => look = next,
                _ => return Ending::Unwanted,
            },
            ended = &mut stream => return match ended {
                Ok(Ok(ended)) => Ending::Ended(ended),
                Ok(Err(error)) => Ending::Failed(error),
                Err(Panicked) => Ending::Panicked,
            },
            () = heard.alarm.past(alarms) => {
                if let Some(fault) = *lock(&heard.fault) {
                    return Ending::Faulty(fault);
                }
                alarms = heard.alarm.version();
                pilot.set_counted(Counted::Connected);
            }
            () = heard.silence(&engine) => {
                return if heard.spoke() { Ending::Faulty(StreamFault::Quiet) } else { Ending::Late };
            }
        }
    }
}

/// What the end of a stream means for its key.
fn land<S: Watch>(
    pilot: &mut Pilot<S>,
    ending: Ending<S::Error>,
    life: Life,
) -> Option<Answered<S>> {
    let fault = |fault| Some(Err((Error::Stream(fault), Blame::Upstream)));
    match ending {
        Ending::Unwanted => None,
        Ending::Ended(Ended::IndexRefused) => {
            // Once is what happens when an owner has compacted its history; again and again, after
            // each new list, is a fault, which backs off although the lists succeed.
            pilot.refusals = if life.brief { pilot.refusals.saturating_add(1) } else { 1 };
            let wait = pilot.engine.options.backoff.wait(pilot.refusals, 0);
            pilot.relist_at = Some(pilot.engine.clock.now().after(wait));
            None
        }
        Ending::Ended(Ended::Over) if life.spoke && !life.brief => None,
        Ending::Ended(Ended::Over) => fault(StreamFault::Brief),
        Ending::Faulty(what) => fault(what),
        Ending::Failed(error) => Some(Err(pilot.engine.failure(error))),
        Ending::Late => {
            pilot.note_late(life.began_at);
            None
        }
        Ending::Panicked => Some(Err((Error::Panicked, Blame::Entry))),
    }
}

impl<S: Watch> Feed<'_, S> {
    /// Says that the stream lives although it has nothing to tell: that it is open, or a heartbeat.
    pub fn heard(&mut self) {
        let first = !self.heard.spoke();
        self.heard.note(self.engine.clock.now());
        if first {
            self.come_to_life();
            drop(self.heard.alarm.raise());
        }
    }

    /// Tells a change. What makes no sense ends the stream, which is then opened again after a
    /// back-off; what comes after that is not looked at.
    pub fn tell(&mut self, change: Change<S::Value, S::Item>) {
        if lock(&self.heard.fault).is_some() {
            return;
        }
        self.engine.counters.count(Event::Streamed);
        self.heard();
        if let Err(fault) = self.take(change) {
            *lock(&self.heard.fault) = Some(fault);
            drop(self.heard.alarm.raise());
        }
    }

    fn take(&mut self, change: Change<S::Value, S::Item>) -> Result<(), StreamFault> {
        match (change, &mut self.list) {
            (Change::Whole(fresh), None) => self.publish(fresh),
            (Change::Init, None) => self.list = Some(Vec::new()),
            (Change::InitApply(item), Some(list)) => {
                if list.len() >= self.engine.options.limits.listed as usize {
                    return Err(StreamFault::TooLong);
                }
                list.push(Edit::Apply(item));
            }
            (Change::InitDone(index), list @ Some(_)) => {
                let edits = list.take().unwrap_or_default();
                let value = self.engine.source.build(self.key, None, edits);
                self.publish(Fresh::new(value).index(index));
            }
            (Change::Absent, None) => self.absent(),
            (Change::Apply(item, index), None) => self.edit(Edit::Apply(item), index)?,
            (Change::Delete(item, index), None) => self.edit(Edit::Delete(item), index)?,
            _ => return Err(StreamFault::Disordered),
        }
        Ok(())
    }

    fn edit(&mut self, edit: Edit<S::Item>, index: u64) -> Result<(), StreamFault> {
        let before = self.last.as_ref().ok_or(StreamFault::Disordered)?;
        let value = self.engine.source.build(self.key, Some(before.value()), vec![edit]);
        self.publish(Fresh::new(value).index(index));
        Ok(())
    }

    fn publish(&mut self, fresh: Fresh<S::Value>) {
        let engine = &**self.engine;
        let weight = engine.source.weigh(self.key, &fresh.value);
        let mut aftermath = Aftermath::new();
        let shard = engine.slots.shard(self.key);
        if let Some(slot) = self.slot(&shard, &mut aftermath) {
            let previous = engine.previous(self.key, Some(slot));
            let now = engine.clock.now();
            let entry = engine.entry(fresh, weight, previous.as_ref(), Some(slot), now);
            entry.connect();
            aftermath.forgotten(engine.troubles.remove_if(self.key, Trouble::is_absent));
            engine.publish(self.key, Some(slot), &entry, &mut aftermath);
            aftermath.hold(previous);
            aftermath.hold(self.last.replace(entry));
        }
        drop(shard);
        aftermath.settle(engine);
    }

    fn absent(&mut self) {
        let engine = &**self.engine;
        let mut aftermath = Aftermath::new();
        let shard = engine.slots.shard(self.key);
        if let Some(slot) = self.slot(&shard, &mut aftermath) {
            aftermath.hold(self.last.take());
            engine.become_absent(self.key, Some(slot), None, &mut aftermath);
        }
        drop(shard);
        aftermath.settle(engine);
    }

    /// The key's slot, unless the pilot is about to end this stream: because the key was put or
    /// invalidated meanwhile, or because nobody wants it any more and it was evicted.
    fn slot<'s>(&self, shard: &'s Shard<S>, aftermath: &mut Aftermath<S>) -> Option<&'s Slot<S>> {
        let engine = &**self.engine;
        let slot = shard.get(self.key)?;
        let evicted = self.last.is_some() && !engine.store.contains(self.key);
        let wanted = slot.topic.is_interesting() || !evicted;
        if !wanted {
            aftermath.wake(slot.topic.beacon.raise());
        }
        (wanted && slot.rounds.is_current() && !engine.tasks.is_closing()).then_some(slot)
    }

    /// The stream is open: what is there holds until it says otherwise, and a back-off is over.
    fn come_to_life(&self) {
        let engine = &**self.engine;
        let mut aftermath = Aftermath::new();
        let shard = engine.slots.shard(self.key);
        if let Some(slot) = self.slot(&shard, &mut aftermath) {
            engine.succeed(self.key, false, true, engine.clock.now(), &mut aftermath);
            if let Some(entry) = &self.last {
                entry.connect();
                aftermath.posted(slot.topic.post_vouched(entry));
            }
        }
        drop(shard);
        aftermath.settle(engine);
    }
}

impl Heard {
    fn note(&self, at: Time) {
        self.at_ms.store(at.as_millis(), Ordering::Relaxed);
    }

    fn at(&self) -> Time {
        Time::from_millis(self.at_ms.load(Ordering::Relaxed))
    }

    /// Ends when nothing has been heard for the idle time-out, or nothing at all for the time that a
    /// fetch may take. Cancel-safe: it takes nothing.
    async fn silence<S: Source>(&self, engine: &Engine<S>) {
        let Refresh::Watch { idle_timeout } = engine.options.refresh else { return };
        loop {
            // Its first word raises the alarm, and this is asked anew.
            let idle_timeout = if self.spoke() {
                idle_timeout
            } else {
                idle_timeout.min(engine.options.fetch_timeout)
            };
            let left = self.at().after(idle_timeout).since(engine.clock.now());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    fn spoke(&self) -> bool {
        self.alarm.version() > 0
    }
}

impl<S: Watch> std::fmt::Debug for Feed<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("listing", &self.list.is_some()).finish_non_exhaustive()
    }
}
