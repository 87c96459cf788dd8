//! What callers ask of a node, and what is noted of it.

use std::time::Duration;

use bytes::Bytes;
use larder_peers::{Expiry, Group, HotCopy, Mode, Pool, WriteError};

use super::database::Database;
use super::history::{GRAIN, Heard, History, Moment, Write};
use super::life::{KEYS, Lists, Node, PEER_TIMEOUT, Stage, key_of};
use super::network::Network;

/// A get waits for what is under way, which may be overtaken, and then for its own: at peers, at most two
/// of them and a second more, and then the same at the source.
const GET: Duration = Duration::from_millis(2 * (2_000 + 1_000 + 2_000) + GRAIN);
/// A write tells the owner, then everybody else, and then all of them again if they disagree.
const WRITE: Duration = Duration::from_millis(4_000 + GRAIN);

/// A call of one life of a node.
pub(super) struct Call {
    pub(super) node: usize,
    life: u64,
    lives: Vec<u64>,
    is_full: bool,
    passes_on: bool,
    must_succeed: bool,
    names: Vec<(String, usize)>,
    owner: String,
    key: Bytes,
    pool: Pool,
    group: Group<Database>,
    history: History,
    network: Network,
}

impl Call {
    pub(super) fn of(node: usize, there: &Node, stage: &Stage, key: Bytes) -> Self {
        let lives = stage.nodes.iter().map(|there| there.as_ref().map_or(0, |there| there.life));
        Self {
            node,
            life: there.life,
            lives: lives.collect(),
            is_full: there.is_full,
            passes_on: stage.second_owner || stage.lists != Lists::Agree,
            must_succeed: !stage.is_ever_ill,
            names: there
                .pool
                .peers()
                .into_iter()
                .map(|name| (name.clone(), number(&name)))
                .collect(),
            owner: there.pool.owner(&key),
            key,
            pool: there.pool.clone(),
            group: there.group.clone(),
            history: stage.history.clone(),
            network: stage.network.clone(),
        }
    }

    fn moment(&self) -> Moment {
        self.history.lock().moment()
    }

    /// Whether its node has not crashed meanwhile: else nobody is there to see the outcome.
    fn is_alive(&self) -> bool {
        self.network.life(self.node) == self.life
    }

    pub(super) async fn get(self, patience: Option<Duration>) {
        let began = self.moment();
        let outcome = match patience {
            Some(patience) => {
                tokio::time::timeout(patience + Duration::from_millis(1), async {
                    self.group.get_within(&self.key, patience).await
                })
                .await
            }
            None => tokio::time::timeout(GET, self.group.get(&self.key)).await,
        };
        if !self.is_alive() {
            return;
        }
        let mut record = self.history.lock();
        match outcome {
            Err(_) => record.violated(format!("a get of {:?} hangs, {patience:?}", self.key)),
            Ok(Ok(got)) => record.read((self.node, self.life), &self.key, began, 0, &got),
            Ok(Err(larder_peers::Error::Impatient(_))) => record.count("impatient gets"),
            Ok(Err(error)) if self.must_succeed => {
                record.violated(format!("a get failed for no reason: {error}"));
            }
            Ok(Err(_)) => record.count("failed gets"),
        }
    }

    pub(super) async fn get_many(self) {
        let began = self.moment();
        let keys: Vec<_> = (0..KEYS).map(|n| key_of("", n)).collect();
        // A request for all of them first.
        let outcome = tokio::time::timeout(GET + PEER_TIMEOUT, self.group.get_many(&keys)).await;
        if !self.is_alive() {
            return;
        }
        let mut record = self.history.lock();
        let Ok(outcome) = outcome else {
            return record.violated("a get of many keys hangs".to_owned());
        };
        for (key, got) in keys.iter().zip(outcome) {
            match got {
                Ok(got) => {
                    // One that was in memory waits for the others.
                    let in_hand = record.now() - began.0;
                    record.read((self.node, self.life), key, began, in_hand, &got);
                }
                Err(error) if self.must_succeed => {
                    record.violated(format!("one of many gets failed for no reason: {error}"));
                }
                Err(_) => record.count("failed gets"),
            }
        }
    }

    fn begin(&self) -> usize {
        let mut record = self.history.lock();
        let (began, lives) = (record.moment(), self.lives.clone());
        let write = Write {
            node: self.node,
            life: self.life,
            version: 0,
            began,
            ended: None,
            heard: Heard::Unknown,
            lives,
            is_whole: self.is_full,
            made_up: None,
        };
        record.write_begun(&self.key, write)
    }

    pub(super) async fn remove(self) {
        let write = self.begin();
        let outcome = tokio::time::timeout(WRITE, self.group.remove(&self.key)).await;
        if !self.is_alive() {
            return;
        }
        let mut record = self.history.lock();
        let heard = match outcome {
            Err(_) => return record.violated("a removal hangs".to_owned()),
            Ok(Ok(())) => Heard::All,
            Ok(Err(WriteError::Missed(missed))) => {
                record.count("removals that somebody missed");
                let is_past_owner = missed.iter().any(|missed| missed.peer == self.owner);
                let passed_on = self.passes_on || is_past_owner;
                let missed = missed.into_iter().map(|missed| self.number(&missed.peer)).collect();
                Heard::AllBut { missed, passed_on, is_past_owner }
            }
            Ok(Err(WriteError::NotInThisMode(Mode::Golang))) => return,
            Ok(Err(error)) => return record.violated(format!("a removal fails: {error}")),
        };
        record.write_ended(&self.key, write, heard);
    }

    pub(super) async fn set(self, ttl: Duration, wall: u64, copy: HotCopy) {
        let write = self.begin();
        let value = self.history.lock().set_born(&self.key, write, ttl);
        let expiry = Expiry::after(wall, ttl);
        let setting = self.group.set(&self.key, value, expiry, copy);
        let outcome = tokio::time::timeout(WRITE, setting).await;
        if !self.is_alive() {
            return;
        }
        let is_told = self.pool.retries().pending == 0 && self.pool.retries().given_up == 0;
        let mut record = self.history.lock();
        let heard = match outcome {
            Err(_) => return record.violated("a set hangs".to_owned()),
            Ok(Ok(())) if is_told => Heard::All,
            Ok(Ok(())) => {
                record.count("sets that somebody may have missed");
                let owner = self.number(&self.owner);
                let all = self.names.iter().map(|(_, node)| *node);
                let missed = all.filter(|node| *node != owner && *node != self.node).collect();
                Heard::AllBut { missed, passed_on: self.passes_on, is_past_owner: false }
            }
            Ok(Err(WriteError::Owner(_))) => return record.count("sets that failed"),
            Ok(Err(WriteError::NotInThisMode(Mode::Golang))) => return,
            Ok(Err(error)) => return record.violated(format!("a set fails: {error}")),
        };
        record.write_ended(&self.key, write, heard);
    }

    fn number(&self, name: &str) -> usize {
        self.names.iter().find(|(known, _)| known == name).map_or(usize::MAX, |(_, node)| *node)
    }
}

/// Which node it is that is called so.
fn number(name: &str) -> usize {
    let host = name.trim_end_matches(":80").rsplit('.').next().unwrap();
    host.parse::<usize>().unwrap() - 1
}
