//! The agent in front of Consul: reads are answered from copies that blocking queries keep fresh.
//!
//! Two of the engine's caches share one budget. One *keeps*: a query for each key waits at the upstream for as
//! long as somebody is interested, so that a copy has no age; what waits for an index, and what accepts a copy,
//! is answered there. The other *asks*: a read that accepts no copy asks the upstream, and those who ask the
//! same at the same time are answered together; it asks beside the query that waits, and does not cut it short.
//! Both give their last good copy while no agent answers, for as long as they may, with its real age.
//!
//! What Consul's own cache promises and does not do holds here: an answer that must be revalidated is never a
//! copy, also while the source fails; `stale-if-error` gives one; an index above the present one is answered at
//! once; an age is that of the copy, and not zero because somebody is trying.

mod asking;
mod contact;
mod manner;
mod options;
mod read;
mod refusals;
mod turns;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_cache::{
    Backoff, Blame, Budget, Cache, Clock, Fresh, Limits, Origin, Refresh, Reply, Upstream,
};
use tokio::sync::{mpsc, watch as signal};
use tokio::task::JoinHandle;

pub use manner::may_be_kept;
pub use options::{Options, OutOfRange};
pub use read::{Read, Unanswered};

use crate::client::{Client, Fault};
use crate::question::Question;
use crate::terms::Terms;
use asking::Asking;
pub(crate) use asking::Held;
use contact::Contact;
use manner::{Bounds, Manner, bounds, manner};
use turns::Turns;

/// How much of the budget is for copies that are kept fresh, and how much for what was asked.
const PARTS: (f64, f64) = (0.75, 0.25);

/// How long a read whose question has failed waits for a copy elsewhere: it is there or not.
const FALL_BACK: Duration = Duration::from_millis(50);

/// The longest time for which a key that fails by itself is left alone: an operator who has just corrected a
/// token should not have to wait.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The agent in front of Consul. See the [module](self).
///
/// It holds at most [`Options::capacity`] bytes of answers, one task for each key that is kept, and as many
/// connections as the [client](crate::client::Options::max_connections) may have.
#[derive(Debug)]
pub struct Agent {
    asking: Asking,
    kept: Cache<Asking>,
    asked: Cache<Asking>,
    upstream: Upstream,
    options: Options,
    /// How often copies have left because they are refused.
    left: signal::Sender<u64>,
    closing: signal::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Agent {
    /// Asks nobody yet. Whoever gives the clock keeps it moving. Must be called inside a tokio runtime;
    /// [`close`](Self::close) joins what it spawns.
    pub fn new(client: &Client, options: Options, clock: &Clock) -> Result<Self, OutOfRange> {
        options.check()?;
        let (refused, refusals) = mpsc::channel(refusals::WAITING);
        let turns = Arc::new(Turns::new(client.max_parked()));
        let upstream = Upstream::new(clock.clone());
        let budget = Budget::new(options.capacity);
        let blocking = Refresh::Blocking { wait: options.wait };
        let engine = |refresh, part| larder_cache::Options {
            share: Some(budget.share(part)),
            ..engine(&options, client, refresh, &upstream, clock)
        };
        let wrong = |wrong: larder_cache::OutOfRange| OutOfRange {
            option: wrong.option,
            range: wrong.range,
        };
        let asking = Asking { client: client.clone(), turns, clock: clock.clone(), refused };
        let kept_options =
            larder_cache::Options { rate: options.rate, ..engine(blocking, PARTS.0) };
        let kept = Cache::new(asking.clone(), kept_options).map_err(wrong)?;
        let asked_options =
            larder_cache::Options { ttl: Duration::ZERO, ..engine(Refresh::OnDemand, PARTS.1) };
        let asked = Cache::new(asking.clone(), asked_options).map_err(wrong)?;
        let (left, closing) = (signal::Sender::new(0), signal::Sender::new(false));
        let caches = [kept.clone(), asked.clone()];
        let task = tokio::spawn(refusals::run(refusals, caches, left.clone(), closing.subscribe()));
        let task = Mutex::new(Some(task));
        Ok(Self { asking, kept, asked, upstream, options, left, closing, task })
    }

    /// Answers a read. `wait` is for how long, where it waits for an index: that in the terms, within the limits
    /// of whoever serves. A read that [may not be kept](may_be_kept) does not belong here.
    ///
    /// Cancel-safe: a read that is dropped ends nobody else's.
    pub async fn read(
        &self,
        question: &Question,
        terms: &Terms,
        wait: Duration,
    ) -> Result<Read, Unanswered> {
        let bounds = bounds(terms);
        match manner(question, terms) {
            Manner::Park(past) => self.park(question, past, wait, bounds).await,
            Manner::Copy => self.copy(question, bounds).await,
            Manner::Ask => self.ask(question, bounds).await,
            Manner::AskAnew => self.ask_anew(question, bounds).await,
        }
    }

    /// The upstream, as both caches see it.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What the cache that keeps copies fresh has done and holds, and the same of the one that asks.
    pub fn stats(&self) -> (larder_cache::Stats, larder_cache::Stats) {
        (self.kept.stats(), self.asked.stats())
    }

    /// The copies that are kept fresh: what follows keys subscribes here.
    pub(crate) fn kept(&self) -> &Cache<Asking> {
        &self.kept
    }

    /// Rises when copies have left because they are refused.
    pub(crate) fn left(&self) -> signal::Receiver<u64> {
        self.left.subscribe()
    }

    /// Releases every read that waits, and returns when the last task has ended. The client stays open.
    pub async fn close(&self) {
        self.kept.close().await;
        self.asked.close().await;
        self.closing.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the task that lets refused copies go failed");
        }
    }

    /// From the copies that are kept.
    async fn copy(&self, question: &Question, bounds: Bounds) -> Result<Read, Unanswered> {
        let reply = self.kept.get_with(question, &bounds.request()).await;
        let reply = match reply {
            // The engine takes it for current because a query about it is on its way; but that one waits for
            // its turn, and nobody has vouched for the copy for too long.
            Ok(reply) if self.is_too_old(&reply, bounds) => {
                self.kept.get_with(question, &bounds.news()).await
            }
            reply => reply,
        };
        self.told(reply, bounds)
    }

    fn is_too_old(&self, reply: &Reply<Held>, bounds: Bounds) -> bool {
        let age = reply.contact.age(self.asking.clock.coarse());
        matches!(reply.origin(), Origin::Hit) && !bounds.takes(age, self.options.fresh_for)
    }

    /// Waits until the index has passed `past`.
    async fn park(
        &self,
        question: &Question,
        past: u64,
        wait: Duration,
        bounds: Bounds,
    ) -> Result<Read, Unanswered> {
        let now = self.copy(question, bounds).await?;
        if now.index > past {
            return Ok(now);
        }
        if now.index < past {
            // Either the copy is behind what the reader has seen, or the reader comes from elsewhere, or from
            // before something was restored. An agent would wait until it counts that far again.
            let reply = self.kept.get_with(question, &bounds.news()).await;
            let anew = self.told(reply, bounds)?;
            if anew.index != past {
                return Ok(anew);
            }
        }
        let request = bounds.request().min_index(past, wait);
        let mut left = self.left.subscribe();
        let mut parked = std::pin::pin!(self.kept.get_with(question, &request));
        loop {
            // Cancel-safe: `parked` is pinned outside and lives on when the other arm wins, which takes
            // nothing but the news that something has left.
            tokio::select! {
                biased;
                reply = &mut parked => return self.told_parked(reply, bounds),
                _ = left.changed() => {
                    // Whose copy has left because it is refused would be waited for until the time is over.
                    if self.kept.peek(question).is_none() {
                        let reply = self.kept.get_with(question, &bounds.news()).await;
                        return self.told(reply, bounds);
                    }
                }
            }
        }
    }

    /// Asks, together with those who ask at the same time.
    async fn ask(&self, question: &Question, bounds: Bounds) -> Result<Read, Unanswered> {
        let reply = self.asked.get_with(question, &bounds.news()).await;
        let fails = match &reply {
            Ok(reply) => reply.error().is_some(),
            Err(_) => true,
        };
        let told = self.told(reply, bounds);
        if !fails || matches!(told, Err(Unanswered::Refused(_) | Unanswered::Closed)) {
            return told;
        }
        self.fall_back(question, bounds, told).await
    }

    /// Asks, for this read alone.
    async fn ask_anew(&self, question: &Question, bounds: Bounds) -> Result<Read, Unanswered> {
        if self.upstream.down_for().is_some() {
            // One look a second is enough, and the cache's readers take turns at it.
            return self.ask(question, bounds).await;
        }
        let began_at = self.asking.clock.now();
        let fault = match self.asking.ask(question).await {
            Ok(heard) => {
                self.upstream.note_success();
                let now = self.asking.clock.now();
                let held = Held::new(heard.clone(), Contact::at(now));
                // For the time when no agent answers.
                let _ = self.asked.put(question, Fresh::new(held).index(heard.index));
                return Ok(Read::asked(heard));
            }
            Err(fault) => fault,
        };
        if fault.blame() == Blame::Upstream {
            self.upstream.note_failure(began_at);
        }
        let told = Err(Unanswered::from(fault));
        if matches!(told, Err(Unanswered::Refused(_) | Unanswered::Closed)) {
            return told;
        }
        let request = bounds.news().timeout(FALL_BACK);
        let copy = self.asked.get_with(question, &request).await;
        let told = self.told(copy, bounds).or(told);
        self.fall_back(question, bounds, told).await
    }

    /// What was asked was not answered, at most from a copy: that which is kept fresh may be younger.
    async fn fall_back(
        &self,
        question: &Question,
        bounds: Bounds,
        told: Result<Read, Unanswered>,
    ) -> Result<Read, Unanswered> {
        if bounds.stale_if_error == Some(Duration::ZERO) {
            return told;
        }
        let request = bounds.endured().timeout(FALL_BACK);
        let kept = self.kept.get_with(question, &request).await;
        let (fresh, keeps) = (self.options.fresh_for, self.options.stale_if_error);
        let kept =
            self.told(kept, bounds).ok().filter(|kept| bounds.endures(kept.age, fresh, keeps));
        match (told, kept) {
            (Ok(told), Some(kept)) if kept.age >= told.age => Ok(told),
            (told, Some(kept)) => Ok(Read { stale: Some(reason(&told)), ..kept }),
            (told, None) => told,
        }
    }

    fn told_parked(
        &self,
        reply: Result<Reply<Held>, larder_cache::Error<Fault>>,
        bounds: Bounds,
    ) -> Result<Read, Unanswered> {
        match reply {
            // The time that it waited is not held against the copy that it waited with.
            Ok(reply) if matches!(reply.origin(), Origin::Unchanged | Origin::Miss) => {
                Ok(Read::of(&reply, &self.asking.clock))
            }
            reply => self.told(reply, bounds),
        }
    }

    /// A reply as it is told, if it may be given.
    fn told(
        &self,
        reply: Result<Reply<Held>, larder_cache::Error<Fault>>,
        bounds: Bounds,
    ) -> Result<Read, Unanswered> {
        let reply = reply.map_err(|error| Unanswered::from(&error))?;
        if let Some(error) = reply.error()
            && let Some(refused) = read::verdict(error)
        {
            return Err(refused);
        }
        let read = Read::of(&reply, &self.asking.clock);
        let (fresh, kept) = (self.options.fresh_for, self.options.stale_if_error);
        let has_failed = read.stale.is_some();
        if has_failed && !bounds.endures(read.age, fresh, kept) {
            return Err(Unanswered::Unavailable(reason(&Ok(read))));
        }
        Ok(read)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Why a read was answered from a copy, or not at all.
fn reason(told: &Result<Read, Unanswered>) -> Arc<str> {
    match told {
        Ok(read) => read.stale.clone().unwrap_or_else(|| Arc::from("no agent answers")),
        Err(unanswered) => Arc::from(unanswered.to_string()),
    }
}

/// The options of one of the two caches.
fn engine(
    options: &Options,
    client: &Client,
    refresh: Refresh,
    upstream: &Upstream,
    clock: &Clock,
) -> larder_cache::Options {
    larder_cache::Options {
        capacity: options.capacity,
        expected_entries: 4096,
        ghost_allocation: 1.0,
        ttl: options.fresh_for,
        stale_if_error: options.stale_if_error,
        // The client's own time comes first, and says who did not answer.
        fetch_timeout: client.call_timeout() * 3,
        backoff: Backoff { cap: LONGEST_REST, ..Backoff::default() },
        refresh,
        idle: options.idle,
        upstream: Some(upstream.clone()),
        clock: Some(clock.clone()),
        limits: Limits { keepers: options.keys, waiters: options.waiters, ..Limits::default() },
        ..larder_cache::Options::default()
    }
}
