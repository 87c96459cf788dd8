//! What a ring has in common, as one choice: the hash, how a peer is named, how paths are escaped, which
//! verbs there are and which status codes.
//!
//! Pure.

use std::net::SocketAddr;

use crate::ring::Hash;
use crate::wire::path::Escape;

/// The family of programs that stand in a ring. They cannot be mixed: no two agree on owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// `mailgun/groupcache` v2, from v2.5.0 on.
    #[default]
    MailgunV2,
    /// `golang/groupcache`. There is no set and no remove: its servers answer them as if they were a get, so
    /// they are refused here. Values have no time of expiry on its wire.
    Golang,
    /// `groupcache/groupcache-go` v3.
    GroupcacheGoV3,
    /// `vimeo/galaxycache`: the ring alone. Its peers speak another protocol, so a pool of this mode has no
    /// peer but itself.
    Galaxycache,
    /// Larders alone: even load, and no owner is ever believed about a group that it does not know.
    Native,
}

/// What an identity must look like, because peers use it as more than a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityForm {
    /// A URL, `http://10.0.0.1:8080`: Go's clients put the path behind it.
    Url,
    /// `10.0.0.1:8080`, without a scheme.
    HostPort,
    /// Anything that is not empty.
    Free,
}

/// What a request on the peers' path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The value. `HEAD`, too, and what Go's servers take for it.
    Get,
    /// To take a value.
    Set,
    /// To forget the value.
    Remove,
    /// `POST`, where it is not a get: to forget many, or to get many, as the path says.
    Many,
    /// Nothing that this mode has: 405.
    Unknown,
}

/// Why a server has no value for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The path has no key.
    BadRequest,
    /// Not a path of this pool.
    Elsewhere,
    /// The mode has no such verb.
    Verb,
    /// Who asks is neither a peer nor has the token.
    Stranger,
    /// There is no such group here.
    UnknownGroup,
    /// The loader says that there is no such key.
    Missing,
    /// The loader failed: that is the answer, and nobody else need try.
    Failed,
    /// The loader panicked or this process is stopping: the peer should load by itself.
    Unable,
    /// A value that is too large to be kept.
    TooLarge,
}

impl Mode {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::MailgunV2, Self::Golang, Self::GroupcacheGoV3, Self::Galaxycache, Self::Native];

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MailgunV2 => "mailgun-v2",
            Self::Golang => "golang",
            Self::GroupcacheGoV3 => "groupcache-go-v3",
            Self::Galaxycache => "galaxycache",
            Self::Native => "native",
        }
    }

    /// The mode of this [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The hash of keys and points.
    pub const fn hash(self) -> Hash {
        match self {
            Self::MailgunV2 | Self::GroupcacheGoV3 => Hash::FNV1,
            Self::Golang | Self::Galaxycache => Hash::CRC32,
            Self::Native => Hash::FNV1A,
        }
    }

    /// Whether a point is the hash of the md5 of its name, and not of the name itself.
    pub const fn hashes_md5_of_points(self) -> bool {
        matches!(self, Self::MailgunV2 | Self::GroupcacheGoV3)
    }

    /// What identities look like.
    pub const fn identity_form(self) -> IdentityForm {
        match self {
            Self::MailgunV2 | Self::Golang => IdentityForm::Url,
            Self::GroupcacheGoV3 => IdentityForm::HostPort,
            Self::Galaxycache | Self::Native => IdentityForm::Free,
        }
    }

    /// What a peer at this address is called, if its address is all there is to call it by.
    pub fn identity_at(self, address: SocketAddr) -> String {
        self.identity_of(&address.to_string())
    }

    /// As [`identity_at`](Self::identity_at), of a host and a port.
    pub fn identity_of(self, host_and_port: &str) -> String {
        match self.identity_form() {
            IdentityForm::Url | IdentityForm::Free => format!("http://{host_and_port}"),
            IdentityForm::HostPort => host_and_port.to_owned(),
        }
    }

    /// How group and key are escaped in a request's path.
    pub const fn escape(self) -> Escape {
        match self {
            Self::Golang => Escape::Query,
            _ => Escape::Path,
        }
    }

    /// Whether a value's time of expiry is on the wire.
    pub const fn carries_expiry(self) -> bool {
        !matches!(self, Self::Golang)
    }

    /// Whether there is set and remove.
    pub const fn can_write(self) -> bool {
        matches!(self, Self::MailgunV2 | Self::GroupcacheGoV3 | Self::Native)
    }

    /// Whether its peers are asked over this crate's wire at all.
    pub const fn has_peers(self) -> bool {
        !matches!(self, Self::Galaxycache)
    }

    /// What a method asks for.
    pub fn verb(self, method: &http::Method) -> Verb {
        match (self, method.as_str()) {
            (_, "GET") | (Self::MailgunV2 | Self::Golang, "HEAD" | "POST") => Verb::Get,
            (Self::GroupcacheGoV3 | Self::Native, "POST") => Verb::Many,
            (_, "PUT") if self.can_write() => Verb::Set,
            (_, "DELETE") if self.can_write() => Verb::Remove,
            _ => Verb::Unknown,
        }
    }

    /// The status of a refusal.
    pub const fn status(self, refusal: Refusal) -> u16 {
        match (self, refusal) {
            // golang's clients load by themselves after whatever is not 200.
            (Self::Golang, Refusal::Missing | Refusal::Failed) | (_, Refusal::Unable) => 500,
            // Not 404, which says to mailgun's clients that there is no such key.
            (_, Refusal::BadRequest | Refusal::Elsewhere) => 400,
            // golang's clients make no difference, and that is what its servers answer.
            (Self::Golang, Refusal::UnknownGroup) | (_, Refusal::Missing) => 404,
            (_, Refusal::UnknownGroup) => 500,
            (_, Refusal::Stranger) => 403,
            (_, Refusal::Verb) => 405,
            (_, Refusal::TooLarge) => 413,
            (_, Refusal::Failed) => 503,
        }
    }
}

impl IdentityForm {
    /// For people.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Url => "a URL such as http://10.0.0.1:8080",
            Self::HostPort => "host and port such as 10.0.0.1:8080",
            Self::Free => "any text that is not empty",
        }
    }

    /// Whether `identity` looks so.
    pub fn fits(self, identity: &str) -> bool {
        let is_url = identity.starts_with("http://") || identity.starts_with("https://");
        match self {
            Self::Url => is_url,
            Self::HostPort => {
                let port = identity.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                !identity.contains('/') && port.is_some()
            }
            Self::Free => !identity.is_empty(),
        }
    }
}
