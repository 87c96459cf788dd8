//! go-micro's JSON: a service with its nodes, as Go's `encoding/json` writes it.
//!
//! Go writes `null` for a map or a list that was never made, and Larder an empty one; both are read,
//! and so is a field that is not there. Fields that go-micro does not have are skipped.

use indexmap::IndexMap;
use larder_registry::model::{self, Metadata};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Service {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: Pairs,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) address: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) metadata: Pairs,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Endpoint {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    request: Option<Value>,
    #[serde(default)]
    response: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    metadata: Pairs,
}

#[derive(Debug, Serialize, Deserialize)]
struct Value {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    values: Vec<Value>,
}

/// Metadata, as an object of strings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pairs(pub(super) Metadata);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = IndexMap::<String, String>::deserialize(deserializer)?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl From<&model::Endpoint> for Endpoint {
    fn from(endpoint: &model::Endpoint) -> Self {
        Self {
            name: endpoint.name.clone(),
            request: endpoint.request.as_ref().map(Value::from),
            response: endpoint.response.as_ref().map(Value::from),
            metadata: Pairs(endpoint.metadata.clone()),
        }
    }
}

impl From<Endpoint> for model::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            name: endpoint.name,
            request: endpoint.request.map(Into::into),
            response: endpoint.response.map(Into::into),
            metadata: endpoint.metadata.0,
        }
    }
}

impl From<&model::Value> for Value {
    fn from(value: &model::Value) -> Self {
        Self {
            name: value.name.clone(),
            kind: value.kind.clone(),
            values: value.fields.iter().map(Self::from).collect(),
        }
    }
}

impl From<Value> for model::Value {
    fn from(value: Value) -> Self {
        let fields = value.values.into_iter().map(Into::into).collect();
        Self { name: value.name, kind: value.kind, fields }
    }
}
