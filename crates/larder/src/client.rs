//! Asks a server, over Larder's own API.

use std::time::Duration;

use larder_server::api::Refused;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Ask;
use crate::failure::{Failure, reason};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The server sends a sign of life every 15 s; one that is silent for longer is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(40);

/// A server that is asked.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    pub(crate) fn new(ask: &Ask) -> Result<Self, Failure> {
        let server = checked(&ask.server)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            // A proxy for the web knows nothing of a server on this machine or the one beside it.
            .no_proxy()
            .build()
            .map_err(|error| reason(format!("cannot start: {error}")))?;
        Ok(Self { http, server })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.http.request(Method::GET, self.url(path)).timeout(ANSWER_TIMEOUT);
        self.document(self.accepted(request).await?).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).expect("texts and numbers can always be written");
        let request = self.http.request(Method::PUT, self.url(path)).timeout(ANSWER_TIMEOUT);
        self.document(self.accepted(request.body(body)).await?).await
    }

    /// A request whose success is all there is to know.
    pub(crate) async fn tell(&self, method: Method, path: &str) -> Result<(), Failure> {
        let request = self.http.request(method, self.url(path)).timeout(ANSWER_TIMEOUT);
        self.accepted(request).await.map(drop)
    }

    /// An answer that goes on for as long as both sides live.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response, Failure> {
        self.accepted(self.http.request(Method::GET, self.url(path))).await
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut deepest: &dyn std::error::Error = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        let deepest = deepest.to_string();
        // People are told in words; the number after them says the same.
        let deepest = deepest.split(" (os error").next().unwrap_or_default();
        let hint = if error.is_connect() { " (is `larder serve` running there?)" } else { "" };
        reason(format!("cannot reach {}: {deepest}{hint}", self.server))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/larder/v1/{path}", self.server)
    }

    async fn accepted(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(reason(match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) => refused.error,
            Err(_) => format!("{} answered {status}: is it a Larder server?", self.server),
        }))
    }

    async fn document<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| reason(format!("cannot read the answer of {}: {error}", self.server)))
    }
}

/// The URL of a server, without a slash at its end.
fn checked(server: &str) -> Result<String, Failure> {
    let wrong = |says| Failure::Usage(format!("--server (or LARDER_SERVER): {says}: {server:?}"));
    match reqwest::Url::parse(server) {
        Ok(url) if url.scheme() == "https" => Err(wrong("TLS is not supported yet, only http://")),
        Ok(url) if url.scheme() == "http" => Ok(server.trim_end_matches('/').to_owned()),
        _ => Err(wrong("expected a URL such as http://127.0.0.1:8761")),
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_is_a_server() {
        assert_eq!(checked("http://h:1/").ok().as_deref(), Some("http://h:1"));
        assert_eq!(checked("http://h/behind/").ok().as_deref(), Some("http://h/behind"));
        for wrong in ["", "http://", "h:1", "127.0.0.1:8761", "https://h", "ftp://h", "http://a b"]
        {
            assert!(matches!(checked(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
