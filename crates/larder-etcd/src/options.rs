//! Where etcd is, and how patient to be with it.

use std::fmt;
use std::time::Duration;

use larder_cache::Backoff;

/// How to reach etcd, and within which bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its servers, as `host:port`, `host` (the port is 2379) or `http://host:port`. One is used at a
    /// time: the first, until it fails, then the next. Defaults to: `127.0.0.1:2379`. Range: 1 or more.
    pub endpoints: Vec<String>,
    /// What every key begins with. Defaults to: `/micro/registry/`, go-micro's.
    pub prefix: String,
    /// Who Larder is to etcd. Defaults to: none, for an etcd without authentication.
    pub credentials: Option<Credentials>,
    /// How long a connection may take to open. Defaults to: 2 s. Range: above zero.
    pub connect_timeout: Duration,
    /// How long a call may take in all, whatever it has to repeat. Several servers share it evenly.
    /// A listing takes a call for each page. Defaults to: 5 s. Range: above zero.
    pub call_timeout: Duration,
    /// How long a watch may be silent before it is taken for dead. The server is asked to speak up
    /// after a third of it. Defaults to: 30 s. Range: above zero.
    pub idle_timeout: Duration,
    /// How long a watch that broke off waits before it goes on. Defaults to: 800 ms, doubling up to
    /// 30 s, a quarter of it at random. While etcd is out of reach one watch of all that a backend has
    /// goes on about once a second, however long it would wait; when it comes through, so do the others
    /// within a second.
    pub backoff: Backoff,
    /// How many instances a listing, and a watch, hold at most; beyond it they answer
    /// [`Error::Full`](larder_registry::Error::Full). Defaults to: 100,000. Range: 1 or more.
    pub max_instances: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            prefix: "/micro/registry/".to_owned(),
            credentials: None,
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            backoff: Backoff {
                free_failures: 0,
                base: Duration::from_millis(800),
                cap: Duration::from_secs(30),
            },
            max_instances: 100_000,
        }
    }
}

/// A user of etcd's and its password, which nothing prints.
#[derive(Clone)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password. Sent as it is: without TLS, whoever can read the wire can read it.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why the [`Options`] cannot be used. Not retried: correct them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no endpoint.
    #[error("no endpoint is given: name at least one server of etcd, such as 127.0.0.1:2379")]
    NoEndpoint,
    /// An endpoint is not an address.
    #[error("{0:?} is no address of an etcd server: write host:port")]
    Endpoint(String),
    /// An endpoint asks for TLS.
    #[error(
        "{0:?} asks for TLS, which is not built in: give an http:// address on a trusted network"
    )]
    Tls(String),
    /// A duration or a number that must not be zero is.
    #[error("{0} must be above zero")]
    Zero(&'static str),
}

/// The address of an endpoint as a URL.
pub(crate) fn url(endpoint: &str) -> Result<String, OptionsError> {
    let refuse = || OptionsError::Endpoint(endpoint.to_owned());
    let authority = match endpoint.split_once("://") {
        Some(("http", rest)) => rest.trim_end_matches('/'),
        Some(("https", _)) => return Err(OptionsError::Tls(endpoint.to_owned())),
        Some(_) => return Err(refuse()),
        None => endpoint,
    };
    let authority: http::uri::Authority = authority.parse().map_err(|_| refuse())?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(refuse());
    }
    let port = authority.port_u16().unwrap_or(2379);
    Ok(format!("http://{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_with_etcds_port_unless_it_names_another() {
        for (endpoint, expected) in [
            ("127.0.0.1", "http://127.0.0.1:2379"),
            ("etcd.local:1234", "http://etcd.local:1234"),
            ("http://etcd:1234/", "http://etcd:1234"),
            ("[::1]:2379", "http://[::1]:2379"),
        ] {
            assert_eq!(url(endpoint).as_deref(), Ok(expected));
        }
        assert_eq!(url("https://etcd"), Err(OptionsError::Tls("https://etcd".to_owned())));
        for endpoint in ["", "a b", "ftp://etcd", "http://", "root:secret@etcd", "etcd/path"] {
            assert_eq!(
                url(endpoint),
                Err(OptionsError::Endpoint(endpoint.to_owned())),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials { user: "root".to_owned(), password: "secret".to_owned() };
        let options = Options { credentials: Some(credentials), ..Options::default() };
        let printed = format!("{options:?}");
        assert!(printed.contains("root") && !printed.contains("secret"), "{printed}");
    }
}
