//! Pairs of texts.

use std::fmt;

use indexmap::IndexMap;

/// Free text that users attach to something: pairs with distinct keys, in the order in which they wrote them,
/// which does not count when two are compared.
///
/// A registry holds very many of these and hardly ever changes one, so all of its texts are one piece of
/// memory: five pairs take a third of what a map of them does. To find a key, and to change anything, takes as
/// long as there are pairs; many are put in at once by [`collect`](Iterator::collect) or
/// [`extend`](Extend::extend).
#[derive(Clone, Default)]
pub struct Metadata {
    text: Box<str>,
    /// Where each key and each value ends in it, in turn.
    ends: Box<[usize]>,
}

impl Metadata {
    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Keys and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.chunks_exact(2).map(move |ends| {
            let pair = (&self.text[start..ends[0]], &self.text[ends[0]..ends[1]]);
            start = ends[1];
            pair
        })
    }

    /// Keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(held, _)| *held == key).map(|(_, value)| value)
    }

    /// Whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Adds a pair at the end, or gives the key that is there another value.
    pub fn insert(&mut self, key: String, value: String) {
        self.extend([(key, value)]);
    }

    /// Takes a pair out, and hands back its value. The others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let value = self.get(key)?.to_owned();
        *self = Self::packed(self.iter().filter(|(held, _)| *held != key));
        Some(value)
    }

    /// Of pairs with distinct keys.
    fn packed<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for part in pairs.flat_map(|(key, value)| [key, value]) {
            text.push_str(part);
            ends.push(text.len());
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        let as_it_stands = self.text == other.text && self.ends == other.ends;
        let map = |held: &Self| -> IndexMap<String, String> { owned(held).collect() };
        as_it_stands || (self.len() == other.len() && map(self) == map(other))
    }
}

impl Eq for Metadata {}

fn owned(metadata: &Metadata) -> impl Iterator<Item = (String, String)> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned()))
}

impl Extend<(String, String)> for Metadata {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, pairs: I) {
        *self = owned(self).chain(pairs).collect();
    }
}

/// Of two pairs with one key, the value of the later counts, at the place of the first.
impl FromIterator<(String, String)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let pairs: IndexMap<String, String> = pairs.into_iter().collect();
        Self::packed(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl<const N: usize> From<[(String, String); N]> for Metadata {
    fn from(pairs: [(String, String); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_order_is_kept_and_does_not_count() {
        let one = Metadata::from([pair("b", "1"), pair("a", "2"), pair("b", "3")]);
        let other = Metadata::from([pair("a", "2"), pair("b", "3")]);
        assert_eq!(one.iter().collect::<Vec<_>>(), [("b", "3"), ("a", "2")]);
        assert_eq!(one, other);
        assert_ne!(one, Metadata::from([pair("a", "2"), pair("b", "4")]));
        assert_ne!(Metadata::from([pair("a", "bc")]), Metadata::from([pair("ab", "c")]));
    }

    proptest! {
        /// Against a map.
        #[test]
        fn it_does_what_a_map_does(
            steps in prop::collection::vec(("[aé]{0,2}", prop::option::of("[a-zß]{0,3}")), 0..24),
        ) {
            let (mut metadata, mut map) = (Metadata::new(), IndexMap::new());
            for (key, value) in steps {
                if let Some(value) = value {
                    metadata.insert(key.clone(), value.clone());
                    map.insert(key, value);
                } else {
                    prop_assert_eq!(metadata.remove(&key), map.shift_remove(&key));
                }
                prop_assert_eq!(&metadata, &map.clone().into_iter().collect::<Metadata>());
            }
            prop_assert_eq!((metadata.len(), metadata.is_empty()), (map.len(), map.is_empty()));
            let pairs = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            prop_assert!(metadata.iter().eq(pairs));
            prop_assert!(map.iter().all(|(key, value)| metadata.get(key) == Some(value)));
        }
    }
}
