//! What can be wrong with a call to etcd, and what that means.

use std::time::Duration;

use larder_registry::{Error, Phase};
use tonic::{Code, Status};

/// A call that was not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The backend was closed.
    Closed,
    /// No answer came in time.
    Late {
        /// What was being done.
        phase: Phase,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is more than may be held.
    TooMany {
        /// How much may be.
        limit: usize,
    },
    /// The server, or the way to it, said no.
    Refused {
        /// What was being done.
        phase: Phase,
        /// What it said.
        status: Status,
    },
}

impl Fault {
    pub(super) fn status(phase: Phase, status: Status) -> Self {
        Self::Refused { phase, status }
    }

    /// Whether another server might answer.
    pub(super) fn is_the_servers(&self) -> bool {
        match self {
            Self::Closed | Self::TooMany { .. } => false,
            Self::Late { .. } => true,
            Self::Refused { status, .. } => is_the_servers(status),
        }
    }

    /// Whether the revision that was asked for is forgotten.
    pub(crate) fn is_compacted(&self) -> bool {
        self.is_out_of_range("compacted")
    }

    /// Whether the answer was larger than what is taken.
    pub(crate) fn is_too_large(&self) -> bool {
        self.is_out_of_range("too large")
    }

    /// etcd and the decoder here use one code for two things: only the text tells them apart.
    fn is_out_of_range(&self, text: &str) -> bool {
        matches!(self, Self::Refused { status, .. }
            if status.code() == Code::OutOfRange && status.message().contains(text))
    }

    /// Whether there is no such lease.
    pub(crate) fn is_lease_lost(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::NotFound)
    }
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
            Fault::Refused { phase, status } => {
                let reason = reason(&status);
                if is_denied(&status) {
                    Self::Denied { phase, reason }
                } else {
                    Self::Unavailable { phase, reason }
                }
            }
        }
    }
}

/// Whether a new token might help: it has run out, the server has forgotten it, rights have changed,
/// or authentication was switched on after the last login.
pub(super) fn is_about_the_token(status: &Status) -> bool {
    match status.code() {
        Code::Unauthenticated => true,
        Code::InvalidArgument => {
            let text = status.message();
            text.contains("user name is empty") || text.contains("revision of auth store is old")
        }
        _ => false,
    }
}

fn is_denied(status: &Status) -> bool {
    let wrong_password = status.message().contains("authentication failed");
    status.code() == Code::PermissionDenied || is_about_the_token(status) || wrong_password
}

fn is_the_servers(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
    )
}

/// What the status says, and what it was caused by: `tcp connect error` alone helps nobody.
fn reason(status: &Status) -> String {
    let mut reason = match status.message() {
        "" => status.code().description().to_owned(),
        text => text.to_owned(),
    };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, text: &str) -> Fault {
        Fault::status(Phase::Read, Status::new(code, text))
    }

    #[test]
    fn only_a_server_that_failed_sends_a_call_to_the_next() {
        assert!(refused(Code::Unavailable, "tcp connect error").is_the_servers());
        assert!(Fault::Late { phase: Phase::Read, after: Duration::from_secs(1) }.is_the_servers());
        assert!(!refused(Code::PermissionDenied, "etcdserver: permission denied").is_the_servers());
        assert!(!Fault::Closed.is_the_servers());
    }

    #[test]
    fn two_refusals_with_one_code_are_told_apart() {
        let text = "etcdserver: mvcc: required revision has been compacted";
        let compacted = refused(Code::OutOfRange, text);
        assert!(compacted.is_compacted() && !compacted.is_too_large());
        let text = "Error, decoded message length too large: found 70000000 bytes, the limit is: 1";
        let large = refused(Code::OutOfRange, text);
        assert!(large.is_too_large() && !large.is_compacted());
    }

    #[test]
    fn what_is_denied_is_not_said_to_be_unavailable() {
        let wrong = "etcdserver: authentication failed, invalid user ID or password";
        for (code, text) in [
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
            (Code::InvalidArgument, wrong),
        ] {
            assert!(matches!(refused(code, text).into(), Error::Denied { .. }), "{text}");
        }
        let down: Error = refused(Code::Unavailable, "tcp connect error").into();
        let said = down.to_string();
        assert!(said.contains("while reading: tcp connect error; try again"), "{said}");
    }
}
