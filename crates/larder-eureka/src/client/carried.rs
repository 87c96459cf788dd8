//! What Eureka has no field for, as one pair of metadata; and an instance as it is sent to a Eureka
//! server.
//!
//! Pure. Clients of Eureka hand metadata around unread. Where there is nothing to carry, as for
//! everything that a Eureka client registers, there is no pair.

use std::sync::Arc;

use indexmap::IndexMap;
use larder_registry::model::{Instance, Name, Weights};
use serde::{Deserialize, Serialize};

/// The pair in which Larder keeps what Eureka has no field for: a JSON object. The user's own pair of
/// this name is kept inside of it.
pub const CARRIED: &str = "larder.instance";

/// The longest lease that Netflix's server can count: it multiplies by a thousand in 32 bits. 24 days.
pub const LEASE_SECS_MAX: u32 = 2_147_483;

/// The object's fields. Those that this version does not know are skipped.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Carried {
    /// The service's name as it is written: Eureka prints it in upper case.
    #[serde(skip_serializing_if = "String::is_empty")]
    service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    service_metadata: IndexMap<String, String>,
    /// Passing and warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<(u32, u32)>,
    /// Whether it was registered without a lease, which Eureka does not have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unleased: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadowed: Option<String>,
}

impl Carried {
    /// None of what Larder would not have written.
    fn read(text: &str) -> Option<Self> {
        // Of a list the decoder would take the items for the fields.
        let is_object = text.starts_with('{');
        let carried = is_object.then(|| serde_json::from_str(text).ok()).flatten();
        carried.filter(|carried| *carried != Self::default())
    }
}

/// The instance as Eureka can hold it.
pub(crate) fn pack(mut instance: Instance) -> Instance {
    let pairs = std::mem::take(&mut instance.service_metadata);
    let pairs = pairs.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let written = instance.service.as_str();
    let is_upper = written == written.to_uppercase();
    let carried = Carried {
        service: if is_upper { String::new() } else { written.to_owned() },
        version: std::mem::take(&mut instance.version),
        tags: std::mem::take(&mut instance.tags),
        service_metadata: pairs.collect(),
        weights: instance.weights.take().map(|weights| (weights.passing, weights.warning)),
        unleased: instance.lease.is_none(),
        shadowed: instance.metadata.remove(CARRIED),
    };
    if carried != Carried::default() {
        let text = serde_json::to_string(&carried).expect("strings, lists and numbers are JSON");
        instance.metadata.insert(CARRIED.to_owned(), text);
    }
    let lease = instance.lease.get_or_insert_default();
    if carried.unleased {
        lease.duration_secs = LEASE_SECS_MAX;
    }
    lease.duration_secs = lease.duration_secs.min(LEASE_SECS_MAX);
    instance
}

/// The instance that a server printed, with what its metadata carry. A pair of that name which is not
/// Larder's is metadata like any other.
pub(crate) fn unpack(printed: &Arc<Instance>) -> Arc<Instance> {
    let Some(text) = printed.metadata.get(CARRIED) else { return printed.clone() };
    let Some(carried) = Carried::read(text) else { return printed.clone() };
    let mut instance = Instance::clone(printed);
    instance.metadata.remove(CARRIED);
    instance.metadata.extend(carried.shadowed.map(|value| (CARRIED.to_owned(), value)));
    let service = Name::new(&carried.service);
    if service == instance.service {
        instance.service = service;
    }
    instance.version = carried.version;
    instance.tags = carried.tags;
    instance.service_metadata = carried.service_metadata.into_iter().collect();
    instance.weights = carried.weights.map(|(passing, warning)| Weights { passing, warning });
    if carried.unleased {
        instance.lease = None;
    }
    Arc::new(instance)
}

#[cfg(test)]
mod tests {
    use larder_registry::model::{Lease, Port};
    use proptest::prelude::*;

    use super::*;
    use crate::wire::json;

    fn eurekas() -> Instance {
        let mut instance = Instance::new("ORDERS", "h:orders:80");
        instance.address.host = Some("h".to_owned());
        instance.address.ip = Some("10.0.0.1".to_owned());
        instance.address.port = Some(Port { number: 80, enabled: true });
        instance.address.secure_port = Some(Port { number: 443, enabled: false });
        instance.metadata.insert("zone".to_owned(), "a".to_owned());
        instance.lease = Some(Lease::default());
        instance
    }

    /// As the server has it: registered, and printed in a list.
    fn printed(instance: &Instance) -> Arc<Instance> {
        let body = json::registration(&pack(instance.clone()));
        let registered = json::decode_registration(&body).expect("it was just written");
        let held = registered.into_instance(instance.service.as_str(), 7).expect("it is complete");
        Arc::new(json::decode_instance(&json::instance(&held)).expect("it was just written"))
    }

    #[test]
    fn what_eureka_has_fields_for_is_sent_without_a_pair() {
        let sent = pack(eurekas());
        assert_eq!(sent, eurekas());
        assert!(!printed(&eurekas()).metadata.contains_key(CARRIED));
    }

    #[test]
    fn what_eureka_has_no_field_for_comes_back_from_the_pair() {
        let mut instance = eurekas();
        instance.service = Name::new("Orders");
        instance.version = "1.2".to_owned();
        instance.tags = vec!["blue".to_owned()];
        instance.service_metadata.insert("team".to_owned(), "a".to_owned());
        instance.weights = Some(Weights { passing: 3, warning: 1 });
        instance.lease = None;
        let printed = printed(&instance);
        assert_eq!(printed.service.as_str(), "ORDERS");
        let back = unpack(&printed);
        assert_eq!(back.service.as_str(), "Orders");
        assert_eq!((&back.version, &back.tags), (&instance.version, &instance.tags));
        assert_eq!(back.service_metadata, instance.service_metadata);
        assert_eq!((back.weights, back.lease), (instance.weights, None));
        assert_eq!(back.metadata, instance.metadata);
    }

    #[test]
    fn a_lease_is_no_longer_than_netflixs_server_can_count() {
        let leased = |lease| pack(Instance { lease, ..eurekas() }).lease.expect("it has one");
        let long = Some(Lease { duration_secs: u32::MAX, ..Lease::default() });
        assert_eq!(leased(long).duration_secs, LEASE_SECS_MAX);
        assert_eq!(leased(None).duration_secs, LEASE_SECS_MAX);
        assert_eq!(leased(Some(Lease::default())).duration_secs, 90);
    }

    #[test]
    fn a_pair_of_that_name_that_is_not_larders_is_metadata_like_any_other() {
        for text in ["", "mine", "[]", "{}", r#"{"tags":7}"#] {
            let mut instance = eurekas();
            instance.metadata.insert(CARRIED.to_owned(), text.to_owned());
            let instance = Arc::new(instance);
            assert_eq!(*unpack(&instance), *instance, "{text}");
            let back = unpack(&printed(&instance));
            assert_eq!(back.metadata.get(CARRIED), Some(text));
        }
    }

    #[test]
    fn a_pair_that_speaks_of_another_service_does_not_move_the_instance() {
        let mut instance = eurekas();
        instance.metadata.insert(CARRIED.to_owned(), r#"{"service":"other"}"#.to_owned());
        assert_eq!(unpack(&Arc::new(instance)).service.as_str(), "ORDERS");
    }

    proptest! {
        #[test]
        fn any_text_in_the_pair_is_read_or_left_alone(text in "\\PC{0,60}") {
            let mut instance = eurekas();
            instance.metadata.insert(CARRIED.to_owned(), text);
            let back = unpack(&Arc::new(instance));
            prop_assert_eq!(back.key(), eurekas().key());
        }

        #[test]
        fn any_words_come_back(service in "[a-zA-Zß.-]{1,12}", tags in proptest::collection::vec("\\PC{0,9}", 0..4)) {
            // What Eureka's upper case makes another name of is another service to it.
            prop_assume!(Name::new(&service.to_uppercase()) == Name::new(&service));
            let instance = Instance { service: Name::new(&service), tags, ..eurekas() };
            let back = unpack(&printed(&instance));
            prop_assert_eq!(back.service.as_str(), service);
            prop_assert_eq!(&back.tags, &instance.tags);
        }
    }
}
