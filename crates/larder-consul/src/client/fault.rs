//! What can be wrong with a call to a Consul agent, and what that means.

use std::time::Duration;

use http::StatusCode;
use larder_cache::Blame;
use larder_registry::{Error, Phase};

use crate::answer::Answer;

/// How much of what an agent says about a refusal is shown, in letters.
const SHOWN: usize = 200;

/// A call that was not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The client was closed. Not retried.
    #[error("the client of the Consul agent is closed")]
    Closed,
    /// No answer came in time. Retried: it may be overloaded, or on its way back.
    #[error("{server} gave no answer within {after:?} while {phase}")]
    Late {
        /// What was being done.
        phase: Phase,
        /// Who was asked.
        server: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The way to the agent is broken. Retried; if it lasts, start the agent or correct its address.
    #[error("the way to {server} is broken while {phase}: {reason}")]
    Lost {
        /// What was being done.
        phase: Phase,
        /// Who was asked.
        server: String,
        /// What broke.
        reason: String,
    },
    /// The way broke while the agent waited for news; the next one is asked from now on. Retried.
    #[error(
        "the way to {server} broke while it waited for news, and another agent is asked now: {reason}"
    )]
    Passed {
        /// Who was asked.
        server: String,
        /// What broke.
        reason: String,
    },
    /// All connections for questions are in use. Retried; if it lasts, raise
    /// [`max_connections`](super::Options::max_connections).
    #[error("all {limit} connections for questions are in use while {phase}: try again")]
    Busy {
        /// What was being done.
        phase: Phase,
        /// How many there are.
        limit: usize,
    },
    /// The answer is larger than what is taken. Raise [`max_body`](super::Options::max_body).
    #[error("the answer of {server} is larger than {limit} bytes, the most that is taken")]
    TooLarge {
        /// What was being done.
        phase: Phase,
        /// Who was asked.
        server: String,
        /// How many bytes are taken.
        limit: usize,
    },
    /// The answer is not what a Consul agent answers.
    #[error("the answer of {server} is none of a Consul agent: {reason}")]
    Unreadable {
        /// What was being done.
        phase: Phase,
        /// Who was asked.
        server: String,
        /// Why not.
        reason: String,
    },
    /// The agent said no.
    #[error("the Consul agent answered {} while {phase}: {}", .answer.status, says(.answer))]
    Refused {
        /// What was being done.
        phase: Phase,
        /// Its answer.
        answer: Box<Answer>,
    },
}

impl Fault {
    /// Whether another agent might answer.
    pub(crate) fn is_the_servers(&self) -> bool {
        match self {
            Self::Closed | Self::Busy { .. } | Self::TooLarge { .. } => false,
            Self::Late { .. }
            | Self::Lost { .. }
            | Self::Passed { .. }
            | Self::Unreadable { .. } => true,
            Self::Refused { answer, .. } => is_the_servers(answer),
        }
    }

    /// The answer, if an agent that is well has given it: it is the truth about what was asked, and no copy
    /// stands in for it.
    pub fn verdict(&self) -> Option<&Answer> {
        match self {
            Self::Refused { answer, .. } => {
                let status = answer.status;
                (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
                    .then_some(&**answer)
            }
            _ => None,
        }
    }

    /// Whom a cache blames for it.
    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::Late { .. } | Self::Lost { .. } => Blame::Upstream,
            Self::Refused { answer, .. } if is_refusal(answer) => Blame::Refusal,
            Self::Refused { answer, .. } if is_out_of_order(answer) => Blame::Upstream,
            _ => Blame::Entry,
        }
    }
}

/// Whether the token may not do this, or is none.
pub(crate) fn is_refusal(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
        || knows_no_token(answer)
}

/// Whether there is no such token, so that nothing can be asked by it any more.
pub(crate) fn knows_no_token(answer: &Answer) -> bool {
    // Consul answers 403; what forwards to it may have made a 500 of that.
    !answer.status.is_success() && contains(answer, "ACL not found")
}

/// Whether it is the agent that fails, and not this question: Consul answers 500 for both.
fn is_out_of_order(answer: &Answer) -> bool {
    if is_document(answer) {
        return false;
    }
    matches!(
        answer.status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    ) || (answer.status.is_server_error()
        && ["No cluster leader", "leadership lost", "No known Consul servers"]
            .iter()
            .any(|sign| contains(answer, sign)))
}

/// Whether another agent might answer otherwise.
pub(super) fn is_the_servers(answer: &Answer) -> bool {
    let has_too_many = answer.status == StatusCode::TOO_MANY_REQUESTS && !is_document(answer);
    is_out_of_order(answer) || has_too_many
}

/// Whether it is about what was asked, whatever its status: errors of an agent are plain text, and the health
/// of a service that fails is a document with a status of 429 or 503.
fn is_document(answer: &Answer) -> bool {
    let kind = answer.headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn contains(answer: &Answer, text: &str) -> bool {
    answer.body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The start of what an agent says about a refusal, in one line; that there is nothing if it sends a page.
fn says(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(4096)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.first() {
        Some(word) if !word.starts_with('<') => words.join(" ").chars().take(SHOWN).collect(),
        _ => "without a word".to_owned(),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::from(&fault)
    }
}

impl From<&Fault> for Error {
    fn from(fault: &Fault) -> Self {
        let reason = fault.to_string();
        match fault {
            Fault::Closed => Self::Closed,
            Fault::Passed { .. } => Self::Unavailable { phase: Phase::Watch, reason },
            Fault::Late { phase, .. }
            | Fault::Lost { phase, .. }
            | Fault::Busy { phase, .. }
            | Fault::TooLarge { phase, .. }
            | Fault::Unreadable { phase, .. } => Self::Unavailable { phase: *phase, reason },
            Fault::Refused { phase, answer } => refused(*phase, answer, reason),
        }
    }
}

fn refused(phase: Phase, answer: &Answer, reason: String) -> Error {
    let is_of_the_question =
        answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS;
    if is_refusal(answer) {
        Error::Denied { phase, reason }
    } else if phase == Phase::Write && is_of_the_question {
        Error::Invalid(says(answer))
    } else {
        Error::Unavailable { phase, reason }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn refused(phase: Phase, status: u16, says: &'static str) -> Fault {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = Bytes::from_static(says.as_bytes());
        Fault::Refused {
            phase,
            answer: Box::new(Answer { status, headers: http::HeaderMap::new(), body }),
        }
    }

    #[test]
    fn who_is_to_blame_is_told_by_status_and_words() {
        for (status, says, blame) in [
            (500, "No cluster leader", Blame::Upstream),
            (500, "rpc error making call: No path to datacenter", Blame::Entry),
            (503, "", Blame::Upstream),
            (403, "Permission denied: token lacks permission", Blame::Refusal),
            (403, "ACL not found", Blame::Refusal),
            (500, "rpc error making call: ACL not found", Blame::Refusal),
            (400, "Invalid filter", Blame::Entry),
            (429, "Your IP is issuing too many concurrent connections", Blame::Entry),
        ] {
            assert_eq!(refused(Phase::Read, status, says).blame(), blame, "{status} {says}");
        }
    }

    #[test]
    fn what_a_well_agent_refuses_is_the_truth_and_what_a_busy_one_does_is_not() {
        assert!(refused(Phase::Read, 403, "ACL not found").verdict().is_some());
        assert!(refused(Phase::Read, 400, "").verdict().is_some());
        assert!(refused(Phase::Read, 429, "").verdict().is_none());
        assert!(refused(Phase::Read, 500, "").verdict().is_none());
    }

    #[test]
    fn only_an_agent_that_fails_sends_a_call_to_the_next() {
        for (status, says, elsewhere) in [
            (500, "No cluster leader", true),
            (500, "No path to datacenter", false),
            (502, "", true),
            (429, "", true),
            (403, "", false),
            (404, "", false),
        ] {
            assert_eq!(refused(Phase::Read, status, says).is_the_servers(), elsewhere, "{status}");
        }
        assert!(!Fault::Closed.is_the_servers());
        let kind = http::HeaderValue::from_static("application/json");
        let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
        let (status, body) = (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{}"));
        let critical = Answer { status, headers, body };
        assert!(!super::is_the_servers(&critical), "it is the service that fails");
    }

    #[test]
    fn a_refusal_becomes_the_error_that_says_what_to_do() {
        let denied = Error::from(refused(Phase::Write, 403, "Permission denied"));
        assert!(matches!(denied, Error::Denied { .. }), "{denied}");
        let invalid = Error::from(refused(Phase::Write, 400, "Missing service name"));
        assert!(matches!(&invalid, Error::Invalid(says) if says == "Missing service name"));
        let late = Error::from(refused(Phase::Read, 500, "No cluster leader"));
        assert!(late.to_string().contains("No cluster leader"), "{late}");
    }
}
