//! Single instances: register, heartbeat, leave, override, and read one live.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use larder_registry::OverrideChange;
use larder_registry::model::{Instance, Key, Status};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Eureka, negotiation};
use crate::response_cache::Format;
use crate::wire::{ApiVersion, json, xml};

/// `POST apps/{app}`: exactly 204, which several clients insist on.
pub(super) async fn register(
    eureka: &Eureka,
    app: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers().clone();
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| Refusal::Transfer(rejection.status(), rejection.body_text()))?;
    let mut instance = decode(eureka, app, &headers, &body)?;
    // Every registration over Eureka's API has a lease, whether it asks for one or not.
    instance.lease.get_or_insert_default();
    eureka.registry.register(instance).await?;
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

/// `PUT apps/{app}/{id}`: 200 with an empty body, because Java's client parses any other; 404, with
/// an empty body for the same reason, makes the client register again.
pub(super) async fn heartbeat(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let dirty_at = Parameters::of(uri)?.dirty_at()?;
    eureka.registry.renew(&Key::new(app, id), dirty_at).await.map_err(Refusal::Heartbeat)?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE apps/{app}/{id}`.
pub(super) async fn leave(eureka: &Eureka, app: &str, id: &str) -> Result<Response, Refusal> {
    eureka.registry.deregister(&Key::new(app, id)).await?;
    Ok(StatusCode::OK.into_response())
}

/// `PUT apps/{app}/{id}/status?value=OUT_OF_SERVICE`.
pub(super) async fn set_status(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(uri)?;
    let to = parameters.status()?.ok_or_else(|| {
        Refusal::Invalid("the parameter value is missing: say value=OUT_OF_SERVICE".to_owned())
    })?;
    let dirty_at = parameters.dirty_at()?;
    let change = OverrideChange { to: Some(to), fallback: Status::Unknown, dirty_at };
    eureka.registry.set_override(&Key::new(app, id), change).await?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE apps/{app}/{id}/status?value=UP`.
pub(super) async fn lift_status(
    eureka: &Eureka,
    app: &str,
    id: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(uri)?;
    let fallback = parameters.status()?.unwrap_or(Status::Unknown);
    let change = OverrideChange { to: None, fallback, dirty_at: parameters.dirty_at()? };
    eureka.registry.set_override(&Key::new(app, id), change).await?;
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
    ([(CONTENT_TYPE, format.media_type())], body).into_response()
}

/// The query parameters of the operations on one instance. Others are ignored, as `status` of a
/// heartbeat is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    value: Option<String>,
    last_dirty_timestamp: Option<String>,
}

impl Parameters {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let Query(parameters) = Query::try_from_uri(uri)
            .map_err(|rejection| Refusal::Invalid(format!("in the query: {rejection}")))?;
        Ok(parameters)
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
