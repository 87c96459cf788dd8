//! The task that removes instances whose lease has run out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::{Progress, Shared};

/// How many instances are removed under one lock, so that a mass expiry never makes a reader wait
/// long.
const SLICE: usize = 256;

/// Removes what expires, until the registry is closed. Asleep while nothing is due.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut progress = shared.progress.subscribe();
    loop {
        let wait = remove_expired(&shared);
        // cancel-safe: a sleep and a notification hold nothing but their place in a queue, a permit
        // that was granted is kept for the next round, and `wait_for` looks at the latest value.
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.earlier_expiry.notified() => {}
            () = closed(&mut progress) => return,
        }
    }
}

/// Removes one slice of what has expired; returns how long to wait for the next, none for ever.
fn remove_expired(shared: &Shared) -> Option<Duration> {
    let mut state = shared.state();
    let at = shared.moment();
    let changes = state.registrar.expire(at, SLICE);
    for change in &changes {
        let key = change.instance.key();
        tracing::info!(%key, revision = change.revision, "lease ran out");
    }
    shared.tell(&state, &changes);
    // At least a millisecond, the clock's grain: a deadline within this one would spin.
    let grain = Duration::from_millis(1);
    state.registrar.next_expiry().map(|next| next.since(at.now).max(grain))
}

async fn closed(progress: &mut Receiver<Progress>) {
    // An error means that the registry itself is gone.
    let _ = progress.wait_for(|progress| progress.closed).await;
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
