//! Who is in the ring, from where it is written down: a file, a name in DNS, or what else implements
//! [`Discovery`].
//!
//! [`Pool::follow`] keeps the ring as its source says. Whatever goes wrong there, the ring stays as it is:
//! a source that is away, empty or torn takes no node out of it, nor does a list without this process.

mod dns;
mod file;

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use dns::Dns;
pub use file::PeersFile;

use crate::members::{MembersError, Peer};
use crate::pool::{Pool, Shared};

/// How long it rests after a failure; a source that fails at once would be asked without end.
const PAUSE: Duration = Duration::from_secs(1);

/// A source of the ring's members.
pub trait Discovery: Send + 'static {
    /// Says who they are, this process among them, in any order: the first time at once, then when they may
    /// be others than before: it waits until then. The same list once more changes nothing.
    ///
    /// Safe to cancel: it is dropped at any moment when the pool closes.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Peer>, DiscoveryError>> + Send;
}

/// Why it cannot be told who is in the ring. The ring stays as it is, and the source is asked again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The file cannot be read.
    #[error("the peers in {path} cannot be read: {reason}")]
    File {
        /// As it was given.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The name cannot be looked up.
    #[error("the peers behind {name} cannot be looked up: {reason}")]
    Lookup {
        /// The name and port.
        name: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// What a source of one's own says.
    #[error("{0}")]
    Other(String),
}

/// Why the ring is not as its source says.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The source failed.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// What it said makes no ring.
    #[error(transparent)]
    Members(#[from] MembersError),
}

/// How [following](Pool::follow) goes.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// How many lists the ring was made of.
    pub rings: u64,
    /// How often the source failed, or said what makes no ring.
    pub failures: u64,
    /// Why the ring is not as the source says; none when it is.
    pub trouble: Option<Arc<FollowError>>,
}

impl Pool {
    /// Keeps the ring as `discovery` says from now on, until the pool closes or follows something else.
    ///
    /// Until the first list the ring is what it was: [`settled`](Self::settled) waits for that.
    pub fn follow(&self, discovery: impl Discovery) {
        self.unfollow();
        let mut following = self.0.following();
        self.0.membership.send_replace(Membership::default());
        *following = self.0.tasks.spawn(follow(Arc::downgrade(&self.0), discovery));
    }

    /// Follows nothing any more: the ring stays as it is.
    pub fn unfollow(&self) {
        if let Some(former) = self.0.following().take() {
            former.abort();
        }
    }

    /// How following goes; everything zero while nothing is followed.
    pub fn membership(&self) -> Membership {
        self.0.membership.borrow().clone()
    }

    /// Waits until what is followed has said something for the first time, or failed to; at once if nothing is
    /// followed. Put a bound around it: a source may be silent.
    pub async fn settled(&self) {
        if self.0.following().is_none() {
            return;
        }
        let mut told = self.0.membership.subscribe();
        // It fails only without a sender, which this pool has.
        let _ = told.wait_for(|membership| membership.rings + membership.failures > 0).await;
    }

    /// Makes the ring of `peers`, in an order that is the same on every node.
    fn take(&self, mut peers: Vec<Peer>) -> Result<(), FollowError> {
        peers.sort_unstable_by(|a, b| a.identity().cmp(b.identity()));
        peers.dedup();
        Ok(self.set_peers(peers)?)
    }

    /// Notes what became of what the source said.
    fn note(&self, outcome: Result<(), FollowError>) {
        self.0.membership.send_modify(|membership| match outcome {
            Ok(()) => {
                membership.rings += 1;
                if membership.trouble.take().is_some() {
                    tracing::info!("the ring is as its source says again");
                }
            }
            Err(error) => {
                membership.failures += 1;
                // The same each second would fill the log.
                let known = membership.trouble.as_ref().map(ToString::to_string);
                if known.as_deref() != Some(&error.to_string()) {
                    tracing::warn!(%error, "the ring stays as it is");
                }
                membership.trouble = Some(Arc::new(error));
            }
        });
    }
}

async fn follow(pool: Weak<Shared>, mut discovery: impl Discovery) {
    let mut taken = None;
    loop {
        let found = discovery.next().await;
        let Some(pool) = pool.upgrade().map(Pool) else { return };
        let outcome = match found {
            // It need not be made again; but that nothing is wrong any more is worth a note.
            Ok(peers) if taken.as_ref() == Some(&peers) && pool.membership().trouble.is_none() => {
                continue;
            }
            Ok(peers) => pool.take(peers.clone()).map(|()| taken = Some(peers)),
            Err(error) => Err(error.into()),
        };
        let failed = outcome.is_err();
        pool.note(outcome);
        // Who closes or drops the pool need not wait for the pause.
        drop(pool);
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
