//! A document in either format, as one tree.
//!
//! XML takes the shape that Eureka's JSON gives it: an attribute becomes a key with `@` before it, and
//! the text of an element that has attributes or children becomes the key `$`. Repeated elements are
//! repeated keys. Order is kept, because users see it in their metadata.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Null,
    /// A string, number or truth value, as text.
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// The last value under `key` that is not null, as decoders that assign fields see it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.pairs().iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value).filter(|value| **value != Self::Null)
    }

    /// The same, taken out of the tree, which is handed back if there is none.
    pub(super) fn take(self, key: &str) -> Result<Self, Self> {
        let Self::Map(mut pairs) = self else { return Err(self) };
        match pairs.iter().rposition(|(name, _)| name == key) {
            Some(place) if pairs[place].1 != Self::Null => Ok(pairs.swap_remove(place).1),
            _ => Err(Self::Map(pairs)),
        }
    }

    /// Every value under `key`: repeated keys, lists and single values alike.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Self> {
        let values = self.pairs().iter().filter(move |(name, _)| name == key);
        values.flat_map(|(_, value)| match value {
            Self::Null => [].iter(),
            Self::List(items) => items.iter(),
            one => std::slice::from_ref(one).iter(),
        })
    }

    /// The pairs of a map; none for anything else.
    pub(super) fn pairs(&self) -> &[(String, Self)] {
        match self {
            Self::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The text of a leaf, or of an element with attributes.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Map(_) => match self.get("$")? {
                Self::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// What it looks like in an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(text) => quote(text),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "an object".to_owned(),
        }
    }
}

/// The beginning of `text` in quotation marks.
pub(super) fn quote(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Tree::Map(pairs))
    }
}
