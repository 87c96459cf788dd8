//! Where a group's values come from: an HTTP server, or a directory.

mod directory;
mod freshness;
mod http;
mod redirect;
pub(crate) mod template;

use bytes::Bytes;
use larder_cache::{Attempt, Blame, Fetched, Source};
use reqwest::StatusCode;

pub(crate) use redirect::Astray;
pub(crate) use template::Unaskable;

pub(crate) use directory::Directory;
pub(crate) use http::{Http, client};

/// The source of a group.
#[derive(Debug)]
pub(crate) enum Origin {
    Http(Http),
    Directory(Directory),
}

/// Why an origin has no value to offer. It is asked again by the next request; what is to be done is in the
/// sentence. No error repeats a URL or a header: they may be secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OriginError {
    /// It cannot be reached, or the connection broke before its answer began.
    #[error("the origin cannot be reached: {0}")]
    Unreachable(String),
    /// It answered with a status that says nothing about the value.
    #[error("the origin answered {0}")]
    Status(StatusCode),
    /// Its redirects lead nowhere.
    #[error("the origin cannot be followed: {0}")]
    Redirect(#[from] Astray),
    /// The answer is longer than the group's `max_value_bytes`.
    #[error("the origin's answer is longer than {0} bytes (max_value_bytes)")]
    TooLarge(usize),
    /// The answer ended before it was whole.
    #[error("the origin's answer broke off: {0}")]
    Broken(String),
    /// The answer is compressed, although that was not asked for.
    #[error("the origin's answer is encoded as {0}, which was not asked for")]
    Encoded(String),
    /// A link in the directory leads out of it.
    #[error("the key's file is outside of the group's directory")]
    Outside,
    /// The directory or the file cannot be read.
    #[error("the key's file cannot be read: {0}")]
    Unreadable(String),
    /// There is no URL for the key.
    #[error(transparent)]
    Unaskable(#[from] Unaskable),
}

impl Source for Origin {
    type Key = Bytes;
    type Value = Bytes;
    type Error = OriginError;

    async fn fetch(&self, key: &Bytes, _: Attempt<Bytes>) -> Result<Fetched<Bytes>, OriginError> {
        match self {
            Self::Http(origin) => origin.load(key).await,
            Self::Directory(directory) => directory.load(key).await,
        }
    }

    /// Three in a row that could not be reached, and the origin is left alone but for one look a second.
    fn blame(&self, error: &OriginError) -> Blame {
        match error {
            OriginError::Unreachable(_) => Blame::Upstream,
            _ => Blame::Entry,
        }
    }
}
