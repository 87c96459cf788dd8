//! Who the peers are, and how patient to be with them.

use std::time::Duration;

use crate::client::{self, Credentials};

/// The other servers of the cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where they are: `host`, `host:port` (else 8761) or `http://host:port`, each with the path of Eureka's
    /// API behind it (else `/eureka`). May be the same list on every server, this one included. Defaults
    /// to: none.
    pub peers: Vec<String>,
    /// This server's own addresses, in the same form: a peer with the host and port of one is left out.
    /// Defaults to: none.
    pub own: Vec<String>,
    /// Who this server is to the peers, by HTTP's basic authentication. Defaults to: none.
    pub credentials: Option<Credentials>,
    /// How long a connection to a peer may take to open. Defaults to: 1 s. Range: above zero.
    pub connect_timeout: Duration,
    /// How long a peer may take to answer a batch. A peer that is busy is slow, and gives up nothing of what
    /// it was sent: Netflix's 200 ms, after which the same is sent again, are what makes it busier. Defaults
    /// to: 5 s. Range: above zero.
    pub batch_timeout: Duration,
    /// How long a peer may take to send its whole registry. Defaults to: 30 s. Range: above zero.
    pub list_timeout: Duration,
    /// How many tasks may wait for one peer; one more drops the oldest. A task takes some 200 bytes, and a
    /// registration holds on to its instance. Defaults to: 10,000. Range: 1 or more.
    pub queue_len: usize,
    /// How often the peers are asked for their registry at the start, until one has something. Defaults to:
    /// 5. Range: any; 0 for not at all.
    pub sync_rounds: u32,
    /// How long to wait between two rounds. Defaults to: 5 s; Netflix's 30 s are those of its clients'
    /// reading. Range: any.
    pub sync_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            own: Vec::new(),
            credentials: None,
            connect_timeout: Duration::from_secs(1),
            batch_timeout: Duration::from_secs(5),
            list_timeout: Duration::from_secs(30),
            queue_len: 10_000,
            sync_rounds: 5,
            sync_wait: Duration::from_secs(5),
        }
    }
}

impl Options {
    pub(super) fn of_batches(&self, url: &str) -> client::Options {
        // The answers to 250 items; an instance that is newer there may come with each.
        client::Options { max_body: 16 << 20, ..self.to(url, self.batch_timeout) }
    }

    pub(super) fn of_list(&self, url: &str) -> client::Options {
        self.to(url, self.list_timeout)
    }

    fn to(&self, url: &str, call_timeout: Duration) -> client::Options {
        client::Options {
            servers: vec![url.to_owned()],
            credentials: self.credentials.clone(),
            connect_timeout: self.connect_timeout,
            call_timeout,
            ..client::Options::default()
        }
    }
}
