use std::time::Duration;

use http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;

fn ask(query: &str) -> Result<Asked, BadParameter> {
    read(Some(query), &HeaderMap::new())
}

fn asked(query: &str) -> Asked {
    ask(query).expect("it is well-formed")
}

fn refused(query: &str) -> String {
    let error = ask(query).expect_err("it is not well-formed");
    assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    error.to_string()
}

fn with(headers: &[(&'static str, &'static str)], query: &str) -> Result<Asked, BadParameter> {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    read(Some(query), &headers)
}

#[test]
fn nothing_said_is_nothing_asked() {
    assert_eq!(read(None, &HeaderMap::new()), Ok(Asked::default()));
    assert_eq!(ask(""), Ok(Asked::default()));
    assert_eq!(ask("&&"), Ok(Asked::default()));
    assert_eq!(
        ask("index=&wait=&filter=&near=&dc=&token=&ns=&partition=&max_stale=&hash="),
        Ok(Asked::default())
    );
}

#[test]
fn a_blocking_read_says_its_index_and_how_long() {
    let terms = asked("index=18446744073709551615&wait=120000ms").terms;
    assert_eq!((terms.index, terms.wait), (u64::MAX, Some(Duration::from_secs(120))));
    assert_eq!(asked("wait=-1s").terms.wait, Some(Duration::ZERO));
    assert_eq!(asked("hash=abc").terms.hash.as_deref(), Some("abc"));
    for index in ["-1", "x", "1.0", "%2B1", "18446744073709551616"] {
        assert_eq!(refused(&format!("index={index}")), "Invalid index");
    }
    for wait in ["10", "x", "10x", "s"] {
        assert_eq!(refused(&format!("index=1&wait={wait}")), "Invalid wait time");
    }
}

#[test]
fn of_several_values_the_first_counts() {
    let asked = asked("index=1&index=x&wait=1s&wait=y&filter=a&filter=b&passing=0&passing=q");
    assert_eq!((asked.terms.index, asked.terms.wait), (1, Some(Duration::from_secs(1))));
    assert_eq!(asked.selection.filter.as_deref(), Some("a"));
    assert!(!asked.selection.passing);
}

#[test]
fn passing_is_true_when_empty_and_otherwise_a_truth_value_of_go() {
    for (query, passing) in [
        ("passing", true),
        ("passing=", true),
        ("passing=1", true),
        ("passing=True", true),
        ("passing=f", false),
        ("passing=false", false),
    ] {
        assert_eq!(asked(query).selection.passing, passing, "{query}");
    }
    assert_eq!(refused("passing=yes"), "Invalid value for ?passing");
    assert_eq!(refused("passing=tRUE"), "Invalid value for ?passing");
}

#[test]
fn copies_that_exclude_each_other_are_refused() {
    assert_eq!(asked("stale").terms.consistency, Consistency::Stale);
    assert_eq!(asked("stale=false").terms.consistency, Consistency::Stale);
    assert_eq!(asked("consistent").terms.consistency, Consistency::Consistent);
    assert_eq!(asked("leader").terms.consistency, Consistency::Leader);
    let bounded = asked("max_stale=10s").terms;
    assert_eq!(bounded.consistency, Consistency::Stale);
    assert_eq!(bounded.max_stale, Some(Duration::from_secs(10)));
    assert_eq!(asked("max_stale=0").terms.consistency, Consistency::Leader);
    let stale = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    assert_eq!(refused("consistent&stale"), stale);
    assert_eq!(refused("consistent&stale&cached"), stale);
    assert_eq!(refused("consistent&max_stale=1s"), stale);
    let cached = "Cannot specify ?cached with ?consistent, conflicting semantics.";
    assert_eq!(refused("consistent&cached"), cached);
    assert!(asked("cached&stale").terms.cached);
    assert_eq!(refused("max_stale=soon"), "Invalid max_stale value \"soon\"");
}

#[test]
fn datacenter_beats_dc() {
    assert_eq!(asked("dc=a").selection.datacenter.as_deref(), Some("a"));
    assert_eq!(asked("dc=a&datacenter=b").selection.datacenter.as_deref(), Some("b"));
    assert_eq!(asked("dc=a&datacenter=").selection.datacenter.as_deref(), Some("a"));
}

#[test]
fn what_only_the_enterprise_edition_has_is_refused_in_consuls_words() {
    assert_eq!(
        refused("ns=team"),
        "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature"
    );
    assert_eq!(
        refused("partition=p"),
        "Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature"
    );
    for (name, sentence) in [
        (
            "x-consul-namespace",
            "Invalid header: \"X-Consul-Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        (
            "x-consul-partition",
            "Invalid header: \"X-Consul-Partition\" - Partitions are a Consul Enterprise feature",
        ),
    ] {
        let error = with(&[(name, "x")], "").expect_err("it is not for this edition");
        assert_eq!(error.to_string(), sentence);
        assert_eq!(with(&[(name, "")], ""), Ok(Asked::default()));
    }
}

#[test]
fn a_token_is_taken_from_the_query_then_its_header_then_authorization() {
    let own = ("x-consul-token", "own");
    let bearer = ("authorization", "bEarer  standard ");
    let secret = |asked: Result<Asked, _>| asked.expect("it is well-formed").token;
    assert_eq!(secret(with(&[own, bearer], "token=said")).secret(), "said");
    assert_eq!(secret(with(&[own, bearer], "token=")).secret(), "own");
    assert_eq!(secret(with(&[("x-consul-token", ""), bearer], "")).secret(), "standard");
    assert!(secret(with(&[("authorization", "Basic dXNlcg==")], "")).is_anonymous());
    assert!(secret(with(&[("authorization", "Bearer")], "")).is_anonymous());
    assert!(secret(with(&[("authorization", "Bearer ")], "")).is_anonymous());
}

#[test]
fn the_same_wish_is_always_written_the_same_way() {
    let one = asked("tag=b&tag=a&tag=b&node-meta=k%3Av&node-meta=a&z=1&y=2&z=0&y=2");
    let other = asked("y=2&z=1&z=0&node-meta=a&node-meta=k:v&tag=a&tag=b&node-meta=a:");
    assert_eq!(one, other);
    let selection = one.selection;
    assert_eq!(selection.tags, ["a".into(), "b".into()]);
    assert_eq!(selection.node_meta, [("a".into(), "".into()), ("k".into(), "v".into())]);
    let others = [("y".into(), "2".into()), ("z".into(), "1".into()), ("z".into(), "0".into())];
    assert_eq!(selection.others, others);
}

#[test]
fn what_a_write_says_is_found_by_its_name() {
    let asked = asked("cas=0&flags=42&flags=7&replace-existing-checks");
    assert_eq!(asked.other("cas"), Some("0"));
    assert_eq!(asked.other("flags"), Some("42"));
    assert_eq!(asked.other("replace-existing-checks"), Some(""));
    assert_eq!(asked.other("acquire"), None);
}

#[test]
fn a_key_is_wanted_in_one_form() {
    let form = |query| asked(query).selection.kv;
    let keys = |separator: &str| KvForm::Keys { separator: separator.into() };
    assert_eq!(form("raw"), KvForm::Raw);
    assert_eq!(form("recurse&raw"), KvForm::Recurse);
    assert_eq!(form("recurse=false"), KvForm::Recurse);
    assert_eq!(form("keys&recurse&raw"), keys(""));
    assert_eq!(form("keys&separator=/"), keys("/"));
    assert_eq!(form("keys&seperator=%2F"), keys("/"));
    assert_eq!(form("keys&seperator=-&separator=/"), keys("/"));
    assert_eq!(form("separator=/"), KvForm::Entry);
}

#[test]
fn prometheus_first_and_second_question_are_understood() {
    let first = asked("node-meta=rack_name%3A2304&stale=&tag=tag1&wait=120000ms");
    let second = asked("index=1&node-meta=rack_name%3A2304&stale=&tag=tag1&wait=120000ms");
    assert_eq!(first.selection, second.selection);
    assert_eq!(first.selection.node_meta, [("rack_name".into(), "2304".into())]);
    assert_eq!((first.terms.index, second.terms.index), (0, 1));
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let many = vec!["tag=a"; MAX_PARAMETERS].join("&");
    assert_eq!(asked(&many).selection.tags.len(), 1);
    assert_eq!(ask(&format!("{many}&a")), Err(BadParameter::TooMany));
    let long = format!("a={}", "x".repeat(MAX_QUERY - 2));
    assert!(ask(&long).is_ok());
    let error = ask(&format!("{long}x")).expect_err("it is too long");
    assert_eq!((error.status(), error), (StatusCode::URI_TOO_LONG, BadParameter::QueryTooLong));
    assert!(ask(&format!("token={}", "x".repeat(MAX_TOKEN))).is_ok());
    assert_eq!(
        ask(&format!("token={}", "x".repeat(MAX_TOKEN + 1))),
        Err(BadParameter::TokenTooLong)
    );
}

#[test]
fn a_cache_control_that_is_wrong_is_refused_whether_it_is_heeded_or_not() {
    let error = with(&[("cache-control", "max-age=x")], "").expect_err("it is no number");
    assert_eq!(
        (error.status(), error.to_string().as_str()),
        (StatusCode::BAD_REQUEST, "Invalid Cache-Control header.")
    );
}

proptest! {
    #[test]
    fn no_query_makes_it_panic(query in "\\PC*", control in "[ -~]*") {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_str(&control).unwrap());
        let _ = read(Some(&query), &headers);
    }

    #[test]
    fn neither_does_one_that_looks_like_one(
        query in "((index|wait|passing|tag|node-meta|filter|keys|stale|%7[0-9]|a)=?[0-9a-z%:+]{0,6}&){0,12}",
    ) {
        if let Ok(asked) = read(Some(&query), &HeaderMap::new()) {
            prop_assert!(asked.selection.tags.is_sorted_by(|one, other| one < other));
            prop_assert!(asked.selection.others.is_sorted_by_key(|(name, _)| name));
        }
    }
}
