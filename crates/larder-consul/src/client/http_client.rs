//! The HTTP client below everything that talks to an agent: paths go out as they were written, and there are
//! never more connections than there may be.
//!
//! A client that works with URLs resolves dots in paths, encoded or not; a key of Consul's store may be made
//! of them. And one that opens a connection while another becomes free keeps both; an agent counts both.

use std::collections::HashMap;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

/// A client with so many connections to each agent at most.
pub(crate) type HttpClient = Client<Bounded, Body>;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// For how long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// After how much silence the other machine is asked whether it is still there, and how often: a query that
/// waits for news would otherwise not notice that it is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMES: u32 = 3;

/// A client that has at most `max` connections to each agent, used or not.
pub(crate) fn http_client(connect_timeout: Duration, max: usize) -> HttpClient {
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(connect_timeout));
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    http.set_keepalive_retries(Some(KEEPALIVE_TIMES));
    let bounded = Bounded { http, places: Arc::default(), max, patience: connect_timeout };
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(max)
        .pool_timer(TokioTimer::new())
        .build(bounded)
}

/// Opens connections, as long as there are fewer than there may be.
#[derive(Debug, Clone)]
pub(crate) struct Bounded {
    http: HttpConnector,
    /// By the agent's authority, of which there are as many as options name.
    places: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    max: usize,
    patience: Duration,
}

impl Bounded {
    fn places(&self, uri: &Uri) -> Arc<Semaphore> {
        let agent = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(agent).or_insert_with(|| Arc::new(Semaphore::new(self.max))).clone()
    }
}

impl Service<Uri> for Bounded {
    type Response = Open;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Open, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (places, patience) = (self.places(&uri), self.patience);
        // The one that was polled is used, and its clone is left for the next.
        let next = self.http.clone();
        let mut http = std::mem::replace(&mut self.http, next);
        Box::pin(async move {
            // Whoever asks has been counted, so that one is closing, or becomes free and is used in place of
            // this.
            let place = tokio::time::timeout(patience, places.acquire_owned()).await;
            let place = place.map_err(|_| "all connections are in use")??;
            let stream = http.call(uri).await?;
            Ok(Open { stream, _place: place })
        })
    }
}

/// A connection, which holds a place for as long as it is open.
#[derive(Debug)]
pub(crate) struct Open {
    stream: TokioIo<TcpStream>,
    _place: OwnedSemaphorePermit,
}

impl Connection for Open {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Open {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Open {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

/// What is at the bottom of an error: what surrounds it says only that a request failed.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
