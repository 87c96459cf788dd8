//! Where the Eureka servers are, and how patient to be with them.

use std::fmt;
use std::time::Duration;

use larder_cache::Backoff;
use reqwest::Url;

/// How to reach a Eureka cluster, and within which bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its servers, as `host`, `host:port` (else 8761) or `http://host:port`, each with the path of
    /// Eureka's API behind it (else `/eureka`). One is used at a time: the first, until it fails, then
    /// the next. Defaults to: `127.0.0.1:8761`. Range: 1 or more.
    pub servers: Vec<String>,
    /// Who Larder is to the servers, by HTTP's basic authentication. Defaults to: none.
    pub credentials: Option<Credentials>,
    /// How long a connection may take to open. Defaults to: 2 s. Range: above zero.
    pub connect_timeout: Duration,
    /// How long a call may take in all. Several servers share it evenly. Defaults to: 10 s. Range:
    /// above zero.
    pub call_timeout: Duration,
    /// How often to ask what changed, while somebody watches. What others register is seen this much
    /// later, and as much more as the server's own cache takes: nothing with Larder, up to 30 s with
    /// Netflix's defaults. Defaults to: 5 s; Eureka's clients ask every 30 s, but there are many of
    /// them. Range: above zero.
    pub poll: Duration,
    /// How often to fetch everything although the hashes agree: they count statuses, and do not see
    /// two errors that make up for each other. Defaults to: 10 min. Range: above zero.
    pub relist_after: Duration,
    /// For how long a write of this client is believed although a list does not show it yet: longer
    /// than the servers' cache of encoded answers. Defaults to: 40 s, for Eureka's 30. Range: any;
    /// zero for servers without such a cache.
    pub lag: Duration,
    /// How long to wait after a failed round. Defaults to: 800 ms, doubling up to 5 s, a quarter of it
    /// at random: a question that fails is no heavier than one that is answered, so that it is not
    /// asked less often than those.
    pub backoff: Backoff,
    /// How many instances are held at most; beyond it reads answer
    /// [`Error::Full`](larder_registry::Error::Full). Defaults to: 100,000. Range: 1 or more.
    pub max_instances: usize,
    /// How many bytes an answer may have, unpacked. 100,000 instances take about 100 MB. Defaults to:
    /// 256 MiB. Range: above zero.
    pub max_body: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: vec!["127.0.0.1:8761".to_owned()],
            credentials: None,
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(10),
            poll: Duration::from_secs(5),
            relist_after: Duration::from_secs(600),
            lag: Duration::from_secs(40),
            backoff: Backoff {
                free_failures: 0,
                base: Duration::from_millis(800),
                cap: Duration::from_secs(5),
            },
            max_instances: 100_000,
            max_body: 256 << 20,
        }
    }
}

/// A user and its password, which nothing prints.
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
    /// There is no server.
    #[error("no server is given: name at least one Eureka server, such as 127.0.0.1:8761")]
    NoServer,
    /// A server is not an address.
    #[error("{0:?} is no address of a Eureka server: write host:port, and its path if it has one")]
    Server(String),
    /// A server's address holds a password. It is not shown.
    #[error(
        "the address of a Eureka server holds a user or a password, and addresses are printed: give \
         them as credentials"
    )]
    Password,
    /// A server's address asks for TLS.
    #[error(
        "{0:?} asks for TLS, which is not built in: give an http:// address on a trusted network"
    )]
    Tls(String),
    /// A duration or a number that must not be zero is.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// The system gives a program no random numbers, or the like.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

/// Refuses what cannot be used.
pub(crate) fn check(options: &Options) -> Result<(), OptionsError> {
    let zeros = [
        ("connect_timeout", options.connect_timeout.is_zero()),
        ("call_timeout", options.call_timeout.is_zero()),
        ("poll", options.poll.is_zero()),
        ("relist_after", options.relist_after.is_zero()),
        ("max_instances", options.max_instances == 0),
        ("max_body", options.max_body == 0),
    ];
    match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(OptionsError::Zero(name)),
        None => Ok(()),
    }
}

/// What the URLs of a server begin with, without a slash at the end.
pub(crate) fn base(server: &str) -> Result<String, OptionsError> {
    let refuse = || OptionsError::Server(server.to_owned());
    if server.contains('@') {
        return Err(OptionsError::Password);
    }
    if server.contains(['?', '#']) {
        return Err(refuse());
    }
    let rest = match server.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return Err(OptionsError::Tls(server.to_owned())),
        Some(_) => return Err(refuse()),
        None => server,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let url = Url::parse(&format!("http://{authority}/")).map_err(|_| refuse())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(refuse)?;
    // A port that is written down as 80 is the scheme's own, which the URL does not keep.
    let port = if authority.ends_with(":80") { 80 } else { url.port().unwrap_or(8761) };
    let path = match path.trim_matches('/') {
        "" => "eureka",
        path => path,
    };
    let base = format!("http://{host}:{port}/{path}");
    Url::parse(&base).map_err(|_| refuse())?;
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_eurekas_port_and_path_unless_it_names_others() {
        for (server, expected) in [
            ("127.0.0.1", "http://127.0.0.1:8761/eureka"),
            ("eureka.local:1234/", "http://eureka.local:1234/eureka"),
            ("http://eureka/", "http://eureka:8761/eureka"),
            ("http://eureka:80/eureka/v2/", "http://eureka:80/eureka/v2"),
            ("[::1]:8761/v2", "http://[::1]:8761/v2"),
        ] {
            assert_eq!(base(server).as_deref(), Ok(expected));
        }
        assert_eq!(base("https://e"), Err(OptionsError::Tls("https://e".to_owned())));
        for server in ["", "a b", "ftp://e", "http://", "e:port", "e/eureka?x=1", "e#f"] {
            assert_eq!(base(server), Err(OptionsError::Server(server.to_owned())), "{server}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials { user: "root".to_owned(), password: "secret".to_owned() };
        let options = Options { credentials: Some(credentials), ..Options::default() };
        let printed = format!("{options:?}");
        assert!(printed.contains("root") && !printed.contains("secret"), "{printed}");
        let refused = base("root:secret@eureka").expect_err("it holds a password");
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }

    #[test]
    fn what_must_not_be_zero_is_refused() {
        assert_eq!(check(&Options::default()), Ok(()));
        let zero = Duration::ZERO;
        for (options, name) in [
            (Options { connect_timeout: zero, ..Options::default() }, "connect_timeout"),
            (Options { call_timeout: zero, ..Options::default() }, "call_timeout"),
            (Options { poll: zero, ..Options::default() }, "poll"),
            (Options { relist_after: zero, ..Options::default() }, "relist_after"),
            (Options { max_instances: 0, ..Options::default() }, "max_instances"),
            (Options { max_body: 0, ..Options::default() }, "max_body"),
        ] {
            assert_eq!(check(&options), Err(OptionsError::Zero(name)));
        }
    }
}
