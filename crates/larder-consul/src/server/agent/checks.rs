//! Checks of this agent: listed, registered, reported, and taken out.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use larder_registry::model::{CheckKey, Health, Instance};
use larder_registry::{Error, Report, Reporter};

use crate::mapping;
use crate::server::refusal::Refusal;
use crate::server::respond::{self, About};
use crate::server::{Consul, asked, filtered, written};
use crate::wire::{HealthCheck, definition};

impl Consul {
    pub(super) fn agent_checks(&self, parts: &Parts) -> Result<Response, Refusal> {
        let asked = asked(parts)?;
        let instances = self.own_instances();
        let all = instances.iter().flat_map(|instance| self.service_checks(instance));
        let kept = filtered(all.collect(), asked.selection.filter.as_deref())?;
        let checks: BTreeMap<_, _> =
            kept.into_iter().map(|check| (check.check_id.clone(), check)).collect();
        Ok(respond::json(written(&checks)?, About::NOTHING))
    }

    /// Those of the service, without its node's.
    pub(super) fn service_checks<'a>(&'a self, instance: &'a Instance) -> Vec<HealthCheck<'a>> {
        let mut checks = self.shown(instance).checks();
        self.local.board().add_reason(instance, &mut checks);
        checks.retain(|check| !check.service_id.is_empty());
        checks
    }

    pub(super) async fn register_check(&self, body: Body) -> Result<Response, Refusal> {
        let body = self.receive(body).await?;
        let registration =
            definition::check(&body).map_err(|invalid| Refusal::invalid(invalid.to_string()))?;
        let service_id = registration.service_id.clone();
        if service_id.is_empty() {
            let what = "Checks of the node itself (give a ServiceID)";
            return Err(Refusal::unsupported(what));
        }
        let says = format!("ServiceID {service_id:?} does not exist");
        let _turn = self.turn().await;
        let key = self.local.instance(&service_id);
        let held = key.and_then(|key| self.instance(&key));
        let held = held.ok_or_else(|| Refusal::not_found(says))?;
        let mut instance = Instance::clone(&held);
        let check = mapping::register_check(&registration);
        instance.checks.retain(|held| held.id != check.id);
        if instance.checks.len() == definition::MAX_CHECKS {
            let says = format!("a service may have {} checks", definition::MAX_CHECKS);
            return Err(Refusal::invalid(says));
        }
        instance.checks.push(check);
        self.registry.register(instance).await?;
        Ok(respond::done())
    }

    pub(super) async fn deregister_check(&self, id: &str) -> Result<Response, Refusal> {
        let _turn = self.turn().await;
        let key = self.check(id)?;
        let held = self.instance(&key.instance).ok_or_else(|| unknown(id))?;
        let mut instance = Instance::clone(&held);
        instance.checks.retain(|check| check.id != id);
        self.registry.register(instance).await?;
        Ok(respond::done())
    }

    /// By its path: the query may say why.
    pub(super) async fn report(
        &self,
        id: &str,
        health: Health,
        parts: &Parts,
    ) -> Result<Response, Refusal> {
        let note = asked(parts)?.other("note").unwrap_or_default().to_owned();
        self.tell(id, health, note).await
    }

    /// By its body.
    pub(super) async fn update_check(&self, id: &str, body: Body) -> Result<Response, Refusal> {
        let body = self.receive(body).await?;
        let update = definition::check_update(&body)
            .map_err(|invalid| Refusal::invalid(invalid.to_string()))?;
        self.tell(id, update.status, update.output).await
    }

    async fn tell(&self, id: &str, health: Health, output: String) -> Result<Response, Refusal> {
        let key = self.check(id)?;
        let report = Report { from: Reporter::Registrant, health, output };
        match self.registry.report(&key, report).await {
            Ok(_) => Ok(respond::done()),
            Err(Error::NotFound(_)) => Err(unknown(id)),
            Err(Error::Probed(_)) => {
                let says = format!("CheckID {id:?} does not have associated TTL");
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, says))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(&self, id: &str) -> Result<CheckKey, Refusal> {
        self.local.check(id).ok_or_else(|| unknown(id))
    }
}

/// Spring's client registers again when it reads 404.
fn unknown(id: &str) -> Refusal {
    let says =
        format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name.");
    Refusal::not_found(says)
}
