//! Who stands in the ring: names, addresses, and which of them this process is.
//!
//! Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::ring::{IdentityForm, Mode};

/// A member of the ring.
///
/// Its identity is what the ring is made of, and must be the same text on every node. Where it is reached may
/// be something else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    identity: String,
    address: Option<String>,
}

impl Peer {
    /// A peer that is reached at the address in its identity: a URL, or host and port.
    pub fn new(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), address: None }
    }

    /// Says where it is reached, if not where its identity says.
    #[must_use]
    pub fn at(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Reads `IDENTITY`, or `IDENTITY=ADDRESS` for one that is reached somewhere else: how a peer is written
    /// in a file or a setting. Whether it makes sense is told by [`Pool::set_peers`](crate::Pool::set_peers).
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((identity, address)) => Self::new(identity.trim()).at(address.trim()),
            None => Self::new(text.trim()),
        }
    }

    /// What it is called in the ring.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

impl<I: Into<String>> From<I> for Peer {
    fn from(identity: I) -> Self {
        Self::new(identity)
    }
}

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host and port, as in a URL.
    authority: String,
    /// What comes before the base path, as Go's clients put their path behind the identity.
    prefix: String,
    secured: bool,
}

impl Address {
    /// Reads a URL, or host and port; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (secured, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, prefix) = rest.split_at(at);
        let authority: http::uri::Authority = authority.parse().ok()?;
        let port = authority.port_u16().unwrap_or(if secured { 443 } else { 80 });
        let has_port = authority.port().is_some() || text.contains("://");
        let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        (has_port && is_plain && !prefix.contains(['?', '#', ' '])).then(|| Self {
            authority: format!("{}:{port}", authority.host()),
            prefix: prefix.trim_end_matches('/').to_owned(),
            secured,
        })
    }

    /// Host and port, with brackets around an IPv6 address.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What comes before the base path; empty, or with a slash in front.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it is reached over TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Its IP address, if it is written as one and not as a name.
    pub fn ip(&self) -> Option<IpAddr> {
        let (host, _) = self.authority.rsplit_once(':')?;
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Why a list of peers is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// This process is not in the list. Every key would be somebody else's, and the others would send it
    /// keys all the same. Put it in, in the very same spelling.
    #[error("the peers do not include {0}, which is this process: add it in this very spelling")]
    SelfMissing(String),
    /// An identity does not look as the mode's peers must be named.
    #[error("{identity:?} cannot name a peer in a {} ring: write {}", mode.name(), form.example())]
    Identity {
        /// As it was given.
        identity: String,
        /// The ring's mode.
        mode: Mode,
        /// What it should look like.
        form: IdentityForm,
    },
    /// It cannot be told where a peer is reached.
    #[error("{0:?} is no address: write host and port, or an http URL")]
    Address(String),
    /// A peer is in the list twice.
    #[error("{0} is in the list of peers twice")]
    Twice(String),
    /// A peer is reached over TLS, and the pool's transport cannot do that.
    #[error("{0} is reached over TLS: give the pool a transport that does TLS, or use http")]
    Tls(String),
    /// This mode's peers speak another protocol.
    #[error("peers of a {} ring speak another protocol: leave the others out", .0.name())]
    OtherProtocol(Mode),
    /// There are too many.
    #[error("{0} peers are more than a ring may have ({MOST})")]
    TooMany(usize),
}

/// The most members that a ring may have.
pub(crate) const MOST: usize = 1_000;

/// Checks a list of peers for the process that is called `own`. Each comes with where it is reached; that process
/// itself with nothing.
pub(crate) fn check(
    mode: Mode,
    own: &str,
    peers: Vec<Peer>,
    can_secure: bool,
) -> Result<Vec<(String, Option<Address>)>, MembersError> {
    if peers.len() > MOST {
        return Err(MembersError::TooMany(peers.len()));
    }
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(peers.len());
    for Peer { identity, address } in peers {
        let form = mode.identity_form();
        if !form.fits(&identity) {
            return Err(MembersError::Identity { identity, mode, form });
        }
        if !seen.insert(identity.clone()) {
            return Err(MembersError::Twice(identity));
        }
        if identity == own {
            checked.push((identity, None));
            continue;
        }
        if !mode.has_peers() {
            return Err(MembersError::OtherProtocol(mode));
        }
        let text = address.unwrap_or_else(|| identity.clone());
        let address = Address::parse(&text).ok_or(MembersError::Address(text))?;
        if address.is_secured() && !can_secure {
            return Err(MembersError::Tls(identity));
        }
        checked.push((identity, Some(address)));
    }
    if !seen.contains(own) {
        return Err(MembersError::SelfMissing(own.to_owned()));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(list: &[&str]) -> Vec<Peer> {
        list.iter().map(|identity| Peer::new(*identity)).collect()
    }

    fn refused(mode: Mode, own: &str, list: &[&str]) -> MembersError {
        check(mode, own, peers(list), false).unwrap_err()
    }

    #[test]
    fn a_ring_without_this_process_is_refused() {
        let error = refused(Mode::MailgunV2, "http://a:1", &["http://a:1/", "http://b:1"]);
        assert_eq!(error, MembersError::SelfMissing("http://a:1".to_owned()));
    }

    #[test]
    fn identities_look_as_their_mode_wants_them() {
        let named = |mode, own| check(mode, own, peers(&[own]), false).is_ok();
        assert!(named(Mode::MailgunV2, "http://10.0.0.1:8080"));
        assert!(!named(Mode::MailgunV2, "10.0.0.1:8080"));
        assert!(!named(Mode::Golang, "10.0.0.1:8080"));
        assert!(named(Mode::GroupcacheGoV3, "10.0.0.1:8080"));
        assert!(!named(Mode::GroupcacheGoV3, "http://10.0.0.1:8080"));
        assert!(named(Mode::Native, "pod-3") && !named(Mode::Native, ""));
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused_with_what_to_do() {
        let own = "http://a:1";
        assert_eq!(refused(Mode::MailgunV2, own, &[own, own]), MembersError::Twice(own.to_owned()));
        assert!(matches!(
            refused(Mode::MailgunV2, own, &[own, "https://b:1"]),
            MembersError::Tls(_)
        ));
        assert!(matches!(refused(Mode::Native, "a", &["a", "b"]), MembersError::Address(_)));
        let galaxy = refused(Mode::Galaxycache, "a", &["a", "b:1"]);
        assert_eq!(galaxy, MembersError::OtherProtocol(Mode::Galaxycache));
        let many = (0..=MOST).map(|n| Peer::new(format!("http://p{n}:1"))).collect();
        let error = check(Mode::MailgunV2, own, many, false).unwrap_err();
        assert_eq!(error, MembersError::TooMany(1_001));
    }

    #[test]
    fn where_a_peer_is_reached_may_differ_from_what_it_is_called() {
        let list = vec![Peer::new("a"), Peer::new("b").at("10.0.0.2:81")];
        let checked = check(Mode::Native, "a", list, false).unwrap();
        assert_eq!(checked[0], ("a".to_owned(), None));
        assert_eq!(checked[1].1.as_ref().unwrap().authority(), "10.0.0.2:81");
    }

    #[test]
    fn addresses_are_urls_or_host_and_port() {
        let parts = |text| {
            let address = Address::parse(text)?;
            Some((address.authority, address.prefix, address.secured))
        };
        let expected =
            |authority: &str, prefix: &str, tls| Some((authority.into(), prefix.into(), tls));
        assert_eq!(parts("http://10.0.0.1:8080"), expected("10.0.0.1:8080", "", false));
        assert_eq!(parts("http://a/x/"), expected("a:80", "/x", false));
        assert_eq!(parts("https://a"), expected("a:443", "", true));
        assert_eq!(parts("[::1]:80"), expected("[::1]:80", "", false));
        for bad in ["", "a", "ftp://a:1", "http://", "http://u@a:1", "a b:1", "http://a:1/x?y"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
        let ip = |text| Address::parse(text).unwrap().ip();
        assert_eq!(ip("http://[::1]:80"), "::1".parse().ok());
        assert_eq!((ip("http://10.0.0.1:8080"), ip("b:80")), ("10.0.0.1".parse().ok(), None));
    }
}
