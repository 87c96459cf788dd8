//! The client's side: asks one peer, over connections that are kept.
//!
//! HTTP/1.1, one request at a time on a connection, as Go's peers speak it. Nothing is followed, unpacked or
//! tidied: a path goes out as it was made.

mod circuit;
mod hedging;
mod transport;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use larder_cache::Clock;
use tokio::sync::Semaphore;

use crate::members::Address;
use crate::tasks::Tasks;
use crate::wire::answer::GroupMark;
use crate::wire::{
    ASKS_HEADER, GROUP_HEADER, REMOVED_HEADER, RENEW_HEADER, TOKEN_HEADER, TOMBSTONE_HEADER,
};
use circuit::Circuit;
pub use hedging::Hedge;
use hedging::Hedging;
pub use transport::{Duplex, Tcp, Transport};

/// How much of an error's text is read; as Go's client.
const ERROR_BYTES: usize = 1 << 20;

/// What an answer may have beside its values, in bytes: their limit is one for values, as where they are set, and
/// around each of a thousand there are fewer than a hundred.
const FRAMING: usize = 1 << 17;

/// What a client of a peer may do.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at a time; more requests wait.
    pub(crate) connections: usize,
    /// For a whole call, with its wait for a connection.
    pub(crate) timeout: Duration,
    /// The longest value of an answer, or all of them together, in bytes.
    pub(crate) body: usize,
}

/// Asks one peer.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    host: HeaderValue,
    token: Option<HeaderValue>,
    limits: Limits,
    transport: Arc<dyn Transport>,
    clock: Clock,
    /// One for each connection that may be open.
    permits: Semaphore,
    /// Open and unused; the one that was used last is used next.
    idle: Mutex<Vec<Line>>,
    circuit: Mutex<Circuit>,
    hedging: Mutex<Hedging>,
    /// One for each connection.
    tasks: Tasks,
}

type Line = SendRequest<Full<Bytes>>;

/// What to ask.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    /// Escaped, without the address's prefix.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// Seconds for the header of that name.
    pub(crate) tombstone: Option<u64>,
    /// Milliseconds for the header of a removal that is told again.
    pub(crate) removed_ago: Option<u64>,
    /// Asks for a newer value than the copy that is here.
    pub(crate) renews: bool,
}

impl Question {
    /// One without headers of its own.
    pub(crate) fn new(method: Method, path: String, body: Bytes) -> Self {
        Self { method, path, body, tombstone: None, removed_ago: None, renews: false }
    }
}

/// What a peer answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) group: Option<GroupMark>,
    /// Whom the peer asks for the key, after a removal.
    pub(crate) asks: Option<u64>,
    pub(crate) body: Bytes,
}

/// Why a peer did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection to it, or it broke.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// It took longer than the pool's [time-out](crate::PoolOptions::peer_timeout).
    #[error("the peer gave no answer within {0:?}")]
    TimedOut(Duration),
    /// It failed several times in a row, and is left alone for a second.
    #[error("the peer failed several times, and is tried again within a second")]
    Resting,
    /// Its answer is longer than the pool's [limit](crate::PoolOptions::max_value), and 128 KiB for what is around
    /// the value.
    #[error("the peer's answer is longer than {0} bytes")]
    TooLong(usize),
    /// The key is longer than a request's path may be: some 65,000 bytes when it is escaped.
    #[error("the key is too long for a request's path")]
    KeyTooLong,
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
}

impl Client {
    pub(crate) fn new(
        address: Address,
        token: Option<HeaderValue>,
        limits: Limits,
        transport: Arc<dyn Transport>,
        clock: Clock,
    ) -> Option<Self> {
        let host = HeaderValue::from_str(address.authority()).ok()?;
        let permits = Semaphore::new(limits.connections.max(1));
        Some(Self {
            address,
            host,
            token,
            limits,
            transport,
            clock,
            permits,
            idle: Mutex::default(),
            circuit: Mutex::default(),
            hedging: Mutex::default(),
            tasks: Tasks::default(),
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is left alone for now.
    pub(crate) fn is_resting(&self) -> bool {
        lock(&self.circuit).is_open()
    }

    /// How slow it is, and how often it may be asked twice.
    pub(crate) fn hedging(&self) -> MutexGuard<'_, Hedging> {
        lock(&self.hedging)
    }

    /// Ends every connection, and every call with them.
    pub(crate) async fn close(&self) {
        self.permits.close();
        lock(&self.idle).clear();
        self.tasks.close().await;
    }

    /// Asks, unless the peer rests. Cancel-safe: a call that is dropped closes its connection.
    pub(crate) async fn call(&self, question: Question) -> Result<Answer, CallError> {
        let target = format!("{}{}", self.address.prefix(), question.path);
        let target = Uri::try_from(target).map_err(|_| CallError::KeyTooLong)?;
        if !lock(&self.circuit).enter(self.clock.now()) {
            return Err(CallError::Resting);
        }
        let patience = self.limits.timeout;
        let outcome = match tokio::time::timeout(patience, self.exchange(&question, &target)).await
        {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut(patience)),
        };
        let mut circuit = lock(&self.circuit);
        match &outcome {
            // It is there, and that it is the pool that is closed says nothing of the peer.
            Ok(_) | Err(CallError::TooLong(_) | CallError::KeyTooLong | CallError::Closed) => {
                circuit.succeeded();
            }
            Err(_) => circuit.failed(self.clock.now()),
        }
        outcome
    }

    async fn exchange(&self, question: &Question, target: &Uri) -> Result<Answer, CallError> {
        let _permit = self.permits.acquire().await.map_err(|_| CallError::Closed)?;
        let kept = lock(&self.idle).pop();
        if let Some(line) = kept {
            match self.ask(line, question, target).await {
                // The peer may have closed the connection while it was not used: that is no failure of
                // this request. Every request can be repeated: a get and a removal change nothing more the
                // second time, and a set has not returned, so that its order among others is open.
                Err(CallError::Unreachable(_)) => lock(&self.idle).clear(),
                outcome => return outcome,
            }
        }
        let line = self.dial().await?;
        self.ask(line, question, target).await
    }

    async fn dial(&self) -> Result<Line, CallError> {
        let stream = self.transport.connect(&self.address).await.map_err(unreachable)?;
        let (line, connection) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        // Its errors come out of the calls that are made over it.
        self.tasks.spawn(async move { drop(connection.await) });
        Ok(line)
    }

    async fn ask(
        &self,
        mut line: Line,
        question: &Question,
        target: &Uri,
    ) -> Result<Answer, CallError> {
        line.ready().await.map_err(unreachable)?;
        let response = line.send_request(self.request(question, target)).await;
        let (head, body) = response.map_err(unreachable)?.into_parts();
        let group = head.headers.get(GROUP_HEADER).map(|mark| match mark.as_bytes() {
            b"unknown" => GroupMark::Unknown,
            _ => GroupMark::Known,
        });
        let asks = head.headers.get(ASKS_HEADER).and_then(|asks| asks.to_str().ok()?.parse().ok());
        let status = head.status.as_u16();
        let limit = match status {
            200 => self.limits.body.saturating_add(FRAMING),
            _ => ERROR_BYTES,
        };
        let (body, is_whole) = read(body, limit).await?;
        if status == 200 && !is_whole {
            return Err(CallError::TooLong(limit));
        }
        if is_whole && !line.is_closed() {
            lock(&self.idle).push(line);
        }
        Ok(Answer { status, group, asks, body })
    }

    fn request(&self, question: &Question, target: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(question.body.clone()));
        *request.method_mut() = question.method.clone();
        *request.uri_mut() = target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if let Some(token) = &self.token {
            headers.insert(TOKEN_HEADER, token.clone());
        }
        if let Some(seconds) = question.tombstone {
            headers.insert(TOMBSTONE_HEADER, HeaderValue::from(seconds));
        }
        if let Some(millis) = question.removed_ago {
            headers.insert(REMOVED_HEADER, HeaderValue::from(millis));
        }
        if question.renews {
            headers.insert(RENEW_HEADER, HeaderValue::from_static("1"));
        }
        request
    }
}

/// A body up to `limit` bytes, and whether that is all of it.
async fn read(mut body: Incoming, limit: usize) -> Result<(Bytes, bool), CallError> {
    let mut whole = Bytes::new();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(unreachable)?.into_data() else { continue };
        if whole.len() + pieces.len() + data.len() > limit {
            let room = limit - whole.len() - pieces.len();
            pieces.extend_from_slice(&whole);
            pieces.extend_from_slice(&data[..room]);
            return Ok((pieces.into(), false));
        }
        if whole.is_empty() && pieces.is_empty() {
            whole = data;
        } else {
            if pieces.is_empty() {
                pieces.extend_from_slice(&whole);
                whole = Bytes::new();
            }
            pieces.extend_from_slice(&data);
        }
    }
    Ok((if pieces.is_empty() { whole } else { pieces.into() }, true))
}

fn unreachable(error: impl std::error::Error) -> CallError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    CallError::Unreachable(text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks leaves them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
