//! What can be set on a pool, and every default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Clock;

use crate::admission::{Admission, is_same};
use crate::client::{Hedge, Tcp, Transport};
use crate::ring::{Hash, IdentityForm, Mode};
use crate::wire::BASE_PATH;

/// How a pool behaves. Change the fields of [`PoolOptions::default`].
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The family of programs in the ring; the same on every node.
    ///
    /// Defaults to: [`Mode::MailgunV2`].
    pub mode: Mode,
    /// The path below which peers ask each other.
    ///
    /// Defaults to: `/_groupcache/`. Range: begins and ends with a slash.
    pub base_path: String,
    /// Points on the ring for each peer; the same on every node. A native ring has none.
    ///
    /// Defaults to: 50, as Go's. Range: 1 to 10,000.
    pub replicas: u32,
    /// Takes the place of the mode's hash, as Go's `HashFn`; the same on every node.
    ///
    /// Defaults to: none.
    pub hash: Option<Hash>,
    /// How peers are connected to.
    ///
    /// Defaults to: [`Tcp`].
    pub transport: Arc<dyn Transport>,
    /// Who may ask here.
    ///
    /// Defaults to: [`Admission::Peers`].
    pub admission: Admission,
    /// A secret that the Larders of this ring share: it is sent with every request, and whoever sends it is
    /// let in. Go's peers do not send one, and are known by their addresses.
    ///
    /// Defaults to: none. Range: visible ASCII, not empty.
    pub token: Option<Token>,
    /// Whether to ask the next owner when the owner is of no use, before a key is loaded here: who would own
    /// it if the owner were not in the ring. So a lost node costs one load for each of its keys, and not one
    /// for each key and node. It makes two calls of one, each within the time-out.
    ///
    /// Defaults to: no, as Go's.
    pub second_owner: bool,
    /// When a peer that is slow to answer a get is asked a second time, over another connection. That helps
    /// against what holds up one request, and not against a process that stands still.
    ///
    /// Defaults to: [`Hedge::Off`].
    pub hedge: Hedge,
    /// How long a peer may take for an answer: then it counts as failed, and the key is loaded here. It
    /// should be longer than the [loaders'](crate::GroupOptions::load_timeout), or else what is slow is
    /// loaded twice.
    ///
    /// Defaults to: 15 s. Range: from 1 ms.
    pub peer_timeout: Duration,
    /// Connections to one peer at a time. Further requests wait, within the time-out.
    ///
    /// Defaults to: 64. Range: 1 to 10,000.
    pub connections: usize,
    /// The largest value that is taken from a peer, in bytes, whether it is asked for or sent.
    ///
    /// Defaults to: 16 MiB. Range: from 1.
    pub max_value: usize,
    /// For how long what was removed, while its owner could not be reached, is loaded past the owner.
    ///
    /// Defaults to: 30 s. Range: up to 1 h.
    pub tombstone: Duration,
    /// For how long a removal is tried again at a peer that did not take it. A peer that is gone from the ring is
    /// not asked, and told if it is back within this time.
    ///
    /// Defaults to: 5 min. Range: any; zero does not try again.
    pub retry_for: Duration,
    /// How many removals may wait for that. Beyond it, the oldest are given up, and counted.
    ///
    /// Defaults to: 10,000. Range: from 1.
    pub max_retries: usize,
    /// The clock to live by.
    ///
    /// Defaults to: none, that is, one of its own. Whoever gives one must keep its tick moving.
    pub clock: Option<Clock>,
}

/// A secret. It is not shown where options are printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `shown` is this secret; nothing is an empty one. It takes as long for a text that is nearly
    /// right as for one that is not at all.
    pub fn is(&self, shown: &[u8]) -> bool {
        is_same(self.0.as_bytes(), shown)
    }
}

impl<T: Into<String>> From<T> for Token {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            base_path: BASE_PATH.to_owned(),
            replicas: 50,
            hash: None,
            transport: Arc::new(Tcp),
            admission: Admission::default(),
            token: None,
            second_owner: false,
            hedge: Hedge::Off,
            peer_timeout: Duration::from_secs(15),
            connections: 64,
            max_value: 16 << 20,
            tombstone: Duration::from_secs(30),
            retry_for: Duration::from_secs(300),
            max_retries: 10_000,
            clock: None,
        }
    }
}

/// Why there is no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// An option has a value that makes no sense.
    #[error("pool option {option} is out of its range ({range})")]
    OutOfRange {
        /// The field of [`PoolOptions`].
        option: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// The pool's own identity does not look as the mode's peers must be named.
    #[error("{identity:?} cannot name a peer in a {} ring: write {}", mode.name(), form.example())]
    Identity {
        /// As it was given.
        identity: String,
        /// The ring's mode.
        mode: Mode,
        /// What it should look like.
        form: IdentityForm,
    },
}

impl PoolOptions {
    pub(crate) fn validate(&self, identity: &str) -> Result<(), PoolError> {
        let base = &self.base_path;
        let is_path = base.starts_with('/') && base.ends_with('/');
        let is_plain = base.bytes().all(|byte| byte.is_ascii_graphic() && !b"%?#".contains(&byte));
        let token = self.token.as_ref().map(Token::as_str);
        let is_token =
            |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        let tick = Duration::from_millis(1);
        let checks = [
            ("base_path", "begins and ends with a slash; no escapes", is_path && is_plain),
            ("replicas", "1 to 10,000", (1..=10_000).contains(&self.replicas)),
            ("token", "visible ASCII, not empty", token.is_none_or(is_token)),
            ("peer_timeout", "from 1 ms", self.peer_timeout >= tick),
            ("connections", "1 to 10,000", (1..=10_000).contains(&self.connections)),
            ("max_value", "from 1", self.max_value >= 1),
            ("tombstone", "up to 1 h", self.tombstone <= Duration::from_secs(3_600)),
            ("max_retries", "from 1", self.max_retries >= 1),
        ];
        if let Some((option, range, _)) = checks.into_iter().find(|(.., right)| !right) {
            return Err(PoolError::OutOfRange { option, range });
        }
        let form = self.mode.identity_form();
        if !form.fits(identity) {
            let identity = identity.to_owned();
            return Err(PoolError::Identity { identity, mode: self.mode, form });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |change: fn(&mut PoolOptions)| {
            let mut options = PoolOptions::default();
            change(&mut options);
            match options.validate("http://a:1") {
                Err(PoolError::OutOfRange { option, .. }) => option,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|options| options.base_path = "/x".to_owned()), "base_path");
        assert_eq!(refused(|options| options.base_path = "/%41/".to_owned()), "base_path");
        assert_eq!(refused(|options| options.replicas = 0), "replicas");
        assert_eq!(refused(|options| options.token = Some("a b".into())), "token");
        assert_eq!(refused(|options| options.connections = 0), "connections");
        let secret = PoolOptions { token: Some("hush".into()), ..PoolOptions::default() };
        assert!(!format!("{secret:?}").contains("hush"), "{secret:?}");
        let named = PoolOptions::default().validate("10.0.0.1:80");
        assert!(named.unwrap_err().to_string().contains("http://10.0.0.1:8080"));
    }
}
