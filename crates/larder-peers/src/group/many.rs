//! Many keys at once: what is not in memory is asked for with one request for each owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join, join_all};
use futures_util::stream::iter;
use http::Method;
use larder_cache::{Fresh, Source};

use crate::client::{Client, Question};
use crate::codec::{Codec, GroupKey};
use crate::group::held::Held;
use crate::group::{Core, Error, Got};
use crate::ring::Mode;
use crate::wire::batch::{GET_MANY, MOST_KEYS, Meaning, decode_outcomes, encode_keys};
use crate::wire::path::path;

/// Loads and single requests of one call that are under way at a time.
const AT_ONCE: usize = 256;

type Outcome<S> = Result<Got<<S as Source>::Value>, Error<<S as Source>::Error>>;

/// The keys of one request, by their places in the caller's list, and whom to ask.
struct Errand<'a> {
    peer: &'a str,
    client: &'a Arc<Client>,
    places: Vec<usize>,
}

impl<S: Source<Key: GroupKey, Value: Codec>> Core<S> {
    pub(super) async fn many(&self, keys: &[S::Key]) -> Vec<Outcome<S>> {
        let mut outcomes: Vec<_> = keys.iter().map(|key| self.read(key).map(Ok)).collect();
        let members = self.pool.members();
        let (mut errands, mut alone) = (BTreeMap::new(), Vec::new());
        for place in (0..keys.len()).filter(|place| outcomes[*place].is_none()) {
            let key = &keys[place];
            match members.remote_owner(key.as_bytes()) {
                // Only Larders know how to be asked for many.
                Some((peer, client))
                    if self.pool.options.mode == Mode::Native && !self.is_buried(key) =>
                {
                    let new = || Errand { peer, client, places: Vec::new() };
                    errands.entry(peer).or_insert_with(new).places.push(place);
                }
                _ => alone.push(place),
            }
        }
        let errands: Vec<_> = errands.into_values().flat_map(Errand::divided).collect();
        let asked = join_all(errands.iter().map(|errand| self.run(keys, errand)));
        let (asked, loaded) = join(asked, self.one_by_one(keys, &alone)).await;
        let mut left = Vec::new();
        for (place, outcome) in asked.into_iter().flatten() {
            match outcome {
                Some(outcome) => outcomes[place] = Some(outcome),
                None => left.push(place),
            }
        }
        // Whatever was wrong with the request, each of these has its own fallback.
        let last = self.one_by_one(keys, &left).await;
        for (place, outcome) in alone.into_iter().zip(loaded).chain(left.into_iter().zip(last)) {
            outcomes[place] = Some(outcome);
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(Error::Closed))).collect()
    }

    async fn one_by_one(&self, keys: &[S::Key], places: &[usize]) -> Vec<Outcome<S>> {
        // In a list, and boxed: the compiler cannot tell that a stream that borrows in a closure may be sent.
        let mut misses: Vec<BoxFuture<'_, Outcome<S>>> = Vec::with_capacity(places.len());
        for place in places {
            misses.push(Box::pin(self.miss(&keys[*place])));
        }
        iter(misses).buffered(AT_ONCE).collect().await
    }

    /// Asks one owner; none for a key that must be asked for alone.
    async fn run(&self, keys: &[S::Key], errand: &Errand<'_>) -> Vec<(usize, Option<Outcome<S>>)> {
        let asked = || errand.places.iter().map(|place| &keys[*place]);
        // What is asked for may be overtaken meanwhile, as a load may.
        let _reading = Reading::begin(self, asked().collect());
        let Some(meanings) = self.ask(errand, asked()).await else {
            return errand.places.iter().map(|place| (*place, None)).collect();
        };
        let told = meanings.iter().filter(|meaning| **meaning != Meaning::Alone).count() as u64;
        self.tally.misses.fetch_add(told, Ordering::Relaxed);
        self.tally.asked.fetch_add(told, Ordering::Relaxed);
        let outcomes = errand.places.iter().zip(meanings);
        let outcome = |place: usize, meaning| self.outcome(&keys[place], errand.peer, meaning);
        outcomes.map(|(place, meaning)| (*place, outcome(*place, meaning))).collect()
    }

    async fn ask<'a>(
        &self,
        errand: &Errand<'_>,
        keys: impl Iterator<Item = &'a S::Key>,
    ) -> Option<Vec<Meaning>> {
        let (options, clock) = (&self.pool.options, &self.pool.clock);
        let keys: Vec<_> = keys.map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        let asked = keys.len();
        // It is no key, so it is not escaped as one.
        let mut path = path(&options.base_path, &self.name, b"", options.mode.escape());
        path.push_str(&String::from_utf8_lossy(GET_MANY));
        let body = encode_keys(keys).into();
        let question = Question::new(Method::POST, path, body);
        self.tally.batches.fetch_add(1, Ordering::Relaxed);
        let began = clock.uptime();
        let answer = errand.client.call(question).await.ok()?;
        self.tally.peer_latency.record(clock.uptime().saturating_sub(began));
        let body = (answer.status == 200).then_some(answer.body)?;
        decode_outcomes(&body, asked, clock.wall()).ok()
    }

    fn outcome(&self, key: &S::Key, peer: &str, meaning: Meaning) -> Option<Outcome<S>> {
        match meaning {
            Meaning::Value(bytes, expiry, qps) => {
                let value = S::Value::decode(bytes).ok()?;
                let held = Held::loaded(value, expiry);
                self.tally.batched.fetch_add(1, Ordering::Relaxed);
                let (peers, now) = (self.pool.members().others().count(), self.pool.clock.now());
                self.heat.note_own(key.as_bytes(), now);
                if self.heat.keeps(key.as_bytes(), qps, peers, now) {
                    self.keep_copy(key, &held);
                }
                Some(Ok(Got::loose(held)))
            }
            Meaning::Missing(text) => Some(Err(Error::NotFound { text: Some(text) })),
            // Asked for alone, it is answered by a copy that has expired, if there is one.
            Meaning::Failed(_) if !self.options.stale_if_error.is_zero() => None,
            Meaning::Failed(text) => Some(Err(Error::Owner { peer: peer.to_owned(), text })),
            Meaning::Alone => None,
        }
    }

    fn keep_copy(&self, key: &S::Key, held: &Held<S::Value>) {
        let left = held.expiry().left(self.pool.clock.wall());
        // Under the lock, as after a set: a removal has disturbed this already, or waits to forget the copy.
        let writes = self.writes();
        if writes.may_keep_read(key) {
            let _ = self.hot.put(key, Fresh::new(held.clone()).ttl(left));
        }
    }
}

impl<'a> Errand<'a> {
    /// As many errands as it takes for all keys.
    fn divided(self) -> impl Iterator<Item = Errand<'a>> {
        let Self { peer, client, places } = self;
        let parts: Vec<_> = places.chunks(MOST_KEYS).map(<[usize]>::to_vec).collect();
        parts.into_iter().map(move |places| Errand { peer, client, places })
    }
}

/// Keys that are being asked for; it ends however the request does.
struct Reading<'a, S: Source<Key: GroupKey, Value: Codec>> {
    core: &'a Core<S>,
    keys: Vec<&'a S::Key>,
}

impl<'a, S: Source<Key: GroupKey, Value: Codec>> Reading<'a, S> {
    fn begin(core: &'a Core<S>, keys: Vec<&'a S::Key>) -> Self {
        let mut writes = core.writes();
        for key in &keys {
            writes.begin_read(key);
        }
        drop(writes);
        Self { core, keys }
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Drop for Reading<'_, S> {
    fn drop(&mut self) {
        let mut writes = self.core.writes();
        for key in &self.keys {
            writes.end_read(key);
        }
    }
}
