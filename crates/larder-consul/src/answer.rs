//! What a read is answered, as it is cached and sent.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// An answer, without what depends on when and how it is given: its index, its age and where it comes from
/// are said by whoever gives it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200, or 404 for a key that is not there.
    pub status: StatusCode,
    /// What stays the same each time: the content's type, and what an upstream agent says about itself.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}
