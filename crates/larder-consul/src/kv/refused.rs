//! What the store does not do.

use http::StatusCode;

/// Why something is refused. What it displays is the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is no key to write.
    #[error("Missing key name")]
    NoKey,
    /// The key is longer than is stored.
    #[error("Key too long: at most {max} bytes are stored")]
    KeyTooLong {
        /// The most, in bytes.
        max: usize,
    },
    /// The value is longer than is stored.
    #[error("Request body({length} bytes) too large, max size: {max} bytes.")]
    ValueTooLong {
        /// How long it is, in bytes.
        length: usize,
        /// The most, in bytes.
        max: usize,
    },
    /// There are as many keys as the store takes.
    #[error("The key-value store is full: it takes {max} keys. Delete some, or allow more")]
    TooManyKeys {
        /// The most.
        max: usize,
    },
    /// The store is as large as it may become.
    #[error("The key-value store is full: it takes {max} bytes. Delete some keys, or allow more")]
    TooLarge {
        /// The most, in bytes, keys and values together.
        max: usize,
    },
    /// As many wait as may.
    #[error("Too many wait for keys: at most {max} may. Ask again later, or for prefixes")]
    TooManyWaiting {
        /// The most.
        max: usize,
    },
    /// `cas` or `flags` is no unsigned number of 64 bits.
    #[error("Invalid {name} value {value:?}")]
    Number {
        /// Which parameter.
        name: &'static str,
        /// What it said.
        value: Box<str>,
    },
    /// Two of `cas`, `acquire`, `release` and, for a deletion, `recurse`.
    #[error("Conflicting flags: {0}")]
    Conflict(Box<str>),
    /// `acquire` or `release`: there are no sessions that could hold a lock.
    #[error(
        "?{0} needs sessions, which are not kept here. Run Larder in front of a Consul agent with \
         --upstream consul+http://HOST:PORT, and it passes them on"
    )]
    Locks(&'static str),
}

impl Refused {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::KeyTooLong { .. } | Self::Number { .. } | Self::Conflict(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::ValueTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyKeys { .. } | Self::TooLarge { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::TooManyWaiting { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Locks(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}
