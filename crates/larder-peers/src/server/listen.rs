//! A listener for peers alone.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::pool::{Pool, Shared};

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 4_096;

/// How long to wait after an accept that failed: the usual reason is that there is no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may take for the head of a request, and may be without one.
const HEAD: Duration = Duration::from_secs(90);

/// A listener that answers peers. Dropping it cuts its connections off; [`stop`](Self::stop) lets requests
/// finish.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pool {
    /// Answers peers on this listener, and nothing else, until told to stop.
    pub fn serve(&self, listener: TcpListener) -> io::Result<Serving> {
        let address = listener.local_addr()?;
        let (stopping, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::downgrade(&self.0), stopped));
        Ok(Serving { address, stopping, task })
    }
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets the requests that are under way finish, for as long as `grace`, and
    /// returns when every connection is closed.
    pub async fn stop(mut self, grace: Duration) {
        self.stopping.send_replace(true);
        // cancel-safe: the task goes on, and is aborted when this is dropped.
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
            // The only error is the abort itself.
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, pool: Weak<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // cancel-safe: neither an accept nor a wait for a permit takes anything before it is done.
        let accepted = tokio::select! {
            () = told(&mut stopped) => break,
            accepted = next(&listener, &permits) => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, from, permit)) => {
                let (pool, stopped) = (Weak::clone(&pool), stopped.clone());
                connections.spawn(async move {
                    serve(stream, from, pool, stopped).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of a peer could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection, once there may be one more.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, permit))
}

/// Returns once the listener is to stop, or nobody is left who could say so.
async fn told(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    pool: Weak<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    // Without it, an answer waits for the peer's acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let pool = pool.upgrade();
        async move {
            match pool {
                Some(pool) => Ok::<_, Infallible>(pool.answer(request, Some(from.ip())).await),
                None => Ok(super::refusal(500, "this node is gone", None)),
            }
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // cancel-safe: the connection is pinned outside, and driven on.
    tokio::select! {
        // A connection that breaks is its peer's business.
        _ = connection.as_mut() => return,
        () = told(&mut stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
