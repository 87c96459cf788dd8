//! Validation, refusals, quirks, and round trips of arbitrary instances.

use larder_registry::model::{Action, DataCenter, Lease, Metadata, Pages, Port, Status, Vips};
use proptest::prelude::*;

use super::registration::Invalid;
use super::*;

const NOW: u64 = 1_700_000_000_000;

fn register(json: &str) -> Result<Instance, String> {
    let registration = json::decode_registration(json.as_bytes()).map_err(|e| e.to_string())?;
    registration.into_instance("app", NOW).map_err(|invalid| invalid.to_string())
}

#[test]
fn what_is_missing_is_named_in_netflixs_order() {
    let table = [
        ("", "Missing instanceId"),
        (r#""instanceId":"i""#, "Missing hostname"),
        (r#""instanceId":"i","hostName":"h""#, "Missing ip address"),
        (r#""hostName":"h","ipAddr":"1""#, "Missing appName"),
        (r#""hostName":"h","ipAddr":"1","app":null"#, "Missing appName"),
        (
            r#""hostName":"h","ipAddr":"1","app":"other""#,
            "Mismatched appName, expecting APP but was OTHER",
        ),
        (r#""hostName":"h","ipAddr":"1","app":"APP""#, "Missing dataCenterInfo"),
        (
            r#""hostName":"h","ipAddr":"1","app":"App","dataCenterInfo":{}"#,
            "Missing dataCenterInfo Name",
        ),
    ];
    for (fields, expected) in table {
        let body = format!("{{\"instance\":{{{fields}}}}}");
        assert_eq!(register(&body).expect_err(fields), expected);
    }
}

#[test]
fn an_empty_host_counts_as_missing() {
    let body = r#"{"instance":{"instanceId":"i","hostName":"","ipAddr":"1","app":"app"}}"#;
    assert_eq!(register(body).expect_err("it is empty"), Invalid::HostName.to_string());
}

#[test]
fn a_registrant_that_does_not_say_when_it_changed_changed_now() {
    let fields = r#""hostName":"h","ipAddr":"1","app":"App","dataCenterInfo":{"name":"MyOwn"}"#;
    let held = register(&format!("{{\"instance\":{{{fields}}}}}")).expect("it is complete");
    assert_eq!((held.dirty_at, held.id.as_str(), held.id_is_derived), (NOW, "h", true));
    assert_eq!(held.service.as_str(), "App", "the name is kept as written");
}

fn complete(fields: &str) -> String {
    let rest = r#""hostName":"h","ipAddr":"1","app":"App","dataCenterInfo":{"name":"MyOwn"}"#;
    format!(r#"{{"instance":{{{fields},{rest}}}}}"#)
}

/// `testInstanceInfoEncodeDecodeLegacyJacksonToJackson`.
#[test]
fn the_older_name_of_the_last_renewal_is_read() {
    let held =
        register(&complete(r#""leaseInfo":{"renewalTimestamp":7}"#)).expect("it is complete");
    assert_eq!(held.lease.map(|lease| lease.renewed_at), Some(7));
    let both = r#""leaseInfo":{"renewalTimestamp":7,"lastRenewalTimestamp":8}"#;
    let held = register(&complete(both)).expect("it is complete");
    assert_eq!(held.lease.map(|lease| lease.renewed_at), Some(8));
}

/// `testInstanceInfoEncodeDecodeWithOverriddenStatusRenamingV1` and `…V2`.
#[test]
fn the_override_is_read_under_either_name() {
    for name in ["overriddenStatus", "overriddenstatus"] {
        let held = register(&complete(&format!(r#""{name}":"DOWN""#))).expect("it is complete");
        assert_eq!(held.status_override, Some(Status::Down), "{name}");
    }
}

/// `testInstanceInfoEncodeDecodeJsonWithEmptyMetadataMap`, and without any.
#[test]
fn no_metadata_is_printed_as_javas_empty_map_and_read_as_none() {
    for metadata in [r#""metadata":{}"#, r#""metadata":{"@class":"x"}"#, r#""sid":"na""#] {
        let held = register(&complete(metadata)).expect("it is complete");
        assert_eq!(held.metadata, Metadata::default());
        let printed = json::instance(&held);
        let text = String::from_utf8_lossy(&printed);
        assert!(text.contains(r#""metadata":{"@class":"java.util.Collections$EmptyMap"}"#));
        assert_eq!(json::decode_instance(&printed).expect("it is ours").metadata, held.metadata);
    }
}

/// `testApplicationsJsonEncodeDecodeWithSingleAppItem`.
#[test]
fn one_application_is_an_array_of_one() {
    let held = register(&complete(r#""sid":"na""#)).expect("it is complete");
    let app = Application { name: "App".to_owned(), instances: vec![Arc::new(held)] };
    let list = Applications { version: 1, hash: "UP_1_".to_owned(), apps: vec![app] };
    for form in [Form::Json, Form::CompactJson] {
        let text = String::from_utf8(form.list(&list)).expect("it is UTF-8");
        assert!(
            text.contains(r#""application":[{"#) && text.contains(r#""instance":[{"#),
            "{text}"
        );
    }
}

/// `EurekaJsonAndXmlJacksonCodecTest`: an instance of Amazon's in the compact forms.
#[test]
fn the_compact_forms_keep_of_a_cloud_what_clients_address_by() {
    let center =
        r#""dataCenterInfo":{"name":"Amazon","metadata":{"public-hostname":"p","ami-id":"a"}}"#;
    let body = complete(r#""sid":"na""#).replace(r#""dataCenterInfo":{"name":"MyOwn"}"#, center);
    let held = register(&body).expect("it is complete");
    for form in [Form::CompactJson, Form::CompactXml] {
        let mut out = Vec::new();
        form.instance(&mut out, &held);
        let text = String::from_utf8(out).expect("it is UTF-8");
        assert!(text.contains("public-hostname") && !text.contains("ami-id"), "{text}");
        assert!(!text.contains("\"metadata\":{\"@class\""), "{text}");
    }
}

/// `testVoidElementUnmarshalling`, `testVoidAttributeUnmarshalling`: XStream makes objects of classes that
/// a document names; here a class is a text that nobody reads.
#[test]
fn a_class_that_a_document_names_makes_nothing() {
    for body in ["<void/>", "<string class='void'>x</string>"] {
        assert!(matches!(refused_xml(body.as_bytes()), DecodeError::Root { .. }), "{body}");
    }
    let rest = "<hostName class='void'>h</hostName><ipAddr>1</ipAddr><app>App</app>";
    let center = "<dataCenterInfo class='java.lang.Void'><name>MyOwn</name></dataCenterInfo>";
    let body = format!("<instance><void/>{rest}{center}</instance>");
    let read = xml::decode_registration(body.as_bytes()).expect("it is XML");
    let held = read.into_instance("app", NOW).expect("it is complete");
    assert_eq!(held.address.host.as_deref(), Some("h"));
}

#[test]
fn an_amazon_instance_without_a_cloud_id_gets_its_own() {
    let center = r#""dataCenterInfo":{"name":"amazon","metadata":{"a":"b"}}"#;
    let fields = format!(r#""instanceId":"i","hostName":"h","ipAddr":"1","app":"app",{center}"#);
    let held = register(&format!("{{\"instance\":{{{fields}}}}}")).expect("it is complete");
    let cloud = held.data_center.and_then(|center| center.metadata).expect("it is in a cloud");
    assert_eq!(cloud.get("instance-id"), Some("i"));
}

#[test]
fn a_refusal_says_what_is_wrong_and_where() {
    let fields = |fields: &str| format!("{{\"instance\":{{{fields}}}}}");
    for (body, says) in [
        (String::new(), "EOF while parsing a value at line 1 column 0"),
        ("{\"instance\":".to_owned(), "EOF while parsing a value at line 1 column 12"),
        ("[]".to_owned(), "expected instance at the root, found a list"),
        ("{\"foo\":1}".to_owned(), "expected instance at the root, found \"foo\""),
        (fields(r#""port":70000"#), "port: expected a number from 0 to 65535, found \"70000\""),
        (fields(r#""port":{"$":"x"}"#), "port: expected a number from 0 to 65535, found \"x\""),
        (fields(r#""countryId":"x""#), "countryId: expected a number, found \"x\""),
        (
            fields(r#""lastDirtyTimestamp":[]"#),
            "lastDirtyTimestamp: expected a number, found a list",
        ),
        (
            fields(r#""metadata":{"a":{"b":1}}"#),
            "metadata: expected texts as values, found an object under \"a\"",
        ),
        (
            fields(r#""dataCenterInfo":{"name":"Foo"}"#),
            "dataCenterInfo.name: expected MyOwn, Amazon or Netflix, found \"Foo\"",
        ),
    ] {
        assert_eq!(register(&body).expect_err(&body), says);
    }
}

fn refused_xml(body: &[u8]) -> DecodeError {
    xml::decode_registration(body).expect_err("it is hostile")
}

#[test]
fn broken_and_hostile_xml_is_refused() {
    assert!(matches!(refused_xml(b"<instance>\xFF</instance>"), DecodeError::NotUtf8(10)));
    assert!(matches!(refused_xml(b"<foo/>"), DecodeError::Root { .. }));
    for body in ["", "<instance>", "<instance></app>", "<instance/><instance/>", "x<instance/>"] {
        let refusal = refused_xml(body.as_bytes());
        assert!(matches!(refusal, DecodeError::Syntax(_)), "{body}: {refusal}");
    }
    let bomb = r#"<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><instance>&b;</instance>"#;
    assert_eq!(refused_xml(bomb.as_bytes()), DecodeError::Entities);
    assert_eq!(refused_xml(b"<instance><app>&b;</app></instance>"), DecodeError::Entities);
    assert_eq!(refused_xml(b"<instance><port enabled='&b;'/></instance>"), DecodeError::Entities);
    let deep = "<instance>".repeat(100_000);
    assert_eq!(refused_xml(deep.as_bytes()), DecodeError::TooDeep(MAX_DEPTH));
}

#[test]
fn a_refusal_is_short_however_long_the_name_that_it_quotes() {
    let long = "x".repeat(100_000);
    for body in
        [format!("<instance></{long}>"), format!("<{long}/>"), format!("<instance><port>{long}")]
    {
        let says = refused_xml(body.as_bytes()).to_string();
        assert!(says.len() < 300, "{} bytes", says.len());
    }
    let body = format!("{{\"instance\":{{\"port\":\"{long}\"}}}}");
    assert!(register(&body).expect_err("it is no number").len() < 300);
}

#[test]
fn broken_and_hostile_json_is_refused() {
    let refused = |body: &[u8]| json::decode_registration(body).expect_err("it is hostile");
    assert!(matches!(refused(b"{\"instance\":\"\xFF\"}"), DecodeError::NotUtf8(13)));
    let deep = [b"{\"instance\":".to_vec(), vec![b'['; 100_000]].concat();
    assert!(matches!(refused(&deep), DecodeError::Syntax(says) if says.contains("recursion")));
}

#[test]
fn ten_megabytes_of_metadata_are_read_in_linear_time() {
    let pairs: Vec<String> = (0..500_000).map(|n| format!("\"key{n}\":\"value{n}\"")).collect();
    let body = format!("{{\"instance\":{{\"metadata\":{{{}}}}}}}", pairs.join(","));
    assert!(body.len() > 10_000_000);
    let held = json::decode_instance(body.as_bytes()).expect("it is well-formed");
    assert_eq!(held.metadata.len(), 500_000);
}

#[test]
fn text_is_escaped_as_netflix_escapes_it() {
    let metadata = [("k", "é中😀\"\\/\t\n'<>&"), ("<k>", "\u{1}\u{1F}")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let held = Instance { metadata: Metadata::from_iter(metadata), ..Instance::new("a", "i") };
    let json = String::from_utf8(json::instance(&held)).expect("it is UTF-8");
    assert!(json.contains(r#""k":"é中😀\"\\/\t\n'<>&","<k>":"\u0001\u001F""#), "{json}");
    let xml = String::from_utf8(xml::instance(&held, ApiVersion::V2)).expect("it is UTF-8");
    assert!(xml.contains("<k>é中😀&quot;\\/\t\n&apos;&lt;&gt;&amp;</k>"), "{xml}");
    assert!(xml.contains("<_.003ck_.003e>\u{FFFD}\u{FFFD}</_.003ck_.003e>"), "{xml}");
}

#[test]
fn only_the_first_version_shows_what_is_out_of_service_as_down_and_only_in_xml() {
    for status in [Status::OutOfService, Status::Unknown] {
        let held = Instance { status, ..Instance::new("a", "i") };
        let status_in = |version| {
            let xml = String::from_utf8(xml::instance(&held, version)).expect("it is UTF-8");
            let (_, rest) = xml.split_once("<status>").expect("it has a status");
            rest.split_once('<').expect("it is closed").0.to_owned()
        };
        assert_eq!(status_in(ApiVersion::V1), "DOWN");
        assert_eq!(status_in(ApiVersion::V2), status.as_str());
    }
}

#[test]
fn an_instance_of_another_protocol_has_all_that_clients_insist_on() {
    let mut held = Instance::new("orders", "1");
    held.address.ip = Some("10.0.0.1".to_owned());
    let json = String::from_utf8(json::instance(&held)).expect("it is UTF-8");
    for field in [
        r#""hostName":"10.0.0.1""#,
        r#""app":"ORDERS""#,
        r#""port":{"$":0,"@enabled":"false"}"#,
        r#""dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"}"#,
    ] {
        assert!(json.contains(field), "{field} in {json}");
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9.:_$-]{1,12}", "\\PC{1,8}"]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let key = word().prop_filter("an attribute", |key| !key.starts_with('@') && key != "$");
    let value = prop_oneof![word(), Just(String::new())];
    prop::collection::vec((key, value), 0..4).prop_map(Metadata::from_iter)
}

fn port() -> impl Strategy<Value = Option<Port>> {
    any::<(u16, bool)>().prop_map(|(number, enabled)| Some(Port { number, enabled }))
}

fn times() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    let millis = 0_u64..1 << 53;
    (millis.clone(), millis.clone(), millis.clone(), millis)
}

fn arbitrary_instance() -> impl Strategy<Value = Instance> {
    let words = prop::collection::vec(prop::option::of(word()), 9);
    let lease = (1_u32..9_999, 1_u32..9_999, times());
    let status = prop::sample::select(Status::ALL.to_vec());
    let center = (prop::sample::select(vec!["MyOwn", "Netflix", "Amazon"]), metadata());
    (words, port(), port(), lease, status, center, metadata(), times(), any::<(bool, i32)>())
        .prop_map(|(mut words, port, secure_port, lease, status, center, metadata, times, rest)| {
            let mut next = || words.pop().flatten();
            let mut held = Instance::new("app", "id");
            held.address.host = next().or(Some("host".to_owned()));
            held.address.ip = next().or(Some("10.0.0.1".to_owned()));
            (held.address.port, held.address.secure_port) = (port, secure_port);
            held.vips = Vips { plain: next(), secure: next() };
            let [home, health] = [next(), next()];
            let pages = Pages { home, health, status: next(), secure_health: None };
            held.pages = (pages != Pages::default()).then(|| Box::new(pages));
            held.group = next().map(|group| group.to_uppercase());
            held.asg = next();
            let (renewal_interval_secs, duration_secs, at) = lease;
            let (registered_at, renewed_at, evicted_at, up_since) = at;
            held.lease = Some(Lease {
                renewal_interval_secs,
                duration_secs,
                registered_at,
                renewed_at,
                evicted_at,
                up_since,
            });
            held.status = status;
            let (name, cloud) = center;
            let metadata_of_cloud = (name == "Amazon").then_some(cloud);
            let name = name.to_owned();
            held.data_center = Some(Box::new(DataCenter { name, metadata: metadata_of_cloud }));
            held.metadata = metadata;
            (held.updated_at, held.dirty_at) = (times.0, times.1);
            (held.is_coordinator, held.country_id) = rest;
            held.action = Some(Action::Added);
            held
        })
}

proptest! {
    #[test]
    fn any_instance_survives_json(held in arbitrary_instance()) {
        prop_assert_eq!(json::decode_instance(&json::instance(&held)), Ok(held));
    }

    #[test]
    fn any_instance_survives_xml(held in arbitrary_instance()) {
        let written = xml::instance(&held, ApiVersion::V2);
        prop_assert_eq!(xml::decode_instance(&written), Ok(held));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json::decode_registration(&body);
        let _ = xml::decode_registration(&body);
    }

    #[test]
    fn anything_like_xml_is_read_or_refused(body in "(<|>|/|&|;|#|a|instance| |=|\"|'|!|\\[|\\]|-|\\?){0,40}") {
        let _ = xml::decode_registration(body.as_bytes());
        let _ = xml::decode_applications(body.as_bytes());
    }
}
