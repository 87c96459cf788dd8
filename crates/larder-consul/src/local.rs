//! Reads of this server's own registry: always as it is at the moment, kept as bytes for the next reader.
//!
//! A cache over the registry, whose values are judged by their index and not by their age: one that is older
//! than what it was made of is made anew, however many readers wait for it, once.

mod board;
mod encoder;
mod ledger;
mod scope;
mod tombstones;

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Cache, Clock, Error, Options, OutOfRange, Request};
use larder_registry::Registry;
use larder_registry::catalog::Snapshot;
use larder_registry::model::{CheckKey, Key, Name};

use self::board::{Board, Place};
use self::encoder::Encoder;
pub use self::encoder::Unanswerable;
use self::ledger::Scope;
use crate::answer::Answer;
use crate::blocking::is_due;
use crate::mapping::OwnNode;
use crate::question::{Question, Token};

/// How many bytes of answers are kept.
const CAPACITY: u64 = 128 << 20;

/// The registry of this server, as Consul's catalog.
#[derive(Debug)]
pub(crate) struct Local {
    registry: Arc<dyn Registry>,
    board: Arc<Board>,
    answers: Cache<Encoder>,
}

/// An answer with what there is to say about it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) answer: larder_cache::Reply<Answer>,
    /// As of which change; never zero.
    pub(crate) index: u64,
    /// The same had been asked before, and was kept up to date since.
    pub(crate) is_hit: bool,
}

impl Local {
    pub(crate) fn new(
        registry: Arc<dyn Registry>,
        own: Arc<OwnNode>,
        clock: Clock,
    ) -> Result<Self, OutOfRange> {
        let board = Board::new(&*registry, &own);
        let encoder = Encoder { registry: registry.clone(), board: board.clone(), own };
        let options = Options {
            capacity: CAPACITY,
            expected_entries: 10_000,
            ghost_allocation: 1.0,
            // Their index judges them.
            ttl: Duration::MAX,
            rate: None,
            clock: Some(clock),
            ..Options::default()
        };
        Ok(Self { registry, board, answers: Cache::new(encoder, options)? })
    }

    /// Waits until the index of what is asked for has passed `past`, or for `wait`, and answers with what there
    /// is then. Zero does not wait. Safe to cancel; whoever goes away leaves nothing behind.
    pub(crate) async fn read(
        &self,
        question: &Question,
        past: u64,
        wait: Duration,
    ) -> Result<Told, Error<Unanswerable>> {
        let scope = scope::of(&question.endpoint);
        let passed = self.passed(&scope, past);
        let index = if past > 0 {
            // Cancel-safe: a place is left when it is dropped.
            tokio::time::timeout(wait, passed).await.ok()
        } else {
            None
        };
        let index = index.unwrap_or_else(|| self.board.index(&scope, &self.registry.snapshot()));
        self.current(question, index).await
    }

    /// Waits until the index of the scope has passed `past`; answers it.
    async fn passed(&self, scope: &Scope, past: u64) -> u64 {
        // Taken before the look: what happens between the two is not slept through.
        let mut place = self.board.wait_at(scope);
        loop {
            let snapshot = self.registry.snapshot();
            let index = self.board.index(scope, &snapshot);
            if is_due(past, index, snapshot.revision()) {
                return index;
            }
            // Nothing of it is held while it waits.
            drop(snapshot);
            place.touched().await;
        }
    }

    /// What there is, as of this index or later.
    async fn current(&self, question: &Question, index: u64) -> Result<Told, Error<Unanswerable>> {
        // No token is asked for here, so that all may share what they get.
        let ours;
        let question = if question.token.is_anonymous() {
            question
        } else {
            ours = Question { token: Token::default(), ..question.clone() };
            &ours
        };
        let kept = self.answers.peek(question);
        let is_hit = kept.is_some();
        if let Some(answer) = kept.filter(|kept| kept.index() >= index) {
            return Ok(Told { index: answer.index(), answer, is_hit });
        }
        loop {
            // One that was under way may have begun before the index passed; the next one did not.
            let answer =
                self.answers.get_with(question, &Request::DEFAULT.must_revalidate()).await?;
            if answer.index() >= index {
                return Ok(Told { index: answer.index(), answer, is_hit });
            }
        }
    }

    /// Everything, as of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.registry.snapshot()
    }

    /// What keeps the reasons of operators.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// The instance with this id that was registered with the agent of this server.
    pub(crate) fn instance(&self, id: &str) -> Option<Key> {
        self.board.instance(id)
    }

    /// The check with this id that was registered with the agent of this server.
    pub(crate) fn check(&self, id: &str) -> Option<CheckKey> {
        self.board.check(id)
    }

    /// Everything that was registered with the agent of this server, in the order of its ids.
    pub(crate) fn instances(&self) -> Vec<Key> {
        self.board.instances()
    }

    /// A place to wait at for changes of a service.
    pub(crate) fn place_at(&self, service: &Name) -> Place<'_> {
        self.board.wait_at(&Scope::Service(service.clone()))
    }

    /// Ends what runs in the background.
    pub(crate) async fn close(&self) {
        self.answers.close().await;
    }
}
