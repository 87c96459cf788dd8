//! The task that flies rounds: as often as there is somebody who watches, and whenever somebody asks.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_registry::Error;

use super::shared::Shared;
use crate::client::pursuit::{News, Pursuit};
use crate::client::reconcile::entries;

/// Flies rounds until the backend is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut pursuit = Pursuit::new(&shared.options);
    let show = |News { replica, changed, heard }: News<'_>| {
        shared.follow(replica, changed, entries(&heard.apps));
    };
    let mut due = shared.clock.now();
    loop {
        // Cancel-safe: both only wait.
        tokio::select! {
            biased;
            () = shared.client.until_closed() => return,
            () = wanted(&shared, due) => {}
        }
        // Before the round: whoever asks after this is answered by the next.
        let asked = shared.asked();
        // Cancel-safe: a round that is cut off has told nobody anything yet, and the end stays.
        let outcome = tokio::select! {
            biased;
            () = shared.client.until_closed() => return,
            outcome = pursuit.fly(&shared.client, &shared.clock, show) => outcome,
        };
        due = pursuit.note(&outcome, &shared.clock);
        shared.ended(asked, outcome.map_err(Error::from));
    }
}

/// Returns when a round is wanted: due for those who watch, or asked for.
async fn wanted(shared: &Shared, due: Time) {
    loop {
        let is_due = shared.is_watched() && shared.clock.now() >= due;
        if is_due || shared.state().is_asked() {
            return;
        }
        // Cancel-safe: a permit that was granted only brings another look.
        tokio::select! {
            () = shared.wanted.notified() => {}
            () = sleep(shared, due) => {}
        }
    }
}

/// Until `due` if somebody watches, else for ever. At least a millisecond, the clock's grain.
async fn sleep(shared: &Shared, due: Time) {
    if !shared.is_watched() {
        return std::future::pending().await;
    }
    let wait = due.since(shared.clock.now());
    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
}
