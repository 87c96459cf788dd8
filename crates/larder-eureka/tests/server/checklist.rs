//! What upstream's own tests of its resources check, asked of our routes. Each says which test it stands
//! for; those that others stand for are named there.

use larder_eureka::wire::{json as json_format, xml as xml_format};
use larder_registry::model::{Metadata, Status};

use super::*;

const COMPACT: (&str, &str) = ("x-eureka-accept", "compact");

fn golden() -> Instance {
    let body = include_str!("../goldens/spring.register.json");
    json_format::decode_instance(body.as_bytes()).expect("an instance")
}

/// As a server shows it: with its own times.
fn without_times(held: &Instance) -> Instance {
    let mut held = held.clone();
    (held.updated_at, held.action) = (0, None);
    if let Some(lease) = &mut held.lease {
        (lease.registered_at, lease.renewed_at, lease.up_since) = (0, 0, 0);
    }
    held
}

impl Server {
    async fn with_golden() -> Self {
        let server = Self::new();
        let body = include_str!("../goldens/spring.register.json");
        let answer = server.post("/v2/apps/APP1", JSON, body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
        server
    }

    async fn status_of(&self, id: &str) -> (Status, Option<Status>) {
        let body = self.get(&format!("/v2/apps/WEB/{id}"), &[ACCEPT_JSON]).await.body;
        let held = json_format::decode_instance(body.as_bytes()).expect("an instance");
        (held.status, held.status_override)
    }
}

/// `testFullAppsGetJson`, `testFullAppGet`, `testFullVipGet`.
#[tokio::test]
async fn what_was_registered_is_what_a_reader_decodes_in_either_format() {
    let server = Server::with_golden().await;
    let registered = without_times(&golden());
    for path in ["/v2/apps", "/v2/vips/app1-alt", "/v2/svips/app1-s"] {
        let body = server.get(path, &[ACCEPT_JSON]).await.body;
        let from_json = json_format::decode_applications(body.as_bytes()).expect("a list");
        let body = server.get(path, &[]).await.body;
        let from_xml = xml_format::decode_applications(body.as_bytes()).expect("a list");
        for list in [from_json, from_xml] {
            assert_eq!((list.apps.len(), list.apps[0].instances.len()), (1, 1), "{path}");
            assert_eq!(list.apps[0].name, "APP1");
            assert_eq!(without_times(&list.apps[0].instances[0]), registered, "{path}");
        }
    }
    let body = server.get("/v2/apps/app1", &[ACCEPT_JSON]).await.body;
    let app = json_format::decode_application(body.as_bytes()).expect("an application");
    assert_eq!(without_times(&app.instances[0]), registered);
}

/// `testMiniAppsGet`, `testMiniAppGet`, `testMiniVipGet`: what the compact form tells is what the full one
/// tells, and nothing else.
#[tokio::test]
async fn a_compact_list_tells_less_and_nothing_different() {
    let server = Server::with_golden().await;
    for path in ["/v2/apps", "/v2/vips/app1-alt"] {
        let body = server.get(path, &[ACCEPT_JSON, COMPACT]).await.body;
        let list = json_format::decode_applications(body.as_bytes()).expect("a list");
        let mini = &list.apps[0].instances[0];
        let full = golden();
        assert_ne!(without_times(mini), without_times(&full));
        assert_eq!((&mini.service, &mini.id, mini.status), (&full.service, &full.id, full.status));
        assert_eq!((&mini.address, &mini.vips), (&full.address, &full.vips));
        assert_eq!((&mini.data_center, &mini.asg), (&full.data_center, &full.asg));
        assert_eq!((&mini.metadata, mini.lease), (&Metadata::default(), None));
    }
}

/// `testFullAppsGetGzipJsonHeaderType`, `testFullAppsGetGzipXmlHeaderType`.
#[tokio::test]
async fn gzip_says_so_and_which_format_is_inside() {
    let server = Server::with_golden().await;
    for media_type in [JSON, XML] {
        let headers = [("accept", media_type), ("accept-encoding", "gzip")];
        let answer = server.get("/v2/apps", &headers).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.header("content-type"), Some(media_type));
    }
}

/// `testGoodRegistration`, `testBadRegistration`, in both formats.
#[tokio::test]
async fn a_registration_that_lacks_something_is_refused_with_its_name() {
    let server = Server::new();
    let good = super::json("web", "i");
    assert_eq!(server.post("/v2/apps/web", JSON, good.clone()).await.status.as_u16(), 204);
    let center = r#","dataCenterInfo":{"name":"MyOwn"}"#;
    for (part, instead, says) in [
        (r#""instanceId":"i","#, r#""instanceId":"","#, None),
        (r#""hostName":"h","#, "", Some("Missing hostname")),
        (r#""hostName":"h","#, r#""hostName":"","#, Some("Missing hostname")),
        (r#""ipAddr":"10.0.0.1","#, "", Some("Missing ip address")),
        (r#""app":"web","#, r#""app":"","#, Some("Missing appName")),
        (r#""app":"web","#, "", Some("Missing appName")),
        (r#""app":"web","#, r#""app":"db","#, Some("Mismatched appName, expecting WEB but was DB")),
        (center, "", Some("Missing dataCenterInfo")),
        (center, r#","dataCenterInfo":{}"#, Some("Missing dataCenterInfo Name")),
    ] {
        let body = good.replace(part, instead);
        assert_ne!(body, good, "{part} is in it");
        let answer = server.post("/v2/apps/web", JSON, body).await;
        let expected = says.map_or((204, ""), |says| (400, says));
        assert_eq!((answer.status.as_u16(), &*answer.body), expected, "{part} as {instead}");
    }
    // The host name stood for the id that was empty.
    assert!(server.registry.snapshot().instance(&Key::new("web", "h")).is_some());
    let nameless = xml("web").replace("<hostName>h</hostName>", "");
    let answer = server.post("/v2/apps/web", XML, nameless).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (400, "Missing hostname"));
    let no_id = good.replace(r#""instanceId":"i","#, "").replace(r#""hostName":"h","#, "");
    let answer = server.post("/v2/apps/web", JSON, no_id).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (400, "Missing instanceId"));
}

/// `testBadRegistrationOfDataCenterInfo`, as without its experimental flag.
#[tokio::test]
async fn an_amazon_instance_without_the_clouds_id_is_given_its_own() {
    let server = Server::new();
    let body = super::json("web", "i").replace(
        r#"{"name":"MyOwn"}"#,
        r#"{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"ami-id":"a"}}"#,
    );
    assert_eq!(server.post("/v2/apps/web", JSON, body).await.status.as_u16(), 204);
    let held = server.get("/v2/apps/web/i", &[ACCEPT_JSON]).await.body;
    assert!(held.contains(r#""metadata":{"ami-id":"a","instance-id":"i"}"#), "{held}");
}

/// `testStatusOverrideDeleteIsAppliedToRegistry`, `…AndProvidedStatusIsSet`,
/// `testStatusOverrideReturnsNotFoundErrorCodeIfInstanceNotRegistered` and the same of its removal.
#[tokio::test]
async fn a_lifted_override_leaves_the_status_that_was_given_or_none_that_is_known() {
    let server = Server::new();
    server.register("web", "i").await;
    for (query, status) in [("", Status::Unknown), ("?value=DOWN", Status::Down)] {
        let path = "/v2/apps/WEB/i/status";
        let set = server.call(Method::PUT, &format!("{path}?value=OUT_OF_SERVICE")).await;
        assert_eq!(set.status.as_u16(), 200);
        let out = Status::OutOfService;
        assert_eq!(server.status_of("i").await, (out, Some(out)));
        let lifted = server.call(Method::DELETE, &format!("{path}{query}")).await;
        assert_eq!(lifted.status.as_u16(), 200);
        assert_eq!(server.status_of("i").await, (status, None));
    }
    for method in [Method::PUT, Method::DELETE] {
        let answer = server.call(method, "/v2/apps/WEB/none/status?value=DOWN").await;
        assert_eq!(answer.status.as_u16(), 404);
    }
}

/// `EurekaClientServerRestIntegrationTest`: `testRegistration`, `testHeartbeat`, `testMissedHeartbeat`,
/// `testStatusOverrideUpdateAndDelete`, `testCancelForEntryThatExists`, `testCancelForEntryThatDoesNotExist`,
/// at the prefix of Netflix's own deployment. `testBatch` is in `peers.rs`.
#[tokio::test]
async fn a_life_below_netflixs_own_prefix() {
    let server = Server::new();
    let path = "/v2/apps/WEB/i";
    let missed = server.call(Method::PUT, path).await;
    assert_eq!((missed.status.as_u16(), &*missed.body), (404, ""));
    let registered = server.post("/v2/apps/WEB", JSON, super::json("web", "i")).await;
    assert_eq!((registered.status.as_u16(), &*registered.body), (204, ""));
    let heartbeat = server.call(Method::PUT, path).await;
    assert_eq!((heartbeat.status.as_u16(), &*heartbeat.body), (200, ""));
    let set = server.call(Method::PUT, &format!("{path}/status?value=DOWN")).await;
    assert_eq!(set.status.as_u16(), 200);
    assert_eq!(server.status_of("i").await, (Status::Down, Some(Status::Down)));
    assert_eq!(server.call(Method::DELETE, &format!("{path}/status")).await.status.as_u16(), 200);
    assert_eq!(server.status_of("i").await, (Status::Unknown, None));
    assert_eq!(server.call(Method::DELETE, path).await.status.as_u16(), 200);
    assert_eq!(server.call(Method::DELETE, path).await.status.as_u16(), 404);
}

/// `DiscoveryJerseyProviderTest`: UTF-8 is read, with or without being named; what is neither UTF-8 nor
/// Latin 1 is refused.
#[tokio::test]
async fn utf_8_is_read_and_other_charsets_are_refused() {
    let server = Server::new();
    for (content_type, status) in [
        ("application/json", 204),
        ("application/json;charset=UTF-8", 204),
        ("application/json; charset=\"utf-8\"", 204),
        ("application/json;charset=UTF-16", 415),
        ("application/json;charset=ISO-8859-2", 415),
    ] {
        let answer = server.post("/v2/apps/web", content_type, super::json("web", "🍞")).await;
        assert_eq!(answer.status.as_u16(), status, "{content_type}: {}", answer.body);
    }
    assert_eq!(server.call(Method::PUT, "/v2/apps/web/%F0%9F%8D%9E").await.status.as_u16(), 200);
}
