//! What each read depends on.

use larder_registry::model::Name;

use super::ledger::Scope;
use crate::question::Endpoint;

/// What an answer to this can change with.
pub(crate) fn of(endpoint: &Endpoint) -> Scope {
    match endpoint {
        Endpoint::Services => Scope::Services,
        // Keys have a store of their own, with its own indexes; nothing here changes with them.
        Endpoint::Datacenters | Endpoint::Nodes | Endpoint::Kv(_) => Scope::Nodes,
        Endpoint::ChecksInState(_) => Scope::Checks,
        Endpoint::Service(name)
        | Endpoint::ServiceConnect(name)
        | Endpoint::Health(name)
        | Endpoint::HealthConnect(name)
        | Endpoint::HealthIngress(name)
        | Endpoint::Checks(name) => Scope::Service(Name::new(name)),
        Endpoint::Node(name) | Endpoint::NodeServices(name) | Endpoint::NodeChecks(name) => {
            Scope::Node((&**name).into())
        }
    }
}
