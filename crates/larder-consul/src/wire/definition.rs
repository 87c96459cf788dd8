//! What clients register: the bodies of `agent/…/register`, `agent/check/update` and `catalog/…`.
//!
//! Keys are read in any letter case, with underscores or without, as Consul's decoders do for the sake of
//! clients such as py-consul; unknown keys are skipped, and `null` says nothing. What is wrong is refused in
//! Consul's own words where it has some ([`Invalid`]). Every text, list, map and document is bounded, deeper
//! than 128 levels nothing is read; the size of the whole is bounded by whoever reads the body.

mod bounds;
mod catalog;
mod check;
mod fields;
mod service;

use larder_registry::model::Health;

pub use bounds::*;
pub use catalog::{CatalogDeregistration, CatalogRegistration, deregistration, registration};
pub use check::{CheckRegistration, check};
pub use service::{ServiceRegistration, service};

use fields::Fields;

/// Why a body is refused: what Consul answers with status 400, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// It is no JSON.
    #[error("Request decode failed: {0}")]
    Json(String),
    /// A field is of the wrong kind, or too long, or too large.
    #[error("Request decode failed: {field}: expected {expected}")]
    Field {
        /// The field, as Consul calls it.
        field: String,
        /// What it could be.
        expected: String,
    },
    /// A service without a name.
    #[error("Missing service name")]
    ServiceName,
    /// An address that says where to listen, not where to connect to.
    #[error("Invalid service address")]
    ServiceAddress,
    /// A pair of metadata that Consul does not take.
    #[error("Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {why}")]
    MetaPair {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: MetaFault,
    },
    /// Too many pairs of metadata.
    #[error(
        "Invalid Service Meta: Node metadata cannot contain more than {MAX_META} key/value pairs"
    )]
    MetaCount,
    /// Weights below what Consul takes.
    #[error("Invalid Weights: {0} must be greater than {1}")]
    Weights(&'static str, i32),
    /// A check that cannot be run.
    #[error("Invalid check: {0}")]
    Check(&'static str),
    /// A check of a service with a status that there is not.
    #[error("Status for checks must 'passing', 'warning', 'critical'")]
    ServiceCheckStatus,
    /// A check of its own with a status that there is not.
    #[error("Bad check status")]
    CheckStatus,
    /// A check of its own without a name.
    #[error("Missing check name")]
    CheckName,
    /// A report with a status that there is not.
    #[error("Invalid check status: '{0}'")]
    UpdateStatus(String),
    /// An entry of the catalog without a node.
    #[error("Must provide node")]
    Node,
    /// An entry of the catalog without an address.
    #[error("Must provide address if SkipNodeUpdate is not set")]
    Address,
    /// A node's id that is no UUID.
    #[error("Bad node ID: expected a UUID such as 40e4a748-2192-161a-0510-9bf59fe950b5")]
    NodeId,
}

impl Invalid {
    fn field(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Field { field: field.into(), expected: expected.into() }
    }
}

/// What is wrong with a pair of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaFault {
    /// The key is empty.
    #[error("Key cannot be blank")]
    Blank,
    /// The key has other characters than `A-Za-z0-9_-`.
    #[error("Key contains invalid characters")]
    Characters,
    /// The key is longer than [`MAX_META_KEY_BYTES`].
    #[error("Key is too long (limit: {MAX_META_KEY_BYTES} characters)")]
    LongKey,
    /// The key begins like Consul's own.
    #[error("Key prefix 'consul-' is reserved for internal use")]
    Reserved,
    /// The value is longer than [`MAX_META_VALUE_BYTES`].
    #[error("Value is too long (limit: {MAX_META_VALUE_BYTES} characters)")]
    LongValue,
}

/// What keeps Consul from taking this pair as a service's metadata; none if it takes it.
pub fn meta_fault(key: &str, value: &str) -> Option<MetaFault> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if key.is_empty() {
        Some(MetaFault::Blank)
    } else if !key.bytes().all(is_known) {
        Some(MetaFault::Characters)
    } else if key.len() > MAX_META_KEY_BYTES {
        Some(MetaFault::LongKey)
    } else if key.starts_with("consul-") {
        Some(MetaFault::Reserved)
    } else if value.len() > MAX_META_VALUE_BYTES {
        Some(MetaFault::LongValue)
    } else {
        None
    }
}

/// The body of `agent/check/update/:id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckUpdate {
    /// What it says.
    pub status: Health,
    /// For people: why. Whoever stores it cuts it.
    pub output: String,
}

/// Reads the body of `agent/check/update/:id`.
pub fn check_update(body: &[u8]) -> Result<CheckUpdate, Invalid> {
    let body = fields::json(body)?;
    let fields = Fields::of("", &body)?;
    let status = fields.text("Status", MAX_TEXT_BYTES)?;
    let status = Health::from_name(&status).ok_or(Invalid::UpdateStatus(status))?;
    Ok(CheckUpdate { status, output: fields.text("Output", usize::MAX)? })
}

#[cfg(test)]
mod tests;
