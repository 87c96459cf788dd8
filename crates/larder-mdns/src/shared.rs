//! What the parts of a backend share: what it publishes, what it knows, and who is interested.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use larder_cache::{Clock, Time};
use larder_registry::Observer;
use larder_registry::catalog::Change;
use larder_registry::model::{Action, Name};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, Semaphore, watch};

use crate::board::Board;
use crate::message::{Heard, Seen};
use crate::names::Domain;
use crate::options::Options;
use crate::picture::{Bounds, Picture};
use crate::record::Record;

/// How many questions are under way at once: each has a socket. The next waits for its turn.
const QUESTIONS_MAX: usize = 32;

/// How long what was sent may be on its way, at least.
const ECHO_MIN: Duration = Duration::from_secs(2);

/// Shared by a backend, its tasks and its watches.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) domain: Domain,
    pub(crate) clock: Clock,
    /// Where multicast arrives.
    pub(crate) socket: UdpSocket,
    /// Taken by each question.
    pub(crate) questions: Semaphore,
    /// Told after every change, and at the end.
    pub(crate) progress: watch::Sender<Progress>,
    /// Told when there is something new to say.
    pub(crate) news: Notify,
    /// Told when somebody may have to be forgotten earlier than was known.
    pub(crate) earlier: Notify,
    state: Mutex<State>,
    skipped: AtomicU64,
}

/// Under one lock, so that what is published and what watches are told never differ.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) board: Board,
    pub(crate) picture: Picture,
    /// What somebody watches: a service, or everything. As many as there are watches.
    interests: Vec<Weak<Option<Name>>>,
}

/// How far the picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) revision: u64,
    pub(crate) closed: bool,
}

impl Shared {
    pub(crate) fn new(options: Options, domain: Domain, clock: Clock, socket: UdpSocket) -> Self {
        let revision = clock.wall();
        let bounds = Bounds {
            instances: options.max_instances,
            silence: options.silence_timeout,
            // The longest question is several in a row.
            echo: ECHO_MIN.max(options.query_timeout * 4),
        };
        let state = State {
            board: Board::default(),
            picture: Picture::new(revision, bounds),
            interests: Vec::new(),
        };
        Self {
            options,
            domain,
            clock,
            socket,
            questions: Semaphore::new(QUESTIONS_MAX),
            progress: watch::Sender::new(Progress { revision, closed: false }),
            news: Notify::new(),
            earlier: Notify::new(),
            state: Mutex::new(state),
            skipped: AtomicU64::new(0),
        }
    }

    /// Locks, also after a panic elsewhere: every change is made in one step that cannot stop half-way.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.progress.borrow().closed
    }

    /// Ends with the backend.
    pub(crate) async fn closed(&self) {
        let mut progress = self.progress.subscribe();
        // An error means that the backend itself is gone.
        let _ = progress.wait_for(|progress| progress.closed).await;
    }

    /// Takes in what was heard, if anybody watches: what was announced, or what was asked for at some
    /// moment.
    pub(crate) fn hear(&self, heard: Vec<Heard>, asked_at: Option<Time>) {
        let mut state = self.state();
        if heard.is_empty() || state.interests().is_empty() {
            return;
        }
        let now = self.clock.now();
        let left_out = state.picture.left_out();
        for heard in heard {
            state.picture.hear(heard, asked_at, now);
        }
        // Logged at the first, and whenever their number has doubled.
        if state.picture.left_out().checked_ilog2() > left_out.checked_ilog2() {
            let limit = self.options.max_instances;
            tracing::warn!(limit, "watches leave out instances: there are more than they may hold");
        }
        self.tell(&state);
        drop(state);
        self.earlier.notify_one();
    }

    /// Forgets whom nobody heard of in time.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        state.picture.expire(self.clock.now());
        self.tell(&state);
    }

    /// Changes what is published and what watches are told, in one step.
    fn publish(&self, Change { action, instance, .. }: &Change) {
        let record = match action {
            Action::Deleted => None,
            Action::Added | Action::Modified => Record::of(&self.domain, instance)
                .inspect_err(|error| {
                    let key = instance.key();
                    tracing::warn!(%key, %error, "an instance is not published any more");
                })
                .ok(),
        };
        let now = self.clock.now();
        let mut state = self.state();
        state.board.set(&instance.key(), record, now);
        match action {
            Action::Deleted => state.picture.left(instance, now),
            Action::Added | Action::Modified => state.picture.registered(instance.clone(), now),
        }
    }

    fn tell(&self, state: &State) {
        let revision = state.picture.revision();
        self.progress.send_if_modified(|progress| {
            let is_new = progress.revision != revision;
            progress.revision = revision;
            is_new
        });
    }

    /// How often a message, or a part of one, could not be read.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Skips parts of a message.
    pub(crate) fn skip_all(&self, reasons: &[String]) {
        for reason in reasons {
            self.skip(reason);
        }
    }

    /// Logged at the first, second, fourth, … time.
    pub(crate) fn skip(&self, reason: &str) {
        let times = self.skipped.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(reason, times, "skipped what somebody sent over multicast DNS");
        }
    }
}

impl State {
    /// What is watched.
    pub(crate) fn interests(&mut self) -> Vec<Arc<Option<Name>>> {
        self.interests.retain(|interest| interest.strong_count() > 0);
        self.interests.iter().filter_map(Weak::upgrade).collect()
    }

    /// Somebody watches for as long as what is returned lives. The first finds nothing that is old.
    pub(crate) fn interest(&mut self, service: Option<Name>) -> Arc<Option<Name>> {
        if self.interests().is_empty() {
            self.picture.forget_others();
        }
        let interest = Arc::new(service);
        self.interests.push(Arc::downgrade(&interest));
        interest
    }
}

/// What is registered here is published before its registrant is answered.
impl Observer for Shared {
    fn changed(&self, changes: &[Change]) {
        for change in changes {
            self.publish(change);
        }
        self.tell(&self.state());
        self.news.notify_one();
        self.earlier.notify_one();
    }
}

/// For a query's answers: what others say is there.
pub(crate) fn seen(heard: Vec<Heard>) -> impl Iterator<Item = Seen> {
    heard.into_iter().filter_map(|heard| match heard {
        Heard::Here(seen) => Some(seen),
        Heard::Gone { .. } | Heard::Listed(_) => None,
    })
}
