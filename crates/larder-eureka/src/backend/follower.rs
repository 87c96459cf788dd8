//! The task that flies rounds: as often as there is somebody who watches, and whenever somebody asks.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;
use larder_registry::Error;
use larder_registry::model::Key;

use super::shared::Shared;
use crate::client::reconcile::{Replica, TooMany, Verdict, entries};
use crate::client::rounds::{Ask, Rounds, Why};
use crate::client::{Fault, Heard};

/// What the task knows.
struct Follower {
    shared: Arc<Shared>,
    replica: Replica,
    rounds: Rounds,
    /// What changed in the replica and is not shown yet, because the round went on after it, and may
    /// have failed then.
    unshown: HashSet<Key>,
    dice: RandomState,
}

/// Flies rounds until the backend is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let options = &shared.options;
    let mut follower = Follower {
        replica: Replica::new(options.max_instances),
        rounds: Rounds::new(options.poll, options.relist_after, options.backoff),
        unshown: HashSet::new(),
        dice: RandomState::default(),
        shared: shared.clone(),
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
            outcome = follower.fly() => outcome,
        };
        due = follower.note(&outcome);
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

impl Follower {
    async fn fly(&mut self) -> Result<(), Fault> {
        let began = self.shared.clock.now();
        if self.rounds.ask(began) == Ask::List {
            return self.list(began, Why::Due).await;
        }
        match self.shared.client.delta().await {
            Ok(delta) if self.rounds.continues(delta.server) => self.delta(began, &delta).await,
            Ok(_) => self.list(began, Why::Due).await,
            Err(fault) if fault.refuses_deltas() => self.list(began, Why::Refused).await,
            // Eureka's clients fetch everything then. If that fails, too, the round has failed.
            Err(fault) if fault.is_the_servers() => self.list(began, Why::Due).await,
            Err(fault) => Err(fault),
        }
    }

    async fn list(&mut self, began: Time, why: Why) -> Result<(), Fault> {
        let heard = self.shared.client.list().await?;
        let applied = self.replica.list(&heard.apps).map_err(too_many)?;
        if let Verdict::Differs { held, told } = applied.verdict {
            // Netflix's server encodes instances that change under it.
            tracing::debug!(%held, %told, "a list of the Eureka server contradicts its own hash");
        }
        self.unshown.extend(applied.changed);
        self.show(&heard);
        self.rounds.listed(began, heard.server, why);
        Ok(())
    }

    async fn delta(&mut self, began: Time, heard: &Heard) -> Result<(), Fault> {
        let applied = self.replica.delta(&heard.apps).map_err(too_many)?;
        self.unshown.extend(applied.changed);
        let agrees = match applied.verdict {
            Verdict::Agrees => true,
            Verdict::Differs { held, told } => {
                tracing::info!(%held, %told, "drifted from the Eureka server");
                if self.rounds.lists_on_mismatch(began) {
                    return self.list(began, Why::Mismatch).await;
                }
                false
            }
        };
        self.show(heard);
        self.rounds.followed(began, agrees);
        Ok(())
    }

    fn show(&mut self, heard: &Heard) {
        self.shared.follow(&self.replica, &self.unshown, entries(&heard.apps));
        self.unshown.clear();
    }

    /// Takes note of a round; answers with when the next is due.
    fn note(&mut self, outcome: &Result<(), Fault>) -> Time {
        if outcome.is_err() {
            self.rounds.failed();
        }
        let now = self.shared.clock.now();
        let random = u32::try_from(self.dice.hash_one(now) >> 32).unwrap_or(u32::MAX);
        now.after(self.rounds.pause(random))
    }
}

fn too_many(TooMany { limit }: TooMany) -> Fault {
    Fault::TooMany { limit }
}
