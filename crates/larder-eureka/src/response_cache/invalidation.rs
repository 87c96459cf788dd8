//! Which cached answers a change makes wrong.
//!
//! Pure. Every element of the old and of the new virtual address lists counts: Eureka looks only at
//! the new list, and takes it for one name.

use std::collections::HashSet;

use larder_registry::catalog::Change;
use larder_registry::model::Instance;

use super::Entity;

/// The entities whose answers are wrong after these changes, each once.
pub(super) fn stale_after(changes: &[Change]) -> HashSet<Entity> {
    let mut stale = HashSet::new();
    if changes.is_empty() {
        return stale;
    }
    stale.extend([Entity::Apps, Entity::Delta]);
    for change in changes {
        let before = change.before.as_deref();
        for instance in before.into_iter().chain([&*change.instance]) {
            stale.insert(Entity::App(instance.service.clone()));
            stale.extend(vips(instance));
        }
    }
    stale
}

fn vips(instance: &Instance) -> impl Iterator<Item = Entity> + '_ {
    let plain = instance.vips.plain.as_deref().into_iter().flat_map(names_in);
    let secure = instance.vips.secure.as_deref().into_iter().flat_map(names_in);
    let plain = plain.map(|vip| Entity::Vip(vip.to_owned()));
    plain.chain(secure.map(|vip| Entity::SecureVip(vip.to_owned())))
}

/// The names in a list of virtual addresses: split at commas, compared exactly, as Eureka does.
pub(super) fn names_in(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
}

#[cfg(test)]
mod tests {
    use larder_registry::catalog::Catalog;
    use larder_registry::model::{Action, Vips};

    use super::*;

    fn with_vips(plain: &str, secure: &str) -> Instance {
        let vips = Vips { plain: Some(plain.to_owned()), secure: Some(secure.to_owned()) };
        Instance { vips, ..Instance::new("Orders", "1") }
    }

    #[test]
    fn a_change_makes_every_list_wrong_that_held_or_holds_the_instance() {
        let mut catalog = Catalog::new(0, 10);
        catalog.put(with_vips("a,b", "s"), Action::Added, 0);
        let change = catalog.put(with_vips("b,c", "t"), Action::Modified, 0);
        let vip = |name: &str| Entity::Vip(name.to_owned());
        let secure = |name: &str| Entity::SecureVip(name.to_owned());
        let expected = HashSet::from([
            Entity::Apps,
            Entity::Delta,
            Entity::app("ORDERS"),
            vip("a"),
            vip("b"),
            vip("c"),
            secure("s"),
            secure("t"),
        ]);
        assert_eq!(stale_after(&[change]), expected);
    }

    #[test]
    fn no_change_makes_nothing_wrong() {
        assert!(stale_after(&[]).is_empty());
    }
}
