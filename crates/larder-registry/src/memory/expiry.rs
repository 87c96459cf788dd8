//! The task that does what time demands: removes instances whose lease has run out, and loses patience
//! with checks.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use tokio::sync::watch::Receiver;

use super::Shared;
use crate::log_watch::Progress;
use crate::registrar::{Cause, Expired};

/// How many instances are changed under one lock, so that a mass expiry never makes a reader wait
/// long.
const SLICE: usize = 256;

/// Does what is due, until the registry is closed. Asleep while nothing is due.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut progress = shared.held.subscribe();
    let mut looked = None;
    loop {
        let wait = expire(&shared, &mut looked);
        // cancel-safe: a sleep and a notification hold nothing but their place in a queue, a permit
        // that was granted is kept for the next round, and `wait_for` looks at the latest value.
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.earlier_expiry.notified() => {}
            () = closed(&mut progress) => return,
        }
    }
}

/// How often the clock is looked at where pauses matter.
const LOOK: Duration = Duration::from_secs(1);

/// A busy machine may keep a task waiting for as long; a longer wait is a pause.
const PAUSE: Duration = Duration::from_secs(2);

/// Does one slice of what is due; returns how long to wait for the next, none for ever. `looked` is when it
/// was last done, if it was to be done again within [`LOOK`].
fn expire(shared: &Shared, looked: &mut Option<Time>) -> Option<Duration> {
    let mut registrar = shared.held.lock();
    let at = shared.moment();
    let gap = looked.map_or(Duration::ZERO, |looked| at.now.since(looked));
    if gap > PAUSE {
        tracing::warn!(?gap, "stood still: no lease ends until registrants could renew");
        registrar.paused(gap, at);
    }
    let expired = registrar.expire(at, SLICE);
    expired.iter().for_each(log);
    let changes: Vec<_> = expired.into_iter().map(|expired| expired.change).collect();
    shared.tell(&registrar, &changes);
    // At least a millisecond, the clock's grain: a deadline within this one would spin.
    let grain = Duration::from_millis(1);
    let wait = registrar.next_expiry(at.now).map(|next| next.since(at.now).max(grain));
    *looked = registrar.minds_pauses().then_some(at.now);
    if looked.is_some() { Some(wait.unwrap_or(LOOK).min(LOOK)) } else { wait }
}

fn log(Expired { cause, change }: &Expired) {
    let (key, revision) = (change.instance.key(), change.revision);
    match cause {
        Cause::Lease => tracing::info!(%key, revision, "lease ran out"),
        Cause::Silence(check) => tracing::info!(%key, check = %check.id, revision, "ttl ran out"),
        Cause::Critical(check) => {
            tracing::warn!(%key, check = %check.id, revision, "deregistered: critical for too long");
        }
    }
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
