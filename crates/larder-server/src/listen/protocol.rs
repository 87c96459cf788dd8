//! Serves a connection in the protocol that its client speaks: HTTP/1.1, or HTTP/2 if it begins with that
//! (there is no TLS in which to agree on one).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_consul::server::Client;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower::Service;

use super::stall::Impatient;
use crate::config::Limits;
use crate::shutdown::Stopping;

/// What an HTTP/2 connection begins with, as far as no method of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI";

/// How many requests one HTTP/2 connection may have open at once; the client holds back the others.
const STREAMS: u32 = 1_024;

/// How often a quiet HTTP/2 connection is asked whether its client is still there.
const PING: Duration = Duration::from_secs(30);

/// Serves until the client goes or the program stops; then what has begun is finished.
pub(super) async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    limits: Limits,
    stopping: Stopping,
) -> Result<(), hyper::Error> {
    let Some(is_second) = speaks_http2(&stream, limits.idle, stopping.clone()).await else {
        return Ok(());
    };
    let stream = TokioIo::new(Impatient::new(stream, limits.idle));
    let client = Client(from.ip());
    let router = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        router.clone().call(request)
    });
    if is_second {
        let mut builder = http2::Builder::new(Streams::default());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        let connection = pin!(builder.serve_connection(stream, router));
        return until_stopping(connection, stopping, http2::Connection::graceful_shutdown).await;
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers);
    let connection = pin!(builder.serve_connection(stream, router));
    until_stopping(connection, stopping, http1::Connection::graceful_shutdown).await
}

async fn until_stopping<C: Future>(
    mut connection: std::pin::Pin<&mut C>,
    mut stopping: Stopping,
    shut_down: impl FnOnce(std::pin::Pin<&mut C>),
) -> C::Output {
    // cancel-safe: the connection is polled by reference and goes on after the other branch.
    tokio::select! {
        result = connection.as_mut() => result,
        () = stopping.wait() => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

/// Looks at how the connection begins, and takes nothing from it. None if nothing comes.
async fn speaks_http2(
    stream: &TcpStream,
    patience: Duration,
    mut stopping: Stopping,
) -> Option<bool> {
    let beginning = async {
        let mut seen = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut seen).await {
                Ok(0) | Err(_) => return None,
                Ok(count) if seen[..count] != PREFACE[..count] => return Some(false),
                Ok(count) if count == PREFACE.len() => return Some(true),
                // One letter or two: it is readable already, so that nothing else would wait for the rest.
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    // cancel-safe: a look takes nothing.
    tokio::select! {
        seen = tokio::time::timeout(patience, beginning) => seen.ok().flatten(),
        () = stopping.wait() => None,
    }
}

/// The tasks of one HTTP/2 connection's requests: they end with it.
#[derive(Debug, Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}
