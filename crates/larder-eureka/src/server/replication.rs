//! What peers send: `POST peerreplication/batch`, and how an operation of theirs differs from a client's.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_registry::model::Status;
use larder_registry::{Error, OverrideChange};

use super::refusal::{self, Refusal};
use super::{Eureka, Origin};
use crate::response_cache::media_type;
use crate::wire::Format;
use crate::wire::replication::{Action, Answer, Received, decode_batch, encode_answers};

const REPLICATION: HeaderName = HeaderName::from_static("x-netflix-discovery-replication");

/// Who asks: a peer says so with just the word `true`.
pub(super) fn origin(headers: &HeaderMap) -> Origin {
    match headers.get(REPLICATION).map(axum::http::HeaderValue::as_bytes) {
        Some(b"true") => Origin::Peer,
        _ => Origin::Client,
    }
}

/// `POST peerreplication/batch`: every item is tried, and answered for itself.
pub(super) async fn batch(eureka: &Eureka, body: Bytes) -> Result<Response, Refusal> {
    let items =
        decode_batch(&body).map_err(|error| Refusal::Body(Format::Json, error.to_string()))?;
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        answers.push(one(eureka, item).await);
    }
    let headers = [(CONTENT_TYPE, media_type(Format::Json))];
    Ok((StatusCode::OK, headers, encode_answers(&answers)).into_response())
}

async fn one(eureka: &Eureka, item: Received) -> Answer {
    let done = match item.action {
        Some(Action::Heartbeat) => heartbeat(eureka, item).await,
        Some(action) => change(eureka, action, item).await,
        None => Err(Error::Invalid("there is no such action".to_owned())),
    };
    done.unwrap_or_else(|error| Answer {
        status: refusal::status_of(&error).as_u16(),
        instance: None,
    })
}

async fn change(eureka: &Eureka, action: Action, item: Received) -> Result<Answer, Error> {
    match (action, item.status) {
        (Action::Register, _) => register(eureka, item).await,
        (Action::Cancel, _) => eureka.registry.deregister(&item.key).await.map(drop),
        (Action::StatusUpdate, None) => Err(Error::Invalid("there is no status".to_owned())),
        (Action::StatusUpdate, to) => set_override(eureka, &item, to).await,
        (_, _) => set_override(eureka, &item, None).await,
    }?;
    eureka.operations.count(action, Origin::Peer);
    Ok(ok())
}

const fn ok() -> Answer {
    Answer { status: 200, instance: None }
}

/// Netflix's server answers 200 to a registration that it drops; ours says 400, which senders log.
async fn register(eureka: &Eureka, item: Received) -> Result<(), Error> {
    let invalid = |says: String| Error::Invalid(says);
    let sent = item.instance.ok_or_else(|| invalid("there is no instanceInfo".to_owned()))?;
    let mut instance = sent
        .map_err(|error| invalid(error.to_string()))?
        .into_instance(item.key.service.as_str(), eureka.clock.wall())
        .map_err(|error| invalid(error.to_string()))?;
    if *instance.id != *item.key.id {
        return Err(invalid(format!("{} is sent as {}", instance.key(), item.key)));
    }
    instance.lease.get_or_insert_default();
    eureka.registry.adopt(instance).await.map(drop)
}

async fn set_override(eureka: &Eureka, item: &Received, to: Option<Status>) -> Result<(), Error> {
    let fallback = item.status.unwrap_or(Status::Unknown);
    let change = OverrideChange { to, fallback, dirty_at: item.dirty_at };
    eureka.registry.set_override(&item.key, change).await.map(drop)
}

/// Renews for a peer. If what is held here is newer the answer has it, for the peer to take. A peer whose
/// instance is newer is told to send it; the override that it holds counts already.
pub(super) async fn heartbeat(eureka: &Eureka, item: Received) -> Result<Answer, Error> {
    let renewed = eureka.registry.renew(&item.key, item.dirty_at).await;
    if renewed.is_ok() {
        eureka.operations.count(Action::Heartbeat, Origin::Peer);
    }
    match renewed {
        Ok(held) if item.dirty_at.is_some_and(|dirty_at| held.dirty_at > dirty_at) => {
            let instance = eureka.view().instance(&item.key).or(Some(held));
            Ok(Answer { status: StatusCode::CONFLICT.as_u16(), instance })
        }
        Ok(_) => Ok(ok()),
        Err(error) => {
            if matches!(error, Error::Outdated(_)) && item.status_override.is_some() {
                // Whether it can be set changes nothing for the peer, which sends the instance next.
                let _ = set_override(eureka, &item, item.status_override).await;
            }
            Err(error)
        }
    }
}
