//! Telling a peer what clients did.

use larder_registry::Phase;
use reqwest::Method;

use super::calls::{Question, Repeat};
use super::{Client, Fault, body};
use crate::wire::replication::{Answer, decode_answers};

impl Client {
    /// Sends a batch, as it is encoded; returns what the peer answers to each item.
    pub(crate) async fn replicate(&self, batch: Vec<u8>) -> Result<Vec<Answer>, Fault> {
        let question = Question {
            phase: Phase::Write,
            method: Method::POST,
            path: "/peerreplication/batch/".to_owned(),
            body: batch,
            repeat: Repeat::Never,
        };
        let answer = self.calls.call(question).await?;
        body::read(answer.body, Phase::Write, self.calls.max_body(), decode_answers).await
    }
}
