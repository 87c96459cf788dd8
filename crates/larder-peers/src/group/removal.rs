//! Telling peers that a key was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;

use crate::client::{Answer, Client, Question};
use crate::group::TellError;
use crate::pool::{Members, Shared};
use crate::wire::answer::text;
use crate::wire::path::path;

/// A key that was removed, as it is told to peers.
#[derive(Clone, Copy)]
pub(crate) struct Removed<'a> {
    pub(crate) pool: &'a Shared,
    /// The ring from which the key was removed.
    pub(crate) members: &'a Members,
    pub(crate) group: &'a str,
    pub(crate) key: &'a [u8],
    /// How long ago that was, if it is told again: what was set since then stays.
    pub(crate) ago: Option<Duration>,
}

/// What becomes of the key's tombstone where a removal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tombstone {
    /// It stays as it is.
    Stays,
    /// One of the keepers could not be told: the key is loaded past them for a while.
    Rises,
    /// The owner has been given a value after what was removed: the key is to be asked for there.
    Falls,
}

impl Tombstone {
    pub(crate) fn rises_if(keeper_is_away: bool) -> Self {
        if keeper_is_away { Self::Rises } else { Self::Stays }
    }

    /// As in the header: zero is none from now on, and what is not quite a second is one.
    fn seconds(self, time: Duration) -> Option<u64> {
        match self {
            Self::Stays => None,
            Self::Rises => {
                let part = u64::from(time.subsec_nanos() > 0);
                Some(time.as_secs() + part).filter(|seconds| *seconds > 0)
            }
            Self::Falls => Some(0),
        }
    }
}

/// What has become of telling.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Those who could not be told.
    pub(crate) missed: BTreeMap<String, TellError>,
    /// One of those who were told asks somebody else for the key than this process does: it may have asked one
    /// that had not heard yet, after it had itself.
    pub(crate) differ: bool,
}

impl Told {
    pub(crate) fn and(&mut self, more: Self) {
        self.missed.extend(more.missed);
        self.differ |= more.differ;
    }
}

impl Removed<'_> {
    /// Those whom others ask for the key, in the order in which they must hear: who comes later may ask those
    /// before, and who forgets before they do may get the old value from them once more.
    pub(crate) fn keepers(&self) -> Vec<String> {
        self.members.keepers(self.key, self.pool.options.second_owner)
    }

    /// All members but this process and those that are `told` already.
    pub(crate) fn others(&self, told: &[String]) -> BTreeSet<String> {
        let others = self.members.others().map(|(name, _)| name);
        others.filter(|name| !told.iter().any(|told| told == name)).map(str::to_owned).collect()
    }

    /// Tells these members, all at once, to forget the key.
    pub(crate) async fn tell(&self, to: &BTreeSet<String>, stone: Tombstone) -> Told {
        let options = &self.pool.options;
        let path = path(&options.base_path, self.group, self.key, options.mode.escape());
        let tombstone = stone.seconds(options.tombstone);
        let millis = |ago: Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let removed_ago = self.ago.map(millis);
        let question = Question::new(Method::DELETE, path, Bytes::new());
        let question = Question { tombstone, removed_ago, ..question };
        let chosen = self.members.others().filter(|(name, _)| to.contains(*name));
        let told = chosen.map(|(name, client)| {
            let question = question.clone();
            async move { (name.to_owned(), done(client, question).await) }
        });
        let own = self.members.asks(self.key, options.second_owner);
        let mut all = Told::default();
        for (name, told) in join_all(told).await {
            match told {
                Ok(answer) => all.differ |= answer.asks.is_some_and(|asks| asks != own),
                Err(error) => drop(all.missed.insert(name, error)),
            }
        }
        all
    }

    /// Tells these of the keepers, one after the other; each loads past those before it that could not be told.
    pub(crate) async fn tell_in_turn(&self, keepers: &[String], stone: Tombstone) -> Told {
        let mut all = Told::default();
        for keeper in keepers {
            let stone = if all.missed.is_empty() { stone } else { Tombstone::Rises };
            all.and(self.tell(&BTreeSet::from([keeper.clone()]), stone).await);
        }
        all
    }
}

/// Asks a peer to do something, and not for a value.
pub(super) async fn done(client: &Arc<Client>, question: Question) -> Result<Answer, TellError> {
    let answer = client.call(question).await?;
    match answer.status {
        200 => Ok(answer),
        status => Err(TellError::Refused(status, text(&answer.body))),
    }
}
