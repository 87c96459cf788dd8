//! Entries of the key/value store.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::base64;

/// An element of `kv/:key`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DirEntry<'a> {
    /// How often it was locked.
    pub lock_index: u64,
    /// The key.
    pub key: Cow<'a, str>,
    /// A number that clients put there.
    pub flags: u64,
    /// Its bytes, printed in base64; `null` if there are none.
    #[serde(with = "base64::bytes")]
    pub value: Cow<'a, [u8]>,
    /// The session that holds its lock.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub session: Cow<'a, str>,
    /// The index at which it came.
    pub create_index: u64,
    /// The index at which it last changed.
    pub modify_index: u64,
}
