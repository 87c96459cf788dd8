//! How the program fails: one line on standard error, and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why the program ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not do what it was asked: exit code 1.
    Reason(String),
    /// It was asked for something that makes no sense, by flags or configuration: exit code 2.
    Usage(String),
    /// Whoever read the output has gone, as `head` does: nothing to tell anyone.
    OutputClosed,
}

pub(crate) fn reason(says: impl Into<String>) -> Failure {
    Failure::Reason(says.into())
}

impl Failure {
    pub(crate) fn tell(&self) -> ExitCode {
        let (says, code) = match self {
            Self::Reason(says) => (says, 1),
            Self::Usage(says) => (says, 2),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        note(says);
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Reason(format!("cannot write: {error}")),
        }
    }
}

/// One line for people, on standard error, which may be closed.
pub(crate) fn note(says: &str) {
    let _ = writeln!(io::stderr(), "larder: {says}");
}
