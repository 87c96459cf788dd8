//! Events that users fire.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::base64;

/// An element of `event/list`, and what `event/fire/:name` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UserEvent<'a> {
    /// A UUID.
    #[serde(rename = "ID")]
    pub id: Cow<'a, str>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// What was fired along, printed in base64; `null` if nothing.
    #[serde(with = "base64::bytes")]
    pub payload: Cow<'a, [u8]>,
    /// Regular expression of the nodes it is for; empty for all.
    pub node_filter: Cow<'a, str>,
    /// Regular expression of the services it is for; empty for all.
    pub service_filter: Cow<'a, str>,
    /// Regular expression of the tags it is for; empty for all.
    pub tag_filter: Cow<'a, str>,
    /// The form's version: 1.
    pub version: i64,
    /// The gossip's logical time.
    #[serde(rename = "LTime")]
    pub l_time: u64,
}
