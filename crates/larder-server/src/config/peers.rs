//! The other servers of a Eureka cluster.

use std::time::Duration;

use super::Secret;

/// The other servers of a Eureka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// `eureka.peers`: where they are, such as `http://eureka-2:8761/eureka`; none by default. May be the same
    /// list on every server. Only for a registry of this server's own.
    pub urls: Vec<String>,
    /// `eureka.own_url`: this server, as it stands in the others' lists; it is left out of `eureka.peers`.
    /// Empty by default: then the addresses in `listen` are.
    pub own_url: String,
    /// `eureka.peer_user`: who this server is to them; empty, the default, for one that asks nobody.
    pub user: String,
    /// `eureka.peer_password`: that user's.
    pub password: Secret,
    /// `eureka.peer_connect_ms`: how long a connection to a peer may take to open. 10 to 60,000, 1,000 by
    /// default.
    pub connect: Duration,
    /// `eureka.peer_batch_ms`: how long a peer may take to answer what it is told. 100 to 60,000, 5,000 by
    /// default.
    pub batch: Duration,
    /// `eureka.peer_queue`: how many tasks wait for a peer; one more drops the oldest. 250 to 1,000,000,
    /// 10,000 by default.
    pub queue: usize,
    /// `eureka.sync_secs`: how long a peer may take to send its registry at the start. 1 to 3,600, 30 by
    /// default.
    pub list: Duration,
    /// `eureka.sync_rounds`: how often the peers are asked for their registry at the start, until one has
    /// something. 0 to 1,000, 5 by default.
    pub sync_rounds: u32,
    /// `eureka.sync_wait_secs`: how long to wait between two rounds. 1 to 3,600, 5 by default.
    pub sync_wait: Duration,
    /// `eureka.gate_secs`: for how long lists are answered 403 after the start, unless a peer's registry was
    /// copied before. 0 to 3,600, 0 by default.
    pub gate: Duration,
}

impl Default for Peers {
    fn default() -> Self {
        let defaults = larder_eureka::replicate::Options::default();
        Self {
            urls: defaults.peers,
            own_url: String::new(),
            user: String::new(),
            password: Secret::default(),
            connect: defaults.connect_timeout,
            batch: defaults.batch_timeout,
            queue: defaults.queue_len,
            list: defaults.list_timeout,
            sync_rounds: defaults.sync_rounds,
            sync_wait: defaults.sync_wait,
            gate: Duration::ZERO,
        }
    }
}

/// Reads URLs with commas between them; none in an empty list. Whether they can be used is seen when they
/// are, at the start.
pub(super) fn urls(text: &str) -> Result<Vec<String>, String> {
    let urls: Vec<String> =
        text.split(',').filter(|_| !text.is_empty()).map(|url| url.trim().to_owned()).collect();
    if urls.iter().any(String::is_empty) {
        return Err("URLs such as http://eureka-2:8761/eureka".to_owned());
    }
    Ok(urls)
}
