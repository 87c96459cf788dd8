//! A JSON object whose keys are read in any spelling.

use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::{Metadata, TaggedAddress};
use serde_json::{Map, Value};

use super::{Invalid, bounds};
use crate::wire::duration;
use crate::wire::parts::Document;

/// The document; deeper than 128 levels is refused by the reader.
pub(super) fn json(body: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid::Json(error.to_string()))
}

/// An object's fields by the folded form of their keys. Of two keys that fold alike the later counts.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Where the object stands, such as `Check.`; empty for the body.
    place: &'a str,
    values: BTreeMap<String, &'a Value>,
}

/// In lower case and without underscores: `Service_ID` and `serviceid` are one.
fn fold(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

impl<'a> Fields<'a> {
    /// The fields of an object that stands at `place`, which ends with a dot or is empty.
    pub(super) fn of(place: &'a str, value: &'a Value) -> Result<Self, Invalid> {
        let name = if place.is_empty() { "the body" } else { place.trim_end_matches('.') };
        let map = value.as_object().ok_or_else(|| Invalid::field(name, "an object"))?;
        let values = map.iter().filter(|(_, value)| !value.is_null());
        Ok(Self { place, values: values.map(|(key, value)| (fold(key), value)).collect() })
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a field that is there and not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.values.get(&fold(name)).copied()
    }

    fn wrong(&self, name: &str, expected: impl Into<String>) -> Invalid {
        Invalid::field(format!("{}{name}", self.place), expected)
    }

    /// A text of at most `max` bytes; empty if it is not there.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<String, Invalid> {
        let Some(value) = self.get(name) else { return Ok(String::new()) };
        let text = value.as_str().ok_or_else(|| self.wrong(name, "a text"))?;
        self.bounded(name, text, max).map(str::to_owned)
    }

    fn bounded<'t>(&self, name: &str, text: &'t str, max: usize) -> Result<&'t str, Invalid> {
        let fits = text.len() <= max;
        fits.then_some(text).ok_or_else(|| self.wrong(name, format!("at most {max} bytes")))
    }

    /// A name or an id: it stands in paths, where one or two dots mean something else.
    pub(super) fn name(&self, name: &str) -> Result<String, Invalid> {
        let text = self.text(name, bounds::MAX_TEXT_BYTES)?;
        if matches!(&*text, "." | "..") || text.chars().any(char::is_control) {
            return Err(self.wrong(name, "neither dots alone nor control characters"));
        }
        Ok(text)
    }

    /// A truth value; false if it is not there.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Invalid> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong(name, "true or false"))
    }

    /// A whole number; 0 if it is not there.
    pub(super) fn number<N: TryFrom<i64>>(&self, name: &str, expected: &str) -> Result<N, Invalid> {
        let number = self.get(name).map_or(Some(0), Value::as_i64);
        let number = number.and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| self.wrong(name, expected))
    }

    /// A text in Go's form, or a number of nanoseconds; zero if it is not there.
    pub(super) fn duration(&self, name: &str) -> Result<Duration, Invalid> {
        let Some(value) = self.get(name) else { return Ok(Duration::ZERO) };
        let read = match value {
            // A form's empty field.
            Value::String(text) if text.is_empty() => Ok(Duration::ZERO),
            Value::String(text) => duration::parse(text),
            value => match value.as_i64().map(u64::try_from) {
                Some(Ok(nanos)) => Ok(Duration::from_nanos(nanos)),
                Some(Err(_)) => Err(duration::Invalid::Negative),
                None => Err(duration::Invalid::Syntax),
            },
        };
        let read = read.map_err(|error| {
            let says = error.to_string();
            self.wrong(name, says.trim_start_matches("expected "))
        })?;
        let fits = read <= bounds::MAX_PERIOD;
        fits.then_some(read).ok_or_else(|| self.wrong(name, "a duration of at most a year"))
    }

    /// At most `max` texts of at most `max_bytes` each.
    pub(super) fn texts(
        &self,
        name: &str,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<String>, Invalid> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        self.texts_in(name, value, max, max_bytes)
    }

    fn texts_in(
        &self,
        name: &str,
        value: &Value,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<String>, Invalid> {
        let wrong = || self.wrong(name, format!("a list of at most {max} texts"));
        let items = value.as_array().filter(|items| items.len() <= max).ok_or_else(wrong)?;
        let text = |item: &Value| {
            let text = item.as_str().ok_or_else(wrong)?;
            self.bounded(name, text, max_bytes).map(str::to_owned)
        };
        items.iter().map(text).collect()
    }

    fn object(&self, name: &str, max: usize) -> Result<Option<&'a Map<String, Value>>, Invalid> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(name, "an object"))?;
        let fits = map.len() <= max;
        fits.then_some(Some(map)).ok_or_else(|| self.wrong(name, format!("at most {max} entries")))
    }

    /// Pairs of texts, as many as there are: `Meta` has bounds and words of its own.
    pub(super) fn pairs(&self, name: &str) -> Result<Metadata, Invalid> {
        let pairs = self.object(name, usize::MAX)?.into_iter().flatten();
        let pair = |(key, value): (&String, &Value)| match value {
            Value::Null => Ok((key.clone(), String::new())),
            Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(self.wrong(name, "texts as values")),
        };
        pairs.map(pair).collect()
    }

    /// A node's addresses by network.
    pub(super) fn node_addresses(&self, name: &str) -> Result<BTreeMap<String, String>, Invalid> {
        let pairs = self.object(name, bounds::MAX_ITEMS)?.into_iter().flatten();
        let max = bounds::MAX_TEXT_BYTES;
        let address = |(network, value): (&String, &Value)| {
            let text = value.as_str().ok_or_else(|| self.wrong(name, "texts as values"))?;
            Ok((
                self.bounded(name, network, max)?.to_owned(),
                self.bounded(name, text, max)?.to_owned(),
            ))
        };
        pairs.map(address).collect()
    }

    /// A service's addresses by network.
    pub(super) fn service_addresses(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, TaggedAddress>, Invalid> {
        let pairs = self.object(name, bounds::MAX_ITEMS)?.into_iter().flatten();
        let address = |(network, value): (&String, &Value)| {
            let network = self.bounded(name, network, bounds::MAX_TEXT_BYTES)?.to_owned();
            let fields = Fields::of("TaggedAddresses.", value)?;
            let address = fields.text("Address", bounds::MAX_TEXT_BYTES)?;
            let port = fields.number("Port", "a number from 0 to 65535")?;
            Ok((network, TaggedAddress { address, port }))
        };
        pairs.map(address).collect()
    }

    /// Headers: lists of texts by name.
    pub(super) fn headers(&self, name: &str) -> Result<BTreeMap<String, Vec<String>>, Invalid> {
        let pairs = self.object(name, bounds::MAX_ITEMS)?.into_iter().flatten();
        let header = |(header, value): (&String, &Value)| {
            let max = bounds::MAX_PROSE_BYTES;
            let header = self.bounded(name, header, bounds::MAX_TEXT_BYTES)?.to_owned();
            Ok((header, self.texts_in(name, value, bounds::MAX_ITEMS, max)?))
        };
        pairs.map(header).collect()
    }

    /// A document that is kept as it is; none if it is empty all through.
    pub(super) fn document(&self, name: &str) -> Result<Option<String>, Invalid> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if !value.is_object() {
            return Err(self.wrong(name, "an object"));
        }
        let document = Document::of(value);
        self.bounded(name, &document.0, bounds::MAX_DOCUMENT_BYTES)?;
        Ok(Some(document.0.into_owned()).filter(|text| !text.is_empty()))
    }
}
