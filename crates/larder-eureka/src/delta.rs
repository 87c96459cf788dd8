//! What a delta holds: the last state of everything that changed lately.
//!
//! Pure. Clients apply a delta to what they have, compare the hash that comes with it against their
//! own, and fetch everything if the two differ; so a delta may tell a change twice, and must tell the
//! last state of each instance.

use std::collections::HashMap;
use std::sync::Arc;

use larder_registry::catalog::Change;
use larder_registry::model::{Instance, Key, Name};

/// Groups changes, oldest first, by application. Of several changes to one instance the last one
/// counts and takes the last place, as in Eureka.
pub fn delta(changes: &[Change]) -> Vec<(Name, Vec<Arc<Instance>>)> {
    let mut last: HashMap<Key, usize> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        last.insert(change.instance.key(), place);
    }
    let mut places: HashMap<Name, usize> = HashMap::new();
    let mut apps: Vec<(Name, Vec<Arc<Instance>>)> = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        if last.get(&change.instance.key()) != Some(&place) {
            continue;
        }
        let name = &change.instance.service;
        let app = *places.entry(name.clone()).or_insert_with(|| {
            apps.push((name.clone(), Vec::new()));
            apps.len() - 1
        });
        apps[app].1.push(change.instance.clone());
    }
    apps
}

#[cfg(test)]
mod tests {
    use larder_registry::catalog::Catalog;
    use larder_registry::model::Action;

    use super::*;

    type Told = Vec<(String, Option<Action>)>;

    fn told(catalog: &Catalog) -> Vec<(String, Told)> {
        let changes: Vec<_> = catalog.changes_since(0).into_iter().flatten().cloned().collect();
        delta(&changes)
            .into_iter()
            .map(|(name, instances)| {
                let told = instances.iter().map(|held| (held.id.clone(), held.action)).collect();
                (name.to_string(), told)
            })
            .collect()
    }

    #[test]
    fn the_last_state_wins_and_takes_the_last_place() {
        let mut catalog = Catalog::new(0, 100);
        catalog.put(Instance::new("a", "1"), Action::Added, 0);
        catalog.put(Instance::new("b", "1"), Action::Added, 0);
        catalog.put(Instance::new("a", "2"), Action::Added, 0);
        catalog.put(Instance::new("a", "1"), Action::Modified, 0);
        let a = vec![("2".into(), Some(Action::Added)), ("1".into(), Some(Action::Modified))];
        let b = vec![("1".into(), Some(Action::Added))];
        assert_eq!(told(&catalog), [("b".to_owned(), b), ("a".to_owned(), a)]);
    }

    #[test]
    fn an_instance_that_came_and_went_is_told_once_as_deleted() {
        let mut catalog = Catalog::new(0, 100);
        catalog.put(Instance::new("a", "1"), Action::Added, 0);
        catalog.remove(&Key::new("a", "1"), 0);
        let deleted = vec![("1".into(), Some(Action::Deleted))];
        assert_eq!(told(&catalog), [("a".to_owned(), deleted)]);
    }
}
