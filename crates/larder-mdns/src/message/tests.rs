use std::sync::Arc;

use larder_registry::model::{Action, Instance, Key, Metadata, Port, Status};
use proptest::prelude::*;

use super::*;
use crate::names::{Domain, Parted, Place};

const ANNOUNCEMENT: &[u8] = include_bytes!("../../tests/goldens/announcement.bin");
const BARE: &[u8] = include_bytes!("../../tests/goldens/announcement-bare.bin");
const ANSWER: &[u8] = include_bytes!("../../tests/goldens/answer.bin");
const BARE_ANSWER: &[u8] = include_bytes!("../../tests/goldens/answer-bare.bin");
const LISTING: &[u8] = include_bytes!("../../tests/goldens/listing.bin");
const PROBE: &[u8] = include_bytes!("../../tests/goldens/probe.bin");
const GOODBYE: &[u8] = include_bytes!("../../tests/goldens/goodbye.bin");

const GREETER: &str = "go.micro.greeter-7b1c2d3e-5b3f-4c1d-9a6e-2f8b7c6d5e4f";

fn micro() -> Domain {
    Domain::new("micro").expect("it is a name")
}

fn heard(bytes: &[u8]) -> Vec<Heard> {
    match read(bytes, &micro()) {
        Ok(Said::Statement { heard, malformed }) if malformed.is_empty() => heard,
        other => panic!("{other:?}"),
    }
}

fn malformed(bytes: &[u8]) -> Vec<String> {
    match read(bytes, &micro()) {
        Ok(Said::Statement { heard, malformed }) if heard.is_empty() => malformed,
        other => panic!("{other:?}"),
    }
}

fn seen(bytes: &[u8]) -> Seen {
    match <[Heard; 1]>::try_from(heard(bytes)) {
        Ok([Heard::Here(seen)]) => seen,
        other => panic!("{other:?}"),
    }
}

fn asked(bytes: &[u8]) -> (Asked, Vec<Wanted>) {
    match read(bytes, &micro()) {
        Ok(Said::Question { asked, about }) => (asked, about),
        other => panic!("{other:?}"),
    }
}

fn record(instance: &Instance) -> Record {
    Record::of(&micro(), instance).expect("it has a form")
}

#[test]
fn an_instance_of_go_micros_is_read_field_by_field() {
    let Seen { place, instance, ttl_secs } = seen(ANNOUNCEMENT);
    assert_eq!((place, ttl_secs), (Place::Open, 120));
    assert_eq!(instance.key(), Key::new("go.micro.greeter", GREETER));
    assert_eq!(instance.version, "1.2.3");
    assert_eq!(instance.address.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(instance.address.port, Some(Port { number: 46_259, enabled: true }));
    assert_eq!(instance.metadata.get("note"), Some("größe <b> & \u{2028}"));
    let request = instance.endpoints[0].request.as_ref().expect("it takes something");
    assert_eq!(request.fields[0].fields[0].name, "key");
    assert_eq!((instance.status, instance.updated_at), (Status::Up, 0));

    let bare = seen(BARE).instance;
    assert_eq!((bare.key(), bare.version.as_str()), (Key::new("bare", "bare-1"), ""));
    assert_eq!(bare.address.ip.as_deref(), Some("fe80::1"));
}

#[test]
fn an_answer_of_go_micros_says_what_its_announcement_does() {
    assert_eq!(seen(ANSWER), seen(ANNOUNCEMENT));
    assert_eq!(seen(BARE_ANSWER), seen(BARE));
}

#[test]
fn the_other_messages_of_go_micros_are_read() {
    assert_eq!(heard(LISTING), [Heard::Listed("go.micro.greeter".to_owned())]);
    let key = Key::new("go.micro.greeter", GREETER);
    assert_eq!(heard(GOODBYE), [Heard::Gone { key, place: Place::Open }]);
    // It announces nothing yet; as a question it asks whether anybody has the name.
    let (_, about) = asked(PROBE);
    assert_eq!(about.len(), 1);
    assert_eq!(about[0].name.id_in("go.micro.greeter").as_deref(), Some(GREETER));
}

/// What a message says but for the host's name and zlib's bytes: name, type, class, ttl and data of
/// each record.
fn said(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let packet = Packet::parse(bytes).expect("it is a message");
    let name = |name: &Name<'_>| {
        if name.to_string() == "host" { "*".to_owned() } else { name.to_string() }
    };
    let questions = packet.questions.iter().map(|question| name(&question.qname)).collect();
    let answers = packet.answers.iter().map(|answer| {
        let data = match &answer.rdata {
            RData::SRV(srv) => format!("{} {} {}", srv.priority, srv.weight, srv.port),
            RData::PTR(to) => name(&to.0),
            RData::TXT(_) | RData::Empty(_) => String::new(),
            other => format!("{other:?}"),
        };
        let is_address = matches!(answer.rdata, RData::A(_) | RData::AAAA(_));
        let of = if is_address { "*".to_owned() } else { name(&answer.name) };
        let kind = answer.rdata.type_code();
        format!("{of} {kind:?} {:?} {} {} {data}", answer.class, answer.cache_flush, answer.ttl)
    });
    (questions, answers.collect())
}

#[test]
fn what_is_sent_has_the_form_of_what_go_micro_sends() {
    let greeter = record(&seen(ANNOUNCEMENT).instance);
    assert_eq!(said(&announcement(&greeter, TTL_SECS)), said(ANNOUNCEMENT));
    assert_eq!(said(&announcement(&greeter, 0)), said(GOODBYE));
    let (question, _) = asked(&query(std::slice::from_ref(&greeter.service)));
    assert_eq!(said(&answer(&question, &greeter)), said(ANSWER));
    let (question, about) = asked(&query(&[micro().services(Place::Open)]));
    assert!(about[0].pointers && about[0].name.is_services());
    assert_eq!(said(&listing(&question, &greeter)), said(LISTING));
    let mut bare = Instance::clone(&seen(BARE).instance);
    // An empty version is written as go-micro's own default.
    bare.version = "latest".to_owned();
    assert_eq!(said(&announcement(&record(&bare), TTL_SECS)), said(BARE));
}

#[test]
fn a_question_of_several_names_is_repeated_whole() {
    let names = [micro().services(Place::Open), micro().services(Place::Aside)];
    let (question, about) = asked(&query(&names));
    let rest = vec!["_services".to_owned()];
    let about: Vec<Parted> = about.into_iter().map(|wanted| wanted.name).collect();
    assert_eq!(about, Place::ALL.map(|place| Parted { place, rest: rest.clone() }));
    let web = record(&Instance::new("web", "1"));
    assert_eq!(said(&listing(&question, &web)).0, ["_services.micro", "_services.micro-larder"]);
    let strangers = [vec!["web".to_owned(), "local".to_owned()]];
    assert!(asked(&query(&strangers)).1.is_empty());
}

#[test]
fn what_is_said_in_the_domain_and_is_no_instance_is_told() {
    let web = |txt: String| {
        let mut instance = Instance::new("web", "1");
        instance.address.ip = Some("10.0.0.1".to_owned());
        instance.address.port = Some(Port { number: 80, enabled: true });
        announcement(&Record { txt, ..record(&instance) }, TTL_SECS)
    };
    let packed = |json: &str| crate::txt::encode(json.as_bytes());
    for (txt, reason) in [
        ("hello".to_owned(), "1.web.micro: its TXT record is not in hexadecimal digits"),
        ("00".to_owned(), "1.web.micro: its TXT record is not packed by zlib"),
        (packed("[]"), "1.web.micro: it is not a service as go-micro writes it: it is no object"),
        (packed(r#"{"Service":"api"}"#), "1.web.micro: it speaks of another service than its name"),
    ] {
        assert_eq!(malformed(&web(txt)), [reason]);
    }
    let homeless =
        Record { address: None, place: Place::Open, ..record(&Instance::new("web", "1")) };
    let name = micro().instance(Place::Open, "web", "1").expect("it has a name");
    let homeless = announcement(&Record { name, ..homeless }, TTL_SECS);
    assert_eq!(malformed(&homeless), ["1.web.micro: it has no address"]);
}

#[test]
fn what_is_no_message_is_an_error() {
    let mut boasting = ANNOUNCEMENT.to_vec();
    boasting[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
    let refused = |bytes: &[u8]| read(bytes, &micro()).expect_err("it is none");
    assert_eq!(refused(&boasting), "it announces more than it has room for");
    assert_eq!(refused(b"short"), "it announces more than it has room for");
    let mut update = ANNOUNCEMENT.to_vec();
    update[2] |= 0b0010_1000;
    assert_eq!(refused(&update), "it is neither a plain question nor a plain answer");
    // A name that points to itself.
    let mut looping = query(&[vec!["web".to_owned()]]);
    looping.truncate(12);
    looping.extend([0xc0, 12, 0, 12, 0, 1]);
    let _ = refused(&looping);
}

#[test]
fn the_largest_record_fits_into_a_message_of_multicast_dns() {
    let longest = |len: usize| vec!["x".repeat(59); len].join(".");
    let instance = Instance::new(&longest(2), &longest(1));
    let full = Record { txt: "0".repeat(crate::txt::DIGITS_MAX), ..record(&instance) };
    let (question, _) = asked(&query(&vec![full.service.clone(); 16]));
    let len = answer(&question, &full).len();
    assert!(len <= 9_000 - 28, "{len} bytes, beside IP's and UDP's");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9._:/-]{0,12}", any::<String>()]
}

fn instances() -> impl Strategy<Value = Instance> {
    let pairs = || {
        prop::collection::vec((text(), text()), 0..3)
            .prop_map(|pairs| pairs.into_iter().collect::<Metadata>())
    };
    let addresses = prop_oneof![
        Just(None),
        text().prop_map(Some),
        any::<std::net::IpAddr>().prop_map(|ip| Some(ip.to_string())),
    ];
    let ports = prop::option::of(
        (any::<u16>(), any::<bool>()).prop_map(|(number, enabled)| Port { number, enabled }),
    );
    let names = ("[a-zA-Zé.]{1,9}", "\\PC{1,9}", text());
    let status = prop::sample::select(Status::ALL.to_vec());
    (names, pairs(), pairs(), addresses, ports, status, any::<u64>()).prop_map(
        |((service, id, version), metadata, service_metadata, ip, port, status, updated_at)| {
            let mut instance = Instance::new(&service, &id);
            (instance.version, instance.status) = (version, status);
            (instance.metadata, instance.service_metadata) = (metadata, service_metadata);
            (instance.address.ip, instance.address.port) = (ip, port);
            (instance.updated_at, instance.action) = (updated_at, Some(Action::Added));
            instance
        },
    )
}

proptest! {
    #[test]
    fn an_instance_is_heard_as_it_was_said(instance in instances()) {
        let Ok(record) = Record::of(&micro(), &instance) else { return Ok(()) };
        let said = Seen { place: record.place, instance: Arc::new(instance), ttl_secs: TTL_SECS };
        prop_assert_eq!(seen(&announcement(&record, TTL_SECS)), said.clone());
        let (question, _) = asked(&query(std::slice::from_ref(&record.service)));
        prop_assert_eq!(seen(&answer(&question, &record)), said);
        let gone = Heard::Gone { key: record.key.clone(), place: record.place };
        prop_assert_eq!(heard(&announcement(&record, 0)), vec![gone]);
        let listed = Heard::Listed(record.key.service.as_str().to_owned());
        prop_assert_eq!(heard(&listing(&question, &record)), vec![listed]);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, &micro());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        golden in prop::sample::select(vec![ANNOUNCEMENT, ANSWER, LISTING, PROBE, GOODBYE]),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = golden.to_vec();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = read(&bytes, &micro());
        let _ = read(&bytes[..cut.index(bytes.len())], &micro());
    }
}
