//! How a connection to a peer is made: TCP, or something of one's own.

use std::fmt::Debug;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::members::Address;

/// A connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Makes connections to peers: the place for TLS, or for a network of one's own in tests.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Connects. The future is dropped when the call's time is over.
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>>;

    /// Whether it does TLS for peers whose URL begins with `https`. A pool refuses such peers otherwise.
    ///
    /// Defaults to: no.
    fn can_secure(&self) -> bool {
        false
    }
}

/// Plain TCP, without Nagle's delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to.authority()).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}
