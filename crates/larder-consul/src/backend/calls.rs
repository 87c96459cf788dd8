//! What is asked of the agent that instances are registered with.

use bytes::Bytes;
use http::{Method, StatusCode};
use larder_registry::Phase;
use larder_registry::model::{Health, Key, Name};
use serde::Serialize;

use super::reading;
use crate::client::path::{Target, plain};
use crate::client::{Call, Client, Fault, Heard};
use crate::mapping::{self, Listed};
use crate::question::Token;

/// Calls to an agent.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) client: Client,
}

/// A report about a check, as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    status: &'a str,
    output: &'a str,
}

impl Calls {
    /// The instance of this key, as the agent holds it.
    pub(super) async fn held(&self, key: &Key) -> Result<Option<Listed>, Fault> {
        let id = mapping::service_id(&key.service, &key.id);
        let listed = match self.held_as(&id).await? {
            Some(listed) => Some(listed),
            // Somebody else may have registered it there, under an id of their own.
            None => self.held_as(&key.id).await?,
        };
        Ok(listed.filter(|listed| listed.instance.key() == *key))
    }

    async fn held_as(&self, id: &str) -> Result<Option<Listed>, Fault> {
        let path = format!("/v1/agent/health/service/id/{}", plain(id));
        let heard = self.ask(Phase::Read, Method::GET, path, Vec::new()).await?;
        let is_health = matches!(
            heard.answer.status,
            StatusCode::OK | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if heard.answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let heard = if is_health { heard } else { heard.accepted(Phase::Read)? };
        reading::held(&heard.answer.body).map(Some).map_err(|reason| unreadable(self, reason))
    }

    /// The instances of a service, and the index.
    pub(super) async fn service(
        &self,
        name: &Name,
    ) -> Result<(Vec<larder_registry::model::Instance>, u64), Fault> {
        let path = format!("/v1/health/service/{}", plain(name.folded()));
        let heard = self.ask(Phase::Read, Method::GET, path, Vec::new()).await?;
        let heard = heard.accepted(Phase::Read)?;
        let instances = reading::instances(&heard.answer.body);
        Ok((instances.map_err(|reason| unreadable(self, reason))?, heard.index))
    }

    /// The names of all services.
    pub(super) async fn names(&self) -> Result<std::collections::BTreeSet<Name>, Fault> {
        let path = "/v1/catalog/services".to_owned();
        let heard = self.ask(Phase::List, Method::GET, path, Vec::new()).await?;
        let heard = heard.accepted(Phase::List)?;
        reading::names(&heard.answer.body).map_err(|reason| unreadable(self, reason))
    }

    /// Registers what `body` describes, with just those checks.
    pub(super) async fn register(&self, body: Vec<u8>) -> Result<(), Fault> {
        let path = "/v1/agent/service/register?replace-existing-checks=true".to_owned();
        self.ask(Phase::Write, Method::PUT, path, body).await?.accepted(Phase::Write).map(drop)
    }

    /// Ends a registration; says whether there was one.
    pub(super) async fn deregister(&self, service_id: &str) -> Result<bool, Fault> {
        let path = format!("/v1/agent/service/deregister/{}", plain(service_id));
        found(self.ask(Phase::Write, Method::PUT, path, Vec::new()).await?, Phase::Write)
    }

    /// Renews a lease; says whether there is one.
    pub(super) async fn renew(&self, service_id: &str) -> Result<bool, Fault> {
        let id = mapping::lease_check_id(service_id);
        let path = format!("/v1/agent/check/pass/{}", plain(&id));
        found(self.ask(Phase::Renew, Method::PUT, path, Vec::new()).await?, Phase::Renew)
    }

    /// Says how a check is; says whether there is one.
    pub(super) async fn report(
        &self,
        check_id: &str,
        health: Health,
        output: &str,
    ) -> Result<bool, Fault> {
        let path = format!("/v1/agent/check/update/{}", plain(check_id));
        let report = Report { status: health.as_str(), output };
        let body = serde_json::to_vec(&report).expect("texts are JSON");
        found(self.ask(Phase::Write, Method::PUT, path, body).await?, Phase::Write)
    }

    /// Takes a service out of maintenance, or puts it into it; says whether there is one.
    pub(super) async fn maintain(&self, service_id: &str, enable: bool) -> Result<bool, Fault> {
        let path = format!("/v1/agent/service/maintenance/{}", plain(service_id));
        let mut target = Target::new(&path);
        target.add("enable", if enable { "true" } else { "false" });
        target.add("reason", "taken out of service by an operator, through Larder");
        let heard = self.ask(Phase::Write, Method::PUT, target.finish(), Vec::new()).await?;
        found(heard, Phase::Write)
    }

    async fn ask(
        &self,
        phase: Phase,
        method: Method,
        path: String,
        body: Vec<u8>,
    ) -> Result<Heard, Fault> {
        let (token, body) = (Token::default(), Bytes::from(body));
        self.client.call(Call { phase, method, path, body, token, parked: None }).await
    }
}

fn found(heard: Heard, phase: Phase) -> Result<bool, Fault> {
    if heard.answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    heard.accepted(phase).map(|_| true)
}

fn unreadable(calls: &Calls, reason: String) -> Fault {
    let server = calls.client.servers()[calls.client.server()].clone();
    Fault::Unreadable { phase: Phase::Read, server, reason }
}
