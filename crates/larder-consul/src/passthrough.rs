//! Everything that nobody keeps goes to an agent as it is, and its answer back.
//!
//! Bodies are streamed both ways, and nothing is read ahead of whoever takes it. A client that goes away ends
//! the upstream's request with it. Only the time to connect is bounded: what is passed through may be a query
//! that waits for ten minutes.

mod recall;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::headers::{TOKEN, end_to_end};
use crate::client::http_client::{HttpClient, deepest, http_client};
use crate::client::{Client, Options};
use recall::Recall;

/// How many requests are passed through at a time unless told otherwise: together with what
/// [asks](crate::client::Options::max_connections), fewer than the 200 connections that an agent lets one
/// client have.
pub const MAX_PASSED: usize = 64;

/// Passes requests through.
#[derive(Debug, Clone)]
pub struct PassThrough {
    client: Client,
    http: HttpClient,
    places: Arc<Semaphore>,
    max: usize,
    patience: Duration,
}

/// What an attempt at one agent came to.
enum Attempt {
    Answered(Response<Body>),
    /// No connection, and nothing was sent; the reason.
    Unreached(String),
    /// It broke after something was sent; the reason.
    Broken(String),
    Closed,
}

impl PassThrough {
    /// To the agents of `client`, with connections of its own: at most `max`, such as [`MAX_PASSED`]. Further
    /// requests wait for as long as a call may take, and are refused then. `options` are the client's.
    pub fn new(client: Client, options: &Options, max: usize) -> Self {
        let max = max.max(1);
        Self {
            http: http_client(options.connect_timeout, max),
            client,
            places: Arc::new(Semaphore::new(max)),
            max,
            patience: options.call_timeout,
        }
    }

    /// Passes a request through. An answer of 502 or 503 in plain text that the agent has not given says what
    /// to do.
    ///
    /// Cancel-safe: dropping it ends the upstream's request.
    pub async fn pass(&self, request: Request<Body>) -> Response<Body> {
        let places = self.places.clone();
        // Cancel-safe: whoever waits for a place holds none.
        let Ok(Ok(place)) = tokio::time::timeout(self.patience, places.acquire_owned()).await
        else {
            let says = format!(
                "{} requests are passed through to Consul already, the most at a time: try again\n",
                self.max
            );
            return refusal(StatusCode::SERVICE_UNAVAILABLE, says);
        };
        let (mut head, body) = request.into_parts();
        let Some(target) = head.uri.path_and_query().map(ToString::to_string) else {
            return refusal(StatusCode::BAD_REQUEST, "the request names no path\n".to_owned());
        };
        head.headers = end_to_end(std::mem::take(&mut head.headers));
        head.headers.remove(HOST);
        head.version = Version::HTTP_11;
        self.sign(&mut head, &target);
        let body = Recall::new(body);
        let servers = self.client.servers().len();
        let mut reasons = Vec::new();
        for _ in 0..servers {
            let server = self.client.server();
            match self.attempt(server, &head, &target, body.lend()).await {
                Attempt::Answered(response) => return counted(response, place),
                Attempt::Closed => {
                    let says = "this server is shutting down: try another one\n".to_owned();
                    return refusal(StatusCode::SERVICE_UNAVAILABLE, says);
                }
                Attempt::Broken(reason) => {
                    self.client.pass_over(server);
                    let says = format!(
                        "the Consul agent broke off: {reason}; nobody knows whether it did what was asked: \
                         look before you try again\n"
                    );
                    return refusal(StatusCode::BAD_GATEWAY, says);
                }
                Attempt::Unreached(reason) => {
                    self.client.pass_over(server);
                    reasons.push(format!("{}: {reason}", self.client.servers()[server]));
                    if body.is_touched() {
                        break;
                    }
                }
            }
        }
        let says = format!(
            "no Consul agent can be reached ({}): start one, or correct its address\n",
            reasons.join("; ")
        );
        refusal(StatusCode::BAD_GATEWAY, says)
    }

    /// Has a request that names no token ask with the client's.
    fn sign(&self, head: &mut http::request::Parts, target: &str) {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let is_named = head.headers.contains_key(TOKEN)
            || head.headers.contains_key(AUTHORIZATION)
            || query.split('&').any(|pair| pair.starts_with("token="));
        let token = self.client.token();
        if is_named || token.is_anonymous() {
            return;
        }
        // The options were checked for this.
        if let Ok(mut secret) = HeaderValue::from_str(token.secret()) {
            secret.set_sensitive(true);
            head.headers.insert(TOKEN, secret);
        }
    }

    async fn attempt(
        &self,
        server: usize,
        head: &http::request::Parts,
        target: &str,
        body: Body,
    ) -> Attempt {
        let mut head = head.clone();
        let uri = format!("{}{target}", self.client.servers()[server]).parse();
        match uri {
            Ok(uri) => head.uri = uri,
            Err(error) => {
                return Attempt::Unreached(format!("the path has no form there: {error}"));
            }
        }
        let request = Request::from_parts(head, body);
        // Both branches are cancel-safe: what is dropped is a request whose client has gone, or is told that
        // this server is shutting down.
        let answered = tokio::select! {
            biased;
            () = self.client.until_closed() => return Attempt::Closed,
            answered = self.http.request(request) => answered,
        };
        match answered {
            Ok(response) => Attempt::Answered(response.map(Body::new)),
            Err(error) if error.is_connect() => Attempt::Unreached(deepest(&error)),
            Err(error) => Attempt::Broken(deepest(&error)),
        }
    }
}

/// The agent's answer, which holds its place until it has been read.
fn counted(response: Response<Body>, place: OwnedSemaphorePermit) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers = end_to_end(std::mem::take(&mut head.headers));
    head.version = Version::default();
    Response::from_parts(head, Body::new(Counted { body, _place: place }))
}

fn refusal(status: StatusCode, says: String) -> Response<Body> {
    let mut response = Response::new(Body::from(says));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// A body that holds a place.
struct Counted {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
