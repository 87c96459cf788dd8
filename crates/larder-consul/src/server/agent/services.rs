//! Services of this agent: listed, registered, taken out, and put into maintenance.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::response::Response;
use larder_registry::model::{Instance, Key, Status};
use larder_registry::{Error, OverrideChange};

use crate::blocking::time_to_wait_for_hash;
use crate::mapping::{self, Indexes, Shown, agent_service_hash};
use crate::server::read::dice;
use crate::server::refusal::Refusal;
use crate::server::respond::{self, About, CONTENT_HASH};
use crate::server::{Consul, asked, filtered, written};
use crate::wire::definition;

/// What Consul's agent says for an operator who gave no reason.
const NO_REASON: &str = "Maintenance mode is enabled for this service, but no reason was provided. This is a \
                         default message.";

impl Consul {
    pub(super) fn agent_services(&self, parts: &Parts) -> Result<Response, Refusal> {
        let asked = asked(parts)?;
        let instances = self.own_instances();
        let all = instances.iter().map(|instance| self.shown(instance).agent_service());
        let kept = filtered(all.collect(), asked.selection.filter.as_deref())?;
        let services: BTreeMap<_, _> =
            kept.into_iter().map(|service| (service.id.clone(), service)).collect();
        Ok(respond::json(written(&services)?, About::NOTHING))
    }

    /// Waits until its hash is another one, if it is asked to.
    pub(super) async fn agent_service(&self, id: &str, parts: &Parts) -> Result<Response, Refusal> {
        let asked = asked(parts)?;
        let unknown = || Refusal::not_found(format!("unknown service ID: {id}"));
        let mut key = self.local.instance(id).ok_or_else(unknown)?;
        if let Some(hash) = &asked.terms.hash {
            let _seat = self.parking_place(parts)?;
            let wait = time_to_wait_for_hash(asked.terms.wait, dice());
            // Cancel-safe: it only looks.
            let _ = tokio::time::timeout(wait, self.other_hash(&key, hash)).await;
            // Meanwhile, the id may have become another service's.
            key = self.local.instance(id).ok_or_else(unknown)?;
        }
        let instance = self.instance(&key).ok_or_else(unknown)?;
        let mut service = self.shown(&instance).agent_service();
        let hash = agent_service_hash(&service);
        let header = HeaderValue::from_str(&hash).ok();
        service.content_hash = hash.into();
        let mut response = respond::json(written(&service)?, About::NOTHING);
        response.headers_mut().extend(header.map(|hash| (CONTENT_HASH, hash)));
        Ok(response)
    }

    /// Returns when the service has another hash, or is gone.
    async fn other_hash(&self, key: &Key, hash: &str) {
        let mut place = self.local.place_at(&key.service);
        let is_same = || {
            let instance = self.instance(key)?;
            let service = self.shown(&instance).agent_service();
            Some(agent_service_hash(&service) == hash)
        };
        while is_same() == Some(true) {
            place.touched().await;
        }
    }

    pub(super) async fn register(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let replaces = asked(parts)?.other("replace-existing-checks").is_some();
        let body = self.receive(body).await?;
        let registration =
            definition::service(&body).map_err(|invalid| Refusal::invalid(invalid.to_string()))?;
        let mut instance = mapping::register(registration, &self.own);
        let _turn = self.turn().await;
        let before = self.local.instance(&instance.id);
        let held = before.as_ref().and_then(|key| self.instance(key));
        if let Some(held) = held.filter(|_| !replaces) {
            keep_checks(&mut instance, &held);
        }
        let key = instance.key();
        self.registry.register(instance).await?;
        // Here, an id is one service's: under another name, it is no longer what it was.
        if let Some(other) = before.filter(|before| *before != key) {
            forgive_not_found(self.registry.deregister(&other).await)?;
        }
        Ok(respond::done())
    }

    pub(super) async fn deregister(&self, id: &str) -> Result<Response, Refusal> {
        let _turn = self.turn().await;
        let key = self.local.instance(id).ok_or_else(|| unknown(id))?;
        forgive_not_found(self.registry.deregister(&key).await)?;
        Ok(respond::done())
    }

    pub(super) async fn maintain(&self, id: &str, parts: &Parts) -> Result<Response, Refusal> {
        let (enable, reason) = maintenance(parts)?;
        let key = self.local.instance(id).ok_or_else(|| unknown(id))?;
        tracing::info!(service = %key, enable, reason, "maintenance");
        self.set_maintenance(&key, enable, &reason).await?;
        Ok(respond::done())
    }

    /// Of every service of this agent.
    pub(super) async fn maintain_all(&self, parts: &Parts) -> Result<Response, Refusal> {
        let (enable, reason) = maintenance(parts)?;
        tracing::info!(node = self.own.name, enable, reason, "maintenance");
        for key in self.local.instances() {
            match self.set_maintenance(&key, enable, &reason).await {
                // It has left meanwhile.
                Ok(()) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(respond::done())
    }

    async fn set_maintenance(&self, key: &Key, enable: bool, reason: &str) -> Result<(), Error> {
        if enable {
            // First, so that whoever is told of the one finds the other.
            let reason = if reason.is_empty() { NO_REASON } else { reason };
            self.local.board().explain(key, reason);
        }
        let change = OverrideChange {
            to: enable.then_some(Status::OutOfService),
            // Nobody here registers again by himself when his status is not known.
            fallback: Status::Up,
            dirty_at: None,
        };
        self.registry.set_override(key, change).await.map(drop)
    }

    /// Everything of this agent, in the order of the ids.
    pub(super) fn own_instances(&self) -> Vec<Arc<Instance>> {
        self.local.instances().iter().filter_map(|key| self.instance(key)).collect()
    }

    /// In Consul's terms.
    pub(super) fn shown<'a>(&'a self, instance: &'a Instance) -> Shown<'a> {
        Shown { instance, own: &self.own, indexes: Indexes::default() }
    }

    /// As it is now.
    pub(super) fn instance(&self, key: &Key) -> Option<Arc<Instance>> {
        self.registry.instance(key)
    }
}

/// What was registered apart from the service stays with it.
fn keep_checks(instance: &mut Instance, held: &Instance) {
    let others = held.checks.iter().filter(|check| instance.check(&check.id).is_none());
    let others: Vec<_> = others.cloned().collect();
    instance.checks.extend(others);
    instance.checks.truncate(definition::MAX_CHECKS);
}

fn forgive_not_found<T>(answer: Result<T, Error>) -> Result<(), Error> {
    match answer {
        Ok(_) | Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn unknown(id: &str) -> Refusal {
    let says = format!(
        "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
    );
    Refusal::not_found(says)
}

/// Whether it begins or ends, and why.
fn maintenance(parts: &Parts) -> Result<(bool, String), Refusal> {
    let asked = asked(parts)?;
    let enable = match asked.other("enable") {
        None | Some("") => return Err(Refusal::invalid("Missing value for enable")),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
        Some(other) => {
            return Err(Refusal::invalid(format!("Invalid value for enable: {other:?}")));
        }
    };
    Ok((enable, asked.other("reason").unwrap_or_default().to_owned()))
}
