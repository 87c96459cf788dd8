//! Peers: other Eureka servers that are told what clients do here, and that are asked at the start what
//! there is.
//!
//! Every registration, heartbeat, departure, override and its end that a client brought goes to every peer
//! within half a second; what a peer brought goes to nobody, because its sender tells everybody itself.
//! Leases that run out are not told: every server sees for itself that heartbeats stay away.
//!
//! A peer has a bounded line of its own and one task, so that one which is slow or gone costs the others
//! nothing. One batch at a time is under way to it: what it is told keeps its order, and a peer that cannot
//! keep up is asked less, not more (`docs/decisions/0023-one-batch-at-a-time-to-a-peer.md`). Nothing is told
//! for ever: a heartbeat or registration for one interval of heartbeats, the rest for 30 seconds. Whatever a
//! peer missed comes with the next heartbeat, which it answers by asking for the whole instance.

mod adoption;
mod answers;
mod figures;
mod gate;
pub(crate) mod news;
mod options;
mod pace;
mod peer;
mod queue;
mod sync;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_cache::Clock;
use larder_registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use figures::{Contact, PeerFigures};
pub use gate::Gate;
pub use options::Options;

use crate::client::{Client, OptionsError};
use news::News;
use peer::Peer;

/// The other servers of the cluster.
///
/// Runs one task for each, and one that copies their registry at the start. [`close`](Self::close) joins
/// them; dropping aborts them.
#[derive(Debug)]
pub struct Peers {
    others: Vec<Arc<Peer>>,
    tasks: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
    asked: watch::Receiver<bool>,
}

impl Peers {
    /// Begins to copy what the peers hold into `registry`, and opens `gate` once that is done; tells them
    /// from now on what [`Eureka`](crate::server::Eureka) is told by clients. None of them need be there.
    /// Must be called inside a tokio runtime.
    pub fn start(
        options: &Options,
        registry: &Arc<dyn Registry>,
        gate: Arc<Gate>,
        clock: &Clock,
    ) -> Result<Self, OptionsError> {
        let urls = options.others()?;
        let mut peers = Vec::new();
        let mut lists = Vec::new();
        for url in urls {
            // As a region: a peer that shows other regions tells what is registered with it alone.
            lists.push((url.clone(), Client::of_region(&options.of_list(&url))?));
            let courier = Box::new(Client::new(&options.of_batches(&url))?);
            let queue = options.queue_len.max(1);
            peers.push(Arc::new(Peer::new(url, courier, queue, registry.clone(), clock.clone())));
        }
        let (stop, _) = watch::channel(false);
        let (asking, asked) = watch::channel(lists.is_empty());
        let mut tasks = JoinSet::new();
        for peer in &peers {
            tasks.spawn(peer.clone().run(stop.subscribe()));
        }
        let rounds = sync::Rounds { count: options.sync_rounds, wait: options.sync_wait };
        tasks.spawn(sync::run(lists, rounds, registry.clone(), gate, asking));
        Ok(Self { others: peers, tasks: Mutex::new(tasks), stop, asked })
    }

    /// Returns once the registry was copied from a peer, or every peer was asked once, or after `patience`:
    /// a server that waits for it before it serves shows nobody an empty registry after a restart. Safe to
    /// cancel.
    pub async fn asked_once(&self, patience: Duration) {
        let mut asked = self.asked.clone();
        // Both ends of waiting mean the same: serve now.
        let _ = tokio::time::timeout(patience, asked.wait_for(|asked| *asked)).await;
    }

    /// What happened with each peer so far, in the order in which they are configured.
    pub fn figures(&self) -> Vec<PeerFigures> {
        self.others.iter().map(|peer| peer.figures()).collect()
    }

    /// Tells every peer. Never waits.
    pub(crate) fn tell(&self, news: &News) {
        for peer in &self.others {
            peer.tell(news.clone());
        }
    }

    /// Sends once more what is waiting, for a second at most, and ends every task.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let mut tasks = {
            let mut held = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        // The copy is worth nothing any more; it is cancel-safe as the registry's methods are.
        let last_words = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(peer::LAST_WORDS, last_words).await;
        tasks.shutdown().await;
    }
}

impl Options {
    /// The URLs of the peers, each once, without this server's own.
    fn others(&self) -> Result<Vec<String>, OptionsError> {
        let mut seen = BTreeSet::new();
        for own in &self.own {
            seen.insert(authority(&crate::client::base(own)?).to_owned());
        }
        let mut others = Vec::new();
        for peer in &self.peers {
            let url = crate::client::base(peer)?;
            if seen.insert(authority(&url).to_owned()) {
                others.push(url);
            }
        }
        Ok(others)
    }
}

/// The host and port of a URL that has both.
fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_server_and_doubles_are_left_out() {
        let options = Options {
            peers: ["http://a:8761/eureka", "b", "http://B:8761/eureka/", "a:1"]
                .map(str::to_owned)
                .into(),
            own: vec!["a".to_owned()],
            ..Options::default()
        };
        let others = ["http://b:8761/eureka", "http://a:1/eureka"].map(str::to_owned);
        assert_eq!(options.others(), Ok(others.into()));
        let none = Options { own: vec!["https://a".to_owned()], ..Options::default() };
        assert!(none.others().is_err());
    }
}
