//! The wire against what real Go peers were seen to say, and against anything at all.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::answer::{GroupMark, PeerFault, Response, Verdict, judge};
use super::expiry::Expiry;
use super::message::*;
use super::path::{Escape, PathError, Target, parse, path};
use crate::ring::Mode;

const BASE: &str = super::BASE_PATH;

fn goldens(family: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/goldens/groupcache_wire.json")).unwrap();
    all[family].clone()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn paths_are_those_that_gos_clients_send() {
    let mut checked = 0;
    for (family, mode) in [("mailgun_v2", Mode::MailgunV2), ("golang", Mode::Golang)] {
        for sent in goldens(family)["client_get_requests"].as_array().unwrap() {
            let line = sent["raw"].as_str().unwrap().lines().next().unwrap();
            let target = line.split(' ').nth(1).unwrap();
            let ours = path(BASE, "g r/p", &bytes(&sent["key_hex"]), mode.escape());
            assert_eq!(ours, target, "{family}");
            checked += 1;
        }
    }
    assert_eq!(checked, 38);
}

#[test]
fn bodies_of_sets_are_those_that_gos_client_sends() {
    let goldens = goldens("mailgun_v2");
    let sent = goldens["client_put_delete"].as_array().unwrap();
    let body = |at: usize| bytes(&sent[at]["body_hex"]);
    let ours = |key: &[u8], value: &'static str, nanos| {
        encode_set("g r/p", key, Bytes::from(value), Expiry::from_nanos(nanos))
    };
    assert_eq!(ours(b"k1", "v1", 0), body(0));
    assert_eq!(ours(b"k2", "v2", 1_700_000_000_123_456_789), body(1));
    assert_eq!(ours(b"k3", "", 0), body(2));
    let read = |key: &'static str, value: &'static str, nanos| Set {
        key: Bytes::from(key),
        value: Bytes::from(value),
        expiry: Expiry::from_nanos(nanos),
    };
    assert_eq!(decode_set(&body(1)), Ok(read("k2", "v2", 1_700_000_000_123_456_789)));
    assert_eq!(decode_set(&body(3)), Ok(read("k4", "", 0)), "a nil value is an empty one");
}

#[test]
fn bodies_of_answers_are_those_of_gos_servers() {
    let value = |value: &'static str| Bytes::from(value);
    let never = Some(Expiry::NEVER);
    assert_eq!(encode_value(value("v:k"), never), b"\x0a\x03v:k\x18\x00");
    assert_eq!(encode_value(value("v:k"), None), b"\x0a\x03v:k");
    assert_eq!(encode_value(value(""), never), b"\x0a\x00\x18\x00");
    assert_eq!(encode_value(value(""), None), b"\x0a\x00");
    let late = Expiry::from_nanos(4_102_444_800_123_456_789);
    let golden = b"\x0a\x01e\x18\x95\x9a\x87\xf0\xf5\xf9\xb3\xf7\x38";
    assert_eq!(encode_value(value("e"), Some(late)), golden);
    assert_eq!(decode_value(golden).unwrap().expire, Some(late.nanos()));
    for nothing in [&b"\x18\x00"[..], b""] {
        assert_eq!(decode_value(nothing).unwrap().value.unwrap_or_default(), "");
    }
}

#[test]
fn a_set_without_group_or_key_is_refused() {
    let without_key = b"\x0a\x01g\x1a\x01v";
    assert_eq!(decode_set(without_key), Err(MessageError::Missing("key")));
    assert_eq!(decode_set(b"\x12\x01k"), Err(MessageError::Missing("group")));
    assert!(matches!(decode_set(b"\x0a\x05ab"), Err(MessageError::Undecodable(_))));
}

#[test]
fn a_path_is_decoded_whole_and_divided_at_the_first_slash() {
    let target = |group: &str, key: &[u8]| {
        Ok(Target { group: group.as_bytes().to_vec(), key: key.to_vec() })
    };
    let cases: [(&str, &[u8]); 9] = [
        ("/_groupcache/s/a%20b", b"a b"),
        ("/_groupcache/s/a+b", b"a+b"),
        ("/_groupcache/s/a%2Fb", b"a/b"),
        ("/_groupcache/s/a/b", b"a/b"),
        ("/_groupcache/s/a//b", b"a//b"),
        ("/_groupcache/s/%ff%fe", b"\xff\xfe"),
        ("/_groupcache/s/..", b".."),
        ("/_groupcache/s/", b""),
        ("/%5Fgroupcache%2Fs%2F%25", b"%"),
    ];
    for (raw, key) in cases {
        assert_eq!(parse(BASE, raw), target("s", key), "{raw}");
    }
    assert_eq!(parse(BASE, "/_groupcache/s"), Err(PathError::NoKey));
    assert_eq!(parse(BASE, "/other/s/k"), Err(PathError::Elsewhere));
    for raw in
        ["/_groupcache/s/%", "/_groupcache/s/%2", "/_groupcache/s/%zz", "/_groupcache/s/%%41"]
    {
        assert_eq!(parse(BASE, raw), Err(PathError::Escape), "{raw}");
    }
}

/// The canned responses that Go's clients were shown, by the names in the goldens.
fn canned(name: &str) -> Option<(u16, &'static [u8])> {
    Some(match name {
        "200 value+expire0" => (200, b"\x0a\x02ok\x18\x00"),
        "200 value only (golang server form)" | "200 chunked" => (200, b"\x0a\x02ok"),
        "200 with minute_qps" => (200, b"\x0a\x02ok\x11\x00\x00\x00\x00\x00\x00\x45\x40"),
        "200 with unknown field 7" => (200, b"\x0a\x02ok\x3a\x01x"),
        "200 empty body" => (200, b""),
        "200 already expired (expire=1ns)" => (200, b"\x0a\x02ok\x18\x01"),
        "200 garbage body" => (200, b"\xff\xff\xff\xff"),
        "404 body" => (404, b"nope\n"),
        "503 body" => (503, b"boom\n"),
        "500 body" => (500, b"boom\n"),
        "400 body" => (400, b"bad request\n"),
        "301 redirect" => (301, b"Moved Permanently"),
        "204" => (204, b""),
        // Not a response: these are tested over sockets.
        "connection closed before response (always)" | "truncated body" => return None,
        other => panic!("what is {other}?"),
    })
}

#[test]
fn every_response_is_taken_as_gos_clients_take_it() {
    let mut checked = 0;
    for (family, mode) in [("mailgun_v2", Mode::MailgunV2), ("golang", Mode::Golang)] {
        for row in goldens(family)["client_classification"].as_array().unwrap() {
            let name = row["peer_response"].as_str().unwrap();
            let Some((status, body)) = canned(name) else { continue };
            let verdict = judge(mode, "g", Response { status, group: None, body }, 1_000);
            let kind = row["err_kind"].as_str().unwrap();
            match &verdict {
                Verdict::Value(value, ..) => {
                    assert_eq!(
                        (kind, &row["peer_loads_delta"]),
                        ("nil", &Value::from(1)),
                        "{name}"
                    );
                    assert_eq!(value, row["value"].as_str().unwrap(), "{name}");
                }
                Verdict::Missing(text) => {
                    assert_eq!((kind, text.as_str()), ("ErrNotFound", "nope"), "{name}");
                }
                Verdict::Failed(text) => {
                    assert_eq!((kind, text.as_str()), ("ErrRemoteCall", "boom"), "{name}");
                }
                Verdict::LoadLocally(_) => {
                    assert_eq!(row["local_loads"], Value::from(1), "{family} {name}");
                    assert_eq!(row["peer_errors_delta"], Value::from(1), "{family} {name}");
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 28);
}

#[test]
fn an_unknown_group_is_not_a_missing_key() {
    let unknown = Verdict::LoadLocally(PeerFault::UnknownGroup);
    let answer = |mode, status, group, body| judge(mode, "g", Response { status, group, body }, 1);
    let (known, not) = (Some(GroupMark::Known), Some(GroupMark::Unknown));
    for mode in [Mode::MailgunV2, Mode::GroupcacheGoV3, Mode::Native, Mode::Golang] {
        assert_eq!(answer(mode, 404, not, b"whatever"), unknown, "{mode:?}");
        assert_eq!(answer(mode, 500, not, b"whatever"), unknown, "{mode:?}");
        assert_eq!(answer(mode, 404, None, b"no such group: g\n"), unknown, "{mode:?}");
    }
    // A loader may use the same words; a Larder says what it means.
    let missing = |text: &str| Verdict::Missing(text.to_owned());
    let words = b"no such group: g";
    assert_eq!(answer(Mode::MailgunV2, 404, known, words), missing("no such group: g"));
    let other = b"no such group: h\n";
    assert_eq!(answer(Mode::MailgunV2, 404, None, other), missing("no such group: h"));
}

#[test]
fn in_a_native_ring_only_a_larder_that_knows_the_group_is_believed() {
    let answer = |group| judge(Mode::Native, "g", Response { status: 404, group, body: b"x" }, 1);
    assert_eq!(answer(Some(GroupMark::Known)), Verdict::Missing("x".to_owned()));
    let fault = PeerFault::Status(404, "x".to_owned());
    assert_eq!(answer(None), Verdict::LoadLocally(fault));
}

#[test]
fn a_time_of_expiry_holds_whatever_it_is() {
    let left = |nanos, now| Expiry::from_nanos(nanos).left(now);
    assert_eq!(left(0, u64::MAX), Duration::MAX);
    assert_eq!(left(5_000_000, 4), Duration::from_millis(1));
    assert_eq!(left(5_000_000, 5), Duration::ZERO, "at the very moment it has expired");
    assert_eq!(left(-1, 0), Duration::ZERO);
    assert_eq!(left(i64::MIN, u64::MAX), Duration::ZERO);
    assert!(left(i64::MAX, 1_700_000_000_000) > Duration::from_secs(200 * 365 * 86_400));
    assert_eq!(Expiry::after(1_000, Duration::from_secs(1)).nanos(), 2_000_000_000);
    assert_eq!(Expiry::after(1_000, Duration::MAX), Expiry::NEVER);
    assert!(Expiry::after(0, Duration::ZERO).is_past(1), "and is not never");
}

#[test]
fn a_time_of_day_is_told_in_nanoseconds_or_is_never() {
    let at = |since_1970| Expiry::at(since_1970).nanos();
    assert_eq!(at(Duration::new(1_700_000_000, 123_456_789)), 1_700_000_000_123_456_789);
    assert_eq!(at(Duration::ZERO), 1);
    assert_eq!(at(Duration::from_secs(400 * 365 * 86_400)), 0);
}

proptest! {
    #[test]
    fn what_is_put_into_a_path_comes_out_of_it(
        group in "[^/]{1,12}",
        key in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let path = path(BASE, &group, &key, Escape::Path);
        prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{}", path);
        prop_assert_eq!(parse(BASE, &path), Ok(Target { group: group.into_bytes(), key }));
    }

    #[test]
    fn golangs_escaping_loses_nothing_but_the_space(
        key in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let path = path(BASE, "g", &key, Escape::Query);
        let spaced = key.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect();
        prop_assert_eq!(parse(BASE, &path), Ok(Target { group: b"g".to_vec(), key: spaced }));
    }

    #[test]
    fn any_path_is_read_or_refused(raw in ".{0,60}") {
        if let Ok(target) = parse(BASE, &raw) {
            prop_assert!(!target.group.contains(&b'/'));
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode_set(&body), decode_value(&body));
        let response = Response { status: 200, group: None, body: &body };
        let _ = judge(Mode::MailgunV2, "g", response, 1);
    }

    #[test]
    fn a_value_survives_the_wire(
        value in proptest::collection::vec(any::<u8>(), 0..4_000),
        nanos in 2_000_000_i64..i64::MAX,
    ) {
        let (value, expiry) = (Bytes::from(value), Expiry::from_nanos(nanos));
        let body = encode_value(value.clone(), Some(expiry));
        let response = Response { status: 200, group: None, body: &body };
        prop_assert_eq!(judge(Mode::MailgunV2, "g", response, 1), Verdict::Value(value, expiry, None));
    }

    #[test]
    fn a_truncated_value_is_never_taken_for_a_shorter_one(
        value in proptest::collection::vec(any::<u8>(), 1..400),
        cut in any::<proptest::sample::Index>(),
    ) {
        let body = encode_value(Bytes::from(value), None);
        let cut = cut.index(body.len() - 1) + 1;
        let response = Response { status: 200, group: None, body: &body[..cut] };
        let verdict = judge(Mode::MailgunV2, "g", response, 1);
        prop_assert!(matches!(verdict, Verdict::LoadLocally(PeerFault::Undecodable(_))));
    }

    #[test]
    fn a_set_survives_the_wire(
        key in proptest::collection::vec(any::<u8>(), 0..100),
        value in proptest::collection::vec(any::<u8>(), 0..400),
        nanos in any::<i64>(),
    ) {
        let set = Set { key: key.into(), value: value.into(), expiry: Expiry::from_nanos(nanos) };
        let body = encode_set("g", &set.key, set.value.clone(), set.expiry);
        prop_assert_eq!(decode_set(&body), Ok(set));
    }
}
