//! Finds the addresses of a name, and keeps those that may be connected to.

use std::io;
use std::net::SocketAddr;

use super::allow::Allow;

/// Why a host is not connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The operator has not allowed it.
    #[error("not probed: {0} is not allowed: an operator can allow it with checks.allow")]
    NotAllowed(String),
    /// The name stands for nothing, or nobody knows.
    #[error("cannot resolve {0}: {1}")]
    Unresolved(String, io::Error),
}

/// The addresses of `host`, a name or an address, that may be connected to; at least one.
pub(super) async fn addresses(
    allow: &Allow,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Error> {
    let unresolved = |error| Error::Unresolved(host.to_owned(), error);
    let found = tokio::net::lookup_host((host, port)).await.map_err(unresolved)?;
    let is_name_allowed = allow.name(host);
    let allowed = found.filter(|found| is_name_allowed || allow.address(found.ip()));
    let allowed: Vec<_> = allowed.collect();
    if allowed.is_empty() { Err(Error::NotAllowed(host.to_owned())) } else { Ok(allowed) }
}
