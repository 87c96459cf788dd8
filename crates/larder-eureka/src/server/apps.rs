//! Lists of applications, from the response cache.

use axum::extract::Query;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::{Eureka, negotiation};
use crate::regions::{RegionSet, Regions};
use crate::response_cache::{Encoding, Entity, Key, media_type};
use crate::wire::ApiVersion;

/// `GET apps`, `apps/delta`, both of which may say `regions=`.
pub(super) async fn all(
    eureka: &Eureka,
    entity: Entity,
    version: ApiVersion,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let regions = match eureka.responses.regions() {
        Some(regions) => asked(regions, uri, headers)?,
        None => RegionSet::LOCAL,
    };
    list(eureka, entity, regions, version, headers).await
}

/// `GET apps/{app}`, `vips/{vip}`, `svips/{vip}`: of the regions that are shown unasked.
pub(super) async fn some(
    eureka: &Eureka,
    entity: Entity,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let regions = eureka.responses.regions().map(|regions| regions.unasked());
    list(eureka, entity, regions.unwrap_or_default(), version, headers).await
}

/// The regions that a request is about. Whoever names some must get all of them or nothing; whoever does not
/// gets what there is.
fn asked(regions: &Regions, uri: &Uri, headers: &HeaderMap) -> Result<RegionSet, Refusal> {
    let named = parameter(uri).and_then(|value| regions.named(&value));
    match named {
        Some(set) if regions.unread(set).is_empty() => Ok(set),
        Some(_) => Err(Refusal::Unread),
        None if follows_a_region(headers) => Ok(RegionSet::LOCAL),
        None => Ok(regions.unasked()),
    }
}

/// The value of the first `regions`.
fn parameter(uri: &Uri) -> Option<String> {
    uri.query()?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.into_iter().find(|(name, _)| name == "regions").map(|(_, value)| value)
}

/// Whether the client copies this server's registry as a region of its own: Netflix's says
/// `Java-EurekaClient-RemoteRegion/v2.0.5`. It is told nothing that was copied from elsewhere, which might be
/// from itself.
fn follows_a_region(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.contains("-RemoteRegion"))
}

async fn list(
    eureka: &Eureka,
    entity: Entity,
    regions: RegionSet,
    version: ApiVersion,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if !eureka.is_open() {
        return Err(Refusal::Shut);
    }
    let form = negotiation::form(headers, version);
    let encoding = negotiation::encoding(headers);
    let key = Key { entity, form, encoding, regions };
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
