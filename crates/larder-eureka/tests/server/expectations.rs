//! What clients insist on, beyond what the API says: each of these broke a client once. The clients are
//! Netflix's and Spring's (Java), fargo and Prometheus (Go), py-eureka-client, eureka-js-client, APISIX
//! (Lua) and Steeltoe (.NET). The nineteenth, that idle connections are kept, is the configuration of the server.

use std::collections::HashSet;

use larder_cache::Rate;
use larder_eureka::server::RateLimits;
use larder_eureka::wire::{json as json_format, xml as xml_format};
use serde_json::Value;

use super::*;

const COMPACT: (&str, &str) = ("x-eureka-accept", "compact");
const GOLDEN: &str = include_str!("../goldens/spring.register.json");
const GOLDEN_AMAZON: &str = include_str!("../goldens/spring.register-aws.json");

impl Server {
    /// With an instance that has every field, and one of Amazon's with few: as Spring's client sends them.
    async fn with_springs_instances() -> Self {
        let server = Self::new();
        for (app, body) in [("APP1", GOLDEN), ("APP2", GOLDEN_AMAZON)] {
            let answer = server.post(&format!("/eureka/apps/{app}"), JSON, body).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
        }
        server
    }

    async fn value(&self, path: &str, headers: &[(&str, &str)]) -> Value {
        let answer = self.get(path, &[&[ACCEPT_JSON], headers].concat()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("it is JSON")
    }

    async fn xml(&self, path: &str) -> String {
        let answer = self.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.body
    }
}

fn applications(list: &Value) -> &[Value] {
    list["applications"]["application"].as_array().expect("application is always an array")
}

fn instances(list: &Value) -> impl Iterator<Item = &Value> {
    assert!(!applications(list).is_empty(), "there is nothing to look at: {list}");
    applications(list).iter().flat_map(|app| app["instance"].as_array().expect("always an array"))
}

/// 1: anything but these, and Java's, JavaScript's and Go's clients take it for a failure.
#[tokio::test]
async fn registering_is_answered_204_a_heartbeat_200_and_leaving_200() {
    let server = Server::new();
    let registered = server.post("/eureka/apps/WEB", JSON, super::json("web", "i")).await;
    assert_eq!((registered.status.as_u16(), registered.body.as_str()), (204, ""));
    let again = server.post("/eureka/apps/WEB", JSON, super::json("web", "i")).await;
    assert_eq!(again.status.as_u16(), 204, "also when it registers again");
    for (method, status) in [(Method::PUT, 200), (Method::DELETE, 200), (Method::PUT, 404)] {
        let answer = server.call(method.clone(), "/eureka/apps/WEB/i").await;
        assert_eq!(answer.status.as_u16(), status, "{method}");
    }
}

/// 2: Java's and Spring's clients read an instance out of any body.
#[tokio::test]
async fn a_heartbeat_is_answered_without_a_body_and_without_its_type() {
    let server = Server::new();
    server.register("web", "i").await;
    for accept in [JSON, XML, "*/*"] {
        let request = Request::put("/eureka/apps/WEB/i?status=UP&lastDirtyTimestamp=50")
            .header("accept", accept)
            .body(Body::empty());
        let answer = server.send(request.expect("a valid request")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""), "{accept}");
        assert_eq!(answer.header("content-type"), None, "{accept}");
    }
}

/// What Spring's mapper knows of an instance; it fails on anything else.
const KNOWN_OF_INSTANCE: [&str; 26] = [
    "instanceId",
    "hostName",
    "app",
    "ipAddr",
    "sid",
    "status",
    "overriddenStatus",
    "port",
    "securePort",
    "countryId",
    "dataCenterInfo",
    "leaseInfo",
    "metadata",
    "appGroupName",
    "homePageUrl",
    "statusPageUrl",
    "healthCheckUrl",
    "secureHealthCheckUrl",
    "vipAddress",
    "secureVipAddress",
    "isCoordinatingDiscoveryServer",
    "lastUpdatedTimestamp",
    "lastDirtyTimestamp",
    "actionType",
    "asgName",
    "overriddenstatus",
];
const KNOWN_OF_LEASE: [&str; 6] = [
    "renewalIntervalInSecs",
    "durationInSecs",
    "registrationTimestamp",
    "lastRenewalTimestamp",
    "evictionTimestamp",
    "serviceUpTimestamp",
];
const STATUSES: [&str; 5] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"];

#[track_caller]
fn assert_known(found: &Value, known: &[&str]) {
    for key in found.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()), "{key} in {found}");
    }
}

/// 3: below `applications`, an unknown key, an object in place of an array or an unknown status fails
/// Spring's whole fetch; beside it, keys that begin with `version` or `apps` overwrite version and hash.
#[tokio::test]
async fn springs_strict_mapper_knows_every_key_and_every_status() {
    let server = Server::with_springs_instances().await;
    for path in
        ["/eureka/apps/", "/eureka/apps/delta", "/eureka/vips/app1-alt", "/eureka/vips/none"]
    {
        for headers in [&[][..], &[COMPACT]] {
            let list = server.value(path, headers).await;
            for key in list["applications"].as_object().expect("an object").keys() {
                let is_taken = key.starts_with("version") || key.starts_with("apps");
                let is_own = matches!(key.as_str(), "versions__delta" | "apps__hashcode");
                assert!(!is_taken || is_own, "{path}: {key}");
            }
            for app in applications(&list) {
                assert_known(app, &["name", "instance"]);
            }
            if path.ends_with("none") {
                assert!(applications(&list).is_empty());
                continue;
            }
            for held in instances(&list) {
                assert_known(held, &KNOWN_OF_INSTANCE);
                assert_known(&held["port"], &["$", "@enabled"]);
                assert_known(&held["securePort"], &["$", "@enabled"]);
                if let Some(lease) = held.get("leaseInfo") {
                    assert_known(lease, &KNOWN_OF_LEASE);
                }
                let status = held["status"].as_str().expect("a text");
                assert!(STATUSES.contains(&status), "{status}");
            }
        }
    }
}

/// 4: Netflix's own decoder loses its place in an object that it does not know.
#[tokio::test]
async fn an_instance_holds_no_object_that_netflixs_decoder_does_not_know() {
    let server = Server::with_springs_instances().await;
    let known = ["port", "securePort", "dataCenterInfo", "leaseInfo", "metadata"];
    for headers in [&[][..], &[COMPACT]] {
        let list = server.value("/eureka/apps", headers).await;
        for held in instances(&list) {
            for (key, value) in held.as_object().expect("an object") {
                assert!(!value.is_array(), "{key}");
                assert!(!value.is_object() || known.contains(&key.as_str()), "{key}");
            }
        }
    }
}

/// 5: −1 makes Java's client fetch everything each time. Of virtual addresses it is −1, as Netflix's.
#[tokio::test]
async fn the_version_of_everything_and_of_a_delta_is_above_zero() {
    let server = Server::new();
    for round in 0..3 {
        for path in ["/eureka/apps", "/eureka/apps/delta"] {
            let list = server.value(path, &[]).await;
            let version = list["applications"]["versions__delta"].as_str().expect("a text");
            assert!(version.parse::<i64>().expect("a number") >= 1, "{path}: {version}");
        }
        server.register("web", &round.to_string()).await;
    }
    let vip = server.value("/eureka/vips/v", &[]).await;
    assert_eq!(vip["applications"]["versions__delta"], "-1");
}

/// 6: py-eureka-client skips a delta whose version and hash it has seen; Go reads a number.
#[tokio::test]
async fn a_delta_with_other_content_has_another_version_and_every_form_the_same() {
    let server = Server::new();
    let mut seen = HashSet::new();
    // In turns there and gone: the hash repeats, the version must not.
    for _ in 0..4 {
        server.register("web", "i").await;
        assert!(seen.insert(version_in_every_form(&server).await));
        server.call(Method::DELETE, "/eureka/apps/WEB/i").await;
        assert!(seen.insert(version_in_every_form(&server).await));
    }
}

async fn version_in_every_form(server: &Server) -> i64 {
    let path = "/eureka/apps/delta";
    let mut versions = HashSet::new();
    for headers in [&[ACCEPT_JSON][..], &[ACCEPT_JSON, COMPACT]] {
        let body = server.get(path, headers).await.body;
        versions.insert(json_format::decode_applications(body.as_bytes()).expect("a list").version);
    }
    for headers in [&[][..], &[COMPACT]] {
        let body = server.get(path, headers).await.body;
        versions.insert(xml_format::decode_applications(body.as_bytes()).expect("a list").version);
    }
    assert_eq!(versions.len(), 1, "every form tells the same: {versions:?}");
    versions.into_iter().next().expect("one")
}

/// 7: what is neither 2xx, 302, 403 nor 404 sends Java's client to another server for a while, which is
/// what a server that is asked too often wants.
#[tokio::test]
async fn a_delta_that_is_refused_sends_javas_client_to_another_server() {
    let reads = Rate { burst: 1, per_second: 1.0 };
    let limits = RateLimits { reads, ..RateLimits::default() };
    let server = Server::built(100, |eureka| eureka.limited_to(limits));
    assert_eq!(server.get("/eureka/apps/delta", &[]).await.status.as_u16(), 200);
    assert_eq!(server.get("/eureka/apps/delta", &[]).await.status.as_u16(), 503);
}

/// 8: Java's client follows one kind of redirect, and others none.
#[tokio::test]
async fn nobody_is_sent_elsewhere_however_a_path_is_spelt() {
    let server = Server::new();
    server.register("web", "i").await;
    for path in ["apps", "apps/", "/apps//", "apps/delta/", "apps/web/", "apps/web/i/", "status/"] {
        for prefix in ["/eureka/", "/eureka/v2/", "/v2/", "/eureka//"] {
            let answer = server.get(&format!("{prefix}{path}"), &[]).await;
            assert_eq!(answer.status.as_u16(), 200, "{prefix}{path}");
            assert_eq!(answer.header("location"), None, "{prefix}{path}");
        }
    }
}

/// 9: py-eureka-client reads attributes that others leave out, and numbers that must be there; when it
/// stops it registers as `DOWN` first.
#[tokio::test]
async fn xml_has_the_attributes_and_the_numbers_that_python_reads() {
    let server = Server::with_springs_instances().await;
    server.register("web", "i").await;
    let list = server.xml("/eureka/apps/").await;
    assert_eq!(list.matches("<instance>").count(), 3);
    assert_eq!(list.matches("<dataCenterInfo class=\"com.netflix.appinfo.").count(), 3);
    assert_eq!(list.matches("ort enabled=\"").count(), 6, "port and securePort of each");
    for number in ["countryId", "durationInSecs", "lastUpdatedTimestamp", "lastDirtyTimestamp"] {
        let values = texts(&list, number);
        assert_eq!(values.len(), 3, "{number}");
        assert!(values.iter().all(|value| value.parse::<i64>().is_ok()), "{number}: {values:?}");
    }
    let down = super::json("web", "i").replace(r#""status":"UP""#, r#""status":"DOWN""#);
    let down = down.replace(r#""lastDirtyTimestamp":"50""#, r#""lastDirtyTimestamp":"51""#);
    assert_eq!(server.post("/eureka/apps/WEB", JSON, down).await.status.as_u16(), 204);
    assert!(server.xml("/eureka/apps/WEB").await.contains("<status>DOWN</status>"));
    assert_eq!(server.call(Method::DELETE, "/eureka/apps/WEB/i").await.status.as_u16(), 200);
}

/// What stands in every element of this name, whatever its attributes.
fn texts<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let text = |before: &'a str| before.rsplit_once(&open)?.1.split_once('>').map(|(_, text)| text);
    xml.split(&close).filter_map(text).collect()
}

/// 10: Prometheus asks without `Accept` and without gzip, takes metadata raw, and fails on a truth value
/// or a number that is none.
#[tokio::test]
async fn prometheus_gets_xml_with_truth_values_numbers_and_raw_metadata() {
    let server = Server::with_springs_instances().await;
    let answer = server.get("/eureka/apps", &[]).await;
    assert_eq!(
        (answer.header("content-type"), answer.header("content-encoding")),
        (Some(XML), None)
    );
    let coordinates = texts(&answer.body, "isCoordinatingDiscoveryServer");
    assert_eq!(coordinates, ["false", "true"]);
    for name in ["port", "securePort", "countryId"] {
        let numbers = texts(&answer.body, name);
        assert_eq!(numbers.len(), 2, "{name}");
        assert!(numbers.iter().all(|text| text.parse::<i32>().is_ok()), "{name}: {numbers:?}");
    }
    assert!(answer.body.contains("<my__key>a&lt;b&amp;c</my__key>"), "{}", answer.body);
    assert!(answer.body.contains("<empty></empty>"), "{}", answer.body);
}

/// 11: eureka-js-client reads `app.instance` and `port.$`; a virtual address may be missing.
#[tokio::test]
async fn javascript_finds_the_instances_and_the_port_of_each() {
    let server = Server::new();
    let nameless = super::json("web", "i").replace(r#""vipAddress":"v","#, "");
    assert_eq!(server.post("/eureka/v2/apps/WEB", JSON, nameless).await.status.as_u16(), 204);
    let list = server.value("/eureka/v2/apps/", &[]).await;
    let held = instances(&list).next().expect("one");
    assert_eq!(held["port"]["$"], 8080);
    assert_eq!(held.get("vipAddress"), None);
}

/// 12: APISIX decodes a body as it comes, reads the override under either key, and arrays only.
#[tokio::test]
async fn who_does_not_ask_for_gzip_gets_none_and_finds_the_override() {
    let server = Server::new();
    server.register("web", "i").await;
    server.call(Method::PUT, "/eureka/apps/WEB/i/status?value=OUT_OF_SERVICE").await;
    let answer = server.get("/eureka/apps", &[ACCEPT_JSON]).await;
    assert_eq!(answer.header("content-encoding"), None);
    let list: Value = serde_json::from_str(&answer.body).expect("it is JSON as it comes");
    let held = instances(&list).next().expect("one");
    assert_eq!(held["overriddenStatus"], "OUT_OF_SERVICE");
    assert_eq!(held["port"]["@enabled"], "true");
}

/// 13: Steeltoe encodes colons, writes a plus for a space in the path, as Spring's server reads it
/// literally, and drops an instance that lacks one of these.
#[tokio::test]
async fn dotnet_finds_what_it_insists_on_and_a_plus_in_a_path_is_a_plus() {
    let server = Server::new();
    server.register("web", "h:web:80").await;
    server.register("web", "a+b").await;
    for (id, status) in [("h%3Aweb%3A80", 200), ("a+b", 200), ("a%2Bb", 200), ("a%20b", 404)] {
        let path = format!("/eureka/apps/WEB/{id}?lastDirtyTimestamp=50");
        assert_eq!(server.call(Method::PUT, &path).await.status.as_u16(), status, "{id}");
    }
    let list = server.value("/eureka/apps", &[]).await;
    for held in instances(&list) {
        for key in ["instanceId", "app", "hostName", "ipAddr", "dataCenterInfo"] {
            assert!(held.get(key).is_some_and(|value| !value.is_null()), "{key} of {held}");
        }
    }
    let vip = server.value("/eureka/vips/v", &[]).await;
    assert_eq!(instances(&vip).count(), 2);
}

/// 14: fargo asks for the instance, registers, and asks again: it expects its own data at once.
#[tokio::test]
async fn go_finds_nothing_then_registers_then_finds_itself() {
    let server = Server::new();
    let path = "/eureka/v2/apps/WEB/i";
    assert_eq!(server.get(path, &[]).await.status.as_u16(), 404);
    let body = super::json("WEB", "i").replace(r#""$":8080"#, r#""$":"8080""#);
    assert_eq!(server.post("/eureka/v2/apps/WEB", JSON, body).await.status.as_u16(), 204);
    let held = server.get(path, &[("accept", XML)]).await;
    let held = xml_format::decode_instance(held.body.as_bytes()).expect("an instance");
    assert_eq!(held.address.port.map(|port| (port.number, port.enabled)), Some((8080, true)));
    let held = server.get(path, &[ACCEPT_JSON]).await;
    let held = json_format::decode_instance(held.body.as_bytes()).expect("an instance");
    assert_eq!((&*held.id, held.address.ip.as_deref()), ("i", Some("10.0.0.1")));
}

/// 15: what Spring's client sends, byte for byte: nulls, numbers for times, `"sid":"na"`, Amazon's metadata.
#[tokio::test]
async fn springs_registrations_are_read_and_shown_with_all_that_they_say() {
    let server = Server::with_springs_instances().await;
    let held = server.value("/eureka/apps/APP1/host1:app1:8080", &[]).await;
    let held = &held["instance"];
    assert_eq!(held["metadata"]["my_key"], "a<b&c");
    assert_eq!(held["leaseInfo"]["durationInSecs"], 90);
    assert_eq!(held["isCoordinatingDiscoveryServer"], "false", "a text, as Netflix prints it");
    assert_eq!((held.get("sid"), &held["actionType"]), (None, &Value::from("ADDED")));
    let held = server.value("/eureka/apps/APP2/i-0abc", &[]).await;
    let held = &held["instance"];
    assert_eq!(held.get("instanceId"), None, "it sent null: the cloud's id stands for it");
    assert_eq!(held["dataCenterInfo"]["metadata"]["ami-id"], "ami-1");
    assert_eq!(held["lastDirtyTimestamp"], "2");
}

/// 16: Spring's client sends `Content-Type` with every `GET`; a base that ends in a slash makes two.
#[tokio::test]
async fn a_content_type_on_a_read_and_double_slashes_change_nothing() {
    let server = Server::new();
    server.register("web", "i").await;
    for content_type in [JSON, XML, "text/plain", "nonsense"] {
        let headers = [ACCEPT_JSON, ("content-type", content_type)];
        let list = server.get("/eureka//apps/", &headers).await;
        assert_eq!(list.status.as_u16(), 200, "{content_type}");
        assert_eq!(list.header("content-type"), Some(JSON));
    }
    assert_eq!(server.call(Method::PUT, "/eureka//apps/WEB/i").await.status.as_u16(), 200);
}

/// 17: Spring's reactive client takes 256 KiB, unless it is told otherwise.
#[tokio::test]
async fn a_list_of_two_hundred_fits_into_what_springs_reactive_client_takes() {
    let server = Server::built(200, |eureka| eureka);
    for id in 0..200 {
        let body = GOLDEN.replace("host1:app1:8080", &format!("host{id}:app1:8080"));
        assert_eq!(server.post("/eureka/apps/APP1", JSON, body).await.status.as_u16(), 204);
    }
    let full = server.get("/eureka/apps", &[ACCEPT_JSON]).await.body.len();
    let compact = server.get("/eureka/apps", &[ACCEPT_JSON, COMPACT]).await.body.len();
    assert!(full <= 256 << 10, "{full} bytes");
    assert!(compact * 2 < full, "{compact} of {full} bytes");
}

/// 18: what stands in front of a server asks for credentials; the server itself does not mind them.
#[tokio::test]
async fn credentials_are_neither_asked_for_nor_minded() {
    let server = Server::new();
    server.register("web", "i").await;
    for credentials in ["Basic dXNlcjpwYXNz", "Bearer abc.def.ghi", "nonsense"] {
        let answer = server.get("/eureka/apps", &[("authorization", credentials)]).await;
        assert_eq!(answer.status.as_u16(), 200, "{credentials}");
        assert_eq!(answer.header("www-authenticate"), None);
    }
}
