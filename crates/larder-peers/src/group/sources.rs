//! Where a group's two caches get their values: the loader here, and the owner elsewhere.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use larder_cache::{Attempt, Blame, Clock, Fetched, Fresh, Removal, Source};

use crate::client::{CallError, Client, Question};
use crate::codec::{Codec, GroupKey, Undecodable};
use crate::group::heat::Heat;
use crate::group::held::Held;
use crate::group::stats::Tally;
use crate::pool::Shared;
use crate::wire::answer::{PeerFault, Response, Verdict, judge};
use crate::wire::expiry::Expiry;
use crate::wire::path::path;

/// What an entry takes beside its key's and its value's own bytes, in bytes: see
/// `docs/decisions/0033-what-an-entry-weighs.md`.
pub(crate) const ENTRY_OVERHEAD: u64 = 176;

/// How many bytes of the budget an entry takes.
fn weight<K: GroupKey, V: Codec>(key: &K, held: &Held<V>) -> u64 {
    (key.as_bytes().len() as u64) + (held.value.size() as u64) + ENTRY_OVERHEAD
}

/// The group's source, with the time of expiry beside each value: the main cache's source.
pub(crate) struct Local<S> {
    source: S,
    ttl: Duration,
    clock: Clock,
    tally: Arc<Tally>,
}

impl<S> Local<S> {
    pub(super) fn new(source: S, ttl: Duration, clock: Clock, tally: Arc<Tally>) -> Self {
        Self { source, ttl, clock, tally }
    }

    fn expiry(&self, ttl: Option<Duration>) -> Expiry {
        Expiry::after(self.clock.wall(), ttl.unwrap_or(Duration::MAX).min(self.ttl))
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Source for Local<S> {
    type Key = S::Key;
    type Value = Held<S::Value>;
    type Error = S::Error;

    async fn fetch(
        &self,
        key: &S::Key,
        attempt: Attempt<Held<S::Value>>,
    ) -> Result<Fetched<Held<S::Value>>, S::Error> {
        let began = self.clock.uptime();
        let previous = attempt.previous().map(|held| held.value.clone());
        let fetched = self.source.fetch(key, attempt.part(|held| &held.value)).await;
        self.tally.load_latency.record(self.clock.uptime().saturating_sub(began));
        Ok(match fetched? {
            Fetched::Fresh(fresh) => {
                let expiry = self.expiry(fresh.shortened_to());
                fresh.map(|value| Held::loaded(value, expiry)).into()
            }
            Fetched::NotModified { ttl } => match previous {
                // It holds for longer now, which peers must be told.
                Some(value) => {
                    let fresh = Fresh::new(Held::loaded(value, self.expiry(ttl)));
                    ttl.map_or(fresh.clone(), |ttl| fresh.ttl(ttl)).into()
                }
                None => Fetched::NotModified { ttl },
            },
            Fetched::Absent { remember_for } => Fetched::Absent { remember_for },
        })
    }

    fn weigh(&self, key: &S::Key, held: &Held<S::Value>) -> u64 {
        weight(key, held)
    }

    fn blame(&self, error: &S::Error) -> Blame {
        self.source.blame(error)
    }

    fn removed(&self, key: &S::Key, held: &Held<S::Value>, cause: Removal) {
        self.source.removed(key, &held.value, cause);
    }
}

/// The owner elsewhere: the hot cache's source.
pub(crate) struct Remote<K, V> {
    group: String,
    pub(super) pool: Arc<Shared>,
    pub(super) tally: Arc<Tally>,
    heat: Arc<Heat>,
    remembers_absence: bool,
    values: PhantomData<fn() -> (K, V)>,
}

/// Why the owner gave no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// It says that there is none.
    #[error("{0}")]
    Missing(String),
    /// Its loader failed.
    #[error("{text}")]
    Failed { peer: String, text: String },
    /// It is of no use: load here.
    #[error(transparent)]
    Useless(#[from] Useless),
    /// This process is the owner by now.
    #[error("this process is the owner")]
    Own,
}

/// Why an owner is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Useless {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Answer(#[from] PeerFault),
    #[error(transparent)]
    Value(#[from] Undecodable),
}

impl<K, V> Remote<K, V> {
    pub(super) fn new(
        group: String,
        pool: Arc<Shared>,
        tally: Arc<Tally>,
        heat: Arc<Heat>,
        remembers_absence: bool,
    ) -> Self {
        Self { group, pool, tally, heat, remembers_absence, values: PhantomData }
    }

    fn useless(&self, peer: &str, why: Useless) -> RemoteError {
        self.tally.peer_errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(peer, group = self.group, %why, "a peer was of no use, loading here");
        RemoteError::Useless(why)
    }
}

impl<K: GroupKey, V: Codec> Remote<K, V> {
    pub(super) async fn ask(
        &self,
        peer: &str,
        client: &Client,
        key: &K,
        renews: bool,
    ) -> Result<Fetched<Held<V>>, RemoteError> {
        self.tally.asked.fetch_add(1, Ordering::Relaxed);
        let (options, clock) = (&self.pool.options, &self.pool.clock);
        let mode = options.mode;
        let path = path(&options.base_path, &self.group, key.as_bytes(), mode.escape());
        let question = Question { renews, ..Question::new(Method::GET, path, Bytes::new()) };
        let began = clock.uptime();
        let answer = client.call(question).await;
        self.tally.peer_latency.record(clock.uptime().saturating_sub(began));
        let answer = answer.map_err(|error| self.useless(peer, error.into()))?;
        let response = Response { status: answer.status, group: answer.group, body: &answer.body };
        let now = clock.wall();
        match judge(mode, &self.group, response, now) {
            Verdict::Value(bytes, expiry, qps) => {
                let value = V::decode(bytes).map_err(|error| self.useless(peer, error.into()))?;
                let fresh = Fresh::new(Held::loaded(value, expiry)).ttl(expiry.left(now));
                let peers = self.pool.members().others().count();
                let keeps = self.heat.keeps(key.as_bytes(), qps, peers, clock.now());
                Ok(if keeps { fresh.into() } else { fresh.unkept().into() })
            }
            // Where it is remembered, the words are not.
            Verdict::Missing(_) if self.remembers_absence => {
                Ok(Fetched::Absent { remember_for: None })
            }
            Verdict::Missing(text) => Err(RemoteError::Missing(text)),
            Verdict::Failed(text) => Err(RemoteError::Failed { peer: peer.to_owned(), text }),
            Verdict::LoadLocally(fault) => Err(self.useless(peer, fault.into())),
        }
    }
}

impl<K: GroupKey, V: Codec> Source for Remote<K, V> {
    type Key = K;
    type Value = Held<V>;
    type Error = RemoteError;

    async fn fetch(
        &self,
        key: &K,
        attempt: Attempt<Held<V>>,
    ) -> Result<Fetched<Held<V>>, RemoteError> {
        // Only who has a copy, and wants a newer one, minds its age.
        let renews = attempt.max_age() < Duration::MAX;
        let members = self.pool.members();
        let Some((peer, client)) = members.remote_owner(key.as_bytes()) else {
            return Err(RemoteError::Own);
        };
        let answered = self.ask_owner((peer, client), key, renews).await;
        if let Err(RemoteError::Useless(_)) = answered
            && self.pool.options.second_owner
            && let Some((peer, client)) = members.stand_in(key.as_bytes())
        {
            return self.ask(peer, client, key, renews).await;
        }
        answered
    }

    fn weigh(&self, key: &K, held: &Held<V>) -> u64 {
        weight(key, held)
    }
}
