//! The routes, as clients see them: statuses, headers, bodies, and what bad input changes (nothing).

mod bad_input;
mod checklist;
mod expectations;
mod operations;
mod peers;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use larder_cache::Clock;
use larder_eureka::response_cache::{self, ResponseCache};
use larder_eureka::server::{self, Eureka};
use larder_registry::model::{Check, CheckKey, Health, Instance, Key, Probe};
use larder_registry::{Memory, Registry, Report, Reporter, memory};
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

struct Server {
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
    router: Router,
}

impl Server {
    fn new() -> Self {
        Self::built(100, |eureka| eureka)
    }

    fn built(max_instances: usize, change: impl FnOnce(Eureka) -> Eureka) -> Self {
        Self::wired(max_instances, response_cache::Options::default(), change)
    }

    fn with_cache(capacity: u64) -> Self {
        let options = response_cache::Options { capacity, ..response_cache::Options::default() };
        Self::wired(100, options, |eureka| eureka)
    }

    fn wired(
        max_instances: usize,
        cached: response_cache::Options,
        change: impl FnOnce(Eureka) -> Eureka,
    ) -> Self {
        let (clock, _hands) = Clock::by_hand(1_700_000_000_000);
        let options = memory::Options { max_instances, ..memory::Options::default() };
        let registry: Arc<dyn Registry> = Arc::new(Memory::start(options, clock.clone()));
        let responses =
            ResponseCache::observing(&registry, cached, clock.clone()).expect("valid options");
        let eureka = Eureka::new(registry.clone(), responses.clone(), clock);
        Self { registry, responses, router: server::router(Arc::new(change(eureka))) }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("it always answers");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("the body is whole");
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        self.send(request.expect("a valid request")).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).expect("a valid request")).await
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).header("content-type", content_type).body(body.into());
        self.send(request.expect("a valid request")).await
    }

    async fn register(&self, app: &str, id: &str) {
        let answer = self.post(&format!("/eureka/apps/{app}"), JSON, json(app, id)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
        assert_eq!(answer.body, "");
    }
}

const JSON: &str = "application/json";
const XML: &str = "application/xml";
const ACCEPT_JSON: (&str, &str) = ("accept", JSON);

fn json(app: &str, id: &str) -> String {
    let center = r#""dataCenterInfo":{"name":"MyOwn"}"#;
    let address = r#""hostName":"h","ipAddr":"10.0.0.1","port":{"$":8080,"@enabled":"true"}"#;
    let rest = r#""vipAddress":"v","status":"UP","lastDirtyTimestamp":"50""#;
    format!(r#"{{"instance":{{"instanceId":"{id}","app":"{app}",{address},{rest},{center}}}}}"#)
}

fn xml(app: &str) -> String {
    let center = "<dataCenterInfo><name>MyOwn</name></dataCenterInfo>";
    let rest = format!("<hostName>h</hostName><ipAddr>10.0.0.1</ipAddr>{center}");
    format!("<instance><instanceId>x</instanceId><app>{app}</app>{rest}</instance>")
}

#[tokio::test]
async fn a_client_registers_is_seen_renews_and_leaves() {
    let server = Server::new();
    server.register("web", "i").await;
    let path = "/eureka/apps/WEB/i";
    let heartbeat = server.call(Method::PUT, &format!("{path}?status=UP")).await;
    assert_eq!((heartbeat.status, heartbeat.body.as_str()), (StatusCode::OK, ""));
    assert!(server.get("/eureka/apps/", &[ACCEPT_JSON]).await.body.contains("\"WEB\""));
    assert_eq!(server.call(Method::DELETE, path).await.status, StatusCode::OK);
    for gone in [Method::DELETE, Method::PUT, Method::GET] {
        assert_eq!(server.call(gone, path).await.status, StatusCode::NOT_FOUND);
    }
    assert!(!server.get("/eureka/apps/", &[ACCEPT_JSON]).await.body.contains("\"WEB\""));
}

#[tokio::test]
async fn xml_registers_as_well() {
    let server = Server::new();
    let answer = server.post("/eureka/v2/apps/web/", XML, xml("web")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    let held = server.get("/eureka/v2/instances/x", &[]).await;
    assert_eq!(held.header("content-type"), Some(XML));
    assert!(held.body.starts_with("<instance>\n  <instanceId>x</instanceId>"), "{}", held.body);
}

#[tokio::test]
async fn every_registration_has_a_lease() {
    let server = Server::new();
    server.register("web", "i").await;
    let held = server.get("/eureka/apps/WEB/i", &[ACCEPT_JSON]).await;
    assert!(held.body.contains(r#""leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"#));
}

#[tokio::test]
async fn the_format_follows_accept_and_gzip_follows_accept_encoding() {
    let server = Server::new();
    let plain = server.get("/eureka/apps", &[]).await;
    assert_eq!((plain.header("content-type"), plain.header("content-encoding")), (Some(XML), None));
    let headers = [ACCEPT_JSON, ("accept-encoding", "gzip, deflate")];
    for path in ["/eureka/apps", "/eureka/apps/delta", "/eureka/vips/v"] {
        let gzip = server.get(path, &headers).await;
        assert_eq!(gzip.header("content-type"), Some(JSON), "{path}");
        assert_eq!(gzip.header("content-encoding"), Some("gzip"), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_application_is_404_and_an_unknown_address_an_empty_list() {
    let server = Server::new();
    let app = server.get("/eureka/apps/NONE", &[]).await;
    assert_eq!(app.status, StatusCode::NOT_FOUND);
    assert_eq!(app.body, "application NONE is not registered");
    for path in ["/eureka/vips/none", "/eureka/svips/none"] {
        assert_eq!(server.get(path, &[]).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_operator_takes_an_instance_out_of_service_and_back() {
    let server = Server::new();
    server.register("web", "i").await;
    let path = "/eureka/apps/WEB/i/status";
    let set = server.call(Method::PUT, &format!("{path}?value=OUT_OF_SERVICE")).await;
    assert_eq!((set.status, set.body.as_str()), (StatusCode::OK, ""));
    server.register("web", "i").await;
    let apps = server.get("/eureka/apps/WEB", &[ACCEPT_JSON]).await.body;
    let out = r#""status":"OUT_OF_SERVICE","overriddenStatus":"OUT_OF_SERVICE""#;
    assert!(apps.contains(out), "{apps}");
    let lifted = server.call(Method::DELETE, &format!("{path}?value=UP")).await;
    assert_eq!(lifted.status, StatusCode::OK);
    let apps = server.get("/eureka/apps/WEB", &[ACCEPT_JSON]).await.body;
    assert!(apps.contains(r#""status":"UP","overriddenStatus":"UNKNOWN""#), "{apps}");
}

#[tokio::test]
async fn a_heartbeat_of_a_client_that_has_changed_makes_it_register_again() {
    let server = Server::new();
    server.register("web", "i").await;
    let heartbeat = async |dirty: &str| {
        let path = format!("/eureka/apps/WEB/i?status=UP&lastDirtyTimestamp={dirty}");
        server.call(Method::PUT, &path).await.status
    };
    assert_eq!(heartbeat("50").await, StatusCode::OK);
    assert_eq!(heartbeat("49").await, StatusCode::OK);
    assert_eq!(heartbeat("51").await, StatusCode::NOT_FOUND);
    assert_eq!(heartbeat("").await, StatusCode::OK);
    assert_eq!(heartbeat("soon").await, StatusCode::BAD_REQUEST);
}

/// Netflix's eureka-client reads an instance out of any body of a heartbeat's answer, and gives up
/// where it cannot: it would never register again.
#[tokio::test]
async fn a_refused_heartbeat_has_no_body_for_netflix_client_to_trip_over() {
    let server = Server::new();
    server.register("ORDERS", "one").await;
    for path in ["one?lastDirtyTimestamp=51", "unknown"] {
        let refused = server.call(Method::PUT, &format!("/eureka/apps/ORDERS/{path}")).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert_eq!((refused.body.as_str(), refused.header("content-type")), ("", None), "{path}");
    }
}

#[tokio::test]
async fn ids_may_hold_anything_that_can_be_percent_encoded() {
    let server = Server::new();
    for (id, encoded) in [("h:web:80", "h%3Aweb%3A80"), ("a/b", "a%2Fb"), ("50%", "50%25")] {
        server.register("web", id).await;
        let path = format!("/eureka/v2/apps/web/{encoded}");
        assert_eq!(server.call(Method::PUT, &path).await.status, StatusCode::OK, "{id}");
        assert_eq!(server.call(Method::DELETE, &path).await.status, StatusCode::OK, "{id}");
    }
}

#[tokio::test]
async fn bad_registrations_are_refused_with_a_reason_and_change_nothing() {
    let server = Server::new();
    let before = server.registry.snapshot().revision();
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "b">]><instance>&a;</instance>"#;
    let deep = "<instance>".repeat(10_000);
    let table: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (JSON, b"{}".to_vec(), 400, r#"{"error":"cannot parse request body: expected instance"#),
        (JSON, b"{\"instance\"".to_vec(), 400, r#"{"error":"cannot parse request body: EOF"#),
        (JSON, b"".to_vec(), 400, r#"{"error":"cannot parse request body: EOF"#),
        (JSON, b"{\"instance\":{\"a\":\"\xFF\"}}".to_vec(), 400, "it is not UTF-8"),
        (JSON, b"{\"instance\":{}}".to_vec(), 400, "Missing instanceId"),
        (JSON, json("other", "i").into_bytes(), 400, "Mismatched appName, expecting WEB"),
        (XML, b"<instance>".to_vec(), 400, "<error><message>cannot parse request body: &lt;inst"),
        (XML, b"<instance><port>x</port></instance>".to_vec(), 400, "port: expected a number"),
        (XML, bomb.as_bytes().to_vec(), 400, "document types and entities are not accepted"),
        (XML, deep.into_bytes(), 400, "nested more than 64 levels deep"),
        (XML, json("web", "i").into_bytes(), 400, "there is text outside of the root"),
        (JSON, xml("web").into_bytes(), 400, "expected value at line 1 column 1"),
        ("text/plain", json("web", "i").into_bytes(), 415, "send Content-Type: application/json"),
        ("application/x-www-form-urlencoded", vec![], 415, "application/xml"),
    ];
    for (content_type, body, status, says) in table {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = server.post("/eureka/apps/web", content_type, body).await;
        assert_eq!(answer.status.as_u16(), status, "{shown:.80}: {}", answer.body);
        assert!(answer.body.contains(says), "{shown:.80}: {}", answer.body);
    }
    assert_eq!(server.registry.snapshot().revision(), before);
}

#[tokio::test]
async fn bad_requests_about_instances_are_refused_and_change_nothing() {
    let server = Server::new();
    server.register("web", "i").await;
    let before = server.registry.snapshot().revision();
    for (method, path, status) in [
        (Method::PUT, "/eureka/apps/WEB/i/status", 400),
        (Method::PUT, "/eureka/apps/WEB/i/status?value=up", 400),
        (Method::DELETE, "/eureka/apps/WEB/i/status?value=WAT", 400),
        (Method::PUT, "/eureka/apps/WEB/none/status?value=DOWN", 404),
        (Method::DELETE, "/eureka/apps/WEB/none/status", 404),
        (Method::DELETE, "/eureka/apps/NONE/i", 404),
        (Method::GET, "/eureka/instances/none", 404),
        (Method::GET, "/eureka/apps/WEB/%FF", 400),
        (Method::GET, "/eureka/nothing", 404),
        (Method::GET, "/v1/kv/a", 404),
        (Method::PATCH, "/eureka/apps/WEB/i", 405),
        (Method::POST, "/eureka/apps", 405),
    ] {
        let answer = server.call(method.clone(), path).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        assert!(!answer.body.is_empty(), "{method} {path} says nothing");
    }
    let allowed = server.call(Method::PATCH, "/eureka/apps/WEB").await;
    assert_eq!(allowed.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(server.registry.snapshot().revision(), before);
}

#[tokio::test]
async fn a_full_registry_says_so_and_keeps_serving() {
    let server = Server::new();
    for id in 0..100 {
        server.register("web", &id.to_string()).await;
    }
    let refused = server.post("/eureka/apps/web", JSON, json("web", "more")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.body.contains("it holds 100 instances"), "{}", refused.body);
    server.register("web", "7").await;
}

#[tokio::test]
async fn the_first_version_masks_a_status_in_xml() {
    let server = Server::new();
    server.register("web", "i").await;
    server.call(Method::PUT, "/eureka/apps/WEB/i/status?value=OUT_OF_SERVICE").await;
    for (path, status) in [
        ("/eureka/v1/apps/WEB/i", "DOWN"),
        ("/v1/apps", "DOWN"),
        ("/eureka/v2/apps/WEB/i", "OUT_OF_SERVICE"),
        ("/eureka/apps", "OUT_OF_SERVICE"),
    ] {
        let answer = server.get(path, &[]).await;
        assert!(answer.body.contains(&format!("<status>{status}</status>")), "{path}");
    }
}

#[tokio::test]
async fn latin_1_is_understood() {
    let server = Server::new();
    let body: Vec<u8> = json("web", "caf\u{E9}").chars().map(|letter| letter as u8).collect();
    let content_type = "application/json; charset=ISO-8859-1";
    assert_eq!(server.post("/eureka/apps/web", content_type, body).await.status, 204);
    assert_eq!(server.call(Method::PUT, "/eureka/apps/web/caf%C3%A9").await.status, 200);
}

#[tokio::test]
async fn an_instance_whose_check_fails_is_down_in_every_list_and_format() {
    let server = Server::new();
    let probe = Probe::Tcp("10.0.0.1:80".to_owned());
    let mut web = Instance::new("web", "i");
    web.vips.plain = Some("v".to_owned());
    web.checks = vec![Check::new("c", probe.clone())];
    server.registry.register(web).await.expect("there is room");
    let key = CheckKey::new(Key::new("web", "i"), "c");
    for (health, status) in
        [(Health::Passing, "UP"), (Health::Critical, "DOWN"), (Health::Warning, "UP")]
    {
        let from = Reporter::Prober(probe.clone());
        let report = Report { from, health, output: String::new() };
        server.registry.report(&key, report).await.expect("it is registered");
        for path in ["apps", "apps/delta", "apps/web", "apps/web/i", "instances/i", "vips/v"] {
            let path = format!("/eureka/{path}");
            let json = server.get(&path, &[ACCEPT_JSON]).await.body;
            assert!(json.contains(&format!(r#""status":"{status}""#)), "{path}: {json}");
            let xml = server.get(&path, &[("accept", XML)]).await.body;
            assert!(xml.contains(&format!("<status>{status}</status>")), "{path}: {xml}");
            if !path.contains("/i") && !path.contains("web") {
                let hash = format!(r#""apps__hashcode":"{status}_1_""#);
                assert!(json.contains(&hash), "{path}: {json}");
            }
        }
        let delta = server.get("/eureka/apps/delta", &[ACCEPT_JSON]).await.body;
        assert!(delta.contains(r#""actionType":"MODIFIED""#), "{delta}");
    }
}
