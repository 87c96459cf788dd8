//! What is put into the catalog from outside: `catalog/register` and `catalog/deregister`.

use axum::body::Body;
use axum::response::Response;
use larder_registry::Error;
use larder_registry::model::Key;

use super::Consul;
use super::refusal::Refusal;
use super::respond::{self, About};
use crate::mapping::{node_name, register_in_catalog};
use crate::wire::definition;

impl Consul {
    /// Registers a service at a node, with its checks, which nobody here runs.
    pub(super) async fn register_outside(&self, body: Body) -> Result<Response, Refusal> {
        let body = self.receive(body).await?;
        let registration = definition::registration(&body)
            .map_err(|invalid| Refusal::invalid(invalid.to_string()))?;
        self.check_datacenter(&registration.datacenter)?;
        let Some(instance) = register_in_catalog(registration, &self.own) else {
            return Err(Refusal::unsupported("Nodes without a service"));
        };
        let _turn = self.turn().await;
        self.registry.register(instance).await?;
        Ok(respond::json("true", About::NOTHING))
    }

    /// Takes out a service of a node, or everything of it. What is not there is no failure.
    pub(super) async fn deregister_outside(&self, body: Body) -> Result<Response, Refusal> {
        let body = self.receive(body).await?;
        let gone = definition::deregistration(&body)
            .map_err(|invalid| Refusal::invalid(invalid.to_string()))?;
        self.check_datacenter(&gone.datacenter)?;
        if !gone.check_id.is_empty() {
            return Err(Refusal::unsupported("Checks that are taken out apart from their service"));
        }
        let _turn = self.turn().await;
        let keys = if gone.service_id.is_empty() {
            self.all_at_node(&gone.node)
        } else {
            self.at_node(&gone.node, &gone.service_id).into_iter().collect()
        };
        for key in keys {
            match self.registry.deregister(&key).await {
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(respond::json("true", About::NOTHING))
    }

    fn check_datacenter(&self, datacenter: &str) -> Result<(), Refusal> {
        if datacenter.is_empty() || datacenter.eq_ignore_ascii_case(&self.own.datacenter) {
            return Ok(());
        }
        Err(Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter"))
    }

    /// What has this id at this node. It looks at everything: that is done seldom.
    fn at_node(&self, node: &str, id: &str) -> Option<Key> {
        let snapshot = self.local.snapshot();
        let mut found = snapshot.instances().filter(|held| held.id == id);
        found.find(|held| node_name(held) == node).map(|held| held.key())
    }

    fn all_at_node(&self, node: &str) -> Vec<Key> {
        let snapshot = self.local.snapshot();
        let there = snapshot.instances().filter(|held| node_name(held) == node);
        there.map(|held| held.key()).collect()
    }
}
