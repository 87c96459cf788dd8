//! What nobody keeps is passed through unchanged.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use futures_util::{StreamExt, stream};
use larder_consul::client::{self, Client};
use larder_consul::passthrough::{MAX_PASSED, PassThrough};
use larder_consul::question::Token;
use tokio::sync::mpsc;

use crate::support::{Mood, PATIENCE, Upstream, until};

fn through(options: &client::Options, max: usize) -> (PassThrough, Client) {
    let client = Client::new(options).expect("good options");
    (PassThrough::new(client.clone(), options, max), client)
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).expect("a request")
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("it is whole");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn method_path_query_status_and_body_go_through_as_they_are() {
    let upstream = Upstream::start();
    let (through, _client) = through(&upstream.options(), MAX_PASSED);
    for (method, path, status) in [
        ("PUT", "/echo/a/../b/%2e%2E/c%20d?x=%2F&y&y=1", 200),
        ("DELETE", "/echo/teapot", 418),
        ("POST", "/echo/.", 200),
    ] {
        let mut asked = request(method, path, "the body");
        let headers = asked.headers_mut();
        headers.insert("x-mine", "1".parse().expect("a value"));
        headers.insert("connection", "x-hop".parse().expect("a value"));
        headers.insert("x-hop", "1".parse().expect("a value"));
        let response = through.pass(asked).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(header(&response, "x-asked"), format!("{method} {path}"));
        let names = header(&response, "x-names");
        assert!(names.contains("x-mine") && !names.contains("x-hop"), "{names}");
        assert!(!response.headers().contains_key("x-secret"), "it is of the other connection");
        assert_eq!(text(response).await, "the body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_streamed_both_ways_piece_by_piece() {
    let upstream = Upstream::start();
    let (through, _client) = through(&upstream.options(), MAX_PASSED);
    let (pieces, sent) = mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = Body::from_stream(stream::unfold(sent, async |mut sent| {
        sent.recv().await.map(|piece| (piece, sent))
    }));
    pieces.send(Ok("one".to_owned())).await.expect("somebody reads");
    let response = through.pass(request("PUT", "/echo", body)).await;
    let mut back = response.into_body().into_data_stream();
    // Each comes back before the next is sent: nobody collects them.
    for piece in ["one", "two", "three"] {
        if piece != "one" {
            pieces.send(Ok(piece.to_owned())).await.expect("somebody reads");
        }
        let heard = tokio::time::timeout(PATIENCE, back.next()).await.expect("in time");
        assert_eq!(heard.expect("a piece").expect("a good one"), piece);
    }
    drop(pieces);
    assert!(back.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_upstreams_query() {
    let upstream = Upstream::start();
    upstream.stage.set("/v1/x", 7, "[1]");
    let (through, _client) = through(&upstream.options(), 1);
    let waiting = tokio::spawn({
        let through = through.clone();
        async move { through.pass(request("GET", "/v1/x?index=7&wait=60000ms", "")).await }
    });
    until("the query waits", || upstream.stage.parked("/v1/x") == 1).await;
    waiting.abort();
    until("the query has ended", || upstream.stage.parked("/v1/x") == 0).await;
    let next = through.pass(request("GET", "/v1/x", "")).await;
    assert_eq!(text(next).await, "[1]", "its place is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_bound_a_request_is_told_to_try_again() {
    let upstream = Upstream::start();
    upstream.stage.be(Mood::Hangs);
    let (through, _client) = through(&upstream.options(), 1);
    let first = tokio::spawn({
        let through = through.clone();
        async move { through.pass(request("GET", "/v1/x", "")).await }
    });
    until("it is passed", || upstream.stage.asked("/v1/x") == 1).await;
    let second = through.pass(request("GET", "/v1/x", "")).await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(second).await.contains("try again"));
    upstream.stage.be(Mood::Well);
    assert_eq!(first.await.expect("it ran").status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_the_answer_says_what_to_do() {
    let mut upstream = Upstream::start();
    upstream.die();
    let (through, _client) = through(&upstream.options(), MAX_PASSED);
    let response = through.pass(request("PUT", "/v1/agent/leave", "x")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(header(&response, "content-type").starts_with("text/plain"));
    let says = text(response).await;
    assert!(says.contains(&upstream.address.to_string()) && says.contains("start one"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_goes_to_the_next_agent_with_its_whole_body() {
    let (mut one, two) = (Upstream::start(), Upstream::start());
    one.die();
    let mut options = one.options();
    options.servers.push(two.address.to_string());
    let (through, _client) = through(&options, MAX_PASSED);
    let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>("a"), Ok("b")]));
    let response = through.pass(request("PUT", "/echo", body)).await;
    assert_eq!(text(response).await, "ab");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_broke_off_is_not_sent_again() {
    let (mut one, two) = (Upstream::start(), Upstream::start());
    one.stage.be(Mood::Hangs);
    let mut options = one.options();
    options.servers.push(two.address.to_string());
    let (through, _client) = through(&options, MAX_PASSED);
    let broken = tokio::spawn({
        let through = through.clone();
        async move { through.pass(request("PUT", "/v1/kv/k", "v")).await }
    });
    until("it is there", || one.stage.asked("/v1/kv/k") == 1).await;
    one.die();
    let response = broken.await.expect("it ran");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(text(response).await.contains("nobody knows"));
    assert_eq!(two.stage.asked("/v1/kv/k"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_forwarded_and_the_clients_own_stands_in_where_there_is_none() {
    let upstream = Upstream::start();
    let options = client::Options { token: Token::new("ours"), ..upstream.options() };
    let (through, client) = through(&options, MAX_PASSED);
    let mut named = request("GET", "/v1/a", "");
    named.headers_mut().insert("x-consul-token", "theirs".parse().expect("a value"));
    through.pass(named).await;
    through.pass(request("GET", "/v1/b", "")).await;
    through.pass(request("GET", "/v1/c?token=theirs", "")).await;
    let heard = ["GET /v1/a theirs", "GET /v1/b ours", "GET /v1/c?token=theirs "];
    assert_eq!(upstream.stage.heard(), heard);
    client.close();
    let closed = through.pass(request("GET", "/v1/a", "")).await;
    assert_eq!(closed.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(Duration::from_millis(1)).await;
}
