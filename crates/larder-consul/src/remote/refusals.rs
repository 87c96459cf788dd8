//! Has copies leave whose tokens the upstream refuses.

use std::collections::HashSet;
use std::time::Duration;

use larder_cache::Cache;
use tokio::sync::{mpsc, watch as signal};

use super::asking::{Asking, Refused};

/// How many refusals wait to be heard at most.
pub(super) const WAITING: usize = 1024;

/// The shortest time between two looks at all keys: whoever guesses tokens must not keep a thread busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Hears of refusals until `closing` says so, or the caches are gone. Raises `left` when copies have left.
pub(super) async fn run(
    mut refused: mpsc::Receiver<Refused>,
    caches: [Cache<Asking>; 2],
    left: signal::Sender<u64>,
    mut closing: signal::Receiver<bool>,
) {
    loop {
        // Cancel-safe: what was not received is received the next time, and closing wants nothing of it.
        let first = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            first = refused.recv() => first,
        };
        let Some(first) = first else { return };
        let mut all = HashSet::from([first]);
        while let Ok(next) = refused.try_recv() {
            all.insert(next);
        }
        if forget(&all, &caches) {
            left.send_modify(|times| *times += 1);
        }
        // Cancel-safe: both only wait.
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Forgets what is refused; says whether there was anything.
fn forget(refused: &HashSet<Refused>, caches: &[Cache<Asking>; 2]) -> bool {
    let tokens: HashSet<_> = refused
        .iter()
        .filter_map(|refused| match refused {
            Refused::Token(token) => Some(token),
            Refused::Question(_) => None,
        })
        .collect();
    let mut forgotten = false;
    for cache in caches {
        for refused in refused {
            if let Refused::Question(question) = refused {
                forgotten |= cache.invalidate(question);
            }
        }
        if !tokens.is_empty() {
            forgotten |= cache.invalidate_where(|question| tokens.contains(&question.token)) > 0;
        }
    }
    forgotten
}
