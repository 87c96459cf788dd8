//! As of which revision each part of the catalog last changed: the index of every read.
//!
//! Pure: it hears the registry's changes, and nothing else. The registry counts one revision for all; here
//! each service, each node and each list has its own, so that a reader who waits is woken by what it reads
//! and by nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use larder_registry::catalog::{Change, Snapshot};
use larder_registry::model::{Action, CheckKey, Instance, Key, Name};

use super::tombstones::Tombstones;
use crate::mapping::{OwnNode, node_name};

/// How many services and nodes that are gone are remembered, each. Of one that is forgotten it is said that
/// it went when the youngest forgotten one did: whoever waits for it is answered once more than necessary.
const TOMBSTONES: usize = 10_000;

/// What a read depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The names of the services, and their tags.
    Services,
    /// The nodes.
    Nodes,
    /// The checks of all services.
    Checks,
    /// One service, wherever it runs.
    Service(Name),
    /// One node, with what runs there.
    Node(Arc<str>),
}

/// When what last changed, and what the agent of this server runs. Bounded by the registry.
#[derive(Debug)]
pub(crate) struct Ledger {
    own: OwnNode,
    /// Every change up to here is counted in.
    revision: u64,
    services_changed: u64,
    nodes_changed: u64,
    checks_changed: u64,
    /// How many instances each service has.
    services: HashMap<Name, usize>,
    services_gone: Tombstones<Name>,
    nodes: HashMap<Arc<str>, Node>,
    nodes_gone: Tombstones<Arc<str>>,
    /// What runs on the own node, by id: there, an id is unique.
    instances: HashMap<Arc<str>, Key>,
    /// The checks of those, by id.
    checks: HashMap<Box<str>, CheckKey>,
    /// Why operators took out what they took out, as long as it is.
    reasons: HashMap<Key, Arc<str>>,
}

#[derive(Debug)]
struct Node {
    instances: usize,
    changed: u64,
}

impl Ledger {
    /// Begins with what there is.
    pub(crate) fn new(own: &OwnNode, snapshot: &Snapshot) -> Self {
        let start = snapshot.revision().max(1);
        let mut ledger = Self {
            own: own.clone(),
            revision: start,
            services_changed: start,
            nodes_changed: start,
            checks_changed: start,
            services: HashMap::new(),
            services_gone: Tombstones::new(start, TOMBSTONES),
            nodes: HashMap::new(),
            nodes_gone: Tombstones::new(start, TOMBSTONES),
            instances: HashMap::new(),
            checks: HashMap::new(),
            reasons: HashMap::new(),
        };
        for instance in snapshot.instances() {
            ledger.enter_service(&instance.service);
            ledger.enter_node(instance, start);
            ledger.enter_agent(instance);
        }
        ledger
    }

    /// Counts a change in; says what it touched. One that is known already touches nothing.
    pub(crate) fn hear(&mut self, change: &Change) -> Vec<Scope> {
        let revision = change.revision;
        if revision <= self.revision {
            return Vec::new();
        }
        self.revision = revision;
        let before = change.before.as_deref();
        let after = (change.action != Action::Deleted).then_some(&*change.instance);
        let mut touched = vec![Scope::Service(change.instance.service.clone())];
        if !same(before, after, |one, other| one.tags == other.tags) {
            self.services_changed = revision;
            touched.push(Scope::Services);
        }
        if !same(before, after, says_the_same_of_checks) {
            self.checks_changed = revision;
            touched.push(Scope::Checks);
        }
        if after.is_none_or(|after| after.status_override.is_none()) && !self.reasons.is_empty() {
            self.reasons.remove(&change.instance.key());
        }
        match (before, after) {
            (None, Some(_)) => self.enter_service(&change.instance.service),
            (Some(_), None) => self.leave_service(&change.instance.service, revision),
            _ => {}
        }
        self.move_between_nodes(before, after, revision, &mut touched);
        if let Some(before) = before {
            self.leave_agent(before);
        }
        if let Some(after) = after {
            self.enter_agent(after);
        }
        touched
    }

    /// Every change up to this one is counted in.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// As of which revision the scope last changed, in this snapshot; never zero.
    pub(crate) fn index(&self, scope: &Scope, snapshot: &Snapshot) -> u64 {
        match scope {
            Scope::Services => self.services_changed,
            Scope::Nodes => self.nodes_changed,
            Scope::Checks => self.checks_changed,
            Scope::Service(name) => match snapshot.service(name) {
                Some(service) => service.revision(),
                None => self.services_gone.when(name),
            },
            Scope::Node(name) => match self.nodes.get(name) {
                Some(node) => node.changed,
                None => self.nodes_gone.when(name),
            },
        }
    }

    /// Says why an operator is about to take an instance out; forgotten when it is let in again, or leaves.
    pub(crate) fn explain(&mut self, key: &Key, reason: &str) {
        self.reasons.insert(key.clone(), reason.into());
    }

    /// Why an operator took it out.
    pub(crate) fn reason(&self, key: &Key) -> Option<Arc<str>> {
        self.reasons.get(key).cloned()
    }

    /// The instance with this id on the own node.
    pub(crate) fn instance(&self, id: &str) -> Option<&Key> {
        self.instances.get(id)
    }

    /// The check with this id on the own node.
    pub(crate) fn check(&self, id: &str) -> Option<&CheckKey> {
        self.checks.get(id)
    }

    /// Everything on the own node, in no order.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Key> {
        self.instances.values()
    }

    fn enter_service(&mut self, name: &Name) {
        *self.services.entry(name.clone()).or_default() += 1;
    }

    fn leave_service(&mut self, name: &Name, revision: u64) {
        let Some(instances) = self.services.get_mut(name) else { return };
        *instances -= 1;
        if *instances == 0 {
            self.services.remove(name);
            self.services_gone.bury(name.clone(), revision);
        }
    }

    fn move_between_nodes(
        &mut self,
        before: Option<&Instance>,
        after: Option<&Instance>,
        revision: u64,
        touched: &mut Vec<Scope>,
    ) {
        let mut is_other = match (before, after) {
            (Some(before), Some(after)) => before.node != after.node,
            _ => false,
        };
        // In this order: a node that one instance leaves and enters again was never gone.
        if let Some(after) = after {
            is_other |= self.enter_node(after, revision);
            touched.push(Scope::Node(node_name(after).into()));
        }
        if let Some(before) = before {
            is_other |= self.leave_node(node_name(before), revision);
            touched.push(Scope::Node(node_name(before).into()));
        }
        if is_other {
            self.nodes_changed = revision;
            touched.push(Scope::Nodes);
        }
    }

    /// Says whether there was no such node.
    fn enter_node(&mut self, instance: &Instance, revision: u64) -> bool {
        let name = node_name(instance);
        if let Some(node) = self.nodes.get_mut(name) {
            node.instances += 1;
            node.changed = revision;
            return false;
        }
        self.nodes.insert(name.into(), Node { instances: 1, changed: revision });
        true
    }

    /// Says whether there is no such node any more.
    fn leave_node(&mut self, name: &str, revision: u64) -> bool {
        let Some(node) = self.nodes.get_mut(name) else { return false };
        node.instances -= 1;
        node.changed = revision;
        if node.instances > 0 {
            return false;
        }
        self.nodes.remove(name);
        self.nodes_gone.bury(name.into(), revision);
        true
    }

    fn enter_agent(&mut self, instance: &Instance) {
        if !self.own.runs(instance) {
            return;
        }
        let key = instance.key();
        for check in &instance.checks {
            let id = CheckKey::new(key.clone(), &check.id);
            self.checks.insert(check.id.as_str().into(), id);
        }
        self.instances.insert(key.id.clone(), key);
    }

    /// What another instance has taken over stays with that one.
    fn leave_agent(&mut self, instance: &Instance) {
        if !self.own.runs(instance) {
            return;
        }
        let key = instance.key();
        for check in &instance.checks {
            if self.checks.get(check.id.as_str()).is_some_and(|held| held.instance == key) {
                self.checks.remove(check.id.as_str());
            }
        }
        if self.instances.get(&*key.id) == Some(&key) {
            self.instances.remove(&*key.id);
        }
    }
}

fn same(
    before: Option<&Instance>,
    after: Option<&Instance>,
    same: impl FnOnce(&Instance, &Instance) -> bool,
) -> bool {
    matches!((before, after), (Some(before), Some(after)) if same(before, after))
}

fn says_the_same_of_checks(one: &Instance, other: &Instance) -> bool {
    one.checks == other.checks && one.status == other.status && one.tags == other.tags
}

#[cfg(test)]
mod tests;
