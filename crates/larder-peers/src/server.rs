//! The server's side: answers peers, on a listener of its own or within another server.

mod listen;
mod respond;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::header::ORIGIN;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::admission::admits;
use crate::group::{Refused, Served};
use crate::pool::{Pool, Shared, Token};
use crate::ring::Mode;
use crate::ring::mode::{Refusal, Verb};
use crate::wire::answer::{GroupMark, unknown_group};
use crate::wire::batch::{GET_MANY, Outcome, decode_keys, encode_outcomes};
use crate::wire::message::{RemoveKeysRequest, decode_set, encode_answer};
use crate::wire::path::{PathError, Target, parse};
use crate::wire::{REMOVED_HEADER, RENEW_HEADER, TOKEN_HEADER, TOMBSTONE_HEADER};
pub use listen::Serving;
use respond::{done, forgotten, refusal, value};

/// Where a request comes from: an extension of the request, without which only a token lets it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// Where groupcache-go v3 posts keys to forget.
const REMOVE_KEYS: &[u8] = b"_remove-keys/";

/// How long a list of keys may be, in bytes.
const KEYS_BYTES: usize = 1 << 20;

/// How far a tombstone of a peer reaches at most.
const TOMBSTONE_MOST: Duration = Duration::from_secs(3_600);

/// Answers peers, as a [`tower::Service`]: for axum's `Router::fallback_service`, or for
/// `route_service("/_groupcache/{*rest}", …)`. Paths must reach it as they were sent, and requests need a
/// [`RemoteAddr`].
#[derive(Debug, Clone)]
pub struct PeerService(Pool);

impl Pool {
    /// What answers this node's peers, within another server.
    pub fn service(&self) -> PeerService {
        PeerService(self.clone())
    }
}

impl<B> tower::Service<Request<B>> for PeerService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0.0);
        Box::pin(async move {
            let from = request.extensions().get::<RemoteAddr>().map(|from| from.0.ip());
            Ok(shared.answer(request, from).await)
        })
    }
}

/// Why a request is refused.
struct Refusing {
    why: Refused,
    /// What a Larder is told of the group.
    group: Option<GroupMark>,
}

impl From<Refused> for Refusing {
    fn from(why: Refused) -> Self {
        Self { why, group: Some(GroupMark::Known) }
    }
}

fn refuse(refusal: Refusal, text: impl Into<String>) -> Refusing {
    Refusing { why: Refused { refusal, text: text.into() }, group: None }
}

impl Shared {
    /// Answers one request, from a peer at `from` if that is known.
    pub(crate) async fn answer<B>(
        &self,
        request: Request<B>,
        from: Option<IpAddr>,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer = self.consider(request, from).await;
        answer.unwrap_or_else(|Refusing { why, group }| {
            refusal(self.options.mode.status(why.refusal), &why.text, group)
        })
    }

    async fn consider<B>(
        &self,
        request: Request<B>,
        from: Option<IpAddr>,
    ) -> Result<Response<Full<Bytes>>, Refusing>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.admit(request.headers(), from)?;
        let Target { group: name, key } = self.target(request.uri().path())?;
        let verb = self.verb(request.method())?;
        let group = self.group_named(&name)?;
        if verb != Verb::Many {
            group.note_request();
        }
        match verb {
            Verb::Get => {
                if request.headers().contains_key(RENEW_HEADER) {
                    group.renew(&key).await;
                }
                self.get(&*group, &key).await
            }
            Verb::Set => {
                let body = read(request.into_body(), self.options.max_value).await?;
                let set = decode_set(&body)
                    .map_err(|error| refuse(Refusal::BadRequest, error.to_string()))?;
                group.set(set)?;
                Ok(done())
            }
            Verb::Remove => {
                // Whom it asks from before it forgets: a change of the ring between the two would go unnoticed.
                let asks = self.members().asks(&key, self.options.second_owner);
                let headers = request.headers();
                group.forget(&key, tombstone(headers), removed_ago(headers));
                Ok(forgotten(asks))
            }
            Verb::Many if key == REMOVE_KEYS => {
                let body = read(request.into_body(), KEYS_BYTES).await?;
                let keys: RemoveKeysRequest = serde_json::from_slice(&body)
                    .map_err(|error| refuse(Refusal::BadRequest, error.to_string()))?;
                for key in &keys.keys {
                    group.note_request();
                    group.forget(key.as_bytes(), None, None);
                }
                Ok(done())
            }
            Verb::Many if key == GET_MANY && self.options.mode == Mode::Native => {
                let body = read(request.into_body(), KEYS_BYTES).await?;
                self.get_many(&*group, &body).await
            }
            Verb::Many => Err(refuse(Refusal::Missing, "invalid path for POST method")),
            Verb::Unknown => Err(refuse(Refusal::Verb, "there is no such method here")),
        }
    }

    fn admit(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<(), Refusing> {
        if headers.contains_key(ORIGIN) {
            // A page in a browser on this machine can send a POST here without asking; no peer sends this.
            return Err(refuse(Refusal::Stranger, "a web page is no peer"));
        }
        let options = &self.options;
        let shown = headers.get(TOKEN_HEADER).map(http::HeaderValue::as_bytes);
        let token = options.token.as_ref().map(Token::as_str);
        if admits(options.admission, &self.callers(), token, from, shown) {
            return Ok(());
        }
        let text = "only configured peers may ask here, or whoever has the pool's token";
        Err(refuse(Refusal::Stranger, text))
    }

    fn target(&self, path: &str) -> Result<Target, Refusing> {
        parse(&self.options.base_path, path).map_err(|error| match error {
            PathError::Elsewhere => refuse(Refusal::Elsewhere, error.to_string()),
            PathError::NoKey | PathError::Escape => refuse(Refusal::BadRequest, error.to_string()),
        })
    }

    fn verb(&self, method: &Method) -> Result<Verb, Refusing> {
        match self.options.mode.verb(method) {
            Verb::Unknown => {
                let text = format!("there is no {method} here");
                Err(refuse(Refusal::Verb, text))
            }
            verb => Ok(verb),
        }
    }

    fn group_named(&self, name: &[u8]) -> Result<Arc<dyn Served>, Refusing> {
        let name = String::from_utf8_lossy(name);
        self.served(&name).ok_or_else(|| {
            let why = Refused { refusal: Refusal::UnknownGroup, text: unknown_group(&name) };
            Refusing { why, group: Some(GroupMark::Unknown) }
        })
    }

    /// Answers about many keys; loads those that are not in memory at once. Beyond the bound of a body, keys
    /// are to be asked for alone.
    async fn get_many(
        &self,
        group: &dyn Served,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Refusing> {
        let keys =
            decode_keys(body).map_err(|error| refuse(Refusal::BadRequest, error.to_string()))?;
        let look = |key: &Bytes| {
            group.note_request();
            (group.note_get(key), group.peek(key).map(Ok))
        };
        let mut found: Vec<_> = keys.iter().map(look).collect();
        let missing = found.iter_mut().zip(&keys).filter(|((_, held), _)| held.is_none());
        // Only what must be loaded is worth a future each.
        let loads = missing.map(|((_, held), key)| async { *held = Some(group.get(key).await) });
        join_all(loads).await;
        let mut room = self.options.max_value;
        let held = found.into_iter().filter_map(|(qps, held)| Some((qps, held?)));
        let outcomes = held.map(|(qps, got)| match got {
            Ok((bytes, expiry)) if bytes.len() <= room => {
                room -= bytes.len();
                Outcome::of_value(bytes, expiry, qps)
            }
            Err(why) if why.text.len() <= room => {
                room -= why.text.len();
                Outcome::of_error(self.options.mode.status(why.refusal), why.text)
            }
            _ => Outcome::of_error(413, String::new()),
        });
        Ok(value(encode_outcomes(outcomes.collect())))
    }

    async fn get(&self, group: &dyn Served, key: &[u8]) -> Result<Response<Full<Bytes>>, Refusing> {
        let (bytes, expiry) = match group.peek(key) {
            Some(held) => held,
            None => group.get(key).await?,
        };
        let carried = self.options.mode.carries_expiry().then_some(expiry);
        Ok(value(encode_answer(bytes, carried, group.note_get(key))))
    }
}

/// For how long a peer says that the owner may hand out what was removed; zero if it has a newer value by now.
fn tombstone(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(TOMBSTONE_HEADER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(TOMBSTONE_MOST))
}

/// How long ago it was removed, if a peer tells that again.
fn removed_ago(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(REMOVED_HEADER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

async fn read<B>(body: B, limit: usize) -> Result<Bytes, Refusing>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // The other fields of a set are small beside this.
    let limit = limit.saturating_add(1 << 17);
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(refuse(Refusal::TooLarge, format!("a body may have {limit} bytes")))
        }
        Err(error) => Err(refuse(Refusal::BadRequest, error.to_string())),
    }
}
