//! What a parameter or header can have wrong with it, in the words that Consul's agent answers with.

use http::StatusCode;

/// Why a request's parameters or headers are not understood. What it displays is the body of the answer, and
/// Consul's own sentence where Consul has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadParameter {
    /// `index` is no unsigned number of 64 bits. Some clients send `-1` before they know better.
    #[error("Invalid index")]
    Index,
    /// `wait` is no duration of Go's, such as `10s` or `2m30s`.
    #[error("Invalid wait time")]
    Wait,
    /// `max_stale` is no duration of Go's.
    #[error("Invalid max_stale value {0:?}")]
    MaxStale(Box<str>),
    /// `passing` is neither empty nor a truth value of Go's.
    #[error("Invalid value for ?passing")]
    Passing,
    /// `stale` (or `max_stale`) and `consistent` exclude each other.
    #[error("Cannot specify ?stale with ?consistent, conflicting semantics.")]
    StaleAndConsistent,
    /// `cached` and `consistent` exclude each other.
    #[error("Cannot specify ?cached with ?consistent, conflicting semantics.")]
    CachedAndConsistent,
    /// A number in `Cache-Control` is none.
    #[error("Invalid Cache-Control header.")]
    CacheControl,
    /// A namespace or partition was named, which only Consul Enterprise has.
    #[error("Invalid {place}: \"{name}\" - {feature} are a Consul Enterprise feature")]
    Enterprise {
        /// `query parameter` or `header`.
        place: &'static str,
        /// Its name.
        name: &'static str,
        /// `Namespaces` or `Partitions`.
        feature: &'static str,
    },
    /// What is percent-encoded in a parameter is no UTF-8. (Go takes any bytes.)
    #[error("Invalid query parameter: what is percent-encoded in {0:?} is not UTF-8")]
    NotText(Box<str>),
    /// A `%` in a parameter is not followed by two hexadecimal digits. (Go drops the parameter without a
    /// word, and a filter with it.)
    #[error("Invalid query parameter: a % in {0:?} is not followed by two hexadecimal digits")]
    BadEscape(Box<str>),
    /// There are more parameters than [`MAX_PARAMETERS`](super::MAX_PARAMETERS).
    #[error("Too many query parameters: at most {} are read", super::MAX_PARAMETERS)]
    TooMany,
    /// The query is longer than [`MAX_QUERY`](super::MAX_QUERY).
    #[error("Query too long: at most {} bytes are read", super::MAX_QUERY)]
    QueryTooLong,
    /// The token is longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("ACL token too long: at most {} bytes are read", super::MAX_TOKEN)]
    TokenTooLong,
}

impl BadParameter {
    /// The status of the answer: 414 for a query that is too long, else 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::QueryTooLong => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
