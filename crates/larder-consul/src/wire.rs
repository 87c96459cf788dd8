//! Consul's JSON, as an agent of the Community Edition prints it and as its clients send it.
//!
//! One family of types for both directions: to write, they borrow from the model, so that an answer is
//! encoded without a copy of its texts; what was read owns its texts, as `Node<'static>`. Fields stand in the
//! order in which Consul prints them, and are left out where Consul leaves them out. Reading skips unknown
//! fields, takes a missing one for its default, and `null` for an empty list or map.
//!
//! What clients send is read by [`definition`]: that is strict, says what is wrong, and is bounded.
//!
//! Pure.

use bytes::Bytes;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

pub mod base64;
mod check;
pub mod definition;
pub mod duration;
mod event;
mod kv;
mod node;
mod parts;
mod service;

pub use check::{CheckDefinition, CheckServiceNode, HealthCheck, ServiceHealth};
pub use event::UserEvent;
pub use kv::DirEntry;
pub use node::{AgentConfig, AgentSelf, Coordinate, Member, Node};
pub use parts::{Document, NodeAddresses, Pairs, ServiceAddresses, Texts};
pub use service::{
    AgentService, CatalogServices, NodeService, NodeServiceList, NodeServices, ServiceNode, Weights,
};

/// Whether a field is as it is when nothing was said, and so is not printed.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Prints a value; indented by four spaces and with a line's end if it is to be pretty.
pub(crate) fn print(value: &impl serde::Serialize, pretty: bool) -> serde_json::Result<Bytes> {
    let mut out = Vec::new();
    if pretty {
        let indent = PrettyFormatter::with_indent(b"    ");
        value.serialize(&mut Serializer::with_formatter(&mut out, indent))?;
        out.push(b'\n');
    } else {
        serde_json::to_writer(&mut out, value)?;
    }
    Ok(out.into())
}

/// Reads `null` like a field that is not there.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
