//! The client's side: asks Consul's agents, one at a time with the next in reserve.
//!
//! [`Agent`](crate::remote::Agent) keeps what it hears, and [`PassThrough`](crate::passthrough::PassThrough)
//! hands on what nobody keeps.

mod body;
mod calls;
mod fault;
pub(crate) mod headers;
pub(crate) mod http_client;
mod options;
pub(crate) mod path;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use calls::{Call, Heard};
pub use fault::Fault;
pub(crate) use fault::{is_refusal, knows_no_token};
pub use options::{Options, OptionsError};

use crate::question::Token;
use calls::Calls;

/// The way to Consul's agents. Clones share one, with its connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Calls>);

impl Client {
    /// Checks the options, and asks nobody yet.
    pub fn new(options: &Options) -> Result<Self, OptionsError> {
        Ok(Self(Arc::new(Calls::new(options)?)))
    }

    /// Ends every call that is under way, and refuses further ones.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Returns once [`close`](Self::close) was called.
    pub async fn until_closed(&self) {
        self.0.until_closed().await;
    }

    /// What the agents' URLs begin with, such as `http://127.0.0.1:8500`.
    pub fn servers(&self) -> &[String] {
        self.0.bases()
    }

    /// Which of the [`servers`](Self::servers) is used now.
    pub(crate) fn server(&self) -> usize {
        self.0.server()
    }

    /// This server failed: the next is used from now on.
    pub(crate) fn pass_over(&self, server: usize) {
        self.0.pass_over(server);
    }

    /// Who asks where a request does not say so.
    pub(crate) fn token(&self) -> &Token {
        self.0.token()
    }

    /// How long a call may take, beside the time that it asks an agent to wait.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.0.call_timeout()
    }

    /// How many calls may wait for news at a time.
    pub(crate) fn max_parked(&self) -> usize {
        self.0.max_parked()
    }

    /// Makes a call, whatever is answered.
    pub(crate) async fn call(&self, call: Call) -> Result<Heard, Fault> {
        self.0.call(call).await
    }
}
