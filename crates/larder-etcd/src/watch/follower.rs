//! The machine behind a watch: one step at a time, each of which ends in events or an error.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use larder_cache::Time;
use larder_registry::model::Name;
use larder_registry::{BoxFuture, Error, Event, Phase};
use tokio::sync::mpsc;

use crate::api::{
    self, EventKind, Stream, WatchAsk, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use crate::connection::Fault;
use crate::holdings::{Change, Holdings, Stored, Told, group};
use crate::keys;
use crate::store::{Listing, Store};

/// A stream that held for so long was healthy: its end is a first failure, not one more.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// How often within the idle time-out the server is listened to before it is given up; between two
/// times it is asked to speak.
const LISTENS: u32 = 3;

/// Over how long listings are spread after a compaction.
const FORGOTTEN_SPREAD: Duration = Duration::from_millis(500);

/// So many listings in a row may be forgotten before the next ones back off: then compactions are faster than
/// listings. Two or three in a row say nothing yet. A watch begins one revision before the present one, so that
/// etcd takes up to 100 ms to catch it up, in which a compaction ends it that would not end one that runs.
const FORGOTTEN_FREE: u32 = 5;

/// How often in a row a stream may end without a word before there is a new listing: whatever is wrong
/// with that revision, going back to it does not mend it.
const RESUMES_MAX: u32 = 3;

/// One step under way: the machine as it will be, and what came out.
pub(super) type Step = BoxFuture<'static, (Follower, Result<Vec<Event>, Error>)>;

/// The machine.
pub(super) struct Follower {
    store: Arc<Store>,
    /// The service that is watched; none for all.
    service: Option<Name>,
    /// The same as keys spell it, folded.
    folder: Option<String>,
    stage: Stage,
    /// Failures in a row, which the next wait follows from.
    failures: u32,
    /// How often in a row etcd had forgotten what came after a listing.
    forgotten: u32,
    /// What the next step waits for.
    pause: Option<Pause>,
    dice: RandomState,
}

/// Where a watch is.
enum Stage {
    /// Nothing is known, or what is known can no longer be brought up to date.
    List,
    /// What was told is known, and goes on from `told.next`.
    Resume(Known),
    /// The stream is open.
    Follow(Known, Box<Open>),
}

/// What was told.
struct Known {
    holdings: Holdings,
    /// The first revision that was not.
    next: i64,
    cluster: u64,
    /// How often in a row a stream ended before it said more than that it is open.
    mute: u32,
    /// Whether it was listed this moment: etcd answers, and nothing is to be waited for.
    is_fresh: bool,
    /// Whether it was told that the watch broke off, and not that it goes on.
    is_cut: bool,
}

struct Open {
    stream: Stream,
    questions: mpsc::Sender<WatchRequest>,
    since: Time,
}

/// What comes before the next step.
#[derive(Debug, Clone, Copy)]
enum Pause {
    /// A wait, whatever happens.
    Wait(Duration),
    /// etcd was out of reach at this time: a back-off, or the turn to find out whether it is back.
    Retry(Time, Duration),
}

/// Why a step ends without events.
enum End {
    /// Go on from where it was.
    Broken(Error),
    /// List anew, after a wait.
    Lost(Error),
    /// List anew: nothing failed, etcd has only forgotten.
    Forgotten,
}

impl Follower {
    pub(super) fn new(store: Arc<Store>, service: Option<Name>) -> Self {
        let folder = service.as_ref().map(|name| keys::part(name.folded()).unwrap_or_default());
        let dice = RandomState::default();
        Self {
            store,
            service,
            folder,
            stage: Stage::List,
            failures: 0,
            forgotten: 0,
            pause: None,
            dice,
        }
    }

    /// Takes one step.
    pub(super) fn step(mut self) -> Step {
        Box::pin(async move {
            let stage = std::mem::replace(&mut self.stage, Stage::List);
            let events = match stage {
                Stage::List => self.list().await,
                Stage::Resume(known) => self.resume(known).await,
                Stage::Follow(known, open) => self.follow(known, open).await,
            };
            (self, events)
        })
    }

    async fn list(&mut self) -> Result<Vec<Event>, Error> {
        let asked_at = self.wait().await;
        match self.listing().await {
            Ok((known, events)) => {
                self.stage = Stage::Resume(known);
                // A listing alone is no health: the stream after it may fail again and again.
                Ok(events)
            }
            Err(error) => self.fail(error, asked_at),
        }
    }

    async fn listing(&self) -> Result<(Known, Vec<Event>), Error> {
        let Listing { stored, revision, cluster } = match &self.service {
            Some(name) => self.store.service(name).await?,
            None => self.store.list().await?,
        };
        let mut holdings = Holdings::new(self.store.options.max_instances);
        for stored in stored {
            if let Some(change) = self.put(stored) {
                holdings.apply(vec![change]).map_err(|_| self.full())?;
            }
        }
        let mut events = vec![Event::Init];
        events.extend(holdings.instances().cloned().map(Event::InitApply));
        events.push(Event::InitDone { revision: revision.unsigned_abs() });
        Ok((
            Known { holdings, next: revision + 1, cluster, mute: 0, is_fresh: true, is_cut: false },
            events,
        ))
    }

    async fn resume(&mut self, mut known: Known) -> Result<Vec<Event>, Error> {
        let asked_at = if std::mem::take(&mut known.is_fresh) {
            self.store.clock.now()
        } else {
            self.wait().await
        };
        let range = self.store.keys.all();
        let create = WatchCreateRequest {
            key: range.start,
            range_end: range.end,
            // One that was told already, and is passed over. etcd 3.4.23 takes a watch that begins at the very
            // revision which was compacted, and has lost the deletions of that one: what they deleted would
            // stay for ever. Asked from the revision before, it says that it has forgotten. Its changelog has
            // this mended in 3.5.16 and 3.5.18 (issues 18089 and 19179); not relied on.
            start_revision: (known.next - 1).max(1),
            progress_notify: true,
        };
        let ask = WatchRequest { ask: Some(WatchAsk::Create(create)) };
        match self.store.connection.watch(ask).await {
            Ok((stream, questions)) => {
                let since = self.store.clock.now();
                let open = Box::new(Open { stream, questions, since });
                self.stage = Stage::Follow(known, open);
                Ok(Vec::new())
            }
            Err(fault) => {
                known.is_cut = true;
                self.stage = Stage::Resume(known);
                self.fail(fault.into(), asked_at)
            }
        }
    }

    async fn follow(&mut self, mut known: Known, mut open: Box<Open>) -> Result<Vec<Event>, Error> {
        let step = match self.hear(&mut open).await {
            Ok(answer) => self.take(&mut known, answer),
            Err(fault) => Err(End::Broken(fault.into())),
        };
        let now = self.store.clock.now();
        if now.since(open.since) >= HEALTHY_AFTER {
            self.failures = 0;
        }
        match step {
            Ok(events) => {
                self.stage = Stage::Follow(known, open);
                Ok(events)
            }
            Err(End::Broken(error)) => {
                known.mute += 1;
                known.is_cut = true;
                if known.mute <= RESUMES_MAX {
                    self.stage = Stage::Resume(known);
                }
                self.fail(error, now)
            }
            Err(End::Lost(error)) => self.fail(error, now),
            Err(End::Forgotten) => {
                tracing::info!(revision = known.next, "etcd has forgotten: listing anew");
                // After a short wait, so that a compaction is not followed by everybody's listing at once;
                // and after longer ones where compactions are faster than listings.
                self.forgotten = self.forgotten.saturating_add(1);
                let wait = match self.forgotten.checked_sub(FORGOTTEN_FREE) {
                    None | Some(0) => {
                        FORGOTTEN_SPREAD.mul_f64(f64::from(self.random()) / f64::from(u32::MAX))
                    }
                    Some(again) => self.store.options.backoff.wait(again, self.random()),
                };
                self.pause = Some(Pause::Wait(wait));
                Ok(Vec::new())
            }
        }
    }

    /// The next thing that the server says; it is asked to speak when it is silent.
    async fn hear(&self, open: &mut Open) -> Result<WatchResponse, Fault> {
        let idle = self.store.options.idle_timeout;
        for _ in 0..LISTENS {
            match tokio::time::timeout(idle / LISTENS, open.stream.message()).await {
                Ok(Ok(Some(answer))) => return Ok(answer),
                Ok(Ok(None)) => return Err(broken(tonic::Status::unavailable("the stream ended"))),
                Ok(Err(status)) => return Err(broken(status)),
                Err(_) => {
                    let ask = Some(WatchAsk::Progress(WatchProgressRequest {}));
                    // If there is no room, a question is on its way already.
                    let _ = open.questions.try_send(WatchRequest { ask });
                }
            }
        }
        self.store.connection.distrust();
        Err(Fault::Late { phase: Phase::Watch, after: idle })
    }

    /// What an answer means.
    fn take(&mut self, known: &mut Known, answer: WatchResponse) -> Result<Vec<Event>, End> {
        let header = answer.header.unwrap_or_default();
        if answer.canceled {
            return Err(self.cancelled(answer.compact_revision, answer.cancel_reason));
        }
        let went_back = header.revision + 1 < known.next || header.cluster_id != known.cluster;
        if answer.created && went_back {
            let reason = "it knows less than it once did, or is another etcd: listing anew";
            return Err(End::Lost(unavailable(reason.to_owned())));
        }
        if answer.created {
            self.store.upstream.note_success();
        } else {
            known.mute = 0;
            self.forgotten = 0;
        }
        let mut events = Vec::new();
        if answer.created && std::mem::take(&mut known.is_cut) {
            events.push(Event::Resumed);
        }
        for changes in answer.events.chunk_by(|one, other| revision(one) == revision(other)) {
            let at = changes.first().map_or(0, revision);
            // Never in one stream; and what was told is not told again.
            if at < known.next {
                continue;
            }
            let changes = changes.iter().filter_map(|change| self.change(change)).collect();
            let told = known.holdings.apply(changes).map_err(|_| End::Lost(self.full()))?;
            events.extend(told.into_iter().map(|told| event(told, at)));
            known.next = at + 1;
        }
        Ok(events)
    }

    fn cancelled(&self, compact_revision: i64, reason: String) -> End {
        if compact_revision > 0 {
            return End::Forgotten;
        }
        // A watch is not told that its token is no good, but that it may not.
        self.store.connection.log_in_again();
        End::Lost(if reason.contains("permission denied") || reason.contains("auth") {
            Error::Denied { phase: Phase::Watch, reason }
        } else {
            unavailable(format!("it ended the watch: {reason}"))
        })
    }

    /// The change of a key, if it may concern what is watched.
    fn change(&self, event: &api::Event) -> Option<Change> {
        let kv = event.kv.as_ref()?;
        let parts = self.store.keys.parse(&kv.key)?;
        let concerns = self.folder.as_ref().is_none_or(|it| parts.service.to_lowercase() == *it);
        if !concerns {
            return None;
        }
        let now = match event.kind() {
            EventKind::Put => self.store.stored(kv.clone()).filter(|stored| self.wants(stored)),
            EventKind::Delete => None,
        };
        let key = String::from_utf8(kv.key.clone()).ok()?;
        Some(Change { group: group(&parts), key, now })
    }

    fn put(&self, stored: Stored) -> Option<Change> {
        let group = group(&self.store.keys.parse(stored.key.as_bytes())?);
        Some(Change { group, key: stored.key.clone(), now: Some(stored) })
    }

    fn wants(&self, stored: &Stored) -> bool {
        self.service.as_ref().is_none_or(|name| *name == stored.instance.service)
    }

    fn full(&self) -> Error {
        Error::Full { limit: self.store.options.max_instances }
    }

    fn fail(&mut self, error: Error, asked_at: Time) -> Result<Vec<Event>, Error> {
        self.failures = self.failures.saturating_add(1);
        // Whatever is forgotten next is not forgotten because listings take too long.
        self.forgotten = 0;
        let wait = self.store.options.backoff.wait(self.failures, self.random());
        self.pause = Some(if matches!(error, Error::Unavailable { .. }) {
            self.store.upstream.note_failure(asked_at);
            Pause::Retry(self.store.clock.now(), wait)
        } else {
            Pause::Wait(wait)
        });
        Err(error)
    }

    /// Waits for as long as there is reason to, and says when that was over.
    async fn wait(&mut self) -> Time {
        match self.pause {
            None => {}
            Some(Pause::Wait(wait)) => tokio::time::sleep(wait).await,
            Some(Pause::Retry(failed_at, wait)) => self.store.upstream.retry(failed_at, wait).await,
        }
        self.pause = None;
        self.store.clock.now()
    }

    fn random(&self) -> u32 {
        let bits = self.dice.hash_one((self.failures, self.forgotten));
        u32::try_from(bits >> 32).unwrap_or(u32::MAX)
    }
}

fn event(told: Told, revision: i64) -> Event {
    let revision = revision.unsigned_abs();
    match told {
        Told::Apply(instance) => Event::Apply { revision, instance },
        Told::Delete(instance) => Event::Delete { revision, instance },
    }
}

fn revision(event: &api::Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn broken(status: tonic::Status) -> Fault {
    Fault::Refused { phase: Phase::Watch, status }
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable { phase: Phase::Watch, reason }
}
