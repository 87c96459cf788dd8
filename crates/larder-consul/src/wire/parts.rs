//! The lists, maps and documents that Consul's objects are made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use larder_registry::model::{Metadata, TaggedAddress};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// A list of texts, such as tags. Never printed as `null`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts<'a>(pub Cow<'a, [String]>);

impl<'a> From<&'a [String]> for Texts<'a> {
    fn from(texts: &'a [String]) -> Self {
        Self(Cow::Borrowed(texts))
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Texts<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Cow::Owned(super::or_default(deserializer)?)))
    }
}

/// Pairs of texts, such as `Meta`. Printed in the order of the keys, as Go prints a map; never as `null`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs<'a>(pub Cow<'a, Metadata>);

impl<'a> From<&'a Metadata> for Pairs<'a> {
    fn from(metadata: &'a Metadata) -> Self {
        Self(Cow::Borrowed(metadata))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        if self.0.keys().is_sorted() {
            self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        } else {
            let mut pairs: Vec<_> = self.0.iter().collect();
            pairs.sort_unstable();
            pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(Entries(pairs)) = Option::<Entries>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        Ok(Self(Cow::Owned(pairs.into_iter().collect())))
    }
}

/// A map's pairs in their order; a value that is `null` is an empty text, as for Go.
struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(Entries(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A node's addresses by network: plain texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeAddresses<'a>(pub Cow<'a, BTreeMap<String, String>>);

impl<'a> From<&'a BTreeMap<String, String>> for NodeAddresses<'a> {
    fn from(addresses: &'a BTreeMap<String, String>) -> Self {
        Self(Cow::Borrowed(addresses))
    }
}

impl Serialize for NodeAddresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for NodeAddresses<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Cow::Owned(super::or_default(deserializer)?)))
    }
}

/// A service's addresses by network: each with a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAddresses<'a>(pub Cow<'a, BTreeMap<String, TaggedAddress>>);

impl ServiceAddresses<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a BTreeMap<String, TaggedAddress>> for ServiceAddresses<'a> {
    fn from(addresses: &'a BTreeMap<String, TaggedAddress>) -> Self {
        Self(Cow::Borrowed(addresses))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceAddress<'a> {
    #[serde(default, alias = "address")]
    address: Cow<'a, str>,
    #[serde(default, alias = "port")]
    port: i64,
}

impl<'a> ServiceAddress<'a> {
    fn of(at: &'a TaggedAddress) -> Self {
        Self { address: Cow::Borrowed(&at.address), port: at.port.into() }
    }
}

impl Serialize for ServiceAddresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(tag, at)| (tag, ServiceAddress::of(at))))
    }
}

impl<'de> Deserialize<'de> for ServiceAddresses<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: BTreeMap<String, ServiceAddress<'_>> = super::or_default(deserializer)?;
        let held = map.into_iter().map(|(tag, at)| {
            let port = u16::try_from(at.port).unwrap_or(0);
            (tag, TaggedAddress { address: at.address.into_owned(), port })
        });
        Ok(Self(Cow::Owned(held.collect())))
    }
}

/// A JSON document that is handed on unread, such as a proxy's configuration; empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document<'a>(pub Cow<'a, str>);

impl Document<'_> {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// As an object's field that is always there: `{}` if there is none.
    pub(super) fn or_empty<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        self.parsed().unwrap_or_else(empty).serialize(serializer)
    }

    /// None where the text is no object: it was then not written by anybody who speaks Consul's API.
    fn parsed(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.0).ok().filter(serde_json::Value::is_object)
    }
}

/// As a field that is `null` if there is none.
impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parsed().serialize(serializer)
    }
}

/// What is empty all through, such as a plain service's `{"Mode":"","MeshGateway":{}}`, says nothing.
impl<'de> Deserialize<'de> for Document<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Document::of(&serde_json::Value::deserialize(deserializer)?))
    }
}

impl Document<'static> {
    /// The document that `value` is; none if it is empty all through.
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        if says_nothing(value) { Self::default() } else { Self(Cow::Owned(value.to_string())) }
    }
}

fn says_nothing(value: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Null, Object, String};
    match value {
        Null => true,
        String(text) => text.is_empty(),
        Array(items) => items.is_empty(),
        Object(fields) => fields.values().all(says_nothing),
        _ => false,
    }
}
