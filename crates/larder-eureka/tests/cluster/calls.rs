//! What goes over the wire to a peer: Netflix's own tests of its peers, against a peer that writes down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Node, Setup, port, until};

/// What a peer was asked, and what it answers to items in their order; 200 once nothing is left.
#[derive(Debug, Default)]
struct Peer {
    asked: Mutex<Vec<(Uri, HeaderMap, Value)>>,
    answers: Mutex<VecDeque<Value>>,
}

async fn answer(
    State(peer): State<Arc<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> String {
    if !uri.path().ends_with("/batch/") {
        return json!({"applications": {"versions__delta": "1", "application": []}}).to_string();
    }
    let batch: Value = serde_json::from_str(&body).expect("it is JSON");
    let items = batch["replicationList"].as_array().expect("a list").len();
    let mut answers = peer.answers.lock().expect("nobody panicked");
    let all = (0..items).map(|_| answers.pop_front().unwrap_or(json!({"statusCode": 200})));
    let answer = json!({"responseList": all.collect::<Vec<_>>()}).to_string();
    peer.asked.lock().expect("nobody panicked").push((uri, headers, batch));
    answer
}

impl Peer {
    fn items(&self) -> Vec<Value> {
        let asked = self.asked.lock().expect("nobody panicked");
        let of = |batch: &Value| batch["replicationList"].as_array().expect("a list").clone();
        asked.iter().flat_map(|(_, _, batch)| of(batch)).collect()
    }

    fn actions(&self) -> Vec<String> {
        let items = self.items();
        items.iter().map(|item| item["action"].as_str().expect("a word").to_owned()).collect()
    }
}

fn scene(answers: impl IntoIterator<Item = Value>) -> (Node, Arc<Peer>) {
    let listener = tokio::net::TcpListener::from_std(port()).expect("it does not block");
    let address = listener.local_addr().expect("it is bound");
    let peer = Peer { answers: Mutex::new(answers.into_iter().collect()), ..Peer::default() };
    let peer = Arc::new(peer);
    let router = Router::new().fallback(answer).with_state(peer.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it goes on") });
    (Node::start(port(), Setup::among(&[address])), peer)
}

fn keys(item: &Value) -> Vec<&str> {
    item.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_posted_as_json_with_the_fields_that_netflix_knows_and_no_other() {
    let (node, peer) = scene([]);
    node.register("a", 50).await;
    until("registered", || peer.actions() == ["Register"]).await;
    {
        let asked = peer.asked.lock().expect("nobody panicked");
        let (uri, headers, _) = &asked[0];
        assert_eq!(uri.path(), "/eureka/peerreplication/batch/");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["accept"], "application/json");
        assert!(!headers.contains_key("content-encoding"), "Spring's server cannot unpack");
    }
    let register = &peer.items()[0];
    let fields = ["action", "appName", "id", "instanceInfo", "lastDirtyTimestamp", "status"];
    assert_eq!(keys(register), fields);
    assert_eq!(register["instanceInfo"]["instanceId"], "a");
    assert_eq!(register["lastDirtyTimestamp"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_a_task_of_its_own() {
    let (node, peer) = scene([]);
    node.register("a", 50).await;
    until("registered", || peer.actions().len() == 1).await;
    let path = "apps/WEB/a";
    node.heartbeat("a").await;
    until("renewed", || peer.actions().last().is_some_and(|last| last == "Heartbeat")).await;
    let value = "status?value=OUT_OF_SERVICE";
    node.call(Method::PUT, &format!("{path}/{value}"), "").await;
    until("overridden", || peer.actions().last().is_some_and(|last| last == "StatusUpdate")).await;
    node.heartbeat("a").await;
    until("renewed", || peer.actions().len() == 4).await;
    node.call(Method::DELETE, &format!("{path}/status?value=UP"), "").await;
    until("lifted", || peer.actions().len() == 5).await;
    node.call(Method::DELETE, path, "").await;
    until("left", || peer.actions().last().is_some_and(|last| last == "Cancel")).await;
    let items = peer.items();
    assert_eq!(keys(&items[1]), ["action", "appName", "id", "lastDirtyTimestamp", "status"]);
    assert_eq!(items[2]["status"], "OUT_OF_SERVICE");
    assert_eq!(items[3]["overriddenStatus"], "OUT_OF_SERVICE");
    assert_eq!(
        (&items[4]["action"], &items[4]["status"]),
        (&json!("DeleteStatusOverride"), &json!("UP"))
    );
    assert_eq!(keys(&items[5]), ["action", "appName", "id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_is_not_known_there_is_followed_by_a_registration() {
    let (node, peer) = scene([json!({"statusCode": 200}), json!({"statusCode": 404})]);
    node.register("a", 50).await;
    until("registered", || peer.actions().len() == 1).await;
    node.heartbeat("a").await;
    until("registered again", || peer.actions() == ["Register", "Heartbeat", "Register"]).await;
    assert_eq!(peer.items()[2]["instanceInfo"]["instanceId"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_back_with_a_conflict_is_registered_here() {
    let (ours, theirs) = (crate::node::registration("a", 50), crate::node::registration("a", 90));
    let theirs: Value = serde_json::from_str(&theirs).expect("it is JSON");
    let conflict = json!({"statusCode": 409, "responseEntity": theirs["instance"]});
    let (node, peer) = scene([json!({"statusCode": 200}), conflict]);
    node.call(Method::POST, "apps/WEB", &ours).await;
    until("registered", || peer.actions().len() == 1).await;
    node.heartbeat("a").await;
    until("taken", || node.held("a").is_some_and(|held| held.dirty_at == 90)).await;
    assert_eq!(peer.actions(), ["Register", "Heartbeat"], "as replication: told to nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_answers_to_a_departure_that_it_does_not_know_is_nothing() {
    let (node, peer) = scene([json!({"statusCode": 200}), json!({"statusCode": 404})]);
    node.register("a", 50).await;
    until("registered", || peer.actions().len() == 1).await;
    node.call(Method::DELETE, "apps/WEB/a", "").await;
    until("left", || node.figures().sent == 2).await;
    assert_eq!((node.figures().refused, node.figures().queued), (0, 0));
}
