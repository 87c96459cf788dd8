//! Between go-micro's JSON and [`Instance`], without loss in either direction.
//!
//! A value in etcd is one JSON `Service` of go-micro's with one node ([`encode`], [`decode`]); over
//! multicast DNS it is a TXT record beside the node's name and address ([`encode_txt`],
//! [`decode_txt`]). Their fields and the model's:
//!
//! | go-micro | [`Instance`] |
//! | --- | --- |
//! | `name`, `version`, `metadata` | `service`, `version`, `service_metadata` |
//! | `endpoints` | `endpoints` |
//! | `nodes[0].id`, `.metadata` | `id`, `metadata` |
//! | `nodes[0].address` | `address.ip` and `address.port`, if they join to the same text again |
//!
//! What go-micro has no field for goes into the node's metadata as one pair, [`CARRIED`], which its
//! clients hand around unread; without anything to carry there is no pair.
//!
//! A TXT record has no room for what the service says as a whole (`service_metadata`), and go-micro
//! ignores one without a version: the first is carried as well, and in place of an empty version stands
//! [`NO_VERSION`].
//!
//! Pure. What other people write can be anything: [`decode`] says what is wrong with
//! it, and never panics.

mod address;
mod carried;
mod forms;
mod record;
mod txt;

use larder_registry::model::{Address, Endpoint, Instance, Metadata, Value};

pub use carried::CARRIED;
use carried::Carried;
use record::{Node, Pairs, Service};
pub use txt::{NO_VERSION, decode_txt, encode_txt};

/// How deep an endpoint's description of a type may nest. go-micro's own goes three deep.
pub const VALUE_DEPTH_MAX: usize = 32;

/// The largest JSON that is written, in bytes: etcd takes requests of 1.5 MiB unless told otherwise,
/// and there is more to a request than the value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Why an instance has no form in go-micro's JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// An endpoint's description nests too deep.
    #[error("an endpoint's description nests more than {VALUE_DEPTH_MAX} deep: leave out the rest")]
    TooDeep,
    /// The JSON is too large.
    #[error(
        "it takes {bytes} bytes, more than {VALUE_BYTES_MAX}: shorten its metadata or endpoints"
    )]
    TooLarge {
        /// How large it would be.
        bytes: usize,
    },
}

/// Why what others wrote is no instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It is not go-micro's JSON.
    #[error("it is not a service as go-micro writes it: {0}")]
    Json(String),
    /// It has no node, or several.
    #[error("it has {0} nodes in place of one")]
    Nodes(usize),
    /// An endpoint's description nests too deep.
    #[error("an endpoint's description nests more than {VALUE_DEPTH_MAX} deep")]
    TooDeep,
}

/// The instance as JSON.
pub fn encode(instance: &Instance) -> Result<Vec<u8>, Unfit> {
    if !instance.endpoints.iter().all(is_shallow) {
        return Err(Unfit::TooDeep);
    }
    let address = dialled(&instance.address);
    let mut metadata = instance.metadata.clone();
    let shadowed = metadata.remove(CARRIED);
    if let Some(carried) = Carried::of(instance, &address, shadowed).to_text() {
        metadata.insert(CARRIED.to_owned(), carried);
    }
    let service = Service {
        name: instance.service.to_string(),
        version: instance.version.clone(),
        metadata: Pairs(instance.service_metadata.clone()),
        endpoints: instance.endpoints.iter().map(record::Endpoint::from).collect(),
        nodes: vec![Node { id: instance.id.clone(), address, metadata: Pairs(metadata) }],
    };
    let json = serde_json::to_vec(&service).expect("strings, lists and maps of strings are JSON");
    match json.len() {
        bytes if bytes > VALUE_BYTES_MAX => Err(Unfit::TooLarge { bytes }),
        _ => Ok(json),
    }
}

/// The instance that the JSON says.
pub fn decode(json: &[u8]) -> Result<Instance, Malformed> {
    // Of a list, which Go refuses, the decoder would take the items for the fields.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Malformed::Json("it is no object".to_owned()));
    }
    let service: Service =
        serde_json::from_slice(json).map_err(|error| Malformed::Json(error.to_string()))?;
    let count = service.nodes.len();
    let [node] = <[Node; 1]>::try_from(service.nodes).map_err(|_| Malformed::Nodes(count))?;
    let mut instance = Instance::new(&service.name, &node.id);
    instance.version = service.version;
    instance.service_metadata = service.metadata.0;
    instance.endpoints = service.endpoints.into_iter().map(Endpoint::from).collect();
    if !instance.endpoints.iter().all(is_shallow) {
        return Err(Malformed::TooDeep);
    }
    instance.address = address::split(&node.address);
    instance.metadata = node.metadata.0;
    if let Some((carried, metadata)) = take_carried(&instance.metadata) {
        instance.metadata = metadata;
        carried.put_into(&mut instance);
    }
    Ok(instance)
}

/// What go-micro's clients dial: the address that needs no resolving, else the name; the port for plain
/// traffic if it is on, else the one for TLS.
pub fn dialled(address: &Address) -> String {
    address::join(address)
}

/// What the metadata carry for Larder, and the metadata without it. A pair of that name which is not
/// Larder's is metadata like any other.
fn take_carried(metadata: &Metadata) -> Option<(Carried, Metadata)> {
    let mut carried = Carried::from_text(metadata.get(CARRIED)?)?;
    let mut metadata = metadata.clone();
    metadata.remove(CARRIED);
    metadata.extend(carried.take_shadowed().map(|value| (CARRIED.to_owned(), value)));
    Some((carried, metadata))
}

fn is_shallow(endpoint: &Endpoint) -> bool {
    let values = endpoint.request.iter().chain(&endpoint.response);
    values.into_iter().all(|value| is_within(value, VALUE_DEPTH_MAX))
}

fn is_within(value: &Value, depth: usize) -> bool {
    depth > 0 && value.fields.iter().all(|field| is_within(field, depth - 1))
}

#[cfg(test)]
mod tests;
