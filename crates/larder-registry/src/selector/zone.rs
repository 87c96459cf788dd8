//! Where an instance runs, and when to stay near.

use crate::model::Instance;

/// The key under which Spring Cloud's Eureka clients and most of Consul's users write the zone.
pub const ZONE_KEY: &str = "zone";

/// The key under which Eureka's clients in Amazon's cloud write it.
const AMAZON_KEY: &str = "availability-zone";

/// The zone that the instance runs in: what its own metadata says under `key`; else Amazon's
/// `availability-zone` in its data center's; else what the metadata of its node says under `key`. None if
/// none of them says anything.
///
/// Consul's `Locality` is not read: the model keeps it unopened.
pub fn zone_of<'a>(instance: &'a Instance, key: &str) -> Option<&'a str> {
    let own = || instance.metadata.get(key);
    let amazon = || instance.data_center.as_ref()?.metadata.as_ref()?.get(AMAZON_KEY);
    let node = || instance.node.as_ref()?.metadata.get(key);
    let zone = own().or_else(amazon).or_else(node)?;
    (!zone.is_empty()).then_some(zone)
}

/// Whether `near` of the `available` instances are enough to leave the others alone: at least
/// `min_percent` of them, and at least one.
pub(super) fn is_enough(near: usize, available: usize, min_percent: u8) -> bool {
    near > 0 && near * 100 >= available * usize::from(min_percent.min(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataCenter, Metadata, Node};

    fn said(key: &str, value: &str) -> Metadata {
        Metadata::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn an_instance_knows_its_zone_best_then_its_data_center_then_its_node() {
        let node = Node { metadata: said("zone", "c"), ..Node::default() };
        let amazon = said(AMAZON_KEY, "b");
        let center = DataCenter { name: "Amazon".to_owned(), metadata: Some(amazon) };
        let mut instance = Instance::new("web", "1");
        assert_eq!(zone_of(&instance, ZONE_KEY), None);
        instance.node = Some(Box::new(node));
        assert_eq!(zone_of(&instance, ZONE_KEY), Some("c"));
        instance.data_center = Some(Box::new(center));
        assert_eq!(zone_of(&instance, ZONE_KEY), Some("b"));
        instance.metadata = said("zone", "a");
        assert_eq!(zone_of(&instance, ZONE_KEY), Some("a"));
        assert_eq!(zone_of(&instance, "rack"), Some("b"));
        instance.metadata = said("zone", "");
        assert_eq!(zone_of(&instance, ZONE_KEY), None);
    }

    #[test]
    fn a_zone_is_left_when_it_has_too_small_a_share_of_what_is_available() {
        for (near, available, enough) in [(0, 0, false), (0, 9, false), (1, 5, true), (1, 6, false)]
        {
            assert_eq!(is_enough(near, available, 20), enough, "{near} of {available}");
        }
        assert!(is_enough(1, 1_000, 0));
        assert!(is_enough(9, 9, u8::MAX) && !is_enough(8, 9, u8::MAX));
    }
}
