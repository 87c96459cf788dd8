//! What Consul has no field for, as pairs of a service's `Meta`.
//!
//! It is an [`Instance`] without all that Consul has a field for, in the form in which etcd holds one
//! ([`larder_micro::mapping`]), cut into pieces that Consul takes: `larder-0`, `larder-1`, …

use larder_micro::mapping;
use larder_registry::Error;
use larder_registry::model::{Instance, Metadata};

use crate::wire::definition::{MAX_META, MAX_META_VALUE_BYTES, meta_fault};

/// How the keys begin. The user's own pairs that begin like this are carried as well.
const PREFIX: &str = "larder-";

/// Why an instance has no form in Consul.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It belongs to no service.
    #[error("the service has no name: give it one")]
    NoName,
    /// Its description has no form.
    #[error(transparent)]
    Form(#[from] mapping::Unfit),
    /// There is too much that Consul has no field for.
    #[error(
        "what Consul has no field for takes {bytes} bytes, more than the {max} that {MAX_META} pairs of Meta \
         hold: shorten its metadata, endpoints or checks",
        max = MAX_META * MAX_META_VALUE_BYTES
    )]
    TooLarge {
        /// How much it is.
        bytes: usize,
    },
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::Invalid(unfit.to_string())
    }
}

/// `Meta` as it is written: the pairs that Consul takes, and what is carried of `rest`, an instance without what
/// Consul has fields for.
pub(super) fn pack(metadata: &Metadata, rest: &Instance) -> Result<Metadata, Unfit> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let is_native =
        |(key, value): &(&str, &str)| meta_fault(key, value).is_none() && !key.starts_with(PREFIX);
    let (native, carried): (Vec<_>, Vec<_>) = metadata.iter().partition(is_native);
    let carry = |pairs: Metadata| pieces(&Instance { metadata: pairs, ..rest.clone() });
    let pieces = carry(carried.into_iter().map(owned).collect())?;
    if native.len() + pieces.len() <= MAX_META {
        return Ok(native.into_iter().map(owned).chain(numbered(pieces)).collect());
    }
    // Many short pairs take less room as one long text.
    let pieces = carry(metadata.clone())?;
    if pieces.len() > MAX_META {
        return Err(Unfit::TooLarge { bytes: pieces.iter().map(String::len).sum() });
    }
    Ok(numbered(pieces).collect())
}

fn numbered(pieces: Vec<String>) -> impl Iterator<Item = (String, String)> {
    pieces.into_iter().enumerate().map(|(number, piece)| (format!("{PREFIX}{number}"), piece))
}

/// The text, cut at letters' borders.
fn pieces(rest: &Instance) -> Result<Vec<String>, Unfit> {
    let text = String::from_utf8_lossy(&mapping::encode(rest)?).into_owned();
    let mut pieces = Vec::new();
    let mut left = &*text;
    while !left.is_empty() {
        let end = left.len().min(MAX_META_VALUE_BYTES);
        let end = (1..=end).rev().find(|end| left.is_char_boundary(*end)).unwrap_or(left.len());
        let (piece, after) = left.split_at(end);
        pieces.push(piece.to_owned());
        left = after;
    }
    Ok(pieces)
}

/// What Larder carries in this `Meta`, with the metadata that the user gave; none if Larder did not write it.
pub(super) fn unpack(meta: &Metadata) -> Option<Instance> {
    let numbers = (0..MAX_META).map(|number| format!("{PREFIX}{number}"));
    let text: String = numbers.map_while(|key| meta.get(&key)).collect();
    let mut rest = mapping::decode(text.as_bytes()).ok()?;
    let native = meta.iter().filter(|(key, _)| !key.starts_with(PREFIX));
    let mut metadata: Metadata =
        native.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    metadata.extend(rest.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    rest.metadata = metadata;
    Some(rest)
}
