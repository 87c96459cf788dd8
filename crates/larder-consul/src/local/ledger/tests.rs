use larder_registry::catalog::Catalog;
use larder_registry::model::{Check, Node as ModelNode, Probe};
use proptest::prelude::*;

use super::*;

fn own() -> OwnNode {
    OwnNode::new("here", "127.0.0.1", "dc1")
}

/// A catalog with a ledger that hears its changes.
struct Stage {
    catalog: Catalog,
    ledger: Ledger,
}

impl Stage {
    fn new() -> Self {
        let catalog = Catalog::new(1_000, 1_000);
        let ledger = Ledger::new(&own(), &catalog.snapshot());
        Self { catalog, ledger }
    }

    fn hear(&mut self, since: u64) -> Vec<Scope> {
        let changes: Vec<Change> =
            self.catalog.changes_since(since).expect("the log is long").cloned().collect();
        changes.iter().flat_map(|change| self.ledger.hear(change)).collect()
    }

    fn put(&mut self, instance: Instance) -> Vec<Scope> {
        let since = self.catalog.snapshot().revision();
        self.catalog.put(instance, Action::Modified, 0);
        self.hear(since)
    }

    fn take(&mut self, service: &str, id: &str) -> Vec<Scope> {
        let since = self.catalog.snapshot().revision();
        self.catalog.remove(&Key::new(service, id), 0);
        self.hear(since)
    }

    fn index(&self, scope: &Scope) -> u64 {
        self.ledger.index(scope, &self.catalog.snapshot())
    }
}

fn service(name: &str) -> Scope {
    Scope::Service(Name::new(name))
}

fn at(node: &str, service: &str, id: &str) -> Instance {
    let mut instance = Instance::new(service, id);
    instance.node = Some(Box::new(ModelNode { name: node.to_owned(), ..ModelNode::default() }));
    instance
}

#[test]
fn a_change_moves_the_index_of_its_service_and_of_no_other() {
    let mut stage = Stage::new();
    stage.put(at("a", "web", "1"));
    let before = stage.index(&service("web"));
    let touched = stage.put(at("a", "db", "1"));
    assert_eq!(stage.index(&service("web")), before);
    assert!(stage.index(&service("db")) > before);
    assert!(touched.contains(&service("db")) && !touched.contains(&service("web")));
}

#[test]
fn a_service_that_is_gone_has_the_index_of_its_end_whatever_else_changes() {
    let mut stage = Stage::new();
    let never = stage.index(&service("never"));
    stage.put(at("a", "web", "1"));
    let present = stage.index(&service("web"));
    stage.take("web", "1");
    let gone = stage.index(&service("web"));
    assert!(gone > present);
    stage.put(at("a", "db", "1"));
    assert_eq!(stage.index(&service("web")), gone);
    assert_eq!(stage.index(&service("never")), never);
    stage.put(at("a", "web", "1"));
    assert!(stage.index(&service("web")) > gone);
}

#[test]
fn the_list_of_services_changes_with_names_and_tags_and_not_with_health() {
    let mut stage = Stage::new();
    let tagged = Instance { tags: vec!["blue".to_owned()], ..at("a", "web", "1") };
    assert!(stage.put(tagged.clone()).contains(&Scope::Services));
    let mut sick = tagged.clone();
    sick.checks = vec![Check::new("c", Probe::Tcp("h:1".to_owned()))];
    let touched = stage.put(sick.clone());
    assert!(touched.contains(&Scope::Checks) && !touched.contains(&Scope::Services));
    sick.tags.push("green".to_owned());
    assert!(stage.put(sick).contains(&Scope::Services));
    assert!(stage.take("web", "1").contains(&Scope::Services));
}

#[test]
fn nodes_change_when_one_comes_or_goes_or_is_described_anew() {
    let mut stage = Stage::new();
    assert!(stage.put(at("a", "web", "1")).contains(&Scope::Nodes));
    assert!(!stage.put(at("a", "web", "2")).contains(&Scope::Nodes));
    assert!(!stage.take("web", "2").contains(&Scope::Nodes));
    let mut moved = at("a", "web", "1");
    moved.node.as_mut().expect("it has one").address = "10.0.0.1".to_owned();
    assert!(stage.put(moved).contains(&Scope::Nodes));
    let touched = stage.put(at("b", "web", "1"));
    assert!(touched.contains(&Scope::Nodes) && touched.contains(&Scope::Node("a".into())));
    assert!(touched.contains(&Scope::Node("b".into())));
    assert!(stage.take("web", "1").contains(&Scope::Nodes));
}

#[test]
fn what_runs_here_is_found_by_its_id_and_so_are_its_checks() {
    let mut stage = Stage::new();
    let mut here = at("here", "web", "1");
    here.node.as_mut().expect("it has one").id = own().id;
    here.checks = vec![Check::new("service:1", Probe::Tcp("h:1".to_owned()))];
    stage.put(here.clone());
    stage.put(at("there", "web", "2"));
    let key = here.key();
    assert_eq!(stage.ledger.instance("1"), Some(&key));
    assert_eq!(stage.ledger.instance("2"), None);
    assert_eq!(stage.ledger.check("service:1"), Some(&CheckKey::new(key, "service:1")));
    stage.put(Instance { checks: Vec::new(), ..here });
    assert_eq!(stage.ledger.check("service:1"), None);
    stage.take("web", "1");
    assert_eq!(stage.ledger.instances().count(), 0);
}

proptest! {
    /// What a reader who waits relies on: whenever what it reads changes, the index of that grows, and it is
    /// told to look.
    #[test]
    fn whatever_changes_has_a_greater_index_than_before_and_is_touched(
        steps in prop::collection::vec((0..3_usize, 0..3_usize, 0..3_usize, any::<bool>()), 1..60),
    ) {
        let (services, nodes) = (["a", "b", "c"], ["x", "y", "here"]);
        let mut stage = Stage::new();
        for (of, id, node, comes) in steps {
            let (name, id) = (services[of], id.to_string());
            let scopes: Vec<Scope> = services.iter().map(|name| service(name))
                .chain(nodes.iter().map(|node| Scope::Node((*node).into())))
                .chain([Scope::Services, Scope::Nodes, Scope::Checks])
                .collect();
            let before: Vec<u64> = scopes.iter().map(|scope| stage.index(scope)).collect();
            let was_there = stage.catalog.snapshot().instance(&Key::new(name, &id)).is_some();
            let touched = if comes {
                stage.put(at(nodes[node], name, &id))
            } else {
                stage.take(name, &id)
            };
            for (scope, before) in scopes.iter().zip(before) {
                let after = stage.index(scope);
                prop_assert!(after >= before, "{scope:?} went back");
                prop_assert_eq!(after > before, touched.contains(scope), "{:?}", scope);
            }
            if comes || was_there {
                prop_assert!(touched.contains(&service(name)));
            }
            let anew = Ledger::new(&own(), &stage.catalog.snapshot());
            prop_assert_eq!(anew.instances.len(), stage.ledger.instances.len());
            prop_assert_eq!(anew.nodes.len(), stage.ledger.nodes.len());
            prop_assert_eq!(anew.services, stage.ledger.services.clone());
        }
    }
}

#[test]
fn a_change_that_is_known_already_touches_nothing() {
    let mut stage = Stage::new();
    stage.put(at("a", "web", "1"));
    let snapshot = stage.catalog.snapshot();
    let mut later = Ledger::new(&own(), &snapshot);
    let changes: Vec<Change> = stage.catalog.changes_since(1_000).expect("all").cloned().collect();
    assert_eq!(changes.iter().flat_map(|change| later.hear(change)).count(), 0);
    assert_eq!(later.revision(), snapshot.revision());
}
