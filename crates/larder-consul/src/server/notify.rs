//! Many reads followed over one connection: the agent cache's `Notify`, for those who would otherwise hold as
//! many blocking queries.
//!
//! Each read is parked as a blocking query is, and parked again after it was told. So a slow reader is told the
//! latest of each, and holds up nobody.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use larder_cache::Backoff;

use super::Consul;
use super::crowd::Seat;
use super::read::{Looked, dice};
use super::refusal::Refusal;
use crate::params;
use crate::question::{Endpoint, KvForm, Question};
use crate::terms::{Consistency, Terms};

/// The most reads that one connection follows.
pub const MAX_FOLLOWED: usize = 1_024;

/// The longest correlation id, in bytes.
pub const MAX_CORRELATION_ID: usize = 256;

/// How long a read that fails is left alone.
const BACKOFF: Backoff =
    Backoff { free_failures: 0, base: Duration::from_secs(1), cap: Duration::from_secs(60) };

/// What became of one of the reads.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What the read was given to be recognized by.
    pub correlation_id: Arc<str>,
    /// The news.
    pub news: News,
}

/// News of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The answer is another one than before, or can be had again.
    Answer {
        /// As of which change.
        index: u64,
        /// 200, or 404 for a key that is not there.
        status: u16,
        /// How old it is: above zero while what is behind this server cannot be reached.
        age: Duration,
        /// The answer's body: JSON, or a key's value if it was asked for `raw`.
        body: Bytes,
    },
    /// It cannot be had. Told once; it is tried again.
    Trouble {
        /// Why, for people.
        says: String,
    },
}

/// Why reads cannot be followed: the status, and a sentence that says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{says}")]
pub struct CannotFollow {
    /// 400, or 429 if too many queries wait.
    pub status: StatusCode,
    /// For people.
    pub says: String,
}

/// One read, and how far it has been told.
#[derive(Debug)]
struct Followed {
    correlation_id: Arc<str>,
    question: Question,
    /// The last index that was told; zero before the first.
    told: u64,
    /// It was told that there is no such key.
    is_missing: bool,
    /// How often in a row it could not be had.
    failures: u32,
    /// Why not, as it was told.
    trouble: Option<String>,
    _seat: Seat,
    _counted: Arc<()>,
}

impl Consul {
    /// Follows the reads that `query` names, each as `query=ID=/v1/…`, encoded once more. What there is is told
    /// first, then every change. Ends only when it is dropped.
    pub fn follow(
        self: &Arc<Self>,
        query: Option<&str>,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<impl Stream<Item = Notice> + Send + use<>, CannotFollow> {
        let asked = params::read(query, headers).map_err(|bad| invalid(bad.to_string()))?;
        let mut followed = Vec::new();
        for (name, value) in &asked.selection.others {
            if &**name != "query" {
                return Err(invalid(format!("{name:?} is no parameter here: only query is")));
            }
            if followed.len() == MAX_FOLLOWED {
                let says = format!("one connection follows {MAX_FOLLOWED} reads at most");
                return Err(invalid(says));
            }
            followed.push(self.read_to_follow(value, headers, &asked, client)?);
        }
        if followed.is_empty() {
            return Err(invalid("nothing to follow: say query=ID=/v1/…".to_owned()));
        }
        let mut waiting = FuturesUnordered::new();
        waiting.extend(followed.into_iter().map(|followed| self.clone().next(followed)));
        let consul = self.clone();
        Ok(futures_util::stream::unfold((consul, waiting), |(consul, mut waiting)| async {
            let (notice, followed) = waiting.next().await?;
            waiting.push(consul.clone().next(followed));
            Some((notice, (consul, waiting)))
        }))
    }

    fn read_to_follow(
        &self,
        text: &str,
        headers: &HeaderMap,
        outer: &params::Asked,
        client: IpAddr,
    ) -> Result<Followed, CannotFollow> {
        let form = "query is not ID=/v1/…, with the rest encoded once more";
        let (id, read) = text.split_once('=').ok_or_else(|| invalid(form.to_owned()))?;
        if id.is_empty() || id.len() > MAX_CORRELATION_ID {
            return Err(invalid(format!("{form}: ID has 1 to {MAX_CORRELATION_ID} bytes")));
        }
        let (path, query) = read.split_once('?').unwrap_or((read, ""));
        let endpoint = Endpoint::from_path(path).ok_or_else(|| {
            invalid(format!("{path:?} is no read of the catalog, of health or of a key"))
        })?;
        let asked = params::read(Some(query), headers)
            .map_err(|bad| invalid(format!("in the query {id:?}: {bad}")))?;
        if let Some(sentence) = endpoint.missing(&asked.selection) {
            return Err(invalid(format!("in the query {id:?}: {sentence}")));
        }
        if asked.selection.kv == KvForm::Raw {
            let says = "raw cannot be followed: without it, the entry has the value in base64";
            return Err(invalid(says.to_owned()));
        }
        let token =
            if asked.token.is_anonymous() { outer.token.clone() } else { asked.token.clone() };
        let seat = self.seat_of(client).map_err(|refusal| CannotFollow {
            status: refusal.status(),
            says: refusal.says().to_owned(),
        })?;
        Ok(Followed {
            correlation_id: id.into(),
            question: Question { endpoint, selection: asked.selection, token },
            told: asked.terms.index,
            is_missing: false,
            failures: 0,
            trouble: None,
            _seat: seat,
            _counted: self.followed.clone(),
        })
    }

    /// Waits for the next notice of a read.
    fn next(self: Arc<Self>, mut followed: Followed) -> BoxFuture<'static, (Notice, Followed)> {
        Box::pin(async move {
            loop {
                let terms = Terms {
                    index: if followed.trouble.is_some() { 0 } else { followed.told },
                    wait: Some(self.options.blocking.max),
                    // A copy will do: it is told how old it is.
                    consistency: Consistency::Stale,
                    ..Terms::default()
                };
                let looked = self.look(&followed.question, &terms).await;
                if let Some(news) = followed.hear(looked) {
                    let correlation_id = followed.correlation_id.clone();
                    return (Notice { correlation_id, news }, followed);
                }
                if followed.failures > 0 {
                    let dice = u32::from(dice()) << 16;
                    tokio::time::sleep(BACKOFF.wait(followed.failures, dice)).await;
                }
            }
        })
    }
}

impl Followed {
    /// What there is to tell of a look, if anything.
    fn hear(&mut self, looked: Result<Looked, Refusal>) -> Option<News> {
        match looked {
            Ok(looked) => {
                self.failures = 0;
                let is_over = self.trouble.take().is_some();
                let is_missing = looked.status == StatusCode::NOT_FOUND;
                // The index of a key that is not there is the store's, which moves with every other key.
                let is_same = looked.index == self.told || (is_missing && self.is_missing);
                (self.told, self.is_missing) = (looked.index, is_missing);
                if is_same && !is_over {
                    return None;
                }
                Some(News::Answer {
                    index: looked.index,
                    status: looked.status.as_u16(),
                    age: looked.age,
                    body: looked.body,
                })
            }
            Err(refusal) => {
                self.failures = self.failures.saturating_add(1);
                let says = refusal.says().to_owned();
                if self.trouble.as_ref() == Some(&says) {
                    return None;
                }
                self.trouble = Some(says.clone());
                Some(News::Trouble { says })
            }
        }
    }
}

fn invalid(says: String) -> CannotFollow {
    CannotFollow { status: StatusCode::BAD_REQUEST, says }
}
