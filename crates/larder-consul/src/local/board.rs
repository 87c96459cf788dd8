//! Keeps the ledger, and wakes who waits for what was touched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_registry::catalog::{Change, Snapshot};
use larder_registry::model::{CheckKey, Instance, Key};
use larder_registry::{Observer, Registry};
use tokio::sync::watch;

use super::ledger::{Ledger, Scope};
use crate::mapping::{OwnNode, maintenance_check_id};
use crate::wire::HealthCheck;

/// Where readers wait. It hears every change before its writer is answered, so that whoever writes and then
/// reads is told of an index that counts its write in.
#[derive(Debug)]
pub(crate) struct Board {
    ledger: Mutex<Ledger>,
    /// Where somebody waits; nothing else is here.
    waiting: Mutex<HashMap<Scope, watch::Sender<()>>>,
}

/// A place at a scope, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    board: &'a Board,
    scope: Scope,
    touched: watch::Receiver<()>,
}

impl Board {
    /// Begins with what is registered.
    pub(crate) fn new(registry: &dyn Registry, own: &OwnNode) -> Arc<Self> {
        let ledger = Mutex::new(Ledger::new(own, &registry.snapshot()));
        let board = Arc::new(Self { ledger, waiting: Mutex::default() });
        let observer = Arc::downgrade(&board);
        registry.observe(observer);
        // A change between that snapshot and this moment was not heard. So it begins anew, until nothing was
        // heard after the snapshot that it begins with; changes are told while the registry is locked, so
        // that the other way round, to lock the ledger and take a snapshot, could wait for ever.
        loop {
            let anew = Ledger::new(own, &registry.snapshot());
            let mut ledger = board.ledger();
            if ledger.revision() <= anew.revision() {
                *ledger = anew;
                break;
            }
        }
        board
    }

    /// As of which revision the scope last changed, in this snapshot.
    pub(crate) fn index(&self, scope: &Scope, snapshot: &Snapshot) -> u64 {
        match scope {
            // What most ask for, without a look at the ledger.
            Scope::Service(name) if let Some(service) = snapshot.service(name) => {
                service.revision()
            }
            _ => self.ledger().index(scope, snapshot),
        }
    }

    /// Says why an operator is about to take an instance out.
    pub(crate) fn explain(&self, key: &Key, reason: &str) {
        self.ledger().explain(key, reason);
    }

    /// Has the check that says that an operator took the instance out say why as well.
    pub(crate) fn add_reason(&self, instance: &Instance, checks: &mut [HealthCheck<'_>]) {
        if instance.status_override.is_none() {
            return;
        }
        let id = maintenance_check_id(&instance.id);
        let maintenance = checks.iter_mut().find(|check| check.check_id == *id);
        if let Some((check, reason)) = maintenance.zip(self.ledger().reason(&instance.key())) {
            check.notes = reason.to_string().into();
        }
    }

    /// The instance with this id on the own node.
    pub(crate) fn instance(&self, id: &str) -> Option<Key> {
        self.ledger().instance(id).cloned()
    }

    /// The check with this id on the own node.
    pub(crate) fn check(&self, id: &str) -> Option<CheckKey> {
        self.ledger().check(id).cloned()
    }

    /// Everything on the own node, in the order of its ids.
    pub(crate) fn instances(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.ledger().instances().cloned().collect();
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        keys
    }

    /// Takes a place at a scope: from now on, nothing that touches it is missed.
    pub(crate) fn wait_at(&self, scope: &Scope) -> Place<'_> {
        let mut waiting = lock(&self.waiting);
        let touched = match waiting.get(scope) {
            Some(sender) => sender.subscribe(),
            None => waiting.entry(scope.clone()).or_default().subscribe(),
        };
        Place { board: self, scope: scope.clone(), touched }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

impl Observer for Board {
    fn changed(&self, changes: &[Change]) {
        let mut touched = Vec::new();
        let mut ledger = self.ledger();
        for change in changes {
            touched.extend(ledger.hear(change));
        }
        drop(ledger);
        let waiting = lock(&self.waiting);
        for sender in touched.iter().filter_map(|scope| waiting.get(scope)) {
            sender.send_replace(());
        }
    }
}

impl Place<'_> {
    /// Returns when the scope was touched since the place was taken, or since this last returned. Safe to
    /// cancel.
    pub(crate) async fn touched(&mut self) {
        // An error cannot come: as long as there is a place, its sender is on the board.
        let _ = self.touched.changed().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.board.waiting);
        // This one is still counted.
        if waiting.get(&self.scope).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.scope);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
