//! Consul's API.

use std::time::Duration;

/// How Consul's API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consul {
    /// `consul.node_name`: the node that this server is to Consul's clients. The machine's host name by
    /// default, which is what an empty one stands for.
    pub node_name: String,
    /// `consul.node_address`: where a service is that was registered here without an address. `127.0.0.1` by
    /// default: give another one if clients are on other machines.
    pub node_address: String,
    /// `consul.datacenter`: the datacenter that this server is in; `dc1` by default.
    pub datacenter: String,
    /// `consul.default_query_secs`: how long a blocking query waits that does not say it. 1 to 3,600, 300 by
    /// default.
    pub default_query: Duration,
    /// `consul.max_query_secs`: how long one waits at most. 1 to 3,600, 600 by default. Up to a sixteenth is
    /// added.
    pub max_query: Duration,
    /// `consul.parked`: how many queries wait at once; one more is answered 429. 1 to 10,000,000, 100,000 by
    /// default.
    pub parked: usize,
    /// `consul.parked_client`: how many of one client (by its address); one more is answered 429. 0 to
    /// 10,000,000, 0 by default: as many as it likes.
    pub parked_client: usize,
    /// `consul.kv_entries`: how many keys the store holds; one more is answered 503. 0 to 10,000,000, 100,000
    /// by default.
    pub kv_entries: usize,
    /// `consul.kv_bytes`: how much keys and values may take together. 1 MiB to 1 TiB, 256 MiB by default.
    pub kv_bytes: usize,
    /// `consul.cache_bytes`: how much is kept of what an agent behind this server answered. 1 MiB to 1 TiB, 256
    /// MiB by default.
    pub cache_bytes: u64,
    /// `consul.stale_if_error_secs`: for how long that is told while the agent cannot be reached. 0 to
    /// 31,536,000, 86,400 by default.
    pub stale_if_error: Duration,
    /// `consul.upstream_queries`: how many queries wait at that agent at once; beyond that they take turns. 2
    /// to 10,000, 128 by default: an agent refuses a client's 201st connection.
    pub upstream_queries: usize,
}

impl Default for Consul {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            node_address: "127.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            default_query: Duration::from_secs(300),
            max_query: Duration::from_secs(600),
            parked: 100_000,
            parked_client: 0,
            kv_entries: 100_000,
            kv_bytes: 256 << 20,
            cache_bytes: 256 << 20,
            stale_if_error: Duration::from_secs(86_400),
            upstream_queries: 128,
        }
    }
}

/// Reads a name of a node or a datacenter, as Consul allows them.
pub(super) fn name(text: &str) -> Result<String, String> {
    let is_letter =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if text.len() <= 128 && text.chars().all(is_letter) {
        return Ok(text.to_owned());
    }
    Err("a name of at most 128 letters, digits, dots, - and _".to_owned())
}

/// Reads where a node is: an IP address or a host name.
pub(super) fn address(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '/' | '@');
    if !text.is_empty() && text.len() <= 256 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("an IP address or a host name, such as 10.0.0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_checked() {
        assert_eq!(name("node-1.rack_2"), Ok("node-1.rack_2".to_owned()));
        assert_eq!(name(""), Ok(String::new()));
        for bad in ["a b", "a/b", "ü"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert_eq!(address("10.0.0.1"), Ok("10.0.0.1".to_owned()));
        for bad in ["", "http://a", "user@host", "a b"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
