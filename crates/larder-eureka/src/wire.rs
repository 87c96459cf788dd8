//! What Eureka's clients and servers say to each other, in JSON and in XML.
//!
//! Encoders write exactly the bytes that Netflix's server writes, in each of its four [forms](Form),
//! because clients were written against them: some fail on an unknown key, on an object in place of an
//! array, or on a number in place of a string. Decoders accept more than Netflix's do. Both formats are
//! read into one tree, in the shape that Eureka's JSON gives to XML, so that what a field means is
//! written down once, in [`registration`].

mod form;
pub mod json;
mod listed;
pub mod registration;
pub mod replication;
mod tree;
pub mod xml;

use std::sync::Arc;

use larder_registry::model::Instance;

pub use form::{Form, Format, Heading};

/// Which version of the API a path names. They differ in one thing: the first shows instances that are
/// out of service, or of unknown status, as down in XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiVersion {
    /// `/v1/`
    V1,
    /// Any other.
    V2,
}

/// Applications to encode, or those that were decoded.
#[derive(Debug, Clone)]
pub struct Applications {
    /// `versions__delta`.
    pub version: i64,
    /// `apps__hashcode`.
    pub hash: String,
    /// The applications, each with its instances.
    pub apps: Vec<Application>,
}

/// An application to encode, or one that was decoded.
#[derive(Debug, Clone)]
pub struct Application {
    /// Printed in upper case.
    pub name: String,
    /// In the order in which they are printed.
    pub instances: Vec<Arc<Instance>>,
}

/// Why a document could not be read; the sentence says where and what was expected. Nobody retries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not UTF-8.
    #[error("it is not UTF-8: the first bad byte is at offset {0}")]
    NotUtf8(usize),
    /// It is not JSON, or not XML.
    #[error("{0}")]
    Syntax(String),
    /// It is nested more deeply than any client nests.
    #[error("it is nested more than {0} levels deep")]
    TooDeep(usize),
    /// It has a document type or an entity of its own, which no client needs and attackers do.
    #[error("document types and entities are not accepted")]
    Entities,
    /// Its root is another one.
    #[error("expected {expected} at the root, found {found}")]
    Root {
        /// The root that it should have.
        expected: &'static str,
        /// The root that it has.
        found: String,
    },
    /// A field holds something else than it should.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// What it holds, shortened.
        found: String,
    },
}

/// How deep documents may be nested. Eureka's own are seven levels deep.
const MAX_DEPTH: usize = 64;

fn as_utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))
}

/// Where an instance of another protocol lacks what every Eureka instance has, a value that every
/// client can read.
mod defaults {
    use larder_registry::model::{Address, DataCenter, Port};

    /// The class that Eureka names for whatever is not Amazon.
    pub(super) const OWN_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
    pub(super) const AMAZON_CLASS: &str = "com.netflix.appinfo.AmazonInfo";
    pub(super) const EMPTY_MAP_CLASS: &str = "java.util.Collections$EmptyMap";
    pub(super) const AMAZON: &str = "Amazon";
    pub(super) const MY_OWN: &str = "MyOwn";

    /// The host, else the IP address.
    pub(super) fn host(address: &Address) -> &str {
        address.host.as_deref().or(address.ip.as_deref()).unwrap_or_default()
    }

    /// The IP address, else the host.
    pub(super) fn ip(address: &Address) -> &str {
        address.ip.as_deref().or(address.host.as_deref()).unwrap_or_default()
    }

    /// The port, else one that is switched off.
    pub(super) fn port(port: Option<Port>) -> Port {
        port.unwrap_or(Port { number: 0, enabled: false })
    }

    /// What the compact forms tell of a cloud, in the order in which Netflix's server prints it.
    const TOLD_OF_CLOUD: [&str; 5] =
        ["public-ipv4", "public-hostname", "instance-id", "local-ipv4", "availability-zone"];

    /// What the compact forms tell of an instance's cloud.
    pub(super) fn told_of_cloud(center: Option<&DataCenter>) -> impl Iterator<Item = (&str, &str)> {
        let cloud = center.and_then(|center| center.metadata.as_ref());
        let told = move |key| Some((key, cloud?.get(key)?));
        TOLD_OF_CLOUD.into_iter().filter_map(told)
    }

    /// Whether a `sid` is worth printing: Eureka hides its two words for "none".
    pub(super) fn is_told(sid: &str) -> bool {
        sid != "na" && sid != "unknown"
    }
}

#[cfg(test)]
mod tests;
