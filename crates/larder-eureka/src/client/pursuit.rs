//! Following a cluster: one copy of what it holds, brought up to date round by round.
//!
//! What is asked is decided by [`rounds`](super::rounds), what an answer means by
//! [`reconcile`](super::reconcile); this flies a round, and shows what it brought.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use larder_cache::{Clock, Time};
use larder_registry::model::Key;

use super::reconcile::{Replica, TooMany, Verdict};
use super::rounds::{Ask, Rounds, Why};
use super::{Client, Fault, Heard, Options};

/// A copy, and where it stands.
#[derive(Debug)]
pub(crate) struct Pursuit {
    replica: Replica,
    rounds: Rounds,
    /// What changed in the replica and is not shown yet, because the round went on after it, and may
    /// have failed then.
    unshown: HashSet<Key>,
    dice: RandomState,
}

/// What a round brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News<'a> {
    /// Everything that the cluster holds.
    pub(crate) replica: &'a Replica,
    /// What is held in another state than when news was shown last, or no longer.
    pub(crate) changed: &'a HashSet<Key>,
    /// The list or the delta that it was heard from.
    pub(crate) heard: &'a Heard,
}

impl Pursuit {
    /// Nothing was asked yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            replica: Replica::new(options.max_instances),
            rounds: Rounds::new(options.poll, options.relist_after, options.backoff),
            unshown: HashSet::new(),
            dice: RandomState::default(),
        }
    }

    /// Flies one round; `show` is called once if it brought an answer. If it is dropped in between, nothing
    /// that was not shown is lost: a later round shows it.
    pub(crate) async fn fly(
        &mut self,
        client: &Client,
        clock: &Clock,
        show: impl FnMut(News<'_>) + Send,
    ) -> Result<(), Fault> {
        let began = clock.now();
        if self.rounds.ask(began) == Ask::List {
            return self.list(client, began, Why::Due, show).await;
        }
        match client.delta().await {
            Ok(delta) if self.rounds.continues(delta.server) => {
                self.delta(client, began, &delta, show).await
            }
            Ok(_) => self.list(client, began, Why::Due, show).await,
            Err(fault) if fault.refuses_deltas() => {
                self.list(client, began, Why::Refused, show).await
            }
            // Eureka's clients fetch everything then. If that fails, too, the round has failed.
            Err(fault) if fault.is_the_servers() => self.list(client, began, Why::Due, show).await,
            Err(fault) => Err(fault),
        }
    }

    async fn list(
        &mut self,
        client: &Client,
        began: Time,
        why: Why,
        show: impl FnMut(News<'_>) + Send,
    ) -> Result<(), Fault> {
        let heard = client.list().await?;
        let applied = self.replica.list(&heard.apps).map_err(too_many)?;
        if let Verdict::Differs { held, told } = applied.verdict {
            // Netflix's server encodes instances that change under it.
            tracing::debug!(%held, %told, "a list of the Eureka server contradicts its own hash");
        }
        self.unshown.extend(applied.changed);
        self.show(&heard, show);
        self.rounds.listed(began, heard.server, why);
        Ok(())
    }

    async fn delta(
        &mut self,
        client: &Client,
        began: Time,
        heard: &Heard,
        show: impl FnMut(News<'_>) + Send,
    ) -> Result<(), Fault> {
        let applied = self.replica.delta(&heard.apps).map_err(too_many)?;
        self.unshown.extend(applied.changed);
        let agrees = match applied.verdict {
            Verdict::Agrees => true,
            Verdict::Differs { held, told } => {
                tracing::info!(%held, %told, "drifted from the Eureka server");
                if self.rounds.lists_on_mismatch(began) {
                    return self.list(client, began, Why::Mismatch, show).await;
                }
                false
            }
        };
        self.show(heard, show);
        self.rounds.followed(began, agrees);
        Ok(())
    }

    fn show(&mut self, heard: &Heard, mut show: impl FnMut(News<'_>)) {
        show(News { replica: &self.replica, changed: &self.unshown, heard });
        self.unshown.clear();
    }

    /// Takes note of a round; answers with when the next is due.
    pub(crate) fn note(&mut self, outcome: &Result<(), Fault>, clock: &Clock) -> Time {
        if outcome.is_err() {
            self.rounds.failed();
        }
        let now = clock.now();
        let random = u32::try_from(self.dice.hash_one(now) >> 32).unwrap_or(u32::MAX);
        now.after(self.rounds.pause(random))
    }
}

fn too_many(TooMany { limit }: TooMany) -> Fault {
    Fault::TooMany { limit }
}
