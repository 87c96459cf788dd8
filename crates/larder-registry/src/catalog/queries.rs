//! Questions to one service: which instances are of a version, have a label, a tag or an endpoint. Those to
//! large services are answered from an [index](super::indexes) when they are asked again and again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Service;
use super::indexes::Kind;
use crate::model::Instance;

impl Service {
    /// The versions that there are an instance of, in lexicographic order; the empty one stands
    /// for the unversioned. Goes through all instances.
    pub fn versions(&self) -> BTreeSet<&str> {
        self.instances().map(|instance| instance.version.as_str()).collect()
    }

    /// The instances of this version, in the order of their ids.
    pub fn version(&self, version: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let found = self.indexes().find(self, Kind::Version, (version, ""));
        self.all_or(found).filter(move |instance| instance.version == version)
    }

    /// The instances whose own metadata has this pair, in the order of their ids.
    pub fn with_label(&self, key: &str, value: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let found = self.indexes().find(self, Kind::Label, (key, value));
        self.all_or(found).filter(move |instance| instance.has_label(key, value))
    }

    /// The instances with this tag, in the order of their ids.
    pub fn with_tag(&self, tag: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let found = self.indexes().find(self, Kind::Tag, (tag, ""));
        self.all_or(found).filter(move |instance| instance.has_tag(tag))
    }

    /// The instances that offer an endpoint of this name, in the order of their ids.
    pub fn with_endpoint(&self, name: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let found = self.indexes().find(self, Kind::Endpoint, (name, ""));
        self.all_or(found).filter(move |instance| instance.has_endpoint(name))
    }

    /// What was found, or all instances where nobody looked.
    fn all_or<'a>(
        &'a self,
        found: Option<impl Iterator<Item = &'a Arc<Instance>>>,
    ) -> impl Iterator<Item = &'a Arc<Instance>> {
        let all = found.is_none().then(|| self.instances());
        found.into_iter().flatten().chain(all.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::indexes::PATIENCE;
    use super::*;
    use crate::model::{Endpoint, Metadata, Name};

    fn instance(id: &str, version: &str) -> Instance {
        Instance { version: version.to_owned(), ..Instance::new("orders", id) }
    }

    fn endpoint(name: &str) -> Endpoint {
        Endpoint { name: name.to_owned(), request: None, response: None, metadata: Metadata::new() }
    }

    fn ids<'a>(instances: impl Iterator<Item = &'a Arc<Instance>>) -> Vec<&'a str> {
        instances.map(|instance| instance.id.as_str()).collect()
    }

    #[test]
    fn a_service_finds_its_instances_by_version_label_tag_and_endpoint() {
        let (mut a, mut b, c) = (instance("a", "1"), instance("b", "2"), instance("c", "1"));
        a.metadata.insert("tier".to_owned(), "gold".to_owned());
        b.metadata.insert("tier".to_owned(), "gold".to_owned());
        b.tags = vec!["primary".to_owned()];
        a.endpoints = vec![endpoint("Orders.Get"), endpoint("Orders.Put")];
        let orders = Service::new(Name::new("orders"), 1, [c, b, a].map(Arc::new));
        assert_eq!(Vec::from_iter(orders.versions()), ["1", "2"]);
        assert_eq!(ids(orders.version("1")), ["a", "c"]);
        assert_eq!(ids(orders.version("3")), [""; 0]);
        assert_eq!(ids(orders.with_label("tier", "gold")), ["a", "b"]);
        assert_eq!(ids(orders.with_label("tier", "")), [""; 0]);
        assert_eq!(ids(orders.with_tag("primary")), ["b"]);
        assert_eq!(ids(orders.with_endpoint("Orders.Put")), ["a"]);
        assert_eq!(ids(orders.with_endpoint("Orders")), [""; 0]);
    }

    /// What an instance has, and what is asked for, from few letters so that they meet.
    fn few() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((0..3_u8, 0..3_u8), 0..4)
    }

    proptest! {
        #[test]
        fn an_index_finds_what_going_through_all_instances_finds(
            held in prop::collection::vec((few(), few(), few(), 0..3_u8), 60..90),
            (key, value) in (0..4_u8, 0..4_u8),
        ) {
            let instances = held.iter().zip(100..).map(|((labels, tags, endpoints, version), id)| {
                let mut one = instance(&format!("{id}"), &version.to_string());
                one.metadata = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
                one.tags = tags.iter().map(|(tag, _)| tag.to_string()).collect();
                one.endpoints = endpoints.iter().map(|(name, _)| endpoint(&name.to_string())).collect();
                Arc::new(one)
            });
            let orders = Service::new(Name::new("orders"), 1, instances);
            let (key, value) = (&*key.to_string(), &*value.to_string());
            let scan = |wanted: &dyn Fn(&Instance) -> bool| {
                orders.instances().filter(|one| wanted(one)).map(|one| one.id.as_str()).collect::<Vec<_>>()
            };
            for _ in 0..2 * PATIENCE {
                prop_assert_eq!(ids(orders.version(key)), scan(&|one| one.version == key));
                prop_assert_eq!(ids(orders.with_label(key, value)), scan(&|one| one.has_label(key, value)));
                prop_assert_eq!(ids(orders.with_tag(key)), scan(&|one| one.has_tag(key)));
                prop_assert_eq!(ids(orders.with_endpoint(key)), scan(&|one| one.has_endpoint(key)));
            }
        }
    }
}
