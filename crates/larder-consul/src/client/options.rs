//! Where the Consul agents are, and how patient to be with them.

use std::time::Duration;

use http::Uri;

use crate::question::Token;

/// The port of Consul's HTTP API.
const PORT: u16 = 8500;

/// How to reach Consul's agents, and within which bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agents, as `host`, `host:port` (else 8500) or `http://host:port`, with the path that the API is
    /// below, if it is below one. One is used at a time: the first, until it fails, then the next.
    /// Defaults to: `127.0.0.1:8500`. Range: 1 or more.
    pub servers: Vec<String>,
    /// Who asks where a request does not say so. Defaults to: nobody in particular.
    pub token: Token,
    /// How long a connection may take to open. Defaults to: 2 s. Range: above zero.
    pub connect_timeout: Duration,
    /// How long a call may take in all, beside the time that it asks an agent to wait. Several agents share
    /// it evenly. Defaults to: 10 s. Range: above zero.
    pub call_timeout: Duration,
    /// How many bytes an answer may have. Defaults to: 64 MiB. Range: above zero.
    pub max_body: usize,
    /// How many connections there are at most to ask over. An agent lets one client have 200, and answers 429
    /// beyond. An eighth is set aside for what is answered at once; each of the others may hold a query that
    /// waits for news. What is [passed through](crate::passthrough) has connections of its own. Defaults to:
    /// 128. Range: from 2.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: vec![format!("127.0.0.1:{PORT}")],
            token: Token::default(),
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(10),
            max_body: 64 << 20,
            max_connections: 128,
        }
    }
}

/// Why the [`Options`] cannot be used. Not retried: correct them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no server.
    #[error("no server is given: name at least one Consul agent, such as 127.0.0.1:8500")]
    NoServer,
    /// A server is not an address.
    #[error("{0:?} is no address of a Consul agent: write host:port")]
    Server(String),
    /// A server's address holds a password. It is not shown.
    #[error(
        "the address of a Consul agent holds a user or a password, and addresses are printed: give a token \
         instead"
    )]
    Password,
    /// A server's address asks for TLS.
    #[error(
        "{0:?} asks for TLS, which is not built in: give an http:// address on a trusted network"
    )]
    Tls(String),
    /// The token cannot stand in a header of HTTP. It is not shown.
    #[error("the token holds characters that HTTP cannot carry: write it as Consul printed it")]
    Token,
    /// A duration or a number is too small.
    #[error("{0} must be {1}")]
    TooSmall(&'static str, &'static str),
}

/// Refuses what cannot be used; hands back what the agents' URLs begin with.
pub(super) fn check(options: &Options) -> Result<Vec<String>, OptionsError> {
    let above_zero = "above zero";
    let checks = [
        ("connect_timeout", above_zero, !options.connect_timeout.is_zero()),
        ("call_timeout", above_zero, !options.call_timeout.is_zero()),
        ("max_body", above_zero, options.max_body > 0),
        ("max_connections", "2 or more", options.max_connections >= 2),
    ];
    if let Some((name, range, _)) = checks.into_iter().find(|(.., right)| !right) {
        return Err(OptionsError::TooSmall(name, range));
    }
    if http::HeaderValue::from_str(options.token.secret()).is_err() {
        return Err(OptionsError::Token);
    }
    if options.servers.is_empty() {
        return Err(OptionsError::NoServer);
    }
    options.servers.iter().map(|server| base(server)).collect()
}

/// How many of `max_connections` may hold a query that waits, and how many are for what is answered at once.
pub(super) fn shares(max_connections: usize) -> (usize, usize) {
    let prompt = (max_connections / 8).max(1);
    (max_connections.saturating_sub(prompt).max(1), prompt)
}

/// What the URLs of a server begin with, without a slash at the end.
fn base(server: &str) -> Result<String, OptionsError> {
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
    let parsed: http::uri::Authority = authority.parse().map_err(|_| refuse())?;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let port = match parsed.port_u16() {
        Some(port) => port,
        None if has_port => return Err(refuse()),
        None => PORT,
    };
    let path = path.trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let base = format!("http://{}:{port}{slash}{path}", parsed.host());
    base.parse::<Uri>().map_err(|_| refuse())?;
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_consuls_port_unless_it_names_another() {
        for (server, expected) in [
            ("127.0.0.1", "http://127.0.0.1:8500"),
            ("consul.local:1234/", "http://consul.local:1234"),
            ("http://consul", "http://consul:8500"),
            ("http://consul:80/below/this/", "http://consul:80/below/this"),
            ("[::1]", "http://[::1]:8500"),
            ("[::1]:8501", "http://[::1]:8501"),
        ] {
            assert_eq!(base(server).as_deref(), Ok(expected));
        }
        assert_eq!(base("https://e"), Err(OptionsError::Tls("https://e".to_owned())));
        for server in ["", "a b", "ftp://e", "http://", "e:port", "e:99999", "e/v1?x=1", "e#f"] {
            assert_eq!(base(server), Err(OptionsError::Server(server.to_owned())), "{server}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let refused = base("root:secret@consul").expect_err("it holds a password");
        assert!(!format!("{refused} {refused:?}").contains("secret"));
        let token = Token::new("secret\n");
        let refused = check(&Options { token, ..Options::default() }).expect_err("a bad token");
        assert_eq!(refused, OptionsError::Token);
    }

    #[test]
    fn what_must_not_be_zero_is_refused() {
        assert!(check(&Options::default()).is_ok());
        let zero = Duration::ZERO;
        for (options, named) in [
            (Options { connect_timeout: zero, ..Options::default() }, "connect_timeout"),
            (Options { call_timeout: zero, ..Options::default() }, "call_timeout"),
            (Options { max_body: 0, ..Options::default() }, "max_body"),
            (Options { max_connections: 1, ..Options::default() }, "max_connections"),
        ] {
            let refused = check(&options);
            assert!(
                matches!(refused, Err(OptionsError::TooSmall(name, _)) if name == named),
                "{named}"
            );
        }
        let nobody = Options { servers: Vec::new(), ..Options::default() };
        assert_eq!(check(&nobody), Err(OptionsError::NoServer));
    }

    #[test]
    fn every_connection_has_its_use_and_no_more_are_given_out_than_there_are() {
        assert_eq!(shares(128), (112, 16));
        for max in 2..300 {
            let (parked, prompt) = shares(max);
            assert!(parked >= 1 && prompt >= 1);
            assert_eq!(parked + prompt, max);
        }
    }
}
