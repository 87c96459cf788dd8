//! A group as the server sees it: whatever its types are, keys and values are bytes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder_cache::{Source, Time};

use crate::codec::{Codec, GroupKey};
use crate::group::held::Held;
use crate::group::{Core, Error, WriteError};
use crate::ring::mode::Refusal;
use crate::wire::expiry::Expiry;
use crate::wire::message::Set;

/// Answers peers. Nothing here asks one.
pub(crate) trait Served: Send + Sync {
    /// Counts a request of a peer; one for many keys once for each.
    fn note_request(&self);

    /// Counts a get; says how many of the key there are in a second, if that is counted.
    fn note_get(&self, key: &[u8]) -> Option<f64>;

    /// The value, from memory; not a copy of another one's. Where peers disagree about owners, copies of copies
    /// would outlive their value in a golang ring, and a removal on its way from one to the next.
    fn peek(&self, key: &[u8]) -> Option<(Bytes, Expiry)>;

    /// Has a value that expires soon renewed, and waits for that.
    fn renew<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, ()>;

    /// The value, from memory or by the source here, whoever this process thinks that the owner is.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(Bytes, Expiry), Refused>>;

    /// Takes a value, whoever this process thinks that the owner is.
    fn set(&self, set: Set) -> Result<(), Refused>;

    /// Forgets what is here; with a time, the key is loaded past its owner for as long, and with none at all it is
    /// asked for there again. What was set since it was removed stays, if that was some time `ago`.
    fn forget(&self, key: &[u8], past_owner: Option<Duration>, ago: Option<Duration>);

    /// The owner has heard at last, of a removal that was before `began`.
    fn lift_tombstone(&self, key: &[u8], began: Time);
}

/// Why a peer gets no value, and what to tell it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) text: String,
}

impl Refused {
    fn no_key() -> Self {
        let text = "the key is not one that this group can have".to_owned();
        Self { refusal: Refusal::BadRequest, text }
    }
}

impl<E: std::error::Error> From<Error<E>> for Refused {
    fn from(error: Error<E>) -> Self {
        use larder_cache::Error as Cache;
        let refusal = match &error {
            Error::NotFound { .. } => Refusal::Missing,
            // As when a Go process panics or stops, and its connection is closed: the peer loads by itself.
            Error::Closed | Error::Load(Cache::Panicked | Cache::Closed) => Refusal::Unable,
            _ => Refusal::Failed,
        };
        Self { refusal, text: error.to_string() }
    }
}

impl<S: Source<Key: GroupKey, Value: Codec>> Served for Core<S> {
    fn peek(&self, key: &[u8]) -> Option<(Bytes, Expiry)> {
        let got = self.read_main(&S::Key::from_bytes(key)?)?;
        Some((got.encode(), got.expiry()))
    }

    fn renew<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(key) = S::Key::from_bytes(key) {
                self.renew_for_peer(&key).await;
            }
        })
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(Bytes, Expiry), Refused>> {
        Box::pin(async move {
            let key = S::Key::from_bytes(key).ok_or_else(Refused::no_key)?;
            self.tally.misses.fetch_add(1, Ordering::Relaxed);
            let got = self.load(&key).await?;
            if let Some(error) = got.error() {
                // What has expired does not travel: Go's peers refuse it, and with an expiry that was made up
                // it would be believed by those who have not asked for such values.
                let cause = error.downcast_ref::<larder_cache::Error<S::Error>>();
                return Err(cause.map_or_else(
                    || Refused { refusal: Refusal::Failed, text: error.to_string() },
                    |cause| Error::Load(cause.clone()).into(),
                ));
            }
            Ok((got.encode(), got.expiry()))
        })
    }

    fn set(&self, set: Set) -> Result<(), Refused> {
        let key = S::Key::from_bytes(&set.key).ok_or_else(Refused::no_key)?;
        let bad = |text| Refused { refusal: Refusal::BadRequest, text };
        let value = S::Value::decode(set.value).map_err(|error| bad(error.to_string()))?;
        self.keep(&key, Held::set(value, set.expiry)).map_err(|error| {
            let refusal = match error {
                WriteError::TooLarge => Refusal::TooLarge,
                _ => Refusal::Unable,
            };
            Refused { refusal, text: error.to_string() }
        })
    }

    fn note_get(&self, key: &[u8]) -> Option<f64> {
        self.heat.note_peers(key, self.pool.clock.now())
    }

    fn note_request(&self) {
        self.tally.server_requests.fetch_add(1, Ordering::Relaxed);
    }

    fn forget(&self, key: &[u8], past_owner: Option<Duration>, ago: Option<Duration>) {
        // Bytes that are no key have no value here.
        let Some(key) = S::Key::from_bytes(key) else { return };
        match past_owner {
            // First of all: a get after this that still went past the owner would be kept.
            Some(Duration::ZERO) => self.tombstones().lift(&key),
            Some(time) => self.bury(&key, time),
            None => {}
        }
        if ago.is_some_and(|ago| self.was_set_since(&key, ago)) {
            self.forget_copy(&key);
        } else {
            Self::forget(self, &key);
        }
    }

    fn lift_tombstone(&self, key: &[u8], began: Time) {
        if let Some(key) = S::Key::from_bytes(key) {
            self.tombstones().lift_older(&key, began);
        }
    }
}
