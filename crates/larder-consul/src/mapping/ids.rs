//! Ids of services and checks. In Consul both are unique on a node; in the registry an instance's id is
//! unique in its service, and a check's in its instance.

use larder_registry::model::Name;

/// The check by which a node is known to be alive.
pub const SERF_HEALTH: &str = "serfHealth";

/// The check by which an operator takes a whole node out of service.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";

/// The id under which an instance is written to a real Consul: its service in lower case and its id, joined
/// by a colon. Never the same for two instances: colons in the service's name are escaped.
pub fn service_id(service: &Name, id: &str) -> String {
    format!("{}:{id}", escaped(service.folded()))
}

/// The id under which an instance's check is written to a real Consul. Never the same for two checks.
pub fn check_id(service_id: &str, id: &str) -> String {
    format!("service:{service_id}:{}", escaped(id))
}

/// The id of the check that stands for an instance's lease in a real Consul: to renew is to pass it.
pub fn lease_check_id(service_id: &str) -> String {
    format!("larder-lease:{service_id}")
}

/// The id of the check that says why an instance does not serve, where none of its own does.
pub(super) fn status_check_id(service_id: &str) -> String {
    format!("larder-status:{service_id}")
}

/// The id of the check by which an operator takes a service out, as Consul's agents have it.
pub fn maintenance_check_id(service_id: &str) -> String {
    format!("_service_maintenance:{service_id}")
}

/// Whether a check of this id means that an operator took something out.
pub(super) fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE_MAINTENANCE || check_id.starts_with("_service_maintenance:")
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_instances_never_share_an_id(a in "[a:%]{1,4}", b in "[a:%]{1,4}", c in "[a:%]{1,4}", d in "[a:%]{1,4}") {
            let same = service_id(&Name::new(&a), &b) == service_id(&Name::new(&c), &d);
            prop_assert_eq!(same, (a, b) == (c, d));
        }

        #[test]
        fn two_checks_never_share_an_id(a in "[a:%]{1,4}", b in "[a:%]{1,4}", c in "[a:%]{1,4}", d in "[a:%]{1,4}") {
            let same = check_id(&a, &b) == check_id(&c, &d);
            prop_assert_eq!(same, (a, b) == (c, d));
        }
    }

    #[test]
    fn the_case_of_a_service_does_not_count() {
        assert_eq!(service_id(&Name::new("Web"), "A:1"), "web:A:1");
    }
}
