//! The source below the agent's caches: asks an agent, waits there for news, and says what that means.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use larder_cache::{Attempt, Blame, Clock, Fetched, Fresh, Source, Wait};
use larder_registry::Phase;
use tokio::sync::mpsc;

use super::contact::{Contact, Waiting};
use super::turns::Turns;
use crate::answer::Answer;
use crate::client::path::{Target, path};
use crate::client::{Call, Client, Fault, Heard, is_refusal, knows_no_token};
use crate::question::{Endpoint, Question, Token};

/// After how much silence a query counts as waiting for news: an answer that was at hand would be here.
const TAKEN: Duration = Duration::from_millis(250);

/// What an entry weighs beyond its body, in bytes, about.
const OVERHEAD: usize = 512;

/// Asks a Consul agent.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(super) client: Client,
    pub(super) turns: Arc<Turns>,
    pub(super) clock: Clock,
    pub(super) refused: mpsc::Sender<Refused>,
}

/// What an upstream refuses, so that copies of it must leave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// This token asks for this.
    Question(Box<Question>),
    /// There is no such token.
    Token(Token),
}

/// An answer as it is kept.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) answer: Arc<Answer>,
    /// How far behind its leader the server was that gave it.
    pub(crate) last_contact: Duration,
    pub(crate) contact: Contact,
}

impl Held {
    pub(super) fn new(heard: Heard, contact: Contact) -> Self {
        Self { answer: Arc::new(heard.answer), last_contact: heard.last_contact, contact }
    }
}

impl Asking {
    /// Asks now.
    pub(super) async fn ask(&self, question: &Question) -> Result<Heard, Fault> {
        self.call(question, path(question), None).await
    }

    async fn call(
        &self,
        question: &Question,
        path: String,
        parked: Option<Duration>,
    ) -> Result<Heard, Fault> {
        let phase = if parked.is_some() { Phase::Watch } else { Phase::Read };
        let token = question.token.clone();
        let (method, body) = (Method::GET, bytes::Bytes::new());
        let call = Call { phase, method, path, body, token, parked };
        let heard = self.client.call(call).await?;
        // That a key is not there is an answer, with an index to wait by.
        let is_no_key = heard.answer.status == StatusCode::NOT_FOUND
            && matches!(question.endpoint, Endpoint::Kv(_))
            && heard.index > 0;
        if is_no_key {
            return Ok(heard);
        }
        match heard.accepted(phase) {
            Err(fault) => {
                self.note(question, &fault);
                Err(fault)
            }
            heard => heard,
        }
    }

    /// Has copies of what is refused leave.
    fn note(&self, question: &Question, fault: &Fault) {
        let Fault::Refused { answer, .. } = fault else { return };
        let refused = if knows_no_token(answer) {
            Refused::Token(question.token.clone())
        } else if is_refusal(answer) {
            Refused::Question(Box::new(question.clone()))
        } else {
            return;
        };
        // Where nobody has room for it, many tokens are refused at the moment, as when somebody guesses. What
        // is refused is not served in any case: each copy is found out by the query that keeps it.
        let _ = self.refused.try_send(refused);
    }

    /// Waits for news at the agent, when it is this question's turn. None if the turn was over before there
    /// were any.
    async fn park(
        &self,
        question: &Question,
        wait: Wait,
        contact: &Contact,
    ) -> Result<Option<Heard>, Fault> {
        let turn = self.turns.take(&self.clock).await;
        let at_most = turn.wait(wait.at_most);
        let mut target = Target::new(&path(question));
        target.add("index", &wait.past.to_string());
        target.add("wait", &format!("{}ms", at_most.as_millis()));
        let began_at = self.clock.now();
        let waiting = Waiting::new(contact, &self.clock);
        let vouching = async {
            tokio::time::sleep(TAKEN).await;
            waiting.connect();
            if at_most < wait.at_most {
                // It will end by itself.
                std::future::pending::<()>().await;
            }
            turn.is_over(&self.clock, wait.at_most).await;
        };
        let asked = self.call(question, target.finish(), Some(at_most));
        // Cancel-safe: what is dropped is a question about which nobody knows anything yet, or a wait. The
        // answer comes first: who has one need not say that his turn is over.
        let heard = tokio::select! {
            biased;
            heard = asked => heard.map(Some),
            () = vouching => Ok(None),
        };
        if matches!(heard, Err(Fault::Late { .. })) {
            waiting.silent_since(began_at);
        }
        heard
    }
}

impl Source for Asking {
    type Key = Question;
    type Value = Held;
    type Error = Fault;

    async fn fetch(
        &self,
        question: &Question,
        attempt: Attempt<Held>,
    ) -> Result<Fetched<Held>, Fault> {
        let heard = match (attempt.wait(), attempt.previous()) {
            (Some(wait), Some(previous)) => {
                match self.park(question, wait, &previous.contact).await? {
                    Some(heard) => heard,
                    None => return Ok(Fetched::NotModified { ttl: None }),
                }
            }
            _ => self.ask(question).await?,
        };
        let (now, index) = (self.clock.now(), heard.index);
        let held = Held::new(heard, Contact::at(now));
        if let Some(previous) = attempt.previous()
            && (attempt.previous_index() == Some(index) || self.is_same(previous, &held))
        {
            // The cache may go on with what it has.
            previous.contact.heard(now);
        }
        Ok(Fresh::new(held).index(index).into())
    }

    fn weigh(&self, question: &Question, held: &Held) -> u64 {
        let headers = held.answer.headers.len() * 64;
        let token = question.token.secret().len();
        u64::try_from(held.answer.body.len() + headers + token + OVERHEAD).unwrap_or(u64::MAX)
    }

    fn is_same(&self, before: &Held, after: &Held) -> bool {
        before.answer.status == after.answer.status && before.answer.body == after.answer.body
    }

    fn blame(&self, fault: &Fault) -> Blame {
        fault.blame()
    }
}
