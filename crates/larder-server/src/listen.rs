//! Accepts connections and serves them, within limits, until told to stop.

mod protocol;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use larder_consul::server::crowd::{self, Crowd, Seat};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::config::Limits;
use crate::shutdown::Stopping;

/// How long to wait after an accept that failed: the usual reason is that the process has no file
/// descriptor left, and trying at once would only burn a core.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// How many connections are open, and how many may be, on all listeners together.
#[derive(Debug)]
pub(crate) struct Connections {
    /// One for each connection that may be served at once.
    permits: Arc<Semaphore>,
    open: AtomicU64,
    /// Those of each client.
    clients: Arc<Crowd>,
}

/// An open connection, to be counted as long as it lives.
#[derive(Debug)]
struct Open {
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// As many as `most`, and of one client no more than `of_each`, if that is not zero.
    pub(crate) fn new(most: usize, of_each: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most));
        // Those in all are counted by the permits, for which one may wait.
        let clients = Crowd::new(crowd::Limits { total: usize::MAX, of_each });
        Arc::new(Self { permits, open: AtomicU64::new(0), clients })
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until one more connection may be served. Safe to cancel: only the place in the queue is
    /// lost.
    async fn admit(self: &Arc<Self>) -> Open {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        self.open.fetch_add(1, Ordering::Relaxed);
        Open { connections: self.clone(), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all listeners share.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) connections: Arc<Connections>,
    pub(crate) stopping: Stopping,
}

/// Serves connections until told to stop; then accepts no more, lets requests that have begun finish
/// within the time for that, cuts the rest, and joins every connection's task.
///
/// While as many connections are served as may be, each listener holds one more that waits its turn, and
/// further ones wait in the system's queue.
pub(crate) async fn serve(listener: Listener, service: Service) {
    let mut stopping = service.stopping.clone();
    let mut tasks = JoinSet::new();
    loop {
        // cancel-safe: a connection that waits its turn is dropped unheard, as those in the system's
        // queue are.
        let accepted = tokio::select! {
            connection = next(&listener, &service.connections) => connection,
            () = stopping.wait() => break,
        };
        while tasks.try_join_next().is_some() {}
        tasks.spawn(connection(accepted, service.clone()));
    }
    drop(listener);
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(service.limits.shutdown, finished).await.is_err() {
        tracing::warn!(connections = tasks.len(), "cutting requests that did not finish in time");
        tasks.shutdown().await;
    }
}

/// A connection that may be served.
struct Accepted {
    stream: TcpStream,
    from: SocketAddr,
    open: Open,
    /// None for one more than its client may have.
    seat: Option<Seat>,
}

/// The next connection that may be served. It is accepted before its turn is waited for: the other way
/// round, a listener to which nobody connects would take a turn from one that is busy.
async fn next(listener: &Listener, connections: &Arc<Connections>) -> Accepted {
    let (stream, from) = accept(listener).await;
    let seat = connections.clients.seat(from.ip()).ok();
    Accepted { stream, from, seat, open: connections.admit().await }
}

async fn accept(listener: &Listener) -> (TcpStream, SocketAddr) {
    let mut failed = false;
    loop {
        match listener.socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Once for each time of trouble: it may last long, and is tried often.
                if !std::mem::replace(&mut failed, true) {
                    let address = listener.address;
                    tracing::warn!(%address, %error, "connections cannot be accepted");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(accepted: Accepted, service: Service) {
    let Accepted { stream, from, open: _open, seat } = accepted;
    let Service { router, limits, stopping, .. } = service;
    // Answers are written whole: waiting for more to send would only add to their latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let Some(_seat) = seat else {
        refuse(stream, limits.idle).await;
        return;
    };
    let result = protocol::serve(stream, from, router, limits, stopping).await;
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says so before anything was asked, as Consul's agent does, and closes.
async fn refuse(mut stream: TcpStream, patience: Duration) {
    let says = "this client has as many connections as it may (limits.client_connections)\n";
    let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{says}", says.len());
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whoever does not take it need not know.
    let _ = tokio::time::timeout(patience, told).await;
}
