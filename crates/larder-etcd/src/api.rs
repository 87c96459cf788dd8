//! The part of etcd's API that a registry needs, over gRPC.
//!
//! The messages are written down by hand, field by field, because code that is generated from etcd's
//! definitions needs `protoc` on every machine that builds Larder; see
//! `docs/decisions/0014-etcd-without-protoc.md`.

mod calls;
mod kv;
mod lease;
mod watch;

pub(crate) use calls::{KeepAlive, Stream, Token, keep_alive, unary, watch};
pub(crate) use kv::{
    Compare, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RangeResponse,
    Request, RequestOp, Response, TxnRequest, TxnResponse,
};
pub(crate) use lease::{
    AuthenticateRequest, AuthenticateResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest, LeaseRevokeResponse,
};
pub(crate) use watch::{
    Event, EventKind, WatchAsk, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
