//! Lists of applications, from the response cache.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::{Eureka, negotiation};
use crate::response_cache::{Encoding, Entity, Key};
use crate::wire::ApiVersion;

/// `GET apps`, `apps/delta`, `apps/{app}`, `vips/{vip}`, `svips/{vip}`.
pub(super) async fn list(
    eureka: &Eureka,
    entity: Entity,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let format = negotiation::cached_format(headers);
    let encoding = negotiation::encoding(headers);
    let key = Key { entity, format, version, encoding };
    let payload = eureka
        .responses
        .get(&key)
        .await
        .map_err(|error| Refusal::Unavailable(error.to_string()))?
        .ok_or_else(|| Refusal::NoApp(format!("{} is not registered", key.entity)))?;
    let mut response = Body::from(payload).into_response();
    response.headers_mut().insert(CONTENT_TYPE, format.media_type());
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(CONTENT_ENCODING, Encoding::GZIP);
    }
    Ok(response)
}
