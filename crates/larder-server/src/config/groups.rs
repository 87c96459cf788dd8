//! Peer groups: the ring that this process stands in, and the groups that it has.

mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use larder_peers::{Admission, Hedge, Mode, Peer, PoolOptions};

use super::Secret;

pub use crate::groups::origin::template::Template;
pub(super) use table::read as read_tables;
pub use table::{Group, Origin};

/// The most `[[group]]` tables.
pub(super) const MOST_GROUPS: usize = 256;

/// Peer groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// `groups.mode`: the family of programs in the ring; the same on every node. `mailgun-v2` by default.
    pub mode: Mode,
    /// `groups.identity`: what this process is called in the ring. Empty, the default, stands for the first
    /// address at which it serves peers, in the mode's form.
    pub identity: String,
    /// `groups.listen`: where peers are served, and nothing else is; none by default: they are served on
    /// `listen`.
    pub listen: Vec<SocketAddr>,
    /// `groups.peers`, `groups.peers_file`, `groups.peers_dns` or `groups.peers_service`: who stands in the
    /// ring.
    pub membership: Membership,
    /// `groups.token`: a secret that the Larders of the ring share; whoever sends it is let in. None by default.
    pub token: Secret,
    /// `groups.admit`: who may ask as a peer. The configured peers by default.
    pub admission: Admission,
    /// `groups.second_owner`: whether the next owner is asked when the owner is of no use. `off` by default.
    pub second_owner: bool,
    /// `groups.hedge`: when an owner that is slow is asked a second time. `off` by default.
    pub hedge: Hedge,
    /// `groups.peer_timeout_ms`: how long a peer may take to answer; then the key is loaded here. 1 to
    /// 600,000, 15,000 by default.
    pub peer_timeout: Duration,
    /// `groups.peer_connections`: connections to one peer at a time. 1 to 10,000, 64 by default.
    pub peer_connections: usize,
    /// `groups.max_value_bytes`: the largest value that is taken from a peer, an origin or a client. 1 to
    /// 1,073,741,824, 16 MiB by default.
    pub max_value_bytes: usize,
    /// `groups.retry_secs`: for how long a removal is tried again at a peer that did not take it. 0 to 86,400,
    /// 300 by default.
    pub retry: Duration,
    /// `groups.replicas`: points on the ring for each peer; the same on every node. 1 to 10,000, 50 by default.
    pub replicas: u32,
    /// `groups.write_token`: who sends it may set and remove over `/cache/`, as this machine may. None by
    /// default.
    pub write_token: Secret,
    /// The `[[group]]` tables of the file, 256 at most; none by default.
    pub groups: Vec<Group>,
}

/// How it is known who stands in the ring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Membership {
    /// Nobody but this process.
    #[default]
    Alone,
    /// `groups.peers`: these, this process among them.
    Fixed(Vec<Peer>),
    /// `groups.peers_file`: those in a file, one in a line.
    File(PathBuf),
    /// `groups.peers_dns`: each address of this name, at this port.
    Dns(String, u16),
    /// `groups.peers_service`: the instances of this service of the registry that are up.
    Service(String),
}

impl Default for Groups {
    fn default() -> Self {
        let defaults = PoolOptions::default();
        Self {
            mode: defaults.mode,
            identity: String::new(),
            listen: Vec::new(),
            membership: Membership::Alone,
            token: Secret::default(),
            admission: defaults.admission,
            second_owner: defaults.second_owner,
            hedge: defaults.hedge,
            peer_timeout: defaults.peer_timeout,
            peer_connections: defaults.connections,
            max_value_bytes: defaults.max_value,
            retry: defaults.retry_for,
            replicas: defaults.replicas,
            write_token: Secret::default(),
            groups: Vec::new(),
        }
    }
}

/// The modes whose peers can be asked, by name.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    let usable = Mode::ALL.into_iter().filter(|mode| mode.has_peers());
    let mode = Mode::named(text).filter(|mode| mode.has_peers());
    mode.ok_or_else(|| usable.map(Mode::name).collect::<Vec<_>>().join(", "))
}

/// Reads a name of this process in the ring; what it must look like is for the mode to say, at the start.
pub(super) fn identity(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if text.len() <= 1_024 && is_plain {
        return Ok(text.to_owned());
    }
    Err("a name without spaces, such as http://10.0.0.1:8761".to_owned())
}

/// Reads who may ask as a peer.
pub(super) fn admission(text: &str) -> Result<Admission, String> {
    match text {
        "peers" => Ok(Admission::Peers),
        "anyone" => Ok(Admission::Anyone),
        _ => Err("peers or anyone".to_owned()),
    }
}

/// Reads when a get is hedged.
pub(super) fn hedge(text: &str) -> Result<Hedge, String> {
    /// Nothing on one machine or in one network is slow before.
    const AT_LEAST: Duration = Duration::from_millis(1);
    match text {
        "off" => Ok(Hedge::Off),
        "slowest" => Ok(Hedge::Slowest { at_least: AT_LEAST }),
        text => match text.parse() {
            Ok(millis @ 1..=60_000) => Ok(Hedge::After(Duration::from_millis(millis))),
            _ => Err("off, slowest, or milliseconds from 1 to 60000".to_owned()),
        },
    }
}

/// Reads a secret that travels in a header.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    if text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret(text.to_owned()));
    }
    Err("a secret of at most 1024 visible ASCII characters".to_owned())
}

/// Reads peers with commas between them: `IDENTITY`, or `IDENTITY=DIAL_URL`. None in an empty list.
pub(super) fn peers(text: &str) -> Result<Membership, String> {
    if text.is_empty() {
        return Ok(Membership::Alone);
    }
    text.split(',').map(|entry| peer(entry.trim())).collect::<Result<_, _>>().map(Membership::Fixed)
}

fn peer(entry: &str) -> Result<Peer, String> {
    let (name, address) = entry.split_once('=').map_or((entry, None), |(n, a)| (n, Some(a)));
    if address.unwrap_or(name).starts_with("https://") {
        return Err("http://HOST:PORT for each peer, as TLS is not built in".to_owned());
    }
    if name.is_empty() || address.is_some_and(str::is_empty) || identity(entry).is_err() {
        return Err("peers such as http://10.0.0.1:8761, or IDENTITY=URL for one that is reached \
                    elsewhere, this process among them"
            .to_owned());
    }
    Ok(Peer::parse(entry))
}

/// Reads the path of a file with peers.
pub(super) fn file(text: &str) -> Result<Membership, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("the path of a file".to_owned());
    }
    Ok(Membership::File(text.into()))
}

/// Reads `NAME:PORT`.
pub(super) fn dns(text: &str) -> Result<Membership, String> {
    let is_name = |name: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !name.is_empty() && name.len() <= 253 && name.chars().all(is_letter)
    };
    let parts = text.rsplit_once(':').filter(|(name, _)| is_name(name));
    match parts.and_then(|(name, port)| Some((name, port.parse().ok().filter(|port| *port > 0)?))) {
        Some((name, port)) => Ok(Membership::Dns(name.to_owned(), port)),
        None => Err("NAME:PORT, such as larder.internal:8761".to_owned()),
    }
}

/// Reads the name of a service of the registry.
pub(super) fn service(text: &str) -> Result<Membership, String> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("the name of a service".to_owned());
    }
    Ok(Membership::Service(text.to_owned()))
}

/// Takes who stands in the ring, which may be said in one way only.
pub(super) fn only_one(
    place: &mut Membership,
    read: Result<Membership, String>,
) -> Result<(), String> {
    if *place != Membership::Alone {
        return Err("only one of groups.peers, groups.peers_file, groups.peers_dns and \
                    groups.peers_service"
            .to_owned());
    }
    *place = read?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_names_and_may_be_reached_elsewhere() {
        let read = peers("http://10.0.0.1:80, node-2=http://10.0.0.2:81/larder");
        let second = Peer::new("node-2").at("http://10.0.0.2:81/larder");
        assert_eq!(read, Ok(Membership::Fixed(vec![Peer::new("http://10.0.0.1:80"), second])));
        assert_eq!(peers(""), Ok(Membership::Alone));
        for (text, says) in [
            ("http://a,,http://b", "peers such as"),
            ("=http://a", "peers such as"),
            ("a=", "peers such as"),
            ("a b", "peers such as"),
            ("https://a:1", "TLS is not built in"),
            ("a=https://a:1", "TLS is not built in"),
        ] {
            let refused = peers(text).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn names_in_dns_have_a_port() {
        assert_eq!(dns("a.b:80"), Ok(Membership::Dns("a.b".to_owned(), 80)));
        for text in ["", "a", "a:", "a:0", ":80", "a:x", "http://a:80", "a:65536", "a b:1"] {
            assert!(dns(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_are_known_in_one_way_only() {
        let mut place = Membership::Alone;
        assert_eq!(only_one(&mut place, service("cache")), Ok(()));
        let told = only_one(&mut place, dns("a:1")).expect_err("there is one already");
        assert!(told.contains("only one of groups.peers"), "{told}");
        assert_eq!(place, Membership::Service("cache".to_owned()));
    }

    #[test]
    fn modes_are_known_by_name_if_their_peers_can_be_asked() {
        assert_eq!(mode("native"), Ok(Mode::Native));
        let told = mode("galaxycache").expect_err("its peers speak another protocol");
        assert_eq!(told, "mailgun-v2, golang, groupcache-go-v3, native");
    }

    #[test]
    fn slow_owners_are_asked_again_never_by_time_or_as_the_slowest_are() {
        assert_eq!(hedge("off"), Ok(Hedge::Off));
        assert_eq!(hedge("20"), Ok(Hedge::After(Duration::from_millis(20))));
        assert!(matches!(hedge("slowest"), Ok(Hedge::Slowest { .. })));
        assert!(hedge("0").is_err() && hedge("60001").is_err() && hedge("p95").is_err());
    }

    #[test]
    fn tokens_are_not_printed() {
        let groups = Groups { token: token("hunter2").unwrap_or_default(), ..Groups::default() };
        assert_eq!(groups.token.0, "hunter2");
        assert!(!format!("{groups:?}").contains("hunter2"));
        assert!(token("two words").is_err());
    }
}
