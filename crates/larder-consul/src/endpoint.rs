//! Which read a path stands for, and the way back: what to ask an upstream agent for a [`Question`].

use std::borrow::Cow;
use std::fmt::Write as _;

use larder_registry::model::Health;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::question::{Endpoint, KvForm, Question, Selection};

/// What stands for itself nowhere: all but RFC 3986's unreserved letters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same, where a slash is one.
const RESERVED_IN_KEY: &AsciiSet = &RESERVED.remove(b'/');

impl Endpoint {
    /// The read that a path stands for, as it stands in the request, with `/v1/` and percent-encoded. None
    /// for every other path, for a state that is none of Consul's, and for what is not UTF-8 when decoded.
    ///
    /// As with Consul, a name is all that follows, slashes too, and a path that ends where a name should
    /// begin has an empty one: see [`missing`](Self::missing). Of a key, nothing is tidied up: double slashes
    /// and `..` are part of it.
    pub fn from_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1/")?;
        let (family, rest) = path.split_once('/')?;
        if family == "kv" {
            return Some(Self::Kv(decode(rest)?));
        }
        match rest.split_once('/') {
            Some((read, name)) => Self::named(family, read, decode(name)?),
            None => Self::whole(family, rest),
        }
    }

    fn whole(family: &str, read: &str) -> Option<Self> {
        match (family, read) {
            ("catalog", "datacenters") => Some(Self::Datacenters),
            ("catalog", "nodes") => Some(Self::Nodes),
            ("catalog", "services") => Some(Self::Services),
            _ => None,
        }
    }

    fn named(family: &str, read: &str, name: Box<str>) -> Option<Self> {
        match (family, read) {
            ("catalog", "service") => Some(Self::Service(name)),
            ("catalog", "connect") => Some(Self::ServiceConnect(name)),
            ("catalog", "node") => Some(Self::Node(name)),
            ("catalog", "node-services") => Some(Self::NodeServices(name)),
            ("health", "service") => Some(Self::Health(name)),
            ("health", "connect") => Some(Self::HealthConnect(name)),
            ("health", "ingress") => Some(Self::HealthIngress(name)),
            ("health", "checks") => Some(Self::Checks(name)),
            ("health", "node") => Some(Self::NodeChecks(name)),
            ("health", "state") if &*name == "any" => Some(Self::ChecksInState(None)),
            ("health", "state") => {
                Health::from_name(&name).map(|state| Self::ChecksInState(Some(state)))
            }
            _ => None,
        }
    }

    /// Consul's sentence, for a 400, when the name that the path should end with is missing. A missing key is
    /// none where `selection` asks for all that begin with it.
    pub fn missing(&self, selection: &Selection) -> Option<&'static str> {
        let (name, sentence) = match self {
            Self::Service(name)
            | Self::ServiceConnect(name)
            | Self::Health(name)
            | Self::HealthConnect(name)
            | Self::HealthIngress(name)
            | Self::Checks(name) => (name, "Missing service name"),
            Self::Node(name) | Self::NodeServices(name) | Self::NodeChecks(name) => {
                (name, "Missing node name")
            }
            Self::Kv(key) if matches!(selection.kv, KvForm::Entry | KvForm::Raw) => {
                (key, "Missing key name")
            }
            Self::Datacenters
            | Self::Nodes
            | Self::Services
            | Self::ChecksInState(_)
            | Self::Kv(_) => {
                return None;
            }
        };
        name.is_empty().then_some(sentence)
    }

    /// The path that [`from_path`](Self::from_path) reads as this, percent-encoded.
    ///
    /// Slashes of a key are encoded where the key has parts that a proxy, a library for URLs or Consul's own
    /// router would tidy up. A name that is as a whole `.` or `..` cannot be guarded like that.
    pub fn path(&self) -> String {
        let named =
            |read: &str, name: &str| format!("/v1/{read}/{}", utf8_percent_encode(name, RESERVED));
        match self {
            Self::Datacenters => "/v1/catalog/datacenters".to_owned(),
            Self::Nodes => "/v1/catalog/nodes".to_owned(),
            Self::Services => "/v1/catalog/services".to_owned(),
            Self::Service(name) => named("catalog/service", name),
            Self::ServiceConnect(name) => named("catalog/connect", name),
            Self::Node(name) => named("catalog/node", name),
            Self::NodeServices(name) => named("catalog/node-services", name),
            Self::Health(name) => named("health/service", name),
            Self::HealthConnect(name) => named("health/connect", name),
            Self::HealthIngress(name) => named("health/ingress", name),
            Self::Checks(name) => named("health/checks", name),
            Self::NodeChecks(name) => named("health/node", name),
            Self::ChecksInState(state) => {
                named("health/state", state.map_or("any", Health::as_str))
            }
            Self::Kv(key) if is_tidy(key) => {
                format!("/v1/kv/{}", utf8_percent_encode(key, RESERVED_IN_KEY))
            }
            Self::Kv(key) => named("kv", key),
        }
    }
}

impl Question {
    /// What to ask an upstream agent: the path, and all that the selection says, in one order. The token is
    /// no part of it, as it belongs into a header, and neither is how the read is to be answered.
    pub fn path_and_query(&self) -> String {
        let mut text = self.endpoint.path();
        let mut separator = '?';
        for (name, value) in self.selection.pairs() {
            let name = utf8_percent_encode(name, RESERVED);
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{name}");
            if !value.is_empty() {
                let _ = write!(text, "={}", utf8_percent_encode(&value, RESERVED));
            }
            separator = '&';
        }
        text
    }
}

impl Selection {
    fn pairs(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let lists = self.tags.iter().map(|tag| ("tag", Cow::from(&**tag)));
        let node_meta = self.node_meta.iter();
        let lists = lists.chain(
            node_meta.map(|(key, value)| ("node-meta", Cow::from(format!("{key}:{value}")))),
        );
        let single = [
            ("dc", self.datacenter.as_deref()),
            ("filter", self.filter.as_deref()),
            ("near", self.near.as_deref()),
            ("passing", self.passing.then_some("")),
            ("pretty", self.pretty.then_some("")),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, Cow::from(value?))));
        let others = self.others.iter().map(|(name, value)| (&**name, Cow::from(&**value)));
        single.chain(self.kv.pairs()).chain(lists).chain(others)
    }
}

impl KvForm {
    fn pairs(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let (form, separator) = match self {
            Self::Entry => (None, None),
            Self::Raw => (Some("raw"), None),
            Self::Recurse => (Some("recurse"), None),
            Self::Keys { separator } => {
                (Some("keys"), Some(separator).filter(|cut| !cut.is_empty()))
            }
        };
        let separator = separator.map(|cut| ("separator", Cow::from(&**cut)));
        form.map(|form| (form, Cow::from(""))).into_iter().chain(separator)
    }
}

fn decode(text: &str) -> Option<Box<str>> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned().into_boxed_str())
}

/// Whether nothing on the way would take the key's slashes for something to tidy up.
fn is_tidy(key: &str) -> bool {
    !key.starts_with('/')
        && !key.contains("//")
        && !key.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::params;
    use crate::question::Token;

    fn read(path: &str) -> Option<Endpoint> {
        Endpoint::from_path(path)
    }

    #[test]
    fn every_read_has_a_path_and_every_path_its_read() {
        for (path, endpoint) in [
            ("/v1/catalog/datacenters", Endpoint::Datacenters),
            ("/v1/catalog/nodes", Endpoint::Nodes),
            ("/v1/catalog/services", Endpoint::Services),
            ("/v1/catalog/service/web", Endpoint::Service("web".into())),
            ("/v1/catalog/connect/web", Endpoint::ServiceConnect("web".into())),
            ("/v1/catalog/node/n1", Endpoint::Node("n1".into())),
            ("/v1/catalog/node-services/n1", Endpoint::NodeServices("n1".into())),
            ("/v1/health/service/web", Endpoint::Health("web".into())),
            ("/v1/health/connect/web", Endpoint::HealthConnect("web".into())),
            ("/v1/health/ingress/web", Endpoint::HealthIngress("web".into())),
            ("/v1/health/checks/web", Endpoint::Checks("web".into())),
            ("/v1/health/node/n1", Endpoint::NodeChecks("n1".into())),
            ("/v1/health/state/any", Endpoint::ChecksInState(None)),
            ("/v1/health/state/critical", Endpoint::ChecksInState(Some(Health::Critical))),
            ("/v1/kv/a/b", Endpoint::Kv("a/b".into())),
            ("/v1/kv/", Endpoint::Kv("".into())),
        ] {
            assert_eq!(read(path).as_ref(), Some(&endpoint));
            assert_eq!(endpoint.path(), path);
        }
    }

    #[test]
    fn other_paths_are_no_reads() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/kv",
            "/v2/kv/a",
            "v1/kv/a",
            "/v1/catalog",
            "/v1/catalog/",
            "/v1/catalog/services/",
            "/v1/catalog/register",
            "/v1/health/state/",
            "/v1/health/state/foo",
            "/v1/agent/self",
            "//v1/kv/a",
            "/v1//kv/a",
            "/v1/kv/%FF",
            "/v1/catalog/service/%C3",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn a_key_is_taken_as_it_is() {
        let key = |path| match read(path) {
            Some(Endpoint::Kv(key)) => key,
            other => panic!("{path} is {other:?}"),
        };
        assert_eq!(&*key("/v1/kv//a//b/"), "/a//b/");
        assert_eq!(&*key("/v1/kv/a/../b/./c"), "a/../b/./c");
        assert_eq!(&*key("/v1/kv/a%2F..%2Fb"), "a/../b");
        assert_eq!(&*key("/v1/kv/a+b%20c%25"), "a+b c%");
        assert_eq!(&*key("/v1/kv/%zz"), "%zz");
    }

    #[test]
    fn a_name_is_all_that_follows() {
        assert_eq!(read("/v1/health/service/a/b%2Fc"), Some(Endpoint::Health("a/b/c".into())));
        assert_eq!(read("/v1/health/service/web/"), Some(Endpoint::Health("web/".into())));
    }

    #[test]
    fn a_missing_name_is_told_in_consuls_words() {
        let missing = |path, kv| {
            let selection = Selection { kv, ..Selection::default() };
            read(path).expect("it is a read").missing(&selection)
        };
        for (path, sentence) in [
            ("/v1/catalog/service/", Some("Missing service name")),
            ("/v1/health/ingress/", Some("Missing service name")),
            ("/v1/health/checks/", Some("Missing service name")),
            ("/v1/catalog/node/", Some("Missing node name")),
            ("/v1/health/node/", Some("Missing node name")),
            ("/v1/catalog/nodes", None),
            ("/v1/kv/", Some("Missing key name")),
            ("/v1/kv/a", None),
        ] {
            assert_eq!(missing(path, KvForm::Entry), sentence, "{path}");
        }
        assert_eq!(missing("/v1/kv/", KvForm::Raw), Some("Missing key name"));
        assert_eq!(missing("/v1/kv/", KvForm::Recurse), None);
        assert_eq!(missing("/v1/kv/", KvForm::Keys { separator: "/".into() }), None);
    }

    #[test]
    fn slashes_that_would_be_tidied_up_are_encoded() {
        let path = |key: &str| Endpoint::Kv(key.into()).path();
        assert_eq!(path("a/b/"), "/v1/kv/a/b/");
        assert_eq!(path("a//b"), "/v1/kv/a%2F%2Fb");
        assert_eq!(path("/a"), "/v1/kv/%2Fa");
        assert_eq!(path("../a"), "/v1/kv/..%2Fa");
        assert_eq!(path("a/.b/é ?#"), "/v1/kv/a/.b/%C3%A9%20%3F%23");
    }

    #[test]
    fn a_question_is_asked_in_one_way() {
        let query =
            "z=1&tag=b&passing=1&tag=a&dc=dc2&node-meta=k:v&filter=a+==+%22b%22&pretty&near=_agent";
        let selection = params::read(Some(query), &http::HeaderMap::new()).unwrap().selection;
        let endpoint = Endpoint::Health("we b".into());
        let question = Question { endpoint, selection, token: Token::new("secret") };
        assert_eq!(
            question.path_and_query(),
            "/v1/health/service/we%20b?dc=dc2&filter=a%20%3D%3D%20%22b%22&near=_agent&passing&pretty\
             &tag=a&tag=b&node-meta=k%3Av&z=1"
        );
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c/.%+&=:;#? é]{0,6}", "\\PC{0,6}"]
    }

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        prop_oneof![
            Just(Endpoint::Nodes),
            text().prop_map(|name| Endpoint::Health(name.into())),
            text().prop_map(|name| Endpoint::NodeServices(name.into())),
            text().prop_map(|key| Endpoint::Kv(key.into())),
        ]
    }

    prop_compose! {
        fn query()(pairs in proptest::collection::vec((
            prop_oneof![
                "tag|node-meta|dc|datacenter|filter|near|passing|pretty|raw|recurse|keys|separator|other",
                "[a-b% =&+é]{0,3}",
            ],
            text(),
        ), 0..8)) -> String {
            let pairs = pairs.iter().map(|(name, value)| {
                let value = if name == "passing" { "t" } else { value };
                format!("{}={}", utf8_percent_encode(name, RESERVED), utf8_percent_encode(value, RESERVED))
            });
            pairs.collect::<Vec<_>>().join("&")
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_of_an_upstream_is_what_was_asked(endpoint in endpoint(), query in query()) {
            let headers = http::HeaderMap::new();
            let selection = params::read(Some(&query), &headers).unwrap().selection;
            let question = Question { endpoint, selection, token: Token::default() };
            let asked = question.path_and_query();
            let (path, query) = asked.split_once('?').map_or((&*asked, None), |(path, query)| (path, Some(query)));
            prop_assert_eq!(Endpoint::from_path(path), Some(question.endpoint));
            prop_assert_eq!(params::read(query, &headers).unwrap().selection, question.selection);
        }

        #[test]
        fn no_path_makes_it_panic(path in "(/v1/(kv|catalog|health|agent)/)?\\PC*") {
            if let Some(endpoint) = Endpoint::from_path(&path) {
                prop_assert_eq!(Endpoint::from_path(&endpoint.path()), Some(endpoint));
            }
        }
    }
}
