//! What is broken, hostile or absurd: a clear 4xx, or a code for the item, and nothing else disturbed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use larder_registry::catalog::Snapshot;
use serde_json::{Value, json};

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn instance(app: &str, id: &str) -> Value {
    let body: Value = serde_json::from_str(&super::json(app, id)).expect("it is JSON");
    body["instance"].clone()
}

fn item(action: &str, id: &str, instance: Option<Value>) -> Value {
    let mut item = json!({"appName": "WEB", "id": id, "action": action});
    if let Some(instance) = instance {
        item["instanceInfo"] = instance;
    }
    item
}

impl Server {
    async fn packed(&self, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::post(path)
            .header("content-type", JSON)
            .header("content-encoding", "gzip")
            .body(body.into());
        self.send(request.expect("a valid request")).await
    }

    fn now(&self) -> Snapshot {
        self.registry.snapshot()
    }
}

#[tokio::test]
async fn a_gzip_body_that_breaks_off_anywhere_is_refused_and_registers_nothing() {
    let server = Server::new();
    let batch = json!({"replicationList": [item("Register", "i", Some(instance("web", "i")))]});
    for (path, body) in [
        ("/eureka/apps/WEB", gzip(super::json("web", "i").as_bytes())),
        ("/eureka/peerreplication/batch/", gzip(batch.to_string().as_bytes())),
    ] {
        for len in 0..body.len() {
            let answer = server.packed(path, body[..len].to_vec()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{len} bytes: {}", answer.body);
            assert!(!answer.body.is_empty(), "{len} bytes");
        }
        assert!(server.now().is_empty());
        assert!(server.packed(path, body).await.status.is_success());
        server.call(Method::DELETE, "/eureka/apps/WEB/i").await;
    }
}

/// gzip's checksum finds what is flipped in the text; what is flipped in its header changes no text.
#[tokio::test]
async fn a_flipped_bit_in_a_gzip_body_never_registers_anything_else() {
    let server = Server::new();
    let body = gzip(super::json("web", "i").as_bytes());
    server.register("web", "i").await;
    let before = server.now();
    let good = before.instance(&Key::new("web", "i")).expect("it is registered").clone();
    let mut refused = 0;
    for bit in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let status = server.packed("/eureka/apps/WEB", flipped).await.status.as_u16();
        assert!(matches!(status, 204 | 400), "bit {bit}: {status}");
        refused += usize::from(status == 400);
        assert_eq!(server.now().revision(), before.revision(), "bit {bit}");
    }
    assert!(refused > body.len() * 7, "{refused} of {} are refused", body.len() * 8);
    let held = server.now();
    assert_eq!(held.instance(&Key::new("web", "i")), Some(&good));
}

#[tokio::test]
async fn broken_items_of_a_batch_are_answered_each_for_itself_and_good_ones_are_done() {
    let server = Server::new();
    let broken = |field: &str, value: Value| {
        let mut broken = instance("WEB", "broken");
        broken[field] = value;
        Some(broken)
    };
    let items = vec![
        item("Register", "a", Some(instance("WEB", "a"))),
        item("Register", "broken", broken("port", json!({"$": "many"}))),
        item("Register", "broken", broken("countryId", json!("x"))),
        item("Register", "broken", broken("dataCenterInfo", json!({"name": "Atlantis"}))),
        item("Register", "broken", broken("metadata", json!({"a": {"b": 1}}))),
        item("Register", "broken", broken("ipAddr", json!(null))),
        item("Register", "broken", Some(json!(7))),
        item("Register", "broken", Some(json!([]))),
        json!(null),
        json!("Register"),
        json!({"action": {"a": []}, "id": [], "appName": 7}),
        item("Heartbeat", "a", None),
        item("Register", "b", Some(instance("WEB", "b"))),
    ];
    let count = items.len();
    let body = json!({"replicationList": items}).to_string();
    let answer = server.post("/eureka/peerreplication/batch/", JSON, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let list: Value = serde_json::from_str(&answer.body).expect("it is JSON");
    let codes: Vec<u64> = list["responseList"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["statusCode"].as_u64().expect("a status"))
        .collect();
    let mut expected = vec![400; count];
    for good in [0, count - 2, count - 1] {
        expected[good] = 200;
    }
    assert_eq!(codes, expected);
    let ids: Vec<String> = server.now().instances().map(|held| held.id.clone()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn an_id_with_slashes_percent_signs_and_emoji_lives_like_any_other() {
    let server = Server::new();
    for id in ["a/b", "/", "..", "50%", "%2F", "🍞 & 🧈", "a?b#c", "a;x=y", "\u{202E}rtl", "é"]
    {
        let encoded = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/eureka/v2/apps/web/{encoded}");
        server.register("web", id).await;
        for call in [
            (Method::PUT, String::new(), 200),
            (Method::PUT, "/status?value=OUT_OF_SERVICE".to_owned(), 200),
            (Method::DELETE, "/status?value=UP".to_owned(), 200),
            (Method::PUT, "/metadata?k=%F0%9F%8D%9E%26".to_owned(), 200),
            (Method::GET, String::new(), 200),
        ] {
            let (method, rest, status) = call;
            let answer = server.call(method.clone(), &format!("{path}{rest}")).await;
            assert_eq!(answer.status.as_u16(), status, "{method} {id}{rest}: {}", answer.body);
        }
        for headers in [&[][..], &[ACCEPT_JSON]] {
            let list = server.get("/eureka/apps", headers).await.body;
            let list = match headers {
                [] => larder_eureka::wire::xml::decode_applications(list.as_bytes()),
                _ => larder_eureka::wire::json::decode_applications(list.as_bytes()),
            };
            let list = list.expect("it can be read");
            assert_eq!(list.apps[0].instances[0].id, id);
            assert_eq!(list.apps[0].instances[0].metadata.get("k"), Some("🍞&"));
        }
        assert_eq!(server.call(Method::DELETE, &path).await.status.as_u16(), 200, "{id}");
        assert!(server.now().is_empty());
    }
}

#[tokio::test]
async fn paths_that_are_no_paths_are_refused_and_change_nothing() {
    let server = Server::new();
    server.register("web", "i").await;
    let before = server.now().revision();
    for path in [
        "/eureka/apps/web/%FF",
        "/eureka/apps/%C3%28/i",
        "/eureka/apps/web/%ED%A0%80",
        "/eureka/apps/web/i/j/k",
        "/eureka/apps/web/i/status/x",
    ] {
        for method in [Method::PUT, Method::DELETE, Method::GET] {
            let answer = server.call(method.clone(), path).await;
            assert!(answer.status.is_client_error(), "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(server.now().revision(), before);
}

/// Nothing that a client names makes the cache grow: names that nobody has are remembered for a moment, within
/// a bound, and hold nothing.
#[tokio::test]
async fn a_hundred_thousand_names_and_regions_that_nobody_has_hold_no_memory() {
    let server = Server::new();
    server.register("web", "i").await;
    for n in 0..100_000 {
        let (path, status) = match n % 4 {
            0 | 1 => (format!("/eureka/apps/NOBODY-{n}"), 404),
            2 => (format!("/eureka/apps?regions=nowhere-{n}"), 200),
            _ => (format!("/eureka/apps/delta?regions=nowhere-{n},a"), 200),
        };
        assert_eq!(server.get(&path, &[]).await.status.as_u16(), status, "{path}");
    }
    let stats = server.responses.read_write_stats();
    assert!(stats.entries <= 2, "{} entries", stats.entries);
    assert!(stats.weight < 10_000, "{} bytes", stats.weight);
    let read_only = server.responses.read_only_stats().expect("there is one");
    assert!(read_only.entries <= 2 && read_only.weight < 10_000, "{read_only:?}");
    assert_eq!(server.get("/eureka/apps/WEB", &[]).await.status.as_u16(), 200);
}

/// An address that nobody has is an answer, and kept: within the capacity of the cache.
#[tokio::test]
async fn a_flood_of_virtual_addresses_stays_within_the_capacity() {
    let server = Server::with_cache(1 << 20);
    for n in 0..30_000 {
        let answer = server.get(&format!("/eureka/vips/nobody-{n}"), &[]).await;
        assert_eq!(answer.status.as_u16(), 200);
    }
    for stats in
        [server.responses.read_write_stats(), server.responses.read_only_stats().expect("one")]
    {
        assert!(stats.weight <= 1 << 20, "{} bytes", stats.weight);
        assert!(stats.evictions > 0, "it was full");
    }
}
