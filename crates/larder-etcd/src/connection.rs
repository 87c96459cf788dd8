//! Calls to etcd: each within its time, with one server after the other, and with a token that is
//! fetched again when it is no longer good.

mod fault;
mod login;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_registry::Phase;
use prost::Message;
use tokio::sync::{mpsc, watch as signal};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::api::{self, KeepAlive, RangeRequest, RangeResponse, Stream, Token, WatchRequest};
use crate::options::{Options, OptionsError, url};

pub(crate) use fault::Fault;
use login::Login;

/// How often a connection that carries a call is probed. etcd refuses more than one in 5 s.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to one etcd.
#[derive(Debug)]
pub(crate) struct Connection {
    endpoints: Vec<Endpoint>,
    /// One for each endpoint. Empty once closed, so that the connections end.
    channels: Mutex<Vec<Channel>>,
    /// Counts failures of servers; which one is used follows from it.
    turn: AtomicUsize,
    login: Option<Login>,
    call_timeout: Duration,
    closed: signal::Sender<bool>,
}

/// Whether a call that a server did not answer may be made to the next one at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing that a second one would trip over.
    Elsewhere,
    /// The first one may have been done, and the second would be told so as a refusal.
    Never,
}

impl Connection {
    /// Opens nothing yet: the first call does. Must be called inside a tokio runtime.
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let endpoints: Result<Vec<_>, _> =
            options.endpoints.iter().map(|address| endpoint(address, options)).collect();
        let endpoints = endpoints?;
        if endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        let channels = endpoints.iter().map(Endpoint::connect_lazy).collect();
        Ok(Self {
            endpoints,
            channels: Mutex::new(channels),
            turn: AtomicUsize::new(0),
            login: options.credentials.clone().map(Login::new),
            call_timeout: options.call_timeout,
            closed: signal::Sender::new(false),
        })
    }

    /// Ends every call that is under way, and refuses further ones.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.channels().clear();
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Presents the credentials anew before the next call.
    pub(crate) fn log_in_again(&self) {
        if let Some(login) = &self.login {
            login.end_any();
        }
    }

    /// Returns once [`close`](Self::close) was called.
    pub(crate) async fn until_closed(&self) {
        // The sender is `self`'s, so that it cannot be gone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Reads a range, linearizable: no answer is older than the call.
    pub(crate) async fn range(
        &self,
        phase: Phase,
        question: RangeRequest,
    ) -> Result<RangeResponse, Fault> {
        self.unary(phase, Repeat::Elsewhere, "/etcdserverpb.KV/Range", question).await
    }

    /// Carries out a transaction that only reads.
    pub(crate) async fn read(
        &self,
        phase: Phase,
        question: api::TxnRequest,
    ) -> Result<api::TxnResponse, Fault> {
        self.unary(phase, Repeat::Elsewhere, "/etcdserverpb.KV/Txn", question).await
    }

    /// Carries out a transaction that writes.
    pub(crate) async fn write(&self, question: api::TxnRequest) -> Result<api::TxnResponse, Fault> {
        self.unary(Phase::Write, Repeat::Never, "/etcdserverpb.KV/Txn", question).await
    }

    /// Grants a lease of so many seconds, or as many as the server can tell apart. One whose answer
    /// is lost ends by itself.
    pub(crate) async fn grant(&self, secs: u32) -> Result<i64, Fault> {
        let question = api::LeaseGrantRequest { ttl: secs.max(1).into() };
        let path = "/etcdserverpb.Lease/LeaseGrant";
        let granted: api::LeaseGrantResponse =
            self.unary(Phase::Write, Repeat::Elsewhere, path, question).await?;
        Ok(granted.id)
    }

    /// Ends a lease, and with it what is kept by it.
    pub(crate) async fn revoke(&self, id: i64) -> Result<(), Fault> {
        let question = api::LeaseRevokeRequest { id };
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        let _: api::LeaseRevokeResponse =
            self.unary(Phase::Write, Repeat::Elsewhere, path, question).await?;
        Ok(())
    }

    /// Renews a lease.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<KeepAlive, Fault> {
        let call = |channel, token: Option<Token>| async move {
            api::keep_alive(channel, token.as_ref(), id).await
        };
        self.call(Phase::Renew, Repeat::Elsewhere, call).await
    }

    /// Opens a watch, which asks `first`; further questions go through the sender.
    pub(crate) async fn watch(
        &self,
        first: WatchRequest,
    ) -> Result<(Stream, mpsc::Sender<WatchRequest>), Fault> {
        let call = |channel, token: Option<Token>| {
            let (sender, questions) = mpsc::channel(2);
            let first = first.clone();
            async move {
                // Before the call: the server says nothing until it has been asked something.
                let sent = sender.send(first).await;
                sent.map_err(|_| Status::cancelled("the stream was not opened"))?;
                Ok((api::watch(channel, token.as_ref(), questions).await?, sender))
            }
        };
        self.call(Phase::Watch, Repeat::Elsewhere, call).await
    }

    async fn unary<Q, A>(
        &self,
        phase: Phase,
        repeat: Repeat,
        path: &'static str,
        question: Q,
    ) -> Result<A, Fault>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let call = |channel, token: Option<Token>| {
            let question = question.clone();
            async move { api::unary(channel, token.as_ref(), path, question).await }
        };
        self.call(phase, repeat, call).await
    }

    /// Makes a call until a server answers it, each server has failed, the time is over or the
    /// connection is closed.
    async fn call<A, F>(
        &self,
        phase: Phase,
        repeat: Repeat,
        call: impl Fn(Channel, Option<Token>) -> F,
    ) -> Result<A, Fault>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let servers = u32::try_from(self.channels().len()).unwrap_or(u32::MAX);
        let share = self.call_timeout / servers.max(1);
        let mut left = servers;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let attempt = pin!(self.attempt(turn, phase, &call));
            // Both branches are cancel-safe: what is dropped is a call, which has happened or not.
            let answer = tokio::select! {
                biased;
                () = self.until_closed() => Err(Fault::Closed),
                answer = tokio::time::timeout(share, attempt) => {
                    answer.unwrap_or(Err(Fault::Late { phase, after: share }))
                }
            };
            left = left.saturating_sub(1);
            match answer {
                Err(fault) if fault.is_the_servers() => {
                    // Of many calls that one server failed, one gives the turn to the next.
                    let next = turn.wrapping_add(1);
                    let order = Ordering::Relaxed;
                    let is_first = self.turn.compare_exchange(turn, next, order, order).is_ok();
                    if is_first && matches!(fault, Fault::Late { .. }) {
                        self.reconnect(turn);
                    }
                    if left == 0 || repeat == Repeat::Never {
                        return Err(fault);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Makes a call to the server whose turn it is, with a token if there are credentials, and with a
    /// new one if the first is refused.
    async fn attempt<A, F>(
        &self,
        turn: usize,
        phase: Phase,
        call: &impl Fn(Channel, Option<Token>) -> F,
    ) -> Result<A, Fault>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let channel = self.channel(turn)?;
        let Some(login) = &self.login else {
            return call(channel, None).await.map_err(|status| Fault::status(phase, status));
        };
        let session = login.session(channel.clone()).await?;
        let refused = match call(channel.clone(), session.token().cloned()).await {
            Err(status) if fault::is_about_the_token(&status) => status,
            answer => return answer.map_err(|status| Fault::status(phase, status)),
        };
        tracing::debug!(%refused, "etcd refuses the token: logging in again");
        login.end(&session);
        let session = login.session(channel.clone()).await?;
        let answer = call(channel, session.token().cloned()).await;
        answer.map_err(|status| Fault::status(phase, status))
    }

    /// Opens a new connection for the next call: the present one may be dead, and nobody said so. What
    /// goes on over it goes on.
    pub(crate) fn distrust(&self) {
        self.reconnect(self.turn.load(Ordering::Relaxed));
    }

    fn reconnect(&self, turn: usize) {
        let mut channels = self.channels();
        let server = turn % self.endpoints.len();
        // There is none once it is closed.
        if let Some(channel) = channels.get_mut(server) {
            *channel = self.endpoints[server].connect_lazy();
        }
    }

    fn channel(&self, turn: usize) -> Result<Channel, Fault> {
        let channels = self.channels();
        channels.get(turn % channels.len().max(1)).cloned().ok_or(Fault::Closed)
    }

    fn channels(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endpoint(address: &str, options: &Options) -> Result<Endpoint, OptionsError> {
    let refuse = |_| OptionsError::Endpoint(address.to_owned());
    let server = Endpoint::from_shared(url(address)?).map_err(refuse)?;
    Ok(server
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(PROBE_INTERVAL)
        .keep_alive_timeout(PROBE_TIMEOUT))
}
