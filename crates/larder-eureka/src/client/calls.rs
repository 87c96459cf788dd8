//! Calls over HTTP: each within its time, with one server after the other.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_registry::Phase;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Method, Response, redirect};
use tokio::sync::watch as signal;

use super::body::{self, Packed};
use super::fault::Fault;
use super::options::{Credentials, Options, OptionsError, base, check};

const JSON: &str = "application/json";

/// The way to a Eureka cluster.
#[derive(Debug)]
pub(super) struct Calls {
    http: Client,
    bases: Vec<String>,
    credentials: Option<Credentials>,
    call_timeout: Duration,
    max_body: usize,
    /// Counts failures of servers; which one is used follows from it.
    turn: AtomicUsize,
    closed: signal::Sender<bool>,
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) phase: Phase,
    pub(super) method: Method,
    /// From the base on, with a slash at the start; encoded.
    pub(super) path: String,
    /// JSON; empty for none.
    pub(super) body: Vec<u8>,
    pub(super) repeat: Repeat,
}

/// Whether a call that a server did not answer may be made to the next one at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing that a second one would trip over.
    Elsewhere,
    /// The first one may have been done, and the second would be told so as a refusal.
    Never,
}

/// A body, and which server sent it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Packed,
    pub(super) server: usize,
}

impl Calls {
    /// Opens nothing yet: the first call does. `agent` is who asks.
    pub(super) fn new(options: &Options, agent: &str) -> Result<Self, OptionsError> {
        check(options)?;
        let bases: Vec<String> =
            options.servers.iter().map(|server| base(server)).collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(OptionsError::NoServer);
        }
        let http = Client::builder()
            .user_agent(agent)
            .connect_timeout(options.connect_timeout)
            // A server that sends elsewhere is not up; its peers are known by their addresses.
            .redirect(redirect::Policy::none())
            // A proxy for the web knows nothing of the server beside this one.
            .no_proxy()
            .build()
            .map_err(|error| OptionsError::Client(deepest(&error)))?;
        Ok(Self {
            http,
            bases,
            credentials: options.credentials.clone(),
            call_timeout: options.call_timeout,
            max_body: options.max_body,
            turn: AtomicUsize::new(0),
            closed: signal::Sender::new(false),
        })
    }

    /// Ends every call that is under way, and refuses further ones.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Whether [`close`](Self::close) was called.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Returns once [`close`](Self::close) was called.
    pub(super) async fn until_closed(&self) {
        // The sender is `self`'s, so that it cannot be gone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// How many bytes an answer may have, unpacked.
    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// Makes a call until a server answers it, each server has failed, the time is over or the client
    /// is closed.
    pub(super) async fn call(&self, question: Question) -> Result<Answer, Fault> {
        let servers = self.bases.len();
        let share = self.call_timeout / u32::try_from(servers).unwrap_or(u32::MAX);
        let mut left = servers;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let server = turn % servers;
            let answer = self.within(share, question.phase, self.attempt(server, &question)).await;
            left = left.saturating_sub(1);
            match answer {
                Err(fault) if fault.is_the_servers() => {
                    self.pass_on(turn);
                    if left == 0 || question.repeat == Repeat::Never {
                        return Err(fault);
                    }
                }
                answer => return answer.map(|body| Answer { body, server }),
            }
        }
    }

    /// Of many calls that one server failed, one gives the turn to the next.
    fn pass_on(&self, turn: usize) {
        let (next, order) = (turn.wrapping_add(1), Ordering::Relaxed);
        let _ = self.turn.compare_exchange(turn, next, order, order);
    }

    /// Gives the turn to the next if it is this server's.
    pub(super) fn pass_over(&self, server: usize) {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn % self.bases.len() == server {
            self.pass_on(turn);
        }
    }

    async fn within<T>(
        &self,
        time: Duration,
        phase: Phase,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let attempt = pin!(attempt);
        // Both branches are cancel-safe: what is dropped is a call, which has happened or not.
        tokio::select! {
            biased;
            () = self.until_closed() => Err(Fault::Closed),
            answer = tokio::time::timeout(time, attempt) => {
                answer.unwrap_or(Err(Fault::Late { phase, after: time }))
            }
        }
    }

    async fn attempt(&self, server: usize, question: &Question) -> Result<Packed, Fault> {
        let phase = question.phase;
        let response = self
            .request(server, question)
            .send()
            .await
            .map_err(|error| Fault::Lost { phase, reason: self.reason(server, &error) })?;
        let status = response.status();
        if status.is_success() {
            return body::receive(response, phase, self.max_body).await;
        }
        Err(refused(phase, response).await)
    }

    fn request(&self, server: usize, question: &Question) -> reqwest::RequestBuilder {
        let url = format!("{}{}", self.bases[server], question.path);
        let mut request = self.http.request(question.method.clone(), url);
        if let Some(Credentials { user, password }) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        request = request.header(ACCEPT, JSON).header(ACCEPT_ENCODING, "gzip");
        if question.body.is_empty() {
            return request;
        }
        request.header(CONTENT_TYPE, JSON).body(question.body.clone())
    }

    fn reason(&self, server: usize, error: &reqwest::Error) -> String {
        format!("{}: {}", self.bases[server], deepest(error))
    }
}

async fn refused(phase: Phase, response: Response) -> Fault {
    let status = response.status();
    Fault::Refused { phase, status, says: body::says(response).await }
}

/// What is at the bottom of an error: what surrounds it says only that a request failed.
pub(super) fn deepest(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
