//! Opens a connection, and closes it.

use tokio::net::TcpStream;

use super::allow::Allow;
use super::probe::Finding;
use super::resolve;

/// Passing if any address of `target`, a `host:port`, accepts a connection.
pub(super) async fn probe(allow: &Allow, target: &str) -> Finding {
    let Some((host, port)) = split(target) else {
        return Finding::critical(format!("not probed: {target:?} is no host:port"));
    };
    let addresses = match resolve::addresses(allow, host, port).await {
        Ok(addresses) => addresses,
        Err(error) => return Finding::critical(error.to_string()),
    };
    match TcpStream::connect(addresses.as_slice()).await {
        Ok(_) => Finding::passing(format!("TCP connect {target}: Success")),
        Err(error) => Finding::critical(format!("TCP connect {target}: {error}")),
    }
}

/// The host, without brackets, and the port.
pub(crate) fn split(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let is_host = !host.is_empty() && (bare.is_some() || !host.contains(':'));
    is_host.then_some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        assert_eq!(split("h:1"), Some(("h", 1)));
        assert_eq!(split("[::1]:80"), Some(("::1", 80)));
        for wrong in ["", "h", ":1", "h:", "h:70000", "::1:80", "[]:1", "h:-1"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
