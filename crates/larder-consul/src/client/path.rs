//! Questions as paths and queries of Consul's API.
//!
//! Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::question::{Endpoint, KvForm, Question, Selection};

/// What stands for itself in a segment of a path, and in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for itself in the path of a key: its slashes are part of it.
const KEY: &AsciiSet = &PLAIN.remove(b'/');

/// Text, as a segment of a path or in a query.
pub(crate) fn plain(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, PLAIN)
}

/// Where a question is asked, without what a wait adds.
pub(crate) fn path(question: &Question) -> String {
    let mut target = Target::new(&endpoint(&question.endpoint));
    select(&mut target, &question.selection);
    if matches!(question.endpoint, Endpoint::Kv(_)) {
        form(&mut target, &question.selection.kv);
    }
    target.0
}

/// A path, to which a query is added.
#[derive(Debug)]
pub(crate) struct Target(String);

impl Target {
    /// A path without a query; encoded.
    pub(crate) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Adds `name=value`; `name` alone for no value.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.extend(utf8_percent_encode(name, PLAIN));
        if !value.is_empty() {
            self.0.push('=');
            self.0.extend(utf8_percent_encode(value, PLAIN));
        }
    }

    /// The whole.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Datacenters => "/v1/catalog/datacenters".to_owned(),
        Endpoint::Nodes => "/v1/catalog/nodes".to_owned(),
        Endpoint::Services => "/v1/catalog/services".to_owned(),
        Endpoint::Service(name) => format!("/v1/catalog/service/{}", plain(name)),
        Endpoint::ServiceConnect(name) => format!("/v1/catalog/connect/{}", plain(name)),
        Endpoint::Node(name) => format!("/v1/catalog/node/{}", plain(name)),
        Endpoint::NodeServices(name) => format!("/v1/catalog/node-services/{}", plain(name)),
        Endpoint::Health(name) => format!("/v1/health/service/{}", plain(name)),
        Endpoint::HealthConnect(name) => format!("/v1/health/connect/{}", plain(name)),
        Endpoint::HealthIngress(name) => format!("/v1/health/ingress/{}", plain(name)),
        Endpoint::Checks(name) => format!("/v1/health/checks/{}", plain(name)),
        Endpoint::NodeChecks(name) => format!("/v1/health/node/{}", plain(name)),
        Endpoint::ChecksInState(None) => "/v1/health/state/any".to_owned(),
        Endpoint::ChecksInState(Some(health)) => format!("/v1/health/state/{health}"),
        Endpoint::Kv(key) => format!("/v1/kv/{}", utf8_percent_encode(key, KEY)),
    }
}

fn select(target: &mut Target, selection: &Selection) {
    let optional =
        [("dc", &selection.datacenter), ("filter", &selection.filter), ("near", &selection.near)];
    for (name, value) in optional {
        if let Some(value) = value {
            target.add(name, value);
        }
    }
    for tag in &selection.tags {
        target.add("tag", tag);
    }
    for (key, value) in &selection.node_meta {
        target.add("node-meta", &format!("{key}:{value}"));
    }
    if selection.passing {
        target.add("passing", "1");
    }
    if selection.pretty {
        target.add("pretty", "");
    }
    for (name, value) in &selection.others {
        target.add(name, value);
    }
}

fn form(target: &mut Target, form: &KvForm) {
    match form {
        KvForm::Entry => {}
        KvForm::Raw => target.add("raw", ""),
        KvForm::Recurse => target.add("recurse", ""),
        KvForm::Keys { separator } => {
            target.add("keys", "");
            if !separator.is_empty() {
                target.add("separator", separator);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_registry::model::Health;

    use super::*;
    use crate::question::Token;

    fn asked(endpoint: Endpoint, selection: Selection) -> String {
        path(&Question { endpoint, selection, token: Token::new("never part of it") })
    }

    #[test]
    fn names_are_one_segment_and_keys_are_many() {
        let plain = Selection::default();
        for (endpoint, expected) in [
            (Endpoint::Health("a/b c".into()), "/v1/health/service/a%2Fb%20c"),
            (Endpoint::Kv("a/../b c/%2e".into()), "/v1/kv/a/../b%20c/%252e"),
            (Endpoint::Kv("".into()), "/v1/kv/"),
            (Endpoint::ChecksInState(None), "/v1/health/state/any"),
            (Endpoint::ChecksInState(Some(Health::Critical)), "/v1/health/state/critical"),
        ] {
            assert_eq!(asked(endpoint, plain.clone()), expected);
        }
    }

    #[test]
    fn every_wish_is_in_the_query() {
        let selection = Selection {
            datacenter: Some("dc2".into()),
            tags: vec!["a&b".into(), "c".into()],
            node_meta: vec![("rack".into(), "r=1".into())],
            passing: true,
            filter: Some("Service.Meta.v == \"1\"".into()),
            near: Some("_agent".into()),
            kv: KvForm::Recurse,
            pretty: true,
            others: vec![("merge-central-config".into(), "".into()), ("peer".into(), "p".into())],
        };
        assert_eq!(
            asked(Endpoint::Health("web".into()), selection),
            "/v1/health/service/web?dc=dc2&filter=Service.Meta.v%20%3D%3D%20%221%22&near=_agent\
             &tag=a%26b&tag=c&node-meta=rack%3Ar%3D1&passing=1&pretty&merge-central-config&peer=p"
        );
    }

    #[test]
    fn a_key_is_asked_for_in_its_form() {
        let with = |kv| asked(Endpoint::Kv("p/".into()), Selection { kv, ..Selection::default() });
        assert_eq!(with(KvForm::Entry), "/v1/kv/p/");
        assert_eq!(with(KvForm::Raw), "/v1/kv/p/?raw");
        assert_eq!(with(KvForm::Recurse), "/v1/kv/p/?recurse");
        let keys = |separator: &str| with(KvForm::Keys { separator: separator.into() });
        assert_eq!(keys(""), "/v1/kv/p/?keys");
        assert_eq!(keys("/"), "/v1/kv/p/?keys&separator=%2F");
    }
}
