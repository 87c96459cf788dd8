//! Clients that wait, each over a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use larder_bench::http::Connection;
use tokio::task::{JoinHandle, JoinSet};

/// How many connect at the same time: a server's queue of those that it has not accepted is short.
const CONNECTING: usize = 64;

/// So many connections, each of which has read this once.
pub(crate) async fn connect(
    address: SocketAddr,
    count: usize,
    read: impl Fn(usize) -> Vec<u8>,
) -> Vec<Connection> {
    let mut opening = JoinSet::new();
    let mut open = Vec::with_capacity(count);
    for number in 0..count {
        if opening.len() == CONNECTING {
            open.push(opening.join_next().await.expect("some").expect("it connects"));
        }
        let read = read(number);
        opening.spawn(async move {
            let mut connection = Connection::with_room(address, 4 << 10).await;
            assert_eq!(connection.call(&read).await.status, 200);
            connection
        });
    }
    open.extend(opening.join_all().await);
    open
}

/// Queries that wait.
#[derive(Debug)]
pub(crate) struct Parked {
    asking: Vec<JoinHandle<(Connection, Instant)>>,
    answered: Arc<AtomicUsize>,
}

impl Parked {
    /// Sends a query over each connection.
    pub(crate) fn park(connections: Vec<Connection>, query: impl Fn(usize) -> Vec<u8>) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let numbered = connections.into_iter().enumerate();
        let asking = numbered.map(|(number, mut connection)| {
            let (query, answered) = (query(number), answered.clone());
            tokio::spawn(async move {
                let answer = connection.call(&query).await;
                let at = Instant::now();
                assert_eq!(answer.status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
                (connection, at)
            })
        });
        Self { asking: asking.collect(), answered }
    }

    /// How many were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until all are answered; the connections, and when the last one was.
    pub(crate) async fn all(mut self) -> (Vec<Connection>, Instant) {
        let mut last = None;
        let mut connections = Vec::with_capacity(self.asking.len());
        for asking in std::mem::take(&mut self.asking) {
            let (connection, at) = asking.await.expect("no connection fails");
            last = last.max(Some(at));
            connections.push(connection);
        }
        (connections, last.expect("somebody waits"))
    }
}

impl Drop for Parked {
    /// They go before their server does.
    fn drop(&mut self) {
        for asking in &self.asking {
            asking.abort();
        }
    }
}
