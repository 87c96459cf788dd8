//! What other servers send: batches, and single operations in the name of their clients.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::*;

const FROM_PEER: (&str, &str) = ("x-netflix-discovery-replication", "true");

fn instance(id: &str, status: &str, dirty: u64) -> Value {
    json!({
        "instanceId": id, "hostName": "h", "app": "WEB", "ipAddr": "10.0.0.1", "status": status,
        "dataCenterInfo": {"name": "MyOwn"}, "lastDirtyTimestamp": dirty.to_string(),
    })
}

fn item(action: &str, id: &str, fields: &Value) -> Value {
    let mut item = json!({"appName": "WEB", "id": id, "action": action});
    let more = fields.as_object().expect("fields").clone();
    item.as_object_mut().expect("an object").extend(more);
    item
}

impl Server {
    /// Sends a batch; answers with the status and the instance of each item.
    async fn batch(&self, items: Vec<Value>) -> Vec<Value> {
        let body = json!({"replicationList": items}).to_string();
        let answer = self.post("/eureka/peerreplication/batch/", JSON, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some(JSON));
        let list: Value = serde_json::from_str(&answer.body).expect("it is JSON");
        list["responseList"].as_array().expect("a list").clone()
    }

    async fn codes(&self, items: Vec<Value>) -> Vec<u64> {
        let answers = self.batch(items).await;
        answers.iter().map(|one| one["statusCode"].as_u64().expect("a status")).collect()
    }

    async fn as_peer(&self, method: Method, path: &str, accept: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header(FROM_PEER.0, FROM_PEER.1);
        let request = request.header("accept", accept).body(Body::empty());
        self.send(request.expect("a valid request")).await
    }

    async fn held(&self, id: &str) -> String {
        self.get(&format!("/eureka/apps/WEB/{id}"), &[ACCEPT_JSON]).await.body
    }
}

/// `testRegisterBatching`, `testCancelBatching`, `testHeartbeat`, `testStatusUpdate`,
/// `testDeleteStatusOverride` and `testBatch`.
#[tokio::test]
async fn every_item_of_a_batch_is_done_and_answered_for_itself() {
    let server = Server::new();
    let codes = server
        .codes(vec![
            item("Register", "a", &json!({"instanceInfo": instance("a", "UP", 50)})),
            item("Register", "b", &json!({"instanceInfo": instance("b", "UP", 50)})),
            item("Heartbeat", "a", &json!({"lastDirtyTimestamp": 50, "status": "UP"})),
            item(
                "StatusUpdate",
                "b",
                &json!({"status": "OUT_OF_SERVICE", "lastDirtyTimestamp": 60}),
            ),
            item("Heartbeat", "nobody", &json!({"lastDirtyTimestamp": 50})),
            item("Cancel", "a", &json!({})),
            item("Cancel", "a", &json!({})),
        ])
        .await;
    assert_eq!(codes, [200, 200, 200, 200, 404, 200, 404]);
    let out = r#""status":"OUT_OF_SERVICE","overriddenStatus":"OUT_OF_SERVICE""#;
    assert!(server.held("b").await.contains(out));
    let lift =
        item("DeleteStatusOverride", "b", &json!({"status": "UP", "lastDirtyTimestamp": 70}));
    assert_eq!(server.codes(vec![lift]).await, [200]);
    assert!(server.held("b").await.contains(r#""status":"UP","overriddenStatus":"UNKNOWN""#));
}

#[tokio::test]
async fn bad_items_are_refused_and_keep_no_good_one_from_being_done() {
    let server = Server::new();
    let mut nameless = instance("n", "UP", 50);
    nameless["hostName"] = json!("");
    let codes = server
        .codes(vec![
            item("Register", "n", &json!({"instanceInfo": nameless})),
            item("Register", "other", &json!({"instanceInfo": instance("a", "UP", 50)})),
            item("Register", "none", &json!({})),
            item("Dance", "a", &json!({})),
            item("Register", "a", &json!({"instanceInfo": instance("a", "UP", 50)})),
            item("StatusUpdate", "a", &json!({})),
            json!({}),
        ])
        .await;
    assert_eq!(codes, [400, 400, 400, 400, 200, 400, 400]);
    assert_eq!(server.registry.snapshot().len(), 1);
    assert_eq!(server.codes(vec![]).await, [0; 0]);
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused_whole() {
    let server = Server::new();
    for body in ["", "null", "{}", "{\"replicationList\":1}", "[", "\u{0}"] {
        let answer = server.post("/eureka/peerreplication/batch/", JSON, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.body.contains("cannot parse request body"), "{}", answer.body);
    }
}

/// `testConflictResponseReturnsTheInstanceInfoInTheResponseEntity`.
#[tokio::test]
async fn a_peer_that_knows_less_is_told_what_is_held() {
    let server = Server::new();
    server
        .codes(vec![item("Register", "a", &json!({"instanceInfo": instance("a", "UP", 50)}))])
        .await;
    let answers =
        server.batch(vec![item("Heartbeat", "a", &json!({"lastDirtyTimestamp": 40}))]).await;
    assert_eq!(answers[0]["statusCode"], 409);
    assert_eq!(answers[0]["responseEntity"]["lastDirtyTimestamp"], "50");
    let single = "/eureka/apps/WEB/a?lastDirtyTimestamp=40";
    let conflict = server.as_peer(Method::PUT, single, JSON).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert!(conflict.body.starts_with(r#"{"instance":{"instanceId":"a""#), "{}", conflict.body);
    assert!(server.as_peer(Method::PUT, single, XML).await.body.starts_with("<instance>"));
    let client = server.call(Method::PUT, single).await;
    assert_eq!((client.status, client.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_peer_that_knows_more_is_told_to_send_it_and_its_override_counts_at_once() {
    let server = Server::new();
    server
        .codes(vec![item("Register", "a", &json!({"instanceInfo": instance("a", "UP", 50)}))])
        .await;
    let newer = json!({"lastDirtyTimestamp": 60, "overriddenStatus": "OUT_OF_SERVICE"});
    assert_eq!(server.codes(vec![item("Heartbeat", "a", &newer)]).await, [404]);
    assert!(server.held("a").await.contains(r#""overriddenStatus":"OUT_OF_SERVICE""#));
    assert!(server.held("a").await.contains(r#""lastDirtyTimestamp":"60""#));
}

/// As a client, an instance cannot come back into service by itself; the peer says that it did.
#[tokio::test]
async fn what_a_peer_has_resolved_stands_and_what_a_client_says_does_not() {
    let server = Server::new();
    server
        .codes(vec![item(
            "Register",
            "a",
            &json!({"instanceInfo": instance("a", "OUT_OF_SERVICE", 50)}),
        )])
        .await;
    let again = json!({"instance": instance("a", "UP", 60)}).to_string();
    server.post("/eureka/apps/WEB", JSON, again).await;
    assert!(server.held("a").await.contains(r#""status":"OUT_OF_SERVICE""#));
    let request = Request::post("/eureka/apps/WEB")
        .header("content-type", JSON)
        .header(FROM_PEER.0, FROM_PEER.1)
        .body(json!({"instance": instance("a", "UP", 70)}).to_string().into());
    server.send(request.expect("a valid request")).await;
    assert!(server.held("a").await.contains(r#""status":"UP""#));
}

/// An older copy that was under way for long does not undo what a newer one said
/// (`ReplicationConcurrencyTest`).
#[tokio::test]
async fn a_copy_that_comes_late_changes_nothing() {
    let server = Server::new();
    for (status, dirty) in [("DOWN", 60), ("UP", 50)] {
        let sent = json!({"instanceInfo": instance("a", status, dirty)});
        assert_eq!(server.codes(vec![item("Register", "a", &sent)]).await, [200]);
    }
    assert!(server.held("a").await.contains(r#""status":"DOWN""#));
}

#[tokio::test]
async fn a_peer_may_compress_and_may_not_flood() {
    let server = Server::new();
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("it fits");
        encoder.finish().expect("it fits")
    };
    let send = async |body: Vec<u8>| {
        let request = Request::post("/eureka/peerreplication/batch/")
            .header("content-type", JSON)
            .header("content-encoding", "gzip")
            .body(body.into());
        server.send(request.expect("a valid request")).await
    };
    let one = item("Register", "a", &json!({"instanceInfo": instance("a", "UP", 50)}));
    let batch = json!({"replicationList": [one]}).to_string();
    let answer = send(gzip(batch.as_bytes())).await;
    assert_eq!(answer.body, r#"{"responseList":[{"statusCode":200}]}"#);
    assert_eq!(send(gzip(&vec![b' '; 17 << 20])).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(batch.into_bytes()).await.status, StatusCode::BAD_REQUEST);
}
