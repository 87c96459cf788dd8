//! A node as go-micro's registry over multicast DNS describes it: the JSON inside of a TXT record.
//!
//! The record says everything but the node's id and address, which are the DNS name and the records
//! beside it.

use larder_registry::model::{Endpoint, Instance};
use serde::{Deserialize, Serialize};

use super::carried::{CARRIED, Carried};
use super::{Malformed, Unfit, VALUE_BYTES_MAX, address, is_shallow, record, take_carried};

/// What stands in a TXT record for no version: go-micro's own default, as its watches ignore a record
/// without one.
pub const NO_VERSION: &str = "latest";

/// The JSON. Its names are those of Go's fields, in capitals; an endpoint's are not.
#[derive(Debug, Serialize, Deserialize)]
struct Txt {
    #[serde(default, rename = "Metadata", deserialize_with = "record::or_default")]
    metadata: record::Pairs,
    #[serde(default, rename = "Service", deserialize_with = "record::or_default")]
    service: String,
    #[serde(default, rename = "Version", deserialize_with = "record::or_default")]
    version: String,
    #[serde(default, rename = "Endpoints", deserialize_with = "record::or_default")]
    endpoints: Vec<record::Endpoint>,
}

/// What the TXT record of `instance` says, whose address its other records give as `address`: an IP
/// address and a port, or nothing.
pub fn encode_txt(instance: &Instance, address: &str) -> Result<Vec<u8>, Unfit> {
    if !instance.endpoints.iter().all(is_shallow) {
        return Err(Unfit::TooDeep);
    }
    let mut metadata = instance.metadata.clone();
    let shadowed = metadata.remove(CARRIED);
    let carried = Carried::of(instance, address, shadowed).with_service(instance);
    if let Some(carried) = carried.to_text() {
        metadata.insert(CARRIED.to_owned(), carried);
    }
    let version = if instance.version.is_empty() { NO_VERSION } else { &instance.version };
    let txt = Txt {
        metadata: record::Pairs(metadata),
        service: instance.service.to_string(),
        version: version.to_owned(),
        endpoints: instance.endpoints.iter().map(record::Endpoint::from).collect(),
    };
    let json = serde_json::to_vec(&txt).expect("strings, lists and maps of strings are JSON");
    match json.len() {
        bytes if bytes > VALUE_BYTES_MAX => Err(Unfit::TooLarge { bytes }),
        _ => Ok(json),
    }
}

/// The instance `id` at `address`, of which a TXT record says `json`.
pub fn decode_txt(json: &[u8], id: &str, address: &str) -> Result<Instance, Malformed> {
    // Of a list, which Go refuses, the decoder would take the items for the fields.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Malformed::Json("it is no object".to_owned()));
    }
    let txt: Txt =
        serde_json::from_slice(json).map_err(|error| Malformed::Json(error.to_string()))?;
    let mut instance = Instance::new(&txt.service, id);
    instance.version = txt.version;
    instance.endpoints = txt.endpoints.into_iter().map(Endpoint::from).collect();
    if !instance.endpoints.iter().all(is_shallow) {
        return Err(Malformed::TooDeep);
    }
    instance.address = address::split(address);
    instance.metadata = txt.metadata.0;
    if let Some((carried, metadata)) = take_carried(&instance.metadata) {
        instance.metadata = metadata;
        carried.put_into(&mut instance);
    }
    Ok(instance)
}
