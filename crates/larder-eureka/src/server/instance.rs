//! Single instances: register, heartbeat, leave, override, and read one live.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use larder_registry::OverrideChange;
use larder_registry::model::{Instance, Key, Status};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Eureka, Origin, body, negotiation, replication};
use crate::replicate::news::News;
use crate::response_cache::media_type;
use crate::wire::replication::{Action, Received};
use crate::wire::{ApiVersion, Format, json, xml};

/// `POST apps/{app}`: exactly 204, which several clients insist on.
pub(super) async fn register(
    eureka: &Eureka,
    app: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers().clone();
    let body = body::whole(request).await?;
    let mut instance = decode(eureka, app, &headers, &body)?;
    // Every registration over Eureka's API has a lease, whether it asks for one or not.
    instance.lease.get_or_insert_default();
    let origin = replication::origin(&headers);
    let held = match origin {
        Origin::Client => eureka.registry.register(instance).await?,
        Origin::Peer => eureka.registry.adopt(instance).await?,
    };
    eureka.done(Action::Register, origin, || News::registered(&held));
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn decode(
    eureka: &Eureka,
    app: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Instance, Refusal> {
    let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let how = negotiation::body_format(headers, first).map_err(Refusal::MediaType)?;
    let body = if how.latin1 { Cow::Owned(from_latin1(body)) } else { Cow::Borrowed(body) };
    let registration = match how.format {
        Format::Json => json::decode_registration(&body),
        Format::Xml => xml::decode_registration(&body),
    };
    registration
        .map_err(|error| Refusal::Body(how.format, error.to_string()))?
        .into_instance(app, eureka.clock.wall())
        .map_err(|invalid| Refusal::Invalid(invalid.to_string()))
}

fn from_latin1(body: &[u8]) -> Vec<u8> {
    body.iter().copied().map(char::from).collect::<String>().into_bytes()
}

/// `PUT apps/{app}/{id}`: 200 with an empty body, because Java's client parses any other; 404, with an
/// empty body for the same reason, makes the client register again. A peer that knows less is told 409, with
/// what is held.
pub(super) async fn heartbeat(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(uri)?;
    let (key, dirty_at) = (Key::new(app, id), parameters.dirty_at()?);
    if replication::origin(headers) == Origin::Client {
        let held = eureka.registry.renew(&key, dirty_at).await.map_err(Refusal::Heartbeat)?;
        eureka.done(Action::Heartbeat, Origin::Client, || News::renewed(key, &held));
        return Ok(StatusCode::OK.into_response());
    }
    let answer = replication::heartbeat(eureka, parameters.heartbeat(key, dirty_at)).await;
    let answer = answer.map_err(Refusal::Heartbeat)?;
    let status = if answer.instance.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let body = answer.instance.map(|held| encode(&held, ApiVersion::V2, headers));
    Ok((status, body.unwrap_or_default()).into_response())
}

/// `DELETE apps/{app}/{id}`.
pub(super) async fn leave(
    eureka: &Eureka,
    app: &str,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let key = Key::new(app, id);
    eureka.registry.deregister(&key).await?;
    eureka.done(Action::Cancel, replication::origin(headers), || News::left(key));
    Ok(StatusCode::OK.into_response())
}

/// `PUT apps/{app}/{id}/status?value=OUT_OF_SERVICE`.
pub(super) async fn set_status(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(uri)?;
    let to = parameters.status()?.ok_or_else(|| {
        Refusal::Invalid("the parameter value is missing: say value=OUT_OF_SERVICE".to_owned())
    })?;
    let dirty_at = parameters.dirty_at()?;
    let change = OverrideChange { to: Some(to), fallback: Status::Unknown, dirty_at };
    let key = Key::new(app, id);
    let held = eureka.registry.set_override(&key, change).await?;
    let origin = replication::origin(headers);
    eureka.done(Action::StatusUpdate, origin, || News::overridden(key, to, &held));
    Ok(StatusCode::OK.into_response())
}

/// `DELETE apps/{app}/{id}/status?value=UP`.
pub(super) async fn lift_status(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(uri)?;
    let fallback = parameters.status()?.unwrap_or(Status::Unknown);
    let change = OverrideChange { to: None, fallback, dirty_at: parameters.dirty_at()? };
    let key = Key::new(app, id);
    let held = eureka.registry.set_override(&key, change).await?;
    let origin = replication::origin(headers);
    eureka.done(Action::DeleteStatusOverride, origin, || News::lifted(key, fallback, &held));
    Ok(StatusCode::OK.into_response())
}

/// The key by which Eureka's JSON tells the class of a map: decoders take it for no metadata at all.
const CLASS: &str = "@class";

/// `PUT apps/{app}/{id}/metadata?key=value`: adds to what is there; of one key the first value counts. The
/// instance registers again with it, by the registrant's own time.
pub(super) async fn add_metadata(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let key = Key::new(app, id);
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|rejection| Refusal::Invalid(format!("in the query: {rejection}")))?;
    if pairs.iter().any(|(key, _)| key == CLASS) {
        return Err(Refusal::Invalid(format!("{CLASS} is no key that clients can read")));
    }
    let held = eureka.view().instance(&key);
    let held = held.ok_or_else(|| Refusal::NoApp(format!("{key} is not registered")))?;
    let mut instance = Instance::clone(&held);
    let mut told = HashSet::new();
    for (key, value) in pairs {
        if told.insert(key.clone()) {
            instance.metadata.insert(key, value);
        }
    }
    let held = eureka.registry.register(instance).await?;
    let origin = replication::origin(headers);
    eureka.done(Action::Register, origin, || News::registered(&held));
    Ok(StatusCode::OK.into_response())
}

/// `GET apps/{app}/{id}`.
pub(super) fn show(
    eureka: &Eureka,
    app: &str,
    id: &str,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let key = Key::new(app, id);
    let instance = eureka
        .view()
        .instance(&key)
        .ok_or_else(|| Refusal::NoApp(format!("{key} is not registered")))?;
    Ok(encode(&instance, version, headers))
}

/// `GET instances/{id}`: the first application that has an instance of this id.
pub(super) fn show_by_id(
    eureka: &Eureka,
    id: &str,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let instance = find_by_id(eureka, id)
        .ok_or_else(|| Refusal::NoApp(format!("no application has an instance {id}")))?;
    Ok(encode(&instance, version, headers))
}

fn find_by_id(eureka: &Eureka, id: &str) -> Option<Arc<Instance>> {
    let snapshot = eureka.view().snapshot();
    let held = snapshot.services().find_map(|service| service.get(id))?;
    eureka.view().instance(&held.key())
}

fn encode(instance: &Instance, version: ApiVersion, headers: &HeaderMap) -> Response {
    let format = negotiation::live_format(headers);
    let body = match format {
        Format::Json => json::instance(instance),
        Format::Xml => xml::instance(instance, version),
    };
    ([(CONTENT_TYPE, media_type(format))], body).into_response()
}

/// The query parameters of the operations on one instance. Others are ignored, as `status` of a
/// heartbeat is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    value: Option<String>,
    last_dirty_timestamp: Option<String>,
    #[serde(rename = "overriddenstatus")]
    status_override: Option<String>,
}

impl Parameters {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let Query(parameters) = Query::try_from_uri(uri)
            .map_err(|rejection| Refusal::Invalid(format!("in the query: {rejection}")))?;
        Ok(parameters)
    }

    /// As a peer would say it in a batch.
    fn heartbeat(&self, key: Key, dirty_at: Option<u64>) -> Received {
        let told = self.status_override.as_deref().and_then(Status::from_name);
        Received {
            action: Some(Action::Heartbeat),
            key,
            dirty_at,
            status_override: told.filter(|status| *status != Status::Unknown),
            status: None,
            instance: None,
        }
    }

    fn dirty_at(&self) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.last_dirty_timestamp.as_deref().filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let wanted = "expected milliseconds since 1970";
            Refusal::Invalid(format!("lastDirtyTimestamp: {wanted}, found {text:?}"))
        })
    }

    fn status(&self) -> Result<Option<Status>, Refusal> {
        let Some(name) = &self.value else { return Ok(None) };
        let status = Status::from_name(name).ok_or_else(|| {
            let known = Status::ALL.map(Status::as_str).join(", ");
            Refusal::Invalid(format!("value: expected one of {known}, found {name:?}"))
        })?;
        Ok(Some(status))
    }
}
