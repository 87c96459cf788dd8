//! The start: what there is already, from the first peer that has anything.

use std::sync::Arc;
use std::time::Duration;

use larder_registry::{Error, Registry};
use tokio::sync::watch;

use super::adoption::adopt;
use super::gate::Gate;
use crate::client::Client;
use crate::wire::Applications;

/// How many instances are taken before others have their turn.
const AT_ONCE: usize = 64;

/// How often the peers are asked, and how long to wait in between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) count: u32,
    pub(super) wait: Duration,
}

/// Asks one peer after the other for everything, until one has something or the rounds are over; then opens
/// the gate. An empty list is no answer: a server that started a moment ago has one, too.
pub(super) async fn run(
    peers: Vec<(String, Client)>,
    rounds: Rounds,
    registry: Arc<dyn Registry>,
    gate: Arc<Gate>,
    asked: watch::Sender<bool>,
) {
    for round in 0..rounds.count {
        if round > 0 {
            tokio::time::sleep(rounds.wait).await;
        }
        for (peer, client) in &peers {
            let copied = copy(peer, client, &*registry).await;
            if copied > 0 {
                tracing::info!(peer, instances = copied, "copied the registry of a peer");
                gate.open();
                asked.send_replace(true);
                return;
            }
        }
        asked.send_replace(true);
    }
    asked.send_replace(true);
    if !peers.is_empty() && rounds.count > 0 {
        tracing::info!("no peer holds anything: this server starts with what registers here");
    }
}

/// Takes everything that a peer holds; returns how many instances that is.
async fn copy(peer: &str, client: &Client, registry: &dyn Registry) -> usize {
    match client.list().await {
        Ok(heard) => take(peer, &heard.apps, registry).await,
        Err(fault) => {
            let error = Error::from(fault);
            tracing::info!(peer, %error, "a peer could not be asked for its registry");
            0
        }
    }
}

async fn take(peer: &str, apps: &Applications, registry: &dyn Registry) -> usize {
    let mut taken = 0;
    for instance in apps.apps.iter().flat_map(|app| &app.instances) {
        match adopt(registry, instance).await {
            Ok(()) => taken += 1,
            Err(error) => {
                tracing::warn!(peer, %error, "an instance of a peer's could not be taken");
                if matches!(error, Error::Full { .. } | Error::Closed) {
                    break;
                }
            }
        }
        if taken % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    taken
}
