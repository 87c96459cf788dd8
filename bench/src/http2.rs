//! Requests over HTTP/2 without TLS, many over one connection.

use std::net::SocketAddr;

use axum::http::Request;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection, from which requests are sent.
#[derive(Debug)]
pub struct Connection {
    sender: Option<SendRequest<axum::body::Bytes>>,
    runs: JoinHandle<()>,
}

impl Connection {
    /// Connects to a server that is known to speak it.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let runs = tokio::spawn(async move {
            // It ends when the server goes or this one does.
            let _ = connection.await;
        });
        Self { sender: Some(sender), runs }
    }

    /// Sends a read, and gives its answer to be.
    pub async fn send(&mut self, path: &str) -> ResponseFuture {
        let sender = self.sender.take().expect("it is put back");
        let mut sender = sender.ready().await.expect("the server takes one more");
        let request =
            Request::get(format!("http://bench{path}")).body(()).expect("a valid request");
        let (answer, _) = sender.send_request(request, true).expect("it is connected");
        self.sender = Some(sender);
        answer
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.runs.abort();
    }
}
