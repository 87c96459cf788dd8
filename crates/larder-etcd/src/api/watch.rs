//! Messages of `etcdserverpb.Watch`.

use prost::{Enumeration, Message, Oneof};

use super::kv::{KeyValue, ResponseHeader};

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WatchRequest {
    #[prost(oneof = "WatchAsk", tags = "1, 3")]
    pub(crate) ask: Option<WatchAsk>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(crate) enum WatchAsk {
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
    #[prost(message, tag = "3")]
    Progress(WatchProgressRequest),
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) range_end: Vec<u8>,
    /// The first revision to be told.
    #[prost(int64, tag = "3")]
    pub(crate) start_revision: i64,
    /// Whether the server says now and then, unasked, that it is there.
    #[prost(bool, tag = "4")]
    pub(crate) progress_notify: bool,
}

/// Asks the server to say that it is there.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct WatchProgressRequest {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WatchResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    /// Whether this answers the creation.
    #[prost(bool, tag = "3")]
    pub(crate) created: bool,
    /// Whether the server gave the watch up.
    #[prost(bool, tag = "4")]
    pub(crate) canceled: bool,
    /// With `canceled`: what is older than this is forgotten. Else zero.
    #[prost(int64, tag = "5")]
    pub(crate) compact_revision: i64,
    /// With `canceled`: why, for people.
    #[prost(string, tag = "6")]
    pub(crate) cancel_reason: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Event {
    #[prost(enumeration = "EventKind", tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) kv: Option<KeyValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(crate) enum EventKind {
    Put = 0,
    Delete = 1,
}
