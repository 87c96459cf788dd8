//! What a read asks for: everything that changes the answer, and nothing that does not.
//!
//! A [`Question`] is the key of a cached answer, as a request of Consul's agent cache is, but compared in
//! full: there, a 64-bit hash stands for it. How fresh the answer must be, and how long to wait for it, is no
//! part of it: see [`Terms`](crate::terms::Terms).

use std::fmt;
use std::sync::Arc;

use larder_registry::model::Health;

/// A read of Consul's API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// What is read.
    pub endpoint: Endpoint,
    /// Which part of it.
    pub selection: Selection,
    /// By whom. An answer never goes to anybody else.
    pub token: Token,
}

/// What is read, by family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `catalog/datacenters`
    Datacenters,
    /// `catalog/nodes`
    Nodes,
    /// `catalog/services`
    Services,
    /// `catalog/service/:service`
    Service(Box<str>),
    /// `catalog/connect/:service`
    ServiceConnect(Box<str>),
    /// `catalog/node/:node`
    Node(Box<str>),
    /// `catalog/node-services/:node`
    NodeServices(Box<str>),
    /// `health/service/:service`
    Health(Box<str>),
    /// `health/connect/:service`
    HealthConnect(Box<str>),
    /// `health/ingress/:service`
    HealthIngress(Box<str>),
    /// `health/checks/:service`
    Checks(Box<str>),
    /// `health/node/:node`
    NodeChecks(Box<str>),
    /// `health/state/:state`; none for `any`.
    ChecksInState(Option<Health>),
    /// `kv/:key`; a prefix where [`KvForm`] says so.
    Kv(Box<str>),
}

/// Which part of an [`Endpoint`]'s answer is wanted, and in which form. The same wish is always written in
/// the same way: lists are sorted and without repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selection {
    /// `dc`; none for the agent's own.
    pub datacenter: Option<Box<str>>,
    /// `tag`, each of which must be there.
    pub tags: Vec<Box<str>>,
    /// `node-meta`, each of which the node must have.
    pub node_meta: Vec<(Box<str>, Box<str>)>,
    /// `passing`: only instances all of whose checks pass.
    pub passing: bool,
    /// `filter`, as written.
    pub filter: Option<Box<str>>,
    /// `near`, as written.
    pub near: Option<Box<str>>,
    /// In which form a key is wanted. Without meaning for other endpoints.
    pub kv: KvForm,
    /// `pretty`: indented JSON.
    pub pretty: bool,
    /// What else was said, sorted: it may change what a real agent answers.
    pub others: Vec<(Box<str>, Box<str>)>,
}

impl Selection {
    /// `peer`: the cluster from which services are to be told that it exports.
    pub fn peer(&self) -> Option<&str> {
        let said =
            self.others.iter().find(|(name, _)| &**name == "peer").map(|(_, value)| &**value);
        said.filter(|peer| !peer.is_empty())
    }
}

/// In which form [`Endpoint::Kv`] is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum KvForm {
    /// The entry of this key.
    #[default]
    Entry,
    /// `raw`: its value as it is.
    Raw,
    /// `recurse`: the entries of all keys that begin like this.
    Recurse,
    /// `keys`: their names alone. Beats `recurse`, as with Consul.
    Keys {
        /// `separator`: names are cut behind the first one after the prefix, and told once. Empty for none.
        separator: Box<str>,
    },
}

/// Who asks, in Consul's terms: an ACL token, empty for the anonymous one. Never printed.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Token(Arc<str>);

impl Token {
    /// The token `secret`.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// As it is sent.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether nobody in particular asks.
    pub fn is_anonymous(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anonymous() { "Token(none)" } else { "Token(secret)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::new("hunter2")), "Token(secret)");
        assert_eq!(format!("{:?}", Token::default()), "Token(none)");
    }
}
