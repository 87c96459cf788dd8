//! What filters find in the objects that Consul prints.

use larder_registry::model::TaggedAddress;

use super::{Field, Fields, Kind, Members};
use crate::wire::{
    AgentService, CheckServiceNode, HealthCheck, Node, NodeAddresses, NodeService, Pairs,
    ServiceAddresses, ServiceNode, Texts, Weights,
};

impl Members for Texts<'_> {
    fn has(&self, member: &str) -> bool {
        self.0.iter().any(|own| own == member)
    }

    fn has_any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Members for Pairs<'_> {
    fn has(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    fn has_any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Members for NodeAddresses<'_> {
    fn has(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    fn has_any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Members for ServiceAddresses<'_> {
    fn has(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    fn has_any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Members for Vec<HealthCheck<'_>> {
    /// Objects have no name by which one of them could be meant.
    fn has(&self, _: &str) -> bool {
        false
    }

    fn has_any(&self) -> bool {
        !self.is_empty()
    }
}

fn number(number: u64) -> Field<'static> {
    Field::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

fn address<'a>(at: &'a TaggedAddress, part: &str) -> Option<Field<'a>> {
    match part {
        "Address" => Some(Field::Text(&at.address)),
        "Port" => Some(Field::Number(at.port.into())),
        _ => None,
    }
}

fn weight(weights: &Weights, part: &str) -> Option<Field<'static>> {
    match part {
        "Passing" => Some(Field::Number(weights.passing)),
        "Warning" => Some(Field::Number(weights.warning)),
        _ => None,
    }
}

fn kind_of_part(part: &str) -> Option<Kind> {
    match part {
        "Address" => Some(Kind::Text),
        "Port" | "Passing" | "Warning" => Some(Kind::Number),
        _ => None,
    }
}

impl Fields for Node<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["ID" | "Node" | "Address" | "Datacenter" | "PeerName"]
            | ["TaggedAddresses" | "Meta", _] => Some(Kind::Text),
            ["TaggedAddresses" | "Meta"] => Some(Kind::Map),
            ["CreateIndex" | "ModifyIndex"] => Some(Kind::Number),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["ID"] => Field::Text(&self.id),
            ["Node"] => Field::Text(&self.node),
            ["Address"] => Field::Text(&self.address),
            ["Datacenter"] => Field::Text(&self.datacenter),
            ["PeerName"] => Field::Text(&self.peer_name),
            ["TaggedAddresses"] => Field::Members(&self.tagged_addresses),
            ["TaggedAddresses", tag] => Field::Text(self.tagged_addresses.0.get(*tag)?),
            ["Meta"] => Field::Members(&self.meta),
            ["Meta", key] => Field::Text(self.meta.0.get(key)?),
            ["CreateIndex"] => number(self.create_index),
            ["ModifyIndex"] => number(self.modify_index),
            _ => return None,
        })
    }
}

impl Fields for NodeService<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["Kind" | "ID" | "Service" | "Address" | "SocketPath" | "PeerName"] | ["Meta", _] => {
                Some(Kind::Text)
            }
            ["Tags"] => Some(Kind::List),
            ["Meta" | "TaggedAddresses"] => Some(Kind::Map),
            ["Port" | "CreateIndex" | "ModifyIndex"] => Some(Kind::Number),
            ["EnableTagOverride"] => Some(Kind::Bool),
            ["TaggedAddresses", _, part @ ("Address" | "Port")]
            | ["Weights", part @ ("Passing" | "Warning")] => kind_of_part(part),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["Kind"] => Field::Text(&self.kind),
            ["ID"] => Field::Text(&self.id),
            ["Service"] => Field::Text(&self.service),
            ["Address"] => Field::Text(&self.address),
            ["SocketPath"] => Field::Text(&self.socket_path),
            ["PeerName"] => Field::Text(&self.peer_name),
            ["Tags"] => Field::Members(&self.tags),
            ["Meta"] => Field::Members(&self.meta),
            ["Meta", key] => Field::Text(self.meta.0.get(key)?),
            ["Port"] => Field::Number(self.port),
            ["CreateIndex"] => number(self.create_index),
            ["ModifyIndex"] => number(self.modify_index),
            ["EnableTagOverride"] => Field::Bool(self.enable_tag_override),
            ["TaggedAddresses"] => Field::Members(&self.tagged_addresses),
            ["TaggedAddresses", tag, part] => address(self.tagged_addresses.0.get(*tag)?, part)?,
            ["Weights", part] => weight(&self.weights, part)?,
            _ => return None,
        })
    }
}

impl Fields for AgentService<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["Datacenter"] => Some(Kind::Text),
            ["CreateIndex" | "ModifyIndex"] => None,
            path => NodeService::kind(path),
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["Kind"] => Field::Text(&self.kind),
            ["ID"] => Field::Text(&self.id),
            ["Service"] => Field::Text(&self.service),
            ["Address"] => Field::Text(&self.address),
            ["SocketPath"] => Field::Text(&self.socket_path),
            ["PeerName"] => Field::Text(&self.peer_name),
            ["Datacenter"] => Field::Text(&self.datacenter),
            ["Tags"] => Field::Members(&self.tags),
            ["Meta"] => Field::Members(&self.meta),
            ["Meta", key] => Field::Text(self.meta.0.get(key)?),
            ["Port"] => Field::Number(self.port),
            ["EnableTagOverride"] => Field::Bool(self.enable_tag_override),
            ["TaggedAddresses"] => Field::Members(&self.tagged_addresses),
            ["TaggedAddresses", tag, part] => address(self.tagged_addresses.0.get(*tag)?, part)?,
            ["Weights", part] => weight(&self.weights, part)?,
            _ => return None,
        })
    }
}

impl Fields for HealthCheck<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            [
                "Node" | "CheckID" | "Name" | "Status" | "Notes" | "Output" | "ServiceID"
                | "ServiceName" | "Type" | "Interval" | "Timeout",
            ] => Some(Kind::Text),
            ["ServiceTags"] => Some(Kind::List),
            ["CreateIndex" | "ModifyIndex"] => Some(Kind::Number),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["Node"] => Field::Text(&self.node),
            ["CheckID"] => Field::Text(&self.check_id),
            ["Name"] => Field::Text(&self.name),
            ["Status"] => Field::Text(&self.status),
            ["Notes"] => Field::Text(&self.notes),
            ["Output"] => Field::Text(&self.output),
            ["ServiceID"] => Field::Text(&self.service_id),
            ["ServiceName"] => Field::Text(&self.service_name),
            ["Type"] => Field::Text(&self.kind),
            ["Interval"] => Field::Text(&self.interval),
            ["Timeout"] => Field::Text(&self.timeout),
            ["ServiceTags"] => Field::Members(&self.service_tags),
            ["CreateIndex"] => number(self.create_index),
            ["ModifyIndex"] => number(self.modify_index),
            _ => return None,
        })
    }
}

impl Fields for CheckServiceNode<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            ["Node", rest @ ..] => Node::kind(rest),
            ["Service", rest @ ..] => NodeService::kind(rest),
            ["Checks"] => Some(Kind::Objects),
            ["Checks", rest @ ..] => HealthCheck::kind(rest),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        match path {
            ["Node", rest @ ..] => self.node.field(rest),
            ["Service", rest @ ..] => self.service.field(rest),
            ["Checks"] => Some(Field::Members(&self.checks)),
            ["Checks", rest @ ..] => Some(Field::Each(
                self.checks.iter().filter_map(|check| check.field(rest)).collect(),
            )),
            _ => None,
        }
    }
}

impl Fields for ServiceNode<'_> {
    fn kind(path: &[&str]) -> Option<Kind> {
        match path {
            [
                "ID" | "Node" | "Address" | "Datacenter" | "ServiceKind" | "ServiceID"
                | "ServiceName" | "ServiceAddress" | "PeerName",
            ]
            | ["TaggedAddresses" | "NodeMeta" | "ServiceMeta", _] => Some(Kind::Text),
            ["ServiceTags"] => Some(Kind::List),
            ["TaggedAddresses" | "NodeMeta" | "ServiceMeta" | "ServiceTaggedAddresses"] => {
                Some(Kind::Map)
            }
            ["ServicePort" | "CreateIndex" | "ModifyIndex"] => Some(Kind::Number),
            ["ServiceEnableTagOverride"] => Some(Kind::Bool),
            ["ServiceTaggedAddresses", _, part @ ("Address" | "Port")]
            | ["ServiceWeights", part @ ("Passing" | "Warning")] => kind_of_part(part),
            _ => None,
        }
    }

    fn field(&self, path: &[&str]) -> Option<Field<'_>> {
        Some(match path {
            ["ID"] => Field::Text(&self.id),
            ["Node"] => Field::Text(&self.node),
            ["Address"] => Field::Text(&self.address),
            ["Datacenter"] => Field::Text(&self.datacenter),
            ["ServiceKind"] => Field::Text(&self.service_kind),
            ["ServiceID"] => Field::Text(&self.service_id),
            ["ServiceName"] => Field::Text(&self.service_name),
            ["ServiceAddress"] => Field::Text(&self.service_address),
            ["PeerName"] => Field::Text(&self.peer_name),
            ["TaggedAddresses"] => Field::Members(&self.tagged_addresses),
            ["TaggedAddresses", tag] => Field::Text(self.tagged_addresses.0.get(*tag)?),
            ["NodeMeta"] => Field::Members(&self.node_meta),
            ["NodeMeta", key] => Field::Text(self.node_meta.0.get(key)?),
            ["ServiceMeta"] => Field::Members(&self.service_meta),
            ["ServiceMeta", key] => Field::Text(self.service_meta.0.get(key)?),
            ["ServiceTags"] => Field::Members(&self.service_tags),
            ["ServicePort"] => Field::Number(self.service_port),
            ["CreateIndex"] => number(self.create_index),
            ["ModifyIndex"] => number(self.modify_index),
            ["ServiceEnableTagOverride"] => Field::Bool(self.service_enable_tag_override),
            ["ServiceTaggedAddresses"] => Field::Members(&self.service_tagged_addresses),
            ["ServiceTaggedAddresses", tag, part] => {
                address(self.service_tagged_addresses.0.get(*tag)?, part)?
            }
            ["ServiceWeights", part] => weight(&self.service_weights, part)?,
            _ => return None,
        })
    }
}
