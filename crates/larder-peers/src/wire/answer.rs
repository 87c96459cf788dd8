//! What a client makes of a peer's response: take it, take its error, or load by itself.
//!
//! Pure. This is the fallback table of `mailgun/groupcache`: the owner's own errors are final, so that one
//! failure is not made two loads, and whatever else is wrong with a peer is no reason to have no value.

use bytes::Bytes;

use crate::ring::Mode;
use crate::wire::expiry::Expiry;
use crate::wire::message::decode_value;

/// A response, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// What the [header](super::GROUP_HEADER) says, if the peer is a Larder.
    pub group: Option<GroupMark>,
    /// The body, or the beginning of a long error's.
    pub body: &'a [u8],
}

/// What a Larder says of the group that it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupMark {
    /// There is one of that name.
    Known,
    /// There is none.
    Unknown,
}

/// What becomes of a get.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The value, until when it holds, and how often its owner is asked for it in a second, if it says so.
    Value(Bytes, Expiry, Option<f64>),
    /// The owner says that there is no such key, in these words. Final.
    Missing(String),
    /// The owner's loader failed, in these words. Final.
    Failed(String),
    /// The peer is of no use: load locally.
    LoadLocally(PeerFault),
}

/// Why a peer is of no use for a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// It answered with a status that says nothing about the key.
    #[error("server returned: {0}, {1}")]
    Status(u16, String),
    /// Its body could not be read as the message that it should be.
    #[error("{0}")]
    Undecodable(String),
    /// The value that it sent has expired: its clock is behind, or this one's is ahead.
    #[error("peer returned expired value")]
    Expired,
    /// It does not know the group (yet): it may just be starting.
    #[error("the peer does not know the group; it may be starting")]
    UnknownGroup,
}

/// Judges the answer to a get. `now` is in milliseconds since 1970.
pub fn judge(mode: Mode, group: &str, response: Response<'_>, now: u64) -> Verdict {
    if response.status == 200 {
        return take(mode, response.body, now);
    }
    let text = text(response.body);
    if is_unknown_group(group, response, &text) {
        return Verdict::LoadLocally(PeerFault::UnknownGroup);
    }
    match (mode, response.status) {
        // golang's servers answer 500 whatever is wrong, and its clients do not look at it.
        (Mode::Golang, _) => {}
        // In a ring of Larders, one that does not say that it knows the group is something else.
        (Mode::Native, 404 | 503) if response.group != Some(GroupMark::Known) => {}
        (_, 404) => return Verdict::Missing(text),
        (_, 503) => return Verdict::Failed(text),
        _ => {}
    }
    Verdict::LoadLocally(PeerFault::Status(response.status, text))
}

fn take(mode: Mode, body: &[u8], now: u64) -> Verdict {
    let message = match decode_value(body) {
        Ok(message) => message,
        Err(error) => return Verdict::LoadLocally(PeerFault::Undecodable(error.to_string())),
    };
    let nanos = message.expire.filter(|_| mode.carries_expiry());
    let expiry = Expiry::from_nanos(nanos.unwrap_or_default());
    if expiry.is_past(now) {
        return Verdict::LoadLocally(PeerFault::Expired);
    }
    // A peer may say what it likes: what is no number says nothing.
    let qps = message.minute_qps.filter(|qps| qps.is_finite());
    Verdict::Value(message.value.unwrap_or_default(), expiry, qps)
}

/// A Larder says so in a header. Go's servers say it in words alone, with the same status as for a key that
/// is not there: their words are taken for it.
fn is_unknown_group(group: &str, response: Response<'_>, text: &str) -> bool {
    match response.group {
        Some(mark) => mark == GroupMark::Unknown,
        None => response.status == 404 && text == unknown_group(group),
    }
}

/// What a server says about a group that it does not have.
pub fn unknown_group(group: &str) -> String {
    format!("no such group: {group}")
}

/// The words of an error: without the line's end that Go puts there.
pub fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim_matches('\n').to_owned()
}
