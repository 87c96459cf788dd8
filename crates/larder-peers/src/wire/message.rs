//! The messages: `groupcachepb`'s, by derive. Fields that this version does not know are skipped.
//!
//! Pure.

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::wire::expiry::Expiry;

/// A value on its way from its owner.
#[derive(Clone, PartialEq, Message)]
pub struct GetResponse {
    /// The value; none if the loader set none, which is an empty one.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub value: Option<Bytes>,
    /// How often the owner is asked for the key, in gets a second over about a minute. No release of Go's sets
    /// it, or looks at it; Larders do where copies are kept [by rate](crate::HotPolicy::ByRate).
    #[prost(double, optional, tag = "2")]
    pub minute_qps: Option<f64>,
    /// Nanoseconds since 1970; 0 or none for a value that does not expire.
    #[prost(int64, optional, tag = "3")]
    pub expire: Option<i64>,
}

/// A value on its way to its owner.
#[derive(Clone, PartialEq, Message)]
pub struct SetRequest {
    /// Required. The path says it as well, and that counts.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub group: Option<Bytes>,
    /// Required, and this counts: a path says what it likes.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub key: Option<Bytes>,
    /// As in [`GetResponse::value`].
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub value: Option<Bytes>,
    /// As in [`GetResponse::expire`].
    #[prost(int64, optional, tag = "4")]
    pub expire: Option<i64>,
}

/// Keys to forget, as groupcache-go v3 posts them: in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveKeysRequest {
    /// The group's name; the path counts.
    #[serde(default)]
    pub group: String,
    /// What to forget.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// A body that is not the message that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is no protobuf, or ends too soon.
    #[error("the body is not the message that it should be: {0}")]
    Undecodable(String),
    /// What must be there is not.
    #[error("required field \"{0}\" not set")]
    Missing(&'static str),
}

impl From<prost::DecodeError> for MessageError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Undecodable(error.to_string())
    }
}

/// The body of an answer; `expiry` is none where the mode's wire has no place for it.
pub fn encode_value(value: Bytes, expiry: Option<Expiry>) -> Vec<u8> {
    encode_answer(value, expiry, None)
}

/// As [`encode_value`], with how often the owner is asked for the key in a second.
pub fn encode_answer(value: Bytes, expiry: Option<Expiry>, minute_qps: Option<f64>) -> Vec<u8> {
    let nanos = expiry.map(Expiry::nanos);
    GetResponse { value: Some(value), minute_qps, expire: nanos }.encode_to_vec()
}

/// The body of a set. An empty value is written, as Go does with one that is not nil.
pub fn encode_set(group: &str, key: &[u8], value: Bytes, expiry: Expiry) -> Vec<u8> {
    let group = Bytes::copy_from_slice(group.as_bytes());
    let key = Some(Bytes::copy_from_slice(key));
    let nanos = Some(expiry.nanos());
    SetRequest { group: Some(group), key, value: Some(value), expire: nanos }.encode_to_vec()
}

/// A set as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What is to have the value.
    pub key: Bytes,
    /// The value, copied out of the body.
    pub value: Bytes,
    /// Until when it holds.
    pub expiry: Expiry,
}

/// Reads the body of a set.
pub fn decode_set(body: &[u8]) -> Result<Set, MessageError> {
    let message = SetRequest::decode(body)?;
    message.group.ok_or(MessageError::Missing("group"))?;
    let key = message.key.ok_or(MessageError::Missing("key"))?;
    let expiry = Expiry::from_nanos(message.expire.unwrap_or_default());
    Ok(Set { key, value: message.value.unwrap_or_default(), expiry })
}

/// Reads the body of an answer. The value is a copy, so that it does not keep the body alive.
pub fn decode_value(body: &[u8]) -> Result<GetResponse, MessageError> {
    Ok(GetResponse::decode(body)?)
}
