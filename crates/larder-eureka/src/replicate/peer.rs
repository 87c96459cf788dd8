//! One peer: its line, and the task that sends what stands in it.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_cache::{Backoff, Clock};
use larder_registry::{BoxFuture, Error, Registry};
use tokio::sync::{Notify, watch};

use super::adoption::adopt;
use super::answers::{Reply, reply, trouble};
use super::figures::{Contact, PeerFigures, Tallies};
use super::news::News;
use super::pace::{Next, Pace, Trouble, Waits};
use super::queue::{Limits, Queue, Task};
use crate::client::{Client, Fault};
use crate::wire::replication::{Answer, Sent, encode_within};

/// How many tasks a batch has at most; as Netflix's.
const BATCH: usize = 250;

/// How long a task waits for others to go with it; as Netflix's.
const DELAY: Duration = Duration::from_millis(500);

/// How large a batch may get, in bytes: half of what a Larder takes unless it is told otherwise.
const BATCH_BYTES: usize = 512 << 10;

/// For how long a server that stops still tries to tell what waits.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

const WAITS: Waits =
    Waits { busy: backoff(Duration::from_secs(1)), lost: backoff(Duration::from_millis(100)) };

const fn backoff(base: Duration) -> Backoff {
    Backoff { free_failures: 0, base, cap: Duration::from_secs(30) }
}

/// The way to a peer.
pub(super) trait Courier: Debug + Send + Sync {
    /// Hands over an encoded batch; returns what the peer answers to each item. Safe to cancel: the batch
    /// was handed over or not.
    fn deliver(&self, batch: Vec<u8>) -> BoxFuture<'_, Result<Vec<Answer>, Fault>>;
}

impl Courier for Client {
    fn deliver(&self, batch: Vec<u8>) -> BoxFuture<'_, Result<Vec<Answer>, Fault>> {
        Box::pin(self.replicate(batch))
    }
}

/// Another server.
#[derive(Debug)]
pub(super) struct Peer {
    url: String,
    courier: Box<dyn Courier>,
    queue: Mutex<Queue>,
    /// Told when there is something to wait for, or enough of it.
    more: Notify,
    tallies: Tallies,
    registry: Arc<dyn Registry>,
    clock: Clock,
    dice: RandomState,
}

impl Peer {
    pub(super) fn new(
        url: String,
        courier: Box<dyn Courier>,
        tasks: usize,
        registry: Arc<dyn Registry>,
        clock: Clock,
    ) -> Self {
        let queue = Mutex::new(Queue::new(Limits { tasks, batch: BATCH, delay: DELAY }));
        let (more, tallies, dice) = (Notify::new(), Tallies::default(), RandomState::new());
        Self { url, courier, queue, more, tallies, registry, clock, dice }
    }

    /// Puts it in the line. Never waits for longer than somebody else does so.
    pub(super) fn tell(&self, news: News) {
        let now = self.clock.now();
        let (before, after) = {
            let mut queue = self.queue();
            let before = queue.len();
            queue.push(news, now);
            (before, queue.len())
        };
        // The task knows when the first one is due, and need not hear of those behind it before they make
        // a whole batch.
        if before == 0 || (before < BATCH && after >= BATCH) {
            self.more.notify_one();
        }
    }

    pub(super) fn figures(&self) -> PeerFigures {
        let (queued, counts) = {
            let queue = self.queue();
            (queue.len(), queue.counts())
        };
        self.tallies.read(&self.url, queued, counts)
    }

    /// Sends what is due, one batch at a time, until told to stop; then what is left, once.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut pace = Pace::new(WAITS, BATCH);
        loop {
            // cancel-safe: a batch is taken in one step, after the last await of the branch.
            let batch = tokio::select! {
                // An error means that whoever could say so is gone.
                _ = stop.wait_for(|stop| *stop) => break,
                batch = self.next(&pace) => batch,
            };
            self.send(batch, &mut pace).await;
        }
        self.say_the_rest(&mut pace).await;
    }

    /// Whoever owns this task waits for no longer than [`LAST_WORDS`].
    async fn say_the_rest(&self, pace: &mut Pace) {
        while pace.failures() == 0 {
            let batch = self.queue().take(pace.batch(), self.clock.now());
            if batch.is_empty() {
                return;
            }
            self.send(batch, pace).await;
        }
    }

    /// Waits until a batch is due, and takes it.
    async fn next(&self, pace: &Pace) -> Vec<Task> {
        loop {
            let now = self.clock.now();
            let due = self.queue().due_at().map(|due| due.max(pace.not_before()));
            match due {
                Some(due) if due <= now => return self.queue().take(pace.batch(), now),
                Some(due) => {
                    // cancel-safe: neither branch takes anything; the loop looks again.
                    tokio::select! {
                        () = tokio::time::sleep(due.since(now)) => {}
                        () = self.more.notified() => {}
                    }
                }
                None => self.more.notified().await,
            }
        }
    }

    async fn send(&self, mut batch: Vec<Task>, pace: &mut Pace) {
        let (body, count) = encode_within(batch.iter().map(|task| &task.item), BATCH_BYTES);
        let rest = batch.split_off(count);
        self.queue().put_back(rest, self.clock.now());
        if batch.is_empty() {
            return;
        }
        match self.courier.deliver(body).await {
            Ok(answers) if answers.len() == batch.len() => {
                pace.took();
                self.took(&batch, &answers).await;
            }
            Ok(answers) => {
                let says = format!("it answered {} of {} items", answers.len(), batch.len());
                self.failed(batch, Trouble::Odd, &says, pace);
            }
            Err(fault) => {
                if let Some(trouble) = trouble(&fault) {
                    self.failed(batch, trouble, &Error::from(fault).to_string(), pace);
                }
            }
        }
    }

    async fn took(&self, batch: &[Task], answers: &[Answer]) {
        if self.tallies.contact(Contact::Available) {
            tracing::info!(peer = self.url, "a peer takes what it is told");
        }
        self.tallies.sent(batch.len());
        for (task, answer) in batch.iter().zip(answers) {
            self.heed(&task.item, answer).await;
        }
    }

    async fn heed(&self, item: &Sent, answer: &Answer) {
        match reply(item, answer) {
            Reply::Done => {}
            Reply::Send => {
                if let Some(held) = self.registry.instance(&item.key) {
                    self.tell(News::registered(&held));
                }
            }
            Reply::Take(newer) => {
                if let Err(error) = adopt(&*self.registry, &newer).await {
                    let peer = &self.url;
                    tracing::warn!(peer, %error, "a peer's newer instance could not be taken");
                }
            }
            Reply::Refused => {
                self.tallies.refused(1);
                let (peer, status, action) = (&self.url, answer.status, item.action.as_str());
                tracing::warn!(peer, instance = %item.key, action, status, "a peer refused it");
            }
        }
    }

    fn failed(&self, batch: Vec<Task>, trouble: Trouble, says: &str, pace: &mut Pace) {
        let (now, random) = (self.clock.now(), self.random());
        let len = batch.len();
        let next = pace.failed(trouble, len, now, random);
        self.tallies.failed_batch();
        // Once for each time of trouble: it may last long, and is met often.
        if self.tallies.contact(Contact::Unavailable) {
            tracing::warn!(peer = self.url, error = says, "a peer does not take what it is told");
        }
        match next {
            Next::Again => self.queue().put_back(batch, now),
            Next::Drop => self.tallies.refused(len),
        }
    }

    fn random(&self) -> u32 {
        let drawn = self.dice.hash_one(self.clock.now().as_millis());
        u32::try_from(drawn >> 32).unwrap_or(u32::MAX)
    }

    /// The lock is held for one step of the queue, never across an await.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
