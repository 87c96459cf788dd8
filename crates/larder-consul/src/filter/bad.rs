//! Why a filter is refused.

use std::fmt;

use http::StatusCode;

/// Why a filter is refused. What it displays is the body of the answer; the words are Consul's as far as the
/// same thing is wrong. Its agent answers with a 500, though it is the client who is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {kind}")]
pub struct BadFilter {
    /// What is wrong.
    pub kind: BadFilterKind,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFilterKind {
    /// It is longer than [`MAX_LENGTH`](super::MAX_LENGTH).
    #[error("the filter is longer than {} bytes", super::MAX_LENGTH)]
    TooLong,
    /// It is deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("{0}: parentheses and nots are more than {max} deep", max = super::MAX_DEPTH)]
    TooDeep(Position),
    /// It has more regular expressions than [`MAX_PATTERNS`](super::MAX_PATTERNS).
    #[error("there are more than {} regular expressions", super::MAX_PATTERNS)]
    TooManyPatterns,
    /// Something else stands where this was expected.
    #[error("{at}: no match found, expected: {expected}")]
    Unexpected {
        /// Where.
        at: Position,
        /// What.
        expected: &'static str,
    },
    /// A quote is not closed.
    #[error("{0}: rule \"string\": Unterminated string literal")]
    Unterminated(Position),
    /// A backslash is followed by what stands for nothing. `` `…` `` takes backslashes as they are.
    #[error(
        "{0}: rule \"string\": invalid syntax; write a backslash twice, or the text between backquotes"
    )]
    Escape(Position),
    /// What begins like a number does not go on like one.
    #[error("{0}: rule \"number\": Invalid number literal; write other values in quotes")]
    Number(Position),
    /// A parenthesis is not closed.
    #[error("{0}: rule \"grouping\": Unmatched parentheses")]
    Unclosed(Position),
    /// No value of the kind that is filtered has such a field.
    #[error("Selector {0:?} is not valid")]
    Selector(Box<str>),
    /// The field is not to be compared in this way.
    #[error("Invalid match operator \"{operator}\" for selector {selector:?}")]
    Operator {
        /// How it was to be compared.
        operator: &'static str,
        /// Which one.
        selector: Box<str>,
    },
    /// The value is not what the field is compared with.
    #[error("Failed to coerce value {value:?} for selector {selector:?}: it is no {expected}")]
    Value {
        /// What it was to be compared with.
        value: Box<str>,
        /// Which field.
        selector: Box<str>,
        /// `number` or `truth value`.
        expected: &'static str,
    },
    /// A regular expression is none, or takes too much memory.
    #[error("Failed to compile regular expression {pattern:?}: {why}")]
    Pattern {
        /// The regular expression.
        pattern: Box<str>,
        /// In one line.
        why: Box<str>,
    },
}

/// Where in a filter: as Consul writes it, `line:column (offset)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// From 0, in bytes.
    pub offset: usize,
}

impl BadFilter {
    /// The status of the answer: 400.
    pub fn status(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

impl From<BadFilterKind> for BadFilter {
    fn from(kind: BadFilterKind) -> Self {
        Self { kind }
    }
}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        Self { line, column, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.line, self.column, self.offset)
    }
}
