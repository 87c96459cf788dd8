//! How services of this agent are, for load balancers: by the status of the answer.

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use larder_registry::model::Instance;

use crate::mapping::aggregate;
use crate::server::refusal::Refusal;
use crate::server::respond::{self, About, REASON};
use crate::server::{Consul, asked, written};
use crate::wire::ServiceHealth;

impl Consul {
    pub(super) fn health_by_id(&self, id: &str, parts: &Parts) -> Result<Response, Refusal> {
        let is_text = wants_text(parts)?;
        let key = self.local.instance(id);
        let Some(instance) = key.and_then(|key| self.instance(&key)) else {
            let nothing = r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#;
            return Ok(unknown(&format!("ServiceId {id} not found"), is_text, nothing));
        };
        let health = self.health(&instance);
        let status = health.aggregated_status.to_string();
        let body = if is_text { Bytes::new() } else { written(&health)? };
        Ok(answer(&status, is_text, body))
    }

    pub(super) fn health_by_name(&self, name: &str, parts: &Parts) -> Result<Response, Refusal> {
        let is_text = wants_text(parts)?;
        let mut instances = self.own_instances();
        instances.retain(|instance| instance.service.as_str().eq_ignore_ascii_case(name));
        if instances.is_empty() {
            return Ok(unknown(&format!("ServiceName {name} Not Found"), is_text, "[]"));
        }
        let health: Vec<_> = instances.iter().map(|instance| self.health(instance)).collect();
        let all: Vec<_> = health.iter().flat_map(|one| one.checks.iter().cloned()).collect();
        let status = aggregate(&all).to_string();
        let body = if is_text { Bytes::new() } else { written(&health)? };
        Ok(answer(&status, is_text, body))
    }

    fn health<'a>(&'a self, instance: &'a Instance) -> ServiceHealth<'a> {
        let checks = self.service_checks(instance);
        ServiceHealth {
            aggregated_status: aggregate(&checks).as_str().into(),
            service: self.shown(instance).agent_service(),
            checks,
        }
    }
}

fn wants_text(parts: &Parts) -> Result<bool, Refusal> {
    Ok(asked(parts)?.other("format") == Some("text"))
}

/// There is none: JSON for whoever reads that, and the sentence for people.
fn unknown(sentence: &str, is_text: bool, nothing: &str) -> Response {
    let json = Bytes::copy_from_slice(nothing.as_bytes());
    told(StatusCode::NOT_FOUND, sentence, is_text, json)
}

fn answer(status: &str, is_text: bool, json: Bytes) -> Response {
    let code = match status {
        "passing" => StatusCode::OK,
        "warning" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(code, status, is_text, json)
}

fn told(code: StatusCode, reason: &str, is_text: bool, json: Bytes) -> Response {
    let body = if is_text { Bytes::copy_from_slice(reason.as_bytes()) } else { json };
    let mut response = respond::with_status(code, body, About::NOTHING);
    let headers = response.headers_mut();
    if is_text {
        respond::be_text(headers);
    }
    // What is no text for a header, is in the body.
    headers.extend(HeaderValue::from_str(reason).ok().map(|reason| (REASON, reason)));
    response
}
