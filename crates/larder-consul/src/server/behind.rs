//! In front of Consul's agents: reads from copies that are kept fresh, everything else as it is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_cache::Clock;

use super::Consul;
use super::read::{Contact, Looked};
use super::refusal::Refusal;
use super::respond::About;
use crate::answer::Answer;
use crate::backend::{self, ConsulClient};
use crate::client::{self, Client, OptionsError};
use crate::params::{self, Asked};
use crate::passthrough::{MAX_PASSED, PassThrough};
use crate::question::{Endpoint, Question};
use crate::remote::{self, Agent, OutOfRange, Unanswered, may_be_kept};
use crate::terms::Terms;

/// The way to Consul's agents, and the copies of what they answered.
#[derive(Debug)]
pub struct Behind {
    client: Client,
    agent: Arc<Agent>,
    passing: PassThrough,
}

/// Why there is no way to Consul's agents. Not retried: correct the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehindError {
    /// Where they are makes no sense.
    #[error(transparent)]
    Client(#[from] OptionsError),
    /// How their answers are kept makes no sense.
    #[error(transparent)]
    Agent(#[from] OutOfRange),
}

impl Behind {
    /// Asks nobody yet: the agents need not be there. Must be called inside a tokio runtime.
    pub fn new(
        reach: &client::Options,
        keep: remote::Options,
        clock: &Clock,
    ) -> Result<Self, BehindError> {
        let client = Client::new(reach)?;
        let agent = Arc::new(Agent::new(&client, keep, clock)?);
        let passing = PassThrough::new(client.clone(), reach, MAX_PASSED);
        Ok(Self { client, agent, passing })
    }

    /// The agents' registry, over the same connections and copies: it is closed with this.
    pub fn registry(&self, options: &backend::Options, clock: &Clock) -> ConsulClient {
        ConsulClient::sharing(self.client.clone(), self.agent.clone(), options, clock)
    }

    /// What an agent answers, or has answered.
    pub(super) async fn look(
        &self,
        question: &Question,
        terms: &Terms,
        wait: Duration,
    ) -> Result<Looked, Refusal> {
        let read = self.agent.read(question, terms, wait).await?;
        // Also of a copy that will do for its reader.
        let is_lost =
            read.from_cache && !read.age.is_zero() && self.agent.upstream().down_for().is_some();
        let contact = if read.stale.is_some() || is_lost {
            Contact::ConsulLost(read.last_contact)
        } else {
            Contact::Consul(read.last_contact)
        };
        Ok(Looked {
            status: read.answer.status,
            headers: read.answer.headers.clone(),
            body: read.answer.body.clone(),
            index: read.index,
            age: read.age,
            is_hit: read.from_cache,
            contact,
        })
    }

    /// How the cache of answers does: of what is kept fresh, and of what was asked.
    pub fn stats(&self) -> (larder_cache::Stats, larder_cache::Stats) {
        self.agent.stats()
    }

    /// What is said with every answer, a refusal too.
    fn about(&self) -> About {
        let (kept, asked) = self.stats();
        let down_for = kept.upstream_down_for.max(asked.upstream_down_for);
        let contact = down_for.map_or(Contact::Consul(Duration::ZERO), Contact::ConsulLost);
        About { contact, ..About::NOTHING }
    }

    pub(super) async fn close(&self) {
        self.agent.close().await;
        self.client.close();
    }
}

impl Consul {
    /// Answers a read from a copy where one will do; hands everything else on, also what is not understood:
    /// the agent says what is wrong with it.
    pub(super) async fn in_front(&self, behind: &Behind, request: Request) -> Response {
        let Some((question, terms)) = kept_read(&request) else {
            // Apart, so that it takes no room in the reads that wait.
            return Box::pin(behind.passing.pass(request)).await;
        };
        let (parts, _) = request.into_parts();
        match self.answer_read(&question, &terms, parts).await {
            Ok(response) => response,
            Err(refusal) => {
                let mut response = refusal.into_response();
                behind.about().tell(response.headers_mut());
                response
            }
        }
    }
}

/// The read that is asked for, if it may be answered from a copy.
fn kept_read(request: &Request) -> Option<(Question, Terms)> {
    if *request.method() != Method::GET {
        return None;
    }
    let endpoint = Endpoint::from_path(request.uri().path())?;
    let Asked { selection, terms, token } =
        params::read(request.uri().query(), request.headers()).ok()?;
    may_be_kept(&terms).then_some((Question { endpoint, selection, token }, terms))
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        let status = match unanswered {
            Unanswered::Refused(answer) | Unanswered::Failed(answer) => {
                return Self::from_agent(answer);
            }
            Unanswered::Overloaded(_) => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, unanswered.to_string())
    }
}

impl Answer {
    /// As it came.
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
