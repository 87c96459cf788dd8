//! Makes answers of a snapshot of the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use larder_cache::{Attempt, Fetched, Fresh, Source};
use larder_registry::Registry;
use larder_registry::catalog::Snapshot;
use larder_registry::model::{Health, Instance, Name};
use serde::Serialize;

use super::board::Board;
use super::scope;
use crate::answer::Answer;
use crate::filter::{BadFilter, Field, Fields, Filter, Kind};
use crate::mapping::{Indexes, OwnNode, Shown, node_name};
use crate::question::{Endpoint, Question};
use crate::wire::{
    self, CatalogServices, CheckServiceNode, HealthCheck, Node, NodeService, NodeServiceList,
    NodeServices, ServiceNode,
};

/// The own node was there first, and does not change.
const AT_START: Indexes = Indexes { create: 1, modify: 1 };

/// The source of answers: this server's registry.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) board: Arc<Board>,
    pub(super) own: Arc<OwnNode>,
}

/// Why there is no answer. The same question never has one.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// Its filter makes no sense for what is asked for.
    #[error(transparent)]
    Filter(#[from] BadFilter),
    /// It is about another datacenter, of which this server knows nothing.
    #[error("No path to datacenter")]
    Datacenter(Box<str>),
}

impl Source for Encoder {
    type Key = Question;
    type Value = Answer;
    type Error = Unanswerable;

    async fn fetch(
        &self,
        question: &Question,
        _: Attempt<Answer>,
    ) -> Result<Fetched<Answer>, Unanswerable> {
        // First the index, then what it is of. The other way round, a change between the two would raise the
        // index of an answer without it: whoever waits with that index would sleep through the change. So, an
        // answer may hold more than its index says, and its reader is told the same once more.
        let scope = scope::of(&question.endpoint);
        let index = self.board.index(&scope, &self.registry.snapshot());
        let snapshot = self.registry.snapshot();
        let body = Reading { snapshot: &snapshot, board: &self.board, own: &self.own, question }
            .encode()?;
        let answer = Answer { status: StatusCode::OK, headers: json(), body };
        Ok(Fresh::new(answer).index(index).into())
    }

    fn weigh(&self, question: &Question, answer: &Answer) -> u64 {
        // A question has at most as many bytes as the query that it was read from.
        let question = question.selection.filter.as_ref().map_or(0, |filter| filter.len());
        (answer.body.len() + question + size_of::<Question>() + size_of::<Answer>()) as u64
    }
}

fn json() -> HeaderMap {
    [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (VARY, HeaderValue::from_static("Accept-Encoding")),
    ]
    .into_iter()
    .collect()
}

/// One question about one snapshot.
struct Reading<'a> {
    snapshot: &'a Snapshot,
    board: &'a Board,
    own: &'a OwnNode,
    question: &'a Question,
}

impl<'a> Reading<'a> {
    fn encode(&self) -> Result<Bytes, Unanswerable> {
        if let Some(datacenter) = &self.question.selection.datacenter
            && !datacenter.eq_ignore_ascii_case(&self.own.datacenter)
        {
            return Err(Unanswerable::Datacenter(datacenter.clone()));
        }
        match &self.question.endpoint {
            Endpoint::Datacenters => Ok(self.print(&[&self.own.datacenter])),
            Endpoint::Nodes => self.list(self.nodes()),
            Endpoint::Services => self.services(),
            Endpoint::Service(name) => self.list(self.service(name)),
            Endpoint::Health(name) => self.list(self.health(name)),
            Endpoint::Checks(name) => self.list(self.checks(name)),
            Endpoint::Node(name) => self.node_services(name, |node, services| {
                let services = services.into_iter().map(|service| (service.id.clone(), service));
                self.print(&node.map(|node| NodeServices { node, services: services.collect() }))
            }),
            Endpoint::NodeServices(name) => self.node_services(name, |node, services| {
                self.print(&NodeServiceList { node, services })
            }),
            Endpoint::NodeChecks(name) => self.list(self.node_checks(name)),
            Endpoint::ChecksInState(state) => self.list(self.checks_in_state(*state)),
            // Nothing here is in a mesh.
            Endpoint::ServiceConnect(_)
            | Endpoint::HealthConnect(_)
            | Endpoint::HealthIngress(_)
            | Endpoint::Kv(_) => Ok(Bytes::from_static(b"[]")),
        }
    }

    fn shown(&self, instance: &'a Instance) -> Shown<'a> {
        let service = self.snapshot.service(&instance.service);
        let modify = service.map_or(1, |service| service.revision());
        Shown { instance, own: self.own, indexes: Indexes { create: modify, modify } }
    }

    fn check_service_node(&self, instance: &'a Instance) -> CheckServiceNode<'a> {
        let mut printed = self.shown(instance).check_service_node();
        self.board.add_reason(instance, &mut printed.checks);
        printed
    }

    /// Those of the service, without its node's.
    fn service_checks(&self, instance: &'a Instance) -> Vec<HealthCheck<'a>> {
        let mut checks = self.shown(instance).checks();
        self.board.add_reason(instance, &mut checks);
        checks.retain(|check| !check.service_id.is_empty());
        checks
    }

    /// What the filter admits of them.
    fn list<T: Fields + Serialize>(
        &self,
        all: impl IntoIterator<Item = T>,
    ) -> Result<Bytes, Unanswerable> {
        Ok(self.print(&self.admitted(all)?))
    }

    fn admitted<T: Fields>(
        &self,
        all: impl IntoIterator<Item = T>,
    ) -> Result<Vec<T>, Unanswerable> {
        let Some(filter) = &self.question.selection.filter else {
            return Ok(all.into_iter().collect());
        };
        let filter = Filter::<T>::new(filter)?;
        Ok(all.into_iter().filter(|one| filter.admits(one)).collect())
    }

    fn print(&self, value: &impl Serialize) -> Bytes {
        let printed = wire::print(value, self.question.selection.pretty);
        printed.expect("texts and numbers can always be printed")
    }

    /// The nodes, in the order of their names. There is always the own one.
    fn nodes(&self) -> Vec<Node<'a>> {
        let mut nodes = BTreeMap::new();
        nodes.insert(&*self.own.name, self.own.shown(AT_START));
        for instance in self.snapshot.instances() {
            let node = nodes.entry(node_name(instance));
            node.or_insert_with(|| self.shown(instance).node());
        }
        nodes.into_values().filter(|node| self.has_node_meta(node)).collect()
    }

    fn services(&self) -> Result<Bytes, Unanswerable> {
        let selection = &self.question.selection;
        let mut services = CatalogServices::default();
        if selection.filter.is_none() && selection.node_meta.is_empty() {
            for instance in self.snapshot.instances() {
                services.add(instance.service.as_str(), &instance.tags);
            }
            return Ok(self.print(&services));
        }
        // Filters look at what `catalog/service/:service` would print.
        let all = self.snapshot.instances().filter(|instance| self.is_on_such_a_node(instance));
        let admitted = self.admitted(all.map(|instance| ByServiceNode {
            printed: self.shown(instance).service_node(),
            instance,
        }))?;
        for ByServiceNode { instance, .. } in admitted {
            services.add(instance.service.as_str(), &instance.tags);
        }
        Ok(self.print(&services))
    }

    fn service(&self, name: &str) -> impl Iterator<Item = ServiceNode<'a>> {
        let chosen = self.instances(name);
        chosen.into_iter().map(|instance| self.shown(instance).service_node())
    }

    fn health(&self, name: &str) -> impl Iterator<Item = CheckServiceNode<'a>> {
        let only_passing = self.question.selection.passing;
        let all = self.instances(name).into_iter().map(|it| self.check_service_node(it));
        all.filter(move |it| !only_passing || it.checks.iter().all(passes))
    }

    fn checks(&self, name: &str) -> impl Iterator<Item = HealthCheck<'a>> {
        let chosen = self.instances(name);
        chosen.into_iter().flat_map(|instance| self.service_checks(instance))
    }

    fn node_checks(&self, name: &str) -> Vec<HealthCheck<'a>> {
        let own = (name == self.own.name).then(|| self.own.serf_health(AT_START));
        let there = self.on_node(name);
        let of_services = there.flat_map(|instance| self.service_checks(instance));
        own.into_iter().chain(of_services).collect()
    }

    fn checks_in_state(&self, state: Option<Health>) -> impl Iterator<Item = HealthCheck<'a>> {
        let chosen = self.snapshot.instances().filter(|it| self.is_on_such_a_node(it));
        let of_services = chosen.flat_map(|instance| self.service_checks(instance));
        let all = std::iter::once(self.own.serf_health(AT_START)).chain(of_services);
        all.filter(move |check| state.is_none_or(|state| check.status == state.as_str()))
    }

    /// The node of this name, if there is one, and what the filter admits of what runs there.
    fn node_services(
        &self,
        name: &str,
        print: impl FnOnce(Option<Node<'a>>, Vec<NodeService<'a>>) -> Bytes,
    ) -> Result<Bytes, Unanswerable> {
        let mut there = self.on_node(name).peekable();
        let node = match there.peek() {
            _ if name == self.own.name => Some(self.own.shown(AT_START)),
            Some(instance) => Some(self.shown(instance).node()),
            None => None,
        };
        let services = self.admitted(there.map(|instance| self.shown(instance).service()))?;
        Ok(print(node, services))
    }

    fn on_node(&self, name: &str) -> impl Iterator<Item = &'a Arc<Instance>> {
        self.snapshot.instances().filter(move |instance| node_name(instance) == name)
    }

    /// Those of a service that have the tags, at nodes that have the metadata.
    fn instances(&self, service: &str) -> Vec<&'a Arc<Instance>> {
        let selection = &self.question.selection;
        if selection.peer().is_some() {
            // No cluster exports anything to this one.
            return Vec::new();
        }
        let service = self.snapshot.service(&Name::new(service));
        let wanted: Vec<_> = selection.tags.iter().map(|tag| tag.to_lowercase()).collect();
        // As with Consul, whatever their case.
        let has = |held: &[String], tag: &str| held.iter().any(|held| held.to_lowercase() == tag);
        let has_tags = |instance: &Instance| wanted.iter().all(|tag| has(&instance.tags, tag));
        let all = service.into_iter().flat_map(|service| service.instances());
        let mut chosen: Vec<_> =
            all.filter(|it| has_tags(it) && self.is_on_such_a_node(it)).collect();
        if let Some(near) = &selection.near {
            // Nobody measures distances: what is on that node is near, and the others are as far as each other.
            let near = if &**near == "_agent" { &*self.own.name } else { near };
            chosen.sort_by_key(|instance| node_name(instance) != near);
        }
        chosen
    }

    fn is_on_such_a_node(&self, instance: &Instance) -> bool {
        let wanted = &self.question.selection.node_meta;
        wanted.is_empty() || self.has_node_meta(&self.shown(instance).node())
    }

    fn has_node_meta(&self, node: &Node<'_>) -> bool {
        let wanted = &self.question.selection.node_meta;
        wanted.iter().all(|(key, value)| node.meta.0.get(key) == Some(value))
    }
}

/// An instance that is chosen by what `catalog/service/:service` prints of it.
struct ByServiceNode<'a> {
    printed: ServiceNode<'a>,
    instance: &'a Instance,
}

impl Fields for ByServiceNode<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        ServiceNode::kind(path)
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        self.printed.field(path)
    }
}

fn passes(check: &HealthCheck<'_>) -> bool {
    check.status == Health::Passing.as_str()
}
