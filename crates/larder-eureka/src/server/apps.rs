//! Lists of applications, from the response cache.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::{Eureka, negotiation};
use crate::response_cache::{Encoding, Entity, Key, media_type};
use crate::wire::ApiVersion;

/// `GET apps`, `apps/delta`, `apps/{app}`, `vips/{vip}`, `svips/{vip}`.
pub(super) async fn list(
    eureka: &Eureka,
    entity: Entity,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if !eureka.is_open() {
        return Err(Refusal::Shut);
    }
    let form = negotiation::form(headers, version);
    let encoding = negotiation::encoding(headers);
    let key = Key { entity, form, encoding };
    let payload = eureka
        .responses
        .get(&key)
        .await
        .map_err(|error| Refusal::Unavailable(error.to_string()))?
        .ok_or_else(|| Refusal::NoApp(format!("{} is not registered", key.entity)))?;
    let mut response = payload.into_body().into_response();
    response.headers_mut().insert(CONTENT_TYPE, media_type(form.format()));
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(CONTENT_ENCODING, Encoding::GZIP);
    }
    Ok(response)
}
