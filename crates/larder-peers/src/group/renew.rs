//! Renewing values that are read near their expiry, so that no caller waits for the next ones.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use larder_cache::{Reply, Request, Source};
use tokio::runtime::Handle;

use crate::codec::{Codec, GroupKey};
use crate::group::held::Held;
use crate::group::renewals::{Renewals, Tier, Turn, is_due, pause, window};
use crate::group::sources::RemoteError;
use crate::group::{Core, From, Got};

/// A value that may be renewed, as it was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    tier: Tier,
    age: Duration,
    left: Duration,
}

/// A key that counts as being renewed; whatever becomes of its renewal, it ends with this.
struct Renewing<'a, S: Source<Key: GroupKey, Value: Codec>> {
    core: &'a Core<S>,
    key: &'a S::Key,
    left: Duration,
    is_done: bool,
}

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    /// The value, from memory; has it renewed in the background if its time has come, and counts gets of copies
    /// where that decides which are kept.
    #[inline]
    pub(super) fn read(&self, key: &S::Key) -> Option<Got<S::Value>> {
        if self.options.renew_ahead.is_zero() && !self.heat.counts() {
            return self.peek(key);
        }
        let (tier, reply) = match self.main.peek(key) {
            Some(reply) => (Tier::Main, reply),
            None => (Tier::Hot, self.hot.peek(key)?),
        };
        if tier == Tier::Hot {
            self.heat.note_own(key.as_bytes(), self.pool.clock.coarse());
        }
        self.renew_if_due(key, &reply, tier);
        Some(Got(From::Cache(reply)))
    }

    /// As [`read`](Self::read), but what was loaded or set here alone, and no copies.
    pub(super) fn read_main(&self, key: &S::Key) -> Option<Got<S::Value>> {
        let reply = self.main.peek(key)?;
        if !self.options.renew_ahead.is_zero() {
            self.renew_if_due(key, &reply, Tier::Main);
        }
        Some(Got(From::Cache(reply)))
    }

    #[inline]
    fn renew_if_due(&self, key: &S::Key, reply: &Reply<Held<S::Value>>, tier: Tier) {
        let seen = Seen::new(tier, reply);
        if seen.left <= seen.window(self.options.renew_ahead) {
            self.renew_later(key, reply, seen);
        }
    }

    #[cold]
    fn renew_later(&self, key: &S::Key, reply: &Reply<Held<S::Value>>, seen: Seen) {
        let ahead = self.options.renew_ahead;
        let nanos = reply.expiry().nanos();
        // This process is in it, so that the copies of one value are not all renewed at once.
        let dice = dice((&self.pool.identity, key.as_bytes(), nanos));
        if !is_due(seen.window(ahead), seen.left, seen.tier, dice)
            || !self.may_renew(key, reply, seen.tier)
            // A hit needs no runtime, and must not panic for want of one.
            || Handle::try_current().is_err()
            || self.renewals().begin(key, self.pool.clock.now()) != Turn::Begin
        {
            return;
        }
        let (core, key) = (self.myself.upgrade(), key.clone());
        let task = async move {
            if let Some(core) = core {
                core.renew_now(&key, seen).await;
            }
        };
        if self.pool.tasks.spawn(task).is_none() {
            // The pool is closed, and nothing is ever renewed again.
            tracing::debug!(group = self.name, "not renewed: the pool is closed");
        }
    }

    /// For a peer whose copy expires soon: sees to it that there is a newer value here, and waits for that.
    pub(super) async fn renew_for_peer(&self, key: &S::Key) {
        let Some(reply) = self.main.peek(key) else { return };
        let seen = Seen::new(Tier::Main, &reply);
        // All of the window counts: whoever asks has waited for longer already.
        if seen.left > seen.window(self.options.renew_ahead)
            || !self.may_renew(key, &reply, seen.tier)
        {
            return;
        }
        let turn = self.renewals().begin(key, self.pool.clock.now());
        match turn {
            Turn::Begin => self.renew_now(key, seen).await,
            Turn::UnderWay => {
                self.tally.main_asked.fetch_add(1, Ordering::Relaxed);
                drop(self.main.get_with(key, &seen.request()).await);
            }
            Turn::Later => {}
        }
    }

    /// Whether it is this process's to renew, and not one that was set, which holds until its expiry.
    fn may_renew(&self, key: &S::Key, reply: &Reply<Held<S::Value>>, tier: Tier) -> bool {
        let is_own = self.pool.members().remote_owner(key.as_bytes()).is_none();
        match tier {
            Tier::Main => is_own && !reply.was_set(),
            Tier::Hot => !is_own && !self.is_buried(key),
        }
    }

    /// Asks for a newer value than was seen. What is set or removed meanwhile counts, and not the answer.
    async fn renew_now(&self, key: &S::Key, seen: Seen) {
        let mut renewing = Renewing { core: self, key, left: seen.left, is_done: false };
        let counter = |counter: &std::sync::atomic::AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        counter(&self.tally.renewals);
        let request = seen.request();
        renewing.is_done = match seen.tier {
            Tier::Main => {
                counter(&self.tally.main_asked);
                self.main.get_with(key, &request).await.is_ok()
            }
            Tier::Hot => {
                counter(&self.tally.hot_asked);
                match self.hot.get_with(key, &request).await {
                    Ok(_) => true,
                    Err(error) => {
                        if is_missing(&error) {
                            self.hot.invalidate(key);
                        }
                        false
                    }
                }
            }
        };
    }

    fn renewals(&self) -> MutexGuard<'_, Renewals<S::Key>> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chance enough, and the same again for the same.
fn dice(of: impl Hash) -> u16 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let bytes = hasher.finish().to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// Whether the owner says that there is no such key any more.
fn is_missing(error: &larder_cache::Error<RemoteError>) -> bool {
    matches!(error, larder_cache::Error::Source(error) if matches!(**error, RemoteError::Missing(_)))
}

impl Seen {
    fn new<V>(tier: Tier, reply: &Reply<V>) -> Self {
        Self { tier, age: reply.age(), left: reply.fresh_for() }
    }

    fn window(self, ahead: Duration) -> Duration {
        window(ahead, self.age, self.left)
    }

    /// Asks for a value that came after this one, and for no stale one.
    fn request(self) -> Request {
        Request::DEFAULT.max_age(self.age).stale_if_error(Duration::ZERO)
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Drop for Renewing<'_, S> {
    fn drop(&mut self) {
        let not_before = self.core.pool.clock.now().after(pause(self.left));
        self.core.renewals().end(self.key, (!self.is_done).then_some(not_before));
        if !self.is_done {
            self.core.tally.renewals_failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
