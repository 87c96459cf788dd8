use std::collections::BTreeMap;
use std::time::Duration;

use larder_registry::model::{
    Action, Address, Check, DataCenter, Health, Lease, Mesh, Name, Node, Opaque, Pages, Port,
    Probe, Status, TaggedAddress, Vips, Weights,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

const FULL: &str = include_str!("../../tests/goldens/go-micro-full.json");
const BARE: &str = include_str!("../../tests/goldens/go-micro-bare.json");
const ESCAPES: &str = include_str!("../../tests/goldens/go-micro-escapes.json");

fn decoded(json: &str) -> Instance {
    decode(json.as_bytes()).expect("go-micro wrote it")
}

fn encoded(instance: &Instance) -> Json {
    let json = encode(instance).expect("it has a form");
    serde_json::from_slice(&json).expect("it is JSON")
}

/// As Go reads it: a list or a map that is not there is an empty one.
fn without_nulls(json: Json) -> Json {
    match json {
        Json::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let empty = match name.as_str() {
                    "metadata" => json!({}),
                    "endpoints" | "values" | "nodes" => json!([]),
                    _ => Json::Null,
                };
                let value = if value.is_null() { empty } else { without_nulls(value) };
                (name, value)
            })
            .collect(),
        Json::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn what_go_micro_wrote_is_written_back_with_nothing_added() {
    for golden in [FULL, BARE, ESCAPES] {
        let theirs: Json = serde_json::from_str(golden).expect("it is JSON");
        assert_eq!(encoded(&decoded(golden)), without_nulls(theirs));
    }
}

#[test]
fn a_service_of_go_micros_is_read_field_by_field() {
    let instance = decoded(FULL);
    assert_eq!(instance.key().to_string(), "greeter/greeter-7b1c");
    assert_eq!(instance.version, "latest");
    let address = (instance.address.ip.as_deref(), instance.address.port.map(|port| port.number));
    assert_eq!(address, (Some("10.0.0.1"), Some(46259)));
    assert_eq!(instance.metadata.get("protocol"), Some("mucp"));
    assert_eq!((instance.status, instance.lease, instance.updated_at), (Status::Up, None, 0));
    let [hello, health] = &instance.endpoints[..] else { panic!("{:?}", instance.endpoints) };
    assert_eq!(hello.metadata.get("stream"), Some("false"));
    let request = hello.request.as_ref().expect("it takes something");
    assert_eq!(request.fields[1].fields[0].fields[0].name, "key");
    assert_eq!((health.name.as_str(), &health.request), ("Debug.Health", &None));

    let escapes = decoded(ESCAPES);
    assert_eq!(escapes.key().to_string(), "go/micro/api/api/1");
    assert_eq!(escapes.version, "1.2.3-β <rc>");
    assert_eq!(escapes.address.ip.as_deref(), Some("fe80::1"));
    assert_eq!(escapes.service_metadata.get("line"), Some("one\ntwo\u{2028}three"));
    assert_eq!(decoded(BARE).address, Address::default());
}

#[test]
fn what_go_micro_has_no_field_for_is_one_pair_of_metadata() {
    let mut instance = Instance::new("web", "1");
    instance.status = Status::OutOfService;
    instance.tags = vec!["blue".to_owned()];
    let node = &encoded(&instance)["nodes"][0];
    let carried = r#"{"status":"OUT_OF_SERVICE","tags":["blue"]}"#;
    assert_eq!(node["metadata"], json!({ CARRIED: carried }));
}

#[test]
fn a_txt_record_of_go_micros_is_read_field_by_field() {
    let theirs =
        br#"{"Metadata":{"zone":"a"},"Service":"greeter","Version":"latest","Endpoints":null}"#;
    let instance = decode_txt(theirs, "greeter-1", "[fe80::1]:80").expect("go-micro writes it");
    assert_eq!(instance.key().to_string(), "greeter/greeter-1");
    assert_eq!((instance.version.as_str(), instance.metadata.get("zone")), ("latest", Some("a")));
    assert_eq!(instance.address.ip.as_deref(), Some("fe80::1"));
    let ours: Json =
        serde_json::from_slice(&encode_txt(&instance, "[fe80::1]:80").expect("it has a form"))
            .expect("it is JSON");
    let same = json!({"Metadata": {"zone": "a"}, "Service": "greeter", "Version": "latest", "Endpoints": []});
    assert_eq!(ours, same);
}

#[test]
fn a_txt_record_without_a_version_is_given_go_micros_own() {
    let json = encode_txt(&Instance::new("web", "1"), "").expect("it has a form");
    let said: Json = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(said["Version"], NO_VERSION);
    assert_eq!(decode_txt(&json, "1", "").expect("it was written here").version, "");
}

#[test]
fn a_pair_of_that_name_which_is_not_larders_stays_the_users() {
    for theirs in ["", "mine", "[]", "{}", r#"{"a":1}"#, r#"{"status":"SLEEPY"}"#, r#"{"tags":7}"#]
    {
        let mut instance = Instance::new("web", "1");
        instance.metadata.insert(CARRIED.to_owned(), theirs.to_owned());
        let record = json!({"name": "web", "nodes": [{"id": "1", "metadata": {CARRIED: theirs}}]});
        assert_eq!(decoded(&record.to_string()), instance);
        let ours = encode(&instance).expect("it has a form");
        assert_eq!(decode(&ours), Ok(instance));
    }
}

#[test]
fn what_is_no_instance_is_told_from_what_is() {
    let no_node = br#"{"name":"web","nodes":null}"#;
    assert_eq!(decode(no_node), Err(Malformed::Nodes(0)));
    let two = br#"{"name":"web","nodes":[{"id":"1"},{"id":"2"}]}"#;
    assert_eq!(decode(two), Err(Malformed::Nodes(2)));
    for broken in ["", "null", "7", "[]", "{", r#"{"name":7}"#, r#"{"name":"web","nodes":[null]}"#]
    {
        let answer = decode(broken.as_bytes());
        assert!(matches!(answer, Err(Malformed::Json(_))), "{broken}: {answer:?}");
    }
    let unknown = br#"{"name":"web","nodes":[{"id":"1","port":80}],"domain":"micro"}"#;
    assert_eq!(decode(unknown), Ok(Instance::new("web", "1")));
}

#[test]
fn a_description_may_nest_to_the_bound_and_no_further() {
    let nested = |depth: usize| {
        let leaf = Value { name: "leaf".to_owned(), kind: "string".to_owned(), fields: vec![] };
        let value = (1..depth).fold(leaf, |inside, _| Value {
            name: "field".to_owned(),
            kind: "struct".to_owned(),
            fields: vec![inside],
        });
        let mut instance = Instance::new("web", "1");
        instance.endpoints = vec![Endpoint {
            name: "Web.Get".to_owned(),
            request: Some(value),
            response: None,
            metadata: Metadata::new(),
        }];
        instance
    };
    let deepest = nested(VALUE_DEPTH_MAX);
    assert_eq!(decode(&encode(&deepest).expect("it has a form")), Ok(deepest));
    assert_eq!(encode(&nested(VALUE_DEPTH_MAX + 1)), Err(Unfit::TooDeep));
    let record = |depth: usize| {
        let value = r#"{"values":["#.repeat(depth) + &"]}".repeat(depth);
        format!(r#"{{"name":"web","endpoints":[{{"request":{value}}}],"nodes":[{{"id":"1"}}]}}"#)
    };
    assert_eq!(decode(record(VALUE_DEPTH_MAX + 1).as_bytes()), Err(Malformed::TooDeep));
    assert!(matches!(decode(record(10_000).as_bytes()), Err(Malformed::Json(_))));
}

#[test]
fn what_etcd_would_refuse_is_refused_before() {
    let mut instance = Instance::new("web", "1");
    instance.metadata.insert("page".to_owned(), "x".repeat(VALUE_BYTES_MAX));
    assert!(matches!(encode(&instance), Err(Unfit::TooLarge { bytes }) if bytes > VALUE_BYTES_MAX));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9._:/-]{0,12}", any::<String>()]
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(text())
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let name = prop_oneof![4 => text(), 1 => Just(CARRIED.to_owned())];
    prop::collection::vec((name, text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = (text(), text()).prop_map(|(name, kind)| Value { name, kind, fields: vec![] });
    leaf.prop_recursive(4, 12, 3, |fields| {
        (text(), text(), prop::collection::vec(fields, 0..3))
            .prop_map(|(name, kind, fields)| Value { name, kind, fields })
    })
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let endpoint =
        (text(), prop::option::of(value()), prop::option::of(value()), metadata()).prop_map(
            |(name, request, response, metadata)| Endpoint { name, request, response, metadata },
        );
    prop::collection::vec(endpoint, 0..3)
}

fn port() -> impl Strategy<Value = Option<Port>> {
    prop::option::of(
        (any::<u16>(), any::<bool>()).prop_map(|(number, enabled)| Port { number, enabled }),
    )
}

fn address() -> impl Strategy<Value = Address> {
    let ip = prop::option::of(prop_oneof!["[0-9:.\\[\\]]{0,8}", text()]);
    (some_text(), ip, port(), port()).prop_map(|(host, ip, port, secure_port)| Address {
        host,
        ip,
        port,
        secure_port,
    })
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL.to_vec())
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u32>(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs.into(), nanos))
}

fn check() -> impl Strategy<Value = Check> {
    let probe = prop_oneof![
        duration().prop_map(Probe::Ttl),
        text().prop_map(Probe::Tcp),
        (text(), text()).prop_map(|(url, it)| Probe::Http { url, definition: Opaque(it) }),
        (text(), text()).prop_map(|(kind, it)| Probe::Other { kind, definition: Opaque(it) }),
    ];
    let health = prop::sample::select(vec![Health::Passing, Health::Warning, Health::Critical]);
    let times = (duration(), duration(), prop::option::of(duration()));
    (text(), text(), health, text(), text(), probe, times).prop_map(
        |(id, name, health, notes, output, probe, (interval, timeout, deregister_after))| Check {
            id,
            name,
            health,
            notes,
            output,
            probe,
            interval,
            timeout,
            deregister_after,
        },
    )
}

fn lease() -> impl Strategy<Value = Lease> {
    (any::<(u32, u32)>(), any::<(u64, u64, u64, u64)>()).prop_map(|(secs, at)| Lease {
        renewal_interval_secs: secs.0,
        duration_secs: secs.1,
        registered_at: at.0,
        renewed_at: at.1,
        evicted_at: at.2,
        up_since: at.3,
    })
}

fn node() -> impl Strategy<Value = Node> {
    (text(), text(), text(), metadata()).prop_map(|(id, name, address, metadata)| Node {
        id,
        name,
        tagged_addresses: BTreeMap::from([("lan".to_owned(), address.clone())]),
        datacenter: address.clone(),
        address,
        metadata,
    })
}

fn mesh() -> impl Strategy<Value = Mesh> {
    (text(), text(), any::<bool>(), any::<u16>(), some_text()).prop_map(
        |(kind, peer, enable_tag_override, port, document)| Mesh {
            kind: kind.clone(),
            socket_path: peer.clone(),
            enable_tag_override,
            tagged_addresses: BTreeMap::from([(
                "wan".to_owned(),
                TaggedAddress { address: peer.clone(), port },
            )]),
            proxy: document.clone().map(Opaque),
            connect: document.clone().map(Opaque),
            locality: document.map(Opaque),
            namespace: kind.clone(),
            partition: kind,
            peer,
        },
    )
}

/// What go-micro knows.
fn plain() -> impl Strategy<Value = Instance> {
    let fields = (text(), text(), text(), metadata(), metadata(), endpoints());
    fields.prop_map(|(service, id, version, metadata, service_metadata, endpoints)| Instance {
        service: Name::new(&service),
        id,
        version,
        metadata,
        service_metadata,
        endpoints,
        ..Instance::new("", "")
    })
}

/// What the model knows.
fn whole() -> impl Strategy<Value = Instance> {
    let state = (address(), status(), prop::option::of(status()), prop::option::of(lease()));
    let consul = (
        prop::option::of(node()),
        prop::option::of(mesh()),
        prop::collection::vec(check(), 0..2),
        prop::option::of(any::<(u32, u32)>()),
        prop::collection::vec(text(), 0..3),
    );
    let pages = (some_text(), some_text(), some_text(), some_text()).prop_map(
        |(home, status, health, secure_health)| Pages { home, status, health, secure_health },
    );
    let data_center = (text(), prop::option::of(metadata()))
        .prop_map(|(name, metadata)| DataCenter { name, metadata });
    let eureka = (
        (some_text(), some_text(), some_text(), some_text(), some_text()),
        prop::option::of(pages),
        prop::option::of(data_center),
        any::<(i32, bool, bool)>(),
    );
    let actions = vec![Action::Added, Action::Modified, Action::Deleted];
    let times = (any::<(u64, u64)>(), prop::option::of(prop::sample::select(actions)));
    (plain(), state, consul, eureka, times).prop_map(|(plain, state, consul, eureka, times)| {
        let (vip, secure_vip, group, asg, sid) = eureka.0;
        Instance {
            address: state.0,
            status: state.1,
            status_override: state.2,
            lease: state.3,
            node: consul.0.map(Box::new),
            mesh: consul.1.map(Box::new),
            checks: consul.2,
            weights: consul.3.map(|(passing, warning)| Weights { passing, warning }),
            tags: consul.4,
            vips: Vips { plain: vip, secure: secure_vip },
            group,
            asg,
            sid,
            pages: eureka.1.map(Box::new),
            data_center: eureka.2.map(Box::new),
            country_id: eureka.3.0,
            is_coordinator: eureka.3.1,
            id_is_derived: eureka.3.2,
            updated_at: times.0.0,
            dirty_at: times.0.1,
            action: times.1,
            ..plain
        }
    })
}

proptest! {
    #[test]
    fn an_instance_is_read_back_equal(instance in whole()) {
        let json = encode(&instance).expect("it has a form");
        prop_assert_eq!(decode(&json), Ok(instance));
    }

    #[test]
    fn a_txt_record_is_read_back_equal(instance in whole(), address in text()) {
        let json = encode_txt(&instance, &address).expect("it has a form");
        prop_assert_eq!(decode_txt(&json, &instance.id, &address), Ok(instance));
    }

    #[test]
    fn no_bytes_make_the_decoder_of_txt_records_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_txt(&bytes, "1", "");
    }

    #[test]
    fn nothing_is_carried_for_what_go_micro_can_say(instance in plain(), address in text()) {
        let instance = Instance { address: address::split(&address), ..instance };
        prop_assume!(!instance.metadata.contains_key(CARRIED));
        let json = encoded(&instance);
        prop_assert_eq!(&json["nodes"][0]["address"], &Json::String(address));
        prop_assert!(json["nodes"][0]["metadata"].get(CARRIED).is_none());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_damage_makes_the_decoder_panic(instance in whole(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = encode(&instance).expect("it has a form");
        let place = cut.index(json.len());
        json[place] = byte;
        let _ = decode(&json);
        let _ = decode(&json[..place]);
    }
}
