//! Calls over HTTP: each within its time, with one agent after the other.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use larder_registry::Phase;
use tokio::sync::{Semaphore, watch as signal};

use super::body::{Cut, receive};
use super::fault::{Fault, is_the_servers};
use super::headers::{self, TOKEN};
use super::http_client::{HttpClient, deepest, http_client};
use super::options::{Options, OptionsError, check, shares};
use crate::answer::Answer;
use crate::question::Token;

/// How a client of ours names itself.
const LARDER: &str = concat!("Larder/", env!("CARGO_PKG_VERSION"));

/// The way to Consul's agents.
#[derive(Debug)]
pub(super) struct Calls {
    http: HttpClient,
    bases: Vec<String>,
    token: Token,
    call_timeout: Duration,
    max_body: usize,
    max_parked: usize,
    /// Counts failures of agents; which one is used follows from it.
    turn: AtomicUsize,
    /// One for each call that is answered at once.
    prompt: Semaphore,
    max_prompt: usize,
    closed: signal::Sender<bool>,
}

/// What is asked of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    pub(crate) method: Method,
    /// From the base on, with a slash at the start, and the query; encoded.
    pub(crate) path: String,
    /// JSON, or a key's value; empty for none.
    pub(crate) body: Bytes,
    /// Who asks; the options' token if nobody in particular.
    pub(crate) token: Token,
    /// How long the agent was asked to wait for news. Such a call holds a connection for so long, which its
    /// caller must have counted.
    pub(crate) parked: Option<Duration>,
}

/// What an agent answered.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) answer: Answer,
    /// 0 if it named none.
    pub(crate) index: u64,
    /// How far behind its leader the server was.
    pub(crate) last_contact: Duration,
}

impl Heard {
    /// The answer, unless the agent said no.
    pub(crate) fn accepted(self, phase: Phase) -> Result<Self, Fault> {
        if self.answer.status.is_success() {
            return Ok(self);
        }
        Err(Fault::Refused { phase, answer: Box::new(self.answer) })
    }
}

impl Calls {
    /// Opens nothing yet: the first call does.
    pub(super) fn new(options: &Options) -> Result<Self, OptionsError> {
        let bases = check(options)?;
        let (max_parked, max_prompt) = shares(options.max_connections);
        Ok(Self {
            http: http_client(options.connect_timeout, options.max_connections),
            bases,
            token: options.token.clone(),
            call_timeout: options.call_timeout,
            max_body: options.max_body,
            max_parked,
            turn: AtomicUsize::new(0),
            prompt: Semaphore::new(max_prompt),
            max_prompt,
            closed: signal::Sender::new(false),
        })
    }

    pub(super) fn bases(&self) -> &[String] {
        &self.bases
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    pub(super) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// How many calls may wait for news at a time.
    pub(super) fn max_parked(&self) -> usize {
        self.max_parked
    }

    /// Ends every call that is under way, and refuses further ones.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Returns once [`close`](Self::close) was called.
    pub(super) async fn until_closed(&self) {
        // The sender is `self`'s, so that it cannot be gone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The place of the agent that is used now.
    pub(super) fn server(&self) -> usize {
        self.turn.load(Ordering::Relaxed) % self.bases.len()
    }

    /// Gives the turn to the next if it is this agent's: of many calls that it failed, one does.
    pub(super) fn pass_over(&self, server: usize) {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn % self.bases.len() == server {
            let (next, order) = (turn.wrapping_add(1), Ordering::Relaxed);
            let _ = self.turn.compare_exchange(turn, next, order, order);
        }
    }

    /// Makes a call until an agent answers it, each has failed, the time is over or the client is closed.
    pub(super) async fn call(&self, call: Call) -> Result<Heard, Fault> {
        if call.parked.is_some() {
            return self.park(&call).await;
        }
        let (phase, limit) = (call.phase, self.max_prompt);
        // Cancel-safe: whoever waits for a connection holds none.
        let Ok(Ok(_place)) = tokio::time::timeout(self.call_timeout, self.prompt.acquire()).await
        else {
            return Err(Fault::Busy { phase, limit });
        };
        let servers = self.bases.len();
        let share = self.call_timeout / u32::try_from(servers).unwrap_or(u32::MAX);
        let mut left = servers;
        loop {
            let server = self.server();
            let heard = self.within(share, server, phase, self.attempt(server, &call)).await;
            left = left.saturating_sub(1);
            let fails = match &heard {
                Err(fault) => fault.is_the_servers(),
                Ok(heard) => is_the_servers(&heard.answer),
            };
            if fails {
                self.pass_over(server);
            }
            if !fails || left == 0 {
                return heard;
            }
        }
    }

    /// A call that waits for news. One that fails is not made elsewhere: for the same time again its caller
    /// would not know where it stands. What it asks next goes to another agent, though.
    async fn park(&self, call: &Call) -> Result<Heard, Fault> {
        let (server, wait) = (self.server(), call.parked.unwrap_or_default());
        // An agent adds up to a sixteenth, so that not all who wait come back together.
        let allowed = wait.saturating_add(wait / 16).saturating_add(self.call_timeout);
        let heard = self.within(allowed, server, call.phase, self.attempt(server, call)).await;
        if heard.as_ref().is_err_and(Fault::is_the_servers) {
            self.pass_over(server);
        }
        match heard {
            Err(Fault::Lost { server, reason, .. }) if self.bases.len() > 1 => {
                Err(Fault::Passed { server, reason })
            }
            heard => heard,
        }
    }

    async fn within<T>(
        &self,
        time: Duration,
        server: usize,
        phase: Phase,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let attempt = pin!(attempt);
        // Both branches are cancel-safe: what is dropped is a call, which has happened or not.
        tokio::select! {
            biased;
            () = self.until_closed() => Err(Fault::Closed),
            heard = tokio::time::timeout(time, attempt) => heard.unwrap_or_else(|_| {
                Err(Fault::Late { phase, server: self.bases[server].clone(), after: time })
            }),
        }
    }

    async fn attempt(&self, server: usize, call: &Call) -> Result<Heard, Fault> {
        let (phase, base) = (call.phase, &self.bases[server]);
        let lost = |reason| Fault::Lost { phase, server: base.clone(), reason };
        let request = self.request(base, call)?;
        let response = self.http.request(request).await.map_err(|error| lost(deepest(&error)))?;
        let (head, body) = response.into_parts();
        let body = receive(Body::new(body), self.max_body).await.map_err(|cut| match cut {
            Cut::TooLarge => Fault::TooLarge { phase, server: base.clone(), limit: self.max_body },
            Cut::Lost(error) => lost(deepest(&error)),
        })?;
        let (index, last_contact) =
            (headers::index(&head.headers), headers::last_contact(&head.headers));
        let headers = headers::lasting(head.headers);
        Ok(Heard { answer: Answer { status: head.status, headers, body }, index, last_contact })
    }

    fn request(&self, base: &str, call: &Call) -> Result<Request<Body>, Fault> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{base}{}", call.path))
            .header(USER_AGENT, LARDER)
            .header(ACCEPT, "application/json");
        let token = if call.token.is_anonymous() { &self.token } else { &call.token };
        if !token.is_anonymous() {
            // It may be a client's, and no header at all.
            let mut secret = HeaderValue::from_str(token.secret()).map_err(|_| no_token(call))?;
            secret.set_sensitive(true);
            request = request.header(TOKEN, secret);
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Body::from(call.body.clone())).map_err(|error| Fault::Unreadable {
            phase: call.phase,
            server: base.to_owned(),
            reason: format!("what is asked has no form in HTTP: {error}"),
        })
    }
}

/// As an agent refuses a token that it does not know.
fn no_token(call: &Call) -> Fault {
    let answer = Answer {
        status: StatusCode::FORBIDDEN,
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(b"ACL not found"),
    };
    Fault::Refused { phase: call.phase, answer: Box::new(answer) }
}
