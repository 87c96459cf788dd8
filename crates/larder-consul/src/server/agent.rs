//! What the agent of this server knows and does: `agent/…`.
//!
//! The agent is a node of its own, to which everything belongs that is registered here. What others registered
//! over other protocols is in the catalog, and not here: as with Consul, where it would be another agent's.

mod checks;
mod health;
mod services;

use axum::body::Body;
use axum::http::request::Parts;
use axum::response::Response;
use larder_registry::model::Health;

use super::refusal::Refusal;
use super::respond::{self, About};
use super::{Consul, path, written};
use crate::wire::{AgentConfig, AgentSelf, Member};

/// Which Consul's API this is.
const SPOKEN: &str = concat!("1.21.4+larder.", env!("CARGO_PKG_VERSION"));

impl Consul {
    pub(super) async fn agent(
        &self,
        tail: &str,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Refusal> {
        let id = |name: &str| path::segment(name);
        match path::of_what(tail) {
            ("", "self") => self.agent_self(),
            ("", "members") => self.members(),
            ("", "services") => self.agent_services(parts),
            ("", "checks") => self.agent_checks(parts),
            ("", "version") => Self::version(),
            ("", "maintenance") => self.maintain_all(parts).await,
            ("health/service/id", name) => self.health_by_id(&id(name)?, parts),
            ("health/service/name", name) => self.health_by_name(&id(name)?, parts),
            ("service", "register") => self.register(parts, body).await,
            ("service/deregister", name) => self.deregister(&id(name)?).await,
            ("service/maintenance", name) => self.maintain(&id(name)?, parts).await,
            ("service", name) => self.agent_service(&id(name)?, parts).await,
            ("check", "register") => self.register_check(body).await,
            ("check/deregister", name) => self.deregister_check(&id(name)?).await,
            ("check/update", name) => self.update_check(&id(name)?, body).await,
            ("check/pass", name) => self.report(&id(name)?, Health::Passing, parts).await,
            ("check/warn", name) => self.report(&id(name)?, Health::Warning, parts).await,
            ("check/fail", name) => self.report(&id(name)?, Health::Critical, parts).await,
            _ => Err(path::unknown()),
        }
    }

    fn version() -> Result<Response, Refusal> {
        let version =
            serde_json::json!({"SHA": "", "BuildDate": "", "HumanVersion": SPOKEN, "FIPS": ""});
        Ok(respond::json(written(&version)?, About::NOTHING))
    }

    fn agent_self(&self) -> Result<Response, Refusal> {
        let own = &*self.own;
        let config = AgentConfig {
            datacenter: (&own.datacenter).into(),
            primary_datacenter: (&own.datacenter).into(),
            node_name: (&own.name).into(),
            node_id: (&own.id).into(),
            server: true,
            version: SPOKEN.into(),
            ..AgentConfig::default()
        };
        let about = AgentSelf { config, member: self.member(), ..AgentSelf::default() };
        Ok(respond::json(written(&about)?, About::NOTHING))
    }

    fn members(&self) -> Result<Response, Refusal> {
        Ok(respond::json(written(&[self.member()])?, About::NOTHING))
    }

    /// This server: alive, and alone.
    fn member(&self) -> Member<'_> {
        let own = &*self.own;
        let tags =
            [("dc", &*own.datacenter), ("id", &own.id), ("role", "consul"), ("build", SPOKEN)];
        Member {
            name: (&own.name).into(),
            addr: (&own.address).into(),
            port: 8301,
            tags: tags.into_iter().map(|(tag, value)| (tag.into(), value.into())).collect(),
            status: 1,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}
