//! An HTTP server as an origin: one GET for each value.

use std::time::Duration;

use bytes::Bytes;
use larder_cache::{Fetched, Fresh};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use super::template::Template;
use super::{OriginError, freshness, redirect};
use crate::checks::http::deepest;

/// How many values of a group are asked for at once; further ones wait, within their time. So a burst of cold keys
/// takes neither all of the origin's connections nor all of this process's files.
const AT_ONCE: usize = 256;

/// Connections that are kept open and unused, to one host.
const IDLE: usize = 64;

/// How much is set aside for a body before it comes, whatever length it announces.
const FIRST: usize = 64 << 10;

/// Makes the client that all groups share. Fails only if the system gives a program no random numbers or the
/// like.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        // Followed here: which headers go along is for the group to say.
        .redirect(Policy::none())
        .pool_max_idle_per_host(IDLE)
        // Whoever starts this program somewhere else should not send its groups there as well.
        .no_proxy()
        .build()
}

/// An HTTP server.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Template,
    headers: HeaderMap,
    /// The largest value, in bytes.
    max_value: usize,
    permits: Semaphore,
}

impl Http {
    pub(crate) fn new(
        client: Client,
        url: Template,
        mut headers: HeaderMap,
        max_value: usize,
    ) -> Self {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self { client, url, headers, max_value, permits: Semaphore::new(AT_ONCE) }
    }

    /// Asks for `key`'s value; 404 and 410 say that there is none.
    pub(super) async fn load(&self, key: &[u8]) -> Result<Fetched<Bytes>, OriginError> {
        let url = self.url.url(key)?;
        let _permit = self.permits.acquire().await.expect("nobody closes it");
        let response = self.ask(url).await?;
        match response.status() {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                self.value(response).await
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let remember_for = freshness::shortened(response.headers());
                Ok(Fetched::Absent { remember_for })
            }
            status => Err(OriginError::Status(status)),
        }
    }

    /// The first answer that is no redirect. It may take as long as it likes: the group drops it in time. The
    /// configured headers may be secrets: another server than the configured one does not get them.
    async fn ask(&self, first: Url) -> Result<Response, OriginError> {
        let (mut url, mut is_at_home) = (first.clone(), true);
        for before in 0.. {
            let mut request = self.client.get(url.clone());
            // Not again, either, where another server sends it back to a path of that one's choice.
            is_at_home &= redirect::is_same_server(&first, &url);
            if is_at_home {
                request = request.headers(self.headers.clone());
            }
            let response = request.send().await.map_err(unreachable)?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            url = redirect::next(&url, location, before)?;
        }
        Err(redirect::Astray::TooMany.into())
    }

    async fn value(&self, response: Response) -> Result<Fetched<Bytes>, OriginError> {
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(OriginError::Encoded(encoding));
        }
        let ttl = freshness::shortened(response.headers());
        let value = Fresh::new(self.body(response).await?);
        let value = match ttl {
            // It is not to be found again when the origin is down, either.
            Some(Duration::ZERO) => value.ttl(Duration::ZERO).unkept(),
            Some(ttl) => value.ttl(ttl),
            None => value,
        };
        Ok(value.into())
    }

    /// The whole body, if it is not longer than a value may be; one that says so beforehand is not read.
    async fn body(&self, mut response: Response) -> Result<Bytes, OriginError> {
        let most = self.max_value;
        let announced = response.content_length().unwrap_or(0);
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > most {
            return Err(OriginError::TooLarge(most));
        }
        let mut body = Vec::with_capacity(announced.min(FIRST));
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if piece.len() > most - body.len() {
                return Err(OriginError::TooLarge(most));
            }
            body.extend_from_slice(&piece);
        }
        // As much memory as the value has bytes, and no more.
        Ok(Bytes::from(body.into_boxed_slice()))
    }
}

/// Whether the answer is elsewhere.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreachable(error: reqwest::Error) -> OriginError {
    OriginError::Unreachable(deepest(&error))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: reqwest::Error) -> OriginError {
    OriginError::Broken(deepest(&error))
}
