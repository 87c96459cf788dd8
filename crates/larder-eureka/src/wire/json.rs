//! Eureka's JSON: written as Netflix's `LegacyJacksonJson` writes it, read more tolerantly.

pub(crate) mod compact;
mod encode;

use larder_registry::model::Instance;

use super::registration::{Dialect, Registration, read};
use super::tree::Tree;
use super::{Application, Applications, DecodeError, as_utf8};

pub(super) use encode::in_json;
pub(crate) use encode::{close_app, close_list, open_app, open_list};
pub use encode::{instance, registration, write_instance};

/// JSON writes keys as they are, and Netflix's decoder wants statuses in upper case.
pub(super) const DIALECT: Dialect =
    Dialect { metadata_key: str::to_owned, status_in_any_case: false };

/// Reads the body of a registration: `{"instance": {…}}`.
pub fn decode_registration(body: &[u8]) -> Result<Registration, DecodeError> {
    read(&root(body, "instance")?, DIALECT)
}

/// Reads one instance as a server prints it.
pub fn decode_instance(body: &[u8]) -> Result<Instance, DecodeError> {
    Ok(decode_registration(body)?.into_listed(""))
}

/// Reads one application as a server prints it: `{"application": {…}}`.
pub fn decode_application(body: &[u8]) -> Result<Application, DecodeError> {
    super::listed::application(&root(body, "application")?, DIALECT)
}

/// Reads the answer to `GET apps`: `{"applications": {…}}`.
pub fn decode_applications(body: &[u8]) -> Result<Applications, DecodeError> {
    super::listed::applications(&root(body, "applications")?, DIALECT)
}

/// Reads any document.
pub(super) fn document(body: &[u8]) -> Result<Tree, DecodeError> {
    serde_json::from_str(as_utf8(body)?).map_err(|error| DecodeError::Syntax(error.to_string()))
}

fn root(body: &[u8], expected: &'static str) -> Result<Tree, DecodeError> {
    let tree = match document(body)?.take(expected) {
        Ok(found) => return Ok(found),
        Err(tree) => tree,
    };
    let found = match tree.pairs() {
        [] => tree.describe(),
        [(key, _), ..] => super::tree::quote(key),
    };
    Err(DecodeError::Root { expected, found })
}
