//! A request's query and headers, read as Consul's agent reads them: what is asked for, how it is to be
//! answered, and by whom it is asked.
//!
//! Where Consul's `url.Values` would hand out the first of several values, so does this; where it drops a
//! parameter that it cannot decode, this refuses the request, as a filter that is not applied shows more
//! than was asked for.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use crate::question::{KvForm, Selection, Token};
use crate::terms::{Consistency, Terms};

mod bad;
pub mod cache_control;
mod go;
mod query;

pub use self::bad::BadParameter;
pub(crate) use self::go::{number, truth};

/// The most parameters that are read.
pub const MAX_PARAMETERS: usize = 256;

/// The longest query that is read, in bytes.
pub const MAX_QUERY: usize = 32 * 1024;

/// The longest token that is read, in bytes.
pub const MAX_TOKEN: usize = 4 * 1024;

static TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
static NAMESPACE: HeaderName = HeaderName::from_static("x-consul-namespace");
static PARTITION: HeaderName = HeaderName::from_static("x-consul-partition");

/// What a request says beside its method, path and body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Which part of the answer.
    pub selection: Selection,
    /// How it is to be answered.
    pub terms: Terms,
    /// Who asks.
    pub token: Token,
}

impl Asked {
    /// The first value of a parameter that has no meaning for reads, such as `flags`, `cas` or `note`;
    /// empty where it has none.
    pub fn other(&self, name: &str) -> Option<&str> {
        let others = &self.selection.others;
        others.iter().find(|(other, _)| **other == *name).map(|(_, value)| &**value)
    }
}

/// Reads a request's query and headers.
///
/// Parameters whose presence is enough (`stale`, `consistent`, `leader`, `cached`, `recurse`, `keys`, `raw`,
/// `pretty`) may have any value, `false` too, as with Consul. `leader` says what goes without saying.
pub fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Asked, BadParameter> {
    let mut said = Said::default();
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        if query.len() > MAX_QUERY {
            return Err(BadParameter::QueryTooLong);
        }
        for (place, pair) in query::pairs(query).enumerate() {
            if place == MAX_PARAMETERS {
                return Err(BadParameter::TooMany);
            }
            let (name, value) = pair?;
            said.take(&name, value)?;
        }
    }
    refuse_enterprise(&said, headers)?;
    let token = token(said.token.take(), headers)?;
    let terms = said.terms(headers)?;
    Ok(Asked { selection: said.selection(), terms, token })
}

/// What the query says, in the order of the request: of each parameter, the first value.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter that is there or not")]
struct Said<'a> {
    index: Option<Cow<'a, str>>,
    wait: Option<Cow<'a, str>>,
    hash: Option<Cow<'a, str>>,
    max_stale: Option<Cow<'a, str>>,
    dc: Option<Cow<'a, str>>,
    datacenter: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    partition: Option<Cow<'a, str>>,
    filter: Option<Cow<'a, str>>,
    near: Option<Cow<'a, str>>,
    passing: Option<bool>,
    separator: Option<Cow<'a, str>>,
    /// Consul's own old mistake, which it still has to understand.
    seperator: Option<Cow<'a, str>>,
    stale: bool,
    consistent: bool,
    cached: bool,
    recurse: bool,
    keys: bool,
    raw: bool,
    /// What goes into the selection as it is.
    selection: Selection,
}

impl<'a> Said<'a> {
    fn take(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), BadParameter> {
        let place = match name {
            "index" => &mut self.index,
            "wait" => &mut self.wait,
            "hash" => &mut self.hash,
            "max_stale" => &mut self.max_stale,
            "dc" => &mut self.dc,
            "datacenter" => &mut self.datacenter,
            "token" => &mut self.token,
            "ns" => &mut self.namespace,
            "partition" => &mut self.partition,
            "filter" => &mut self.filter,
            "near" => &mut self.near,
            "separator" => &mut self.separator,
            "seperator" => &mut self.seperator,
            _ => return self.take_other(name, value),
        };
        place.get_or_insert(value);
        Ok(())
    }

    fn take_other(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), BadParameter> {
        match name {
            "stale" => self.stale = true,
            "consistent" => self.consistent = true,
            "cached" => self.cached = true,
            "recurse" => self.recurse = true,
            "keys" => self.keys = true,
            "raw" => self.raw = true,
            "pretty" => self.selection.pretty = true,
            "tag" => self.selection.tags.push(kept(value)),
            "node-meta" => {
                let (key, value) = value.split_once(':').unwrap_or((&value, ""));
                self.selection.node_meta.push((key.into(), value.into()));
            }
            "passing" if self.passing.is_none() => {
                let truth = if value.is_empty() { Some(true) } else { go::truth(&value) };
                self.passing = Some(truth.ok_or(BadParameter::Passing)?);
            }
            "leader" | "passing" | "" => {}
            _ => self.selection.others.push((name.into(), kept(value))),
        }
        Ok(())
    }

    fn terms(&mut self, headers: &HeaderMap) -> Result<Terms, BadParameter> {
        let wait = match self.wait.take().filter(|wait| !wait.is_empty()) {
            Some(wait) => Some(go::duration(&wait).ok_or(BadParameter::Wait)?),
            None => None,
        };
        let index = match self.index.take().filter(|index| !index.is_empty()) {
            Some(index) => go::number(&index).ok_or(BadParameter::Index)?,
            None => 0,
        };
        let cache_control = cache_control::read(headers)?;
        let max_stale = match self.max_stale.take().filter(|bound| !bound.is_empty()) {
            Some(bound) => Some(
                go::duration(&bound)
                    .ok_or_else(|| BadParameter::MaxStale(bound.into_owned().into()))?,
            ),
            None => None,
        };
        // Without a leeway that is one, it is a word for nothing.
        let max_stale = max_stale.filter(|bound| !bound.is_zero());
        let consistency = self.consistency(max_stale.is_some())?;
        let hash = present(self.hash.take());
        Ok(Terms { consistency, index, wait, hash, cached: self.cached, cache_control, max_stale })
    }

    fn consistency(&self, is_bounded: bool) -> Result<Consistency, BadParameter> {
        let stale = self.stale || is_bounded;
        match (stale, self.consistent) {
            (true, true) => Err(BadParameter::StaleAndConsistent),
            (false, true) if self.cached => Err(BadParameter::CachedAndConsistent),
            (false, true) => Ok(Consistency::Consistent),
            (true, false) => Ok(Consistency::Stale),
            (false, false) => Ok(Consistency::Leader),
        }
    }

    fn selection(self) -> Selection {
        let mut selection = self.selection;
        selection.datacenter = present(self.datacenter).or(present(self.dc));
        selection.passing = self.passing.unwrap_or(false);
        selection.filter = present(self.filter);
        selection.near = present(self.near);
        selection.kv = if self.keys {
            let separator = self.separator.or(self.seperator);
            KvForm::Keys { separator: separator.map(kept).unwrap_or_default() }
        } else if self.recurse {
            KvForm::Recurse
        } else if self.raw {
            KvForm::Raw
        } else {
            KvForm::Entry
        };
        selection.tags.sort_unstable();
        selection.tags.dedup();
        selection.node_meta.sort_unstable();
        selection.node_meta.dedup();
        // The order among values of one name is kept: it is the first that counts.
        selection.others.sort_by(|one, other| one.0.cmp(&other.0));
        selection.others.dedup();
        selection
    }
}

fn refuse_enterprise(said: &Said<'_>, headers: &HeaderMap) -> Result<(), BadParameter> {
    let enterprise = |place, name, feature| Err(BadParameter::Enterprise { place, name, feature });
    let is_sent = |name: &HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    let is_said =
        |value: &Option<Cow<'_, str>>| value.as_ref().is_some_and(|value| !value.is_empty());
    if is_sent(&NAMESPACE) {
        return enterprise("header", "X-Consul-Namespace", "Namespaces");
    }
    if is_said(&said.namespace) {
        return enterprise("query parameter", "ns", "Namespaces");
    }
    if is_sent(&PARTITION) {
        return enterprise("header", "X-Consul-Partition", "Partitions");
    }
    if is_said(&said.partition) {
        return enterprise("query parameter", "partition", "Partitions");
    }
    Ok(())
}

/// `?token`, else `X-Consul-Token`, else `Authorization: Bearer`. A header that is no text names nobody.
fn token(said: Option<Cow<'_, str>>, headers: &HeaderMap) -> Result<Token, BadParameter> {
    let said = said.filter(|token| !token.is_empty());
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let secret = said.as_deref();
    let secret = secret.or_else(|| header(&TOKEN).filter(|token| !token.is_empty()));
    let secret = secret.or_else(|| header(&AUTHORIZATION).and_then(bearer));
    match secret {
        Some(secret) if secret.len() > MAX_TOKEN => Err(BadParameter::TokenTooLong),
        Some(secret) => Ok(Token::new(secret)),
        None => Ok(Token::default()),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim()).filter(|secret| !secret.is_empty())
}

fn present(value: Option<Cow<'_, str>>) -> Option<Box<str>> {
    value.filter(|value| !value.is_empty()).map(kept)
}

fn kept(value: Cow<'_, str>) -> Box<str> {
    value.into_owned().into_boxed_str()
}

#[cfg(test)]
mod tests;
