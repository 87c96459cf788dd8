//! Eureka's XML: written as Netflix's `XStreamXml` writes it, read more tolerantly.

pub(crate) mod compact;
mod encode;
mod names;
mod read;
mod text;

use larder_registry::model::Instance;

use super::registration::{self, Dialect, Registration};
use super::tree::{Tree, quote};
use super::{Application, Applications, DecodeError, listed};

pub use encode::instance;
pub(crate) use encode::{application, close_app, close_list, open_app, open_list, write_listed};

/// XML escapes metadata keys, and Netflix's decoder reads statuses in any case.
const DIALECT: Dialect = Dialect { metadata_key: names::unescape, status_in_any_case: true };

/// The root that very old clients send.
const CLASS_ROOT: &str = "com.netflix.appinfo.InstanceInfo";

/// Reads the body of a registration: `<instance>…</instance>`.
pub fn decode_registration(body: &[u8]) -> Result<Registration, DecodeError> {
    registration::read(&root(body, "instance")?, DIALECT)
}

/// Reads one instance as a server prints it.
pub fn decode_instance(body: &[u8]) -> Result<Instance, DecodeError> {
    Ok(decode_registration(body)?.into_listed(""))
}

/// Reads one application as a server prints it: `<application>…</application>`.
pub fn decode_application(body: &[u8]) -> Result<Application, DecodeError> {
    listed::application(&root(body, "application")?, DIALECT)
}

/// Reads the answer to `GET apps`: `<applications>…</applications>`.
pub fn decode_applications(body: &[u8]) -> Result<Applications, DecodeError> {
    listed::applications(&root(body, "applications")?, DIALECT)
}

fn root(body: &[u8], expected: &'static str) -> Result<Tree, DecodeError> {
    let (name, tree) = read::document(super::as_utf8(body)?)?;
    if name == expected || (expected == "instance" && name == CLASS_ROOT) {
        return Ok(tree);
    }
    Err(DecodeError::Root { expected, found: quote(&name) })
}
