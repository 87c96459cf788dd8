//! What can be set.

use std::time::Duration;

use super::crowd;
use crate::blocking;
use crate::kv;
use crate::mapping::OwnNode;

/// How Consul's API is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node that this server is, to Consul's clients: what is registered with it runs there.
    pub node: OwnNode,
    /// How long queries wait. Defaults to: 300 s where a client says nothing, 600 s at most, as with Consul.
    pub blocking: blocking::Limits,
    /// How many queries wait at once; one more is answered 429. Defaults to: 100,000, and one client as many
    /// as it likes.
    pub parked: crowd::Limits,
    /// What the key/value store holds.
    pub kv: kv::Limits,
    /// The largest body of a request that is read, in bytes. Defaults to: 1 MiB.
    pub max_body: usize,
    /// How long a body may take to arrive. Defaults to: 30 s.
    pub body_time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: OwnNode::new("larder", "127.0.0.1", "dc1"),
            blocking: blocking::Limits::default(),
            parked: crowd::Limits { total: 100_000, of_each: 0 },
            kv: kv::Limits::default(),
            max_body: 1 << 20,
            body_time: Duration::from_secs(30),
        }
    }
}
