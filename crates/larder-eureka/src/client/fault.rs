//! What can be wrong with a call to a Eureka server, and what that means.

use std::time::Duration;

use larder_registry::{Error, Phase};
use reqwest::StatusCode;

/// A call that was not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The client was closed.
    Closed,
    /// No answer came in time.
    Late {
        /// What was being done.
        phase: Phase,
        /// How long it was waited for.
        after: Duration,
    },
    /// The way to the server is broken.
    Lost {
        /// What was being done.
        phase: Phase,
        /// What broke.
        reason: String,
    },
    /// The answer is larger than what is taken.
    TooLarge {
        /// What was being done.
        phase: Phase,
        /// How many bytes are taken.
        limit: usize,
    },
    /// The answer is not what a Eureka server answers.
    Unreadable {
        /// What was being done.
        phase: Phase,
        /// Why not.
        reason: String,
    },
    /// There are more instances than may be held.
    TooMany {
        /// How many may be.
        limit: usize,
    },
    /// The server said no.
    Refused {
        /// What was being done.
        phase: Phase,
        /// Its answer.
        status: StatusCode,
        /// What it said about it, shortened.
        says: String,
    },
}

impl Fault {
    /// Whether another server might answer.
    pub(crate) fn is_the_servers(&self) -> bool {
        match self {
            Self::Closed | Self::TooMany { .. } | Self::TooLarge { .. } => false,
            Self::Late { .. } | Self::Lost { .. } | Self::Unreadable { .. } => true,
            Self::Refused { phase, status, .. } => {
                is_shut(*phase, *status)
                    || status.is_server_error()
                    || status.is_redirection()
                    || *status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }

    /// Whether the server has nothing by this name.
    pub(crate) fn is_not_found(&self) -> bool {
        self.has(StatusCode::NOT_FOUND)
    }

    /// Whether the server gives no deltas, or none for now.
    pub(crate) fn refuses_deltas(&self) -> bool {
        self.has(StatusCode::FORBIDDEN) || self.is_not_found()
    }

    fn has(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

/// A server that has just started and copied nothing yet lets nobody read for five minutes. It takes
/// writes.
fn is_shut(phase: Phase, status: StatusCode) -> bool {
    status == StatusCode::FORBIDDEN && matches!(phase, Phase::Read | Phase::List | Phase::Watch)
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Closed => Self::Closed,
            Fault::TooMany { limit } => Self::Full { limit },
            Fault::Late { phase, after } => {
                let reason = format!("no answer within {} ms", after.as_millis());
                Self::Unavailable { phase, reason }
            }
            Fault::Lost { phase, reason } | Fault::Unreadable { phase, reason } => {
                Self::Unavailable { phase, reason }
            }
            Fault::TooLarge { phase, limit } => {
                let reason = format!("its answer is larger than {limit} bytes");
                Self::Unavailable { phase, reason }
            }
            Fault::Refused { phase, status, says } => refused(phase, status, says),
        }
    }
}

fn refused(phase: Phase, status: StatusCode, says: String) -> Error {
    let reason = match &*says {
        "" => format!("it answered {status}"),
        says => format!("it answered {status}: {says}"),
    };
    match status {
        status if is_shut(phase, status) => {
            let why = "it does not let anybody read yet, or not this server";
            Error::Unavailable { phase, reason: format!("{why} ({status})") }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { phase, reason },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY
            if phase == Phase::Write =>
        {
            Error::Invalid(if says.is_empty() { reason } else { says })
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let hint = "is the path of its API right, such as /eureka?";
            Error::Unavailable { phase, reason: format!("{reason} ({hint})") }
        }
        _ => Error::Unavailable { phase, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, code: u16, says: &str) -> Fault {
        let status = StatusCode::from_u16(code).expect("a status");
        Fault::Refused { phase, status, says: says.to_owned() }
    }

    #[test]
    fn only_a_server_that_failed_sends_a_call_to_the_next() {
        for code in [500, 502, 503, 307, 429] {
            assert!(status(Phase::Write, code, "").is_the_servers(), "{code}");
        }
        for code in [400, 401, 403, 404, 415] {
            assert!(!status(Phase::Write, code, "").is_the_servers(), "{code}");
        }
        assert!(status(Phase::List, 403, "").is_the_servers(), "its peers may let read");
        assert!(!Fault::Closed.is_the_servers());
        assert!(!Fault::TooLarge { phase: Phase::List, limit: 1 }.is_the_servers());
    }

    #[test]
    fn a_refusal_becomes_the_error_that_says_what_to_do() {
        type Is = fn(&Error) -> bool;
        let denied: Is = |error| matches!(error, Error::Denied { .. });
        let invalid: Is =
            |error| matches!(error, Error::Invalid(says) if says == "Missing hostname");
        let unavailable: Is = |error| matches!(error, Error::Unavailable { .. });
        for (phase, code, is) in [
            (Phase::Write, 401, denied),
            (Phase::Write, 403, denied),
            (Phase::List, 401, denied),
            (Phase::List, 403, unavailable),
            (Phase::Write, 400, invalid),
            (Phase::List, 400, unavailable),
            (Phase::Write, 503, unavailable),
            (Phase::List, 404, unavailable),
        ] {
            let error = Error::from(status(phase, code, "Missing hostname"));
            assert!(is(&error), "{phase} {code}: {error}");
        }
    }

    #[test]
    fn a_wrong_path_is_named_as_what_it_may_be() {
        let said = Error::from(status(Phase::List, 404, "")).to_string();
        assert!(said.contains("404") && said.contains("/eureka"), "{said}");
    }
}
