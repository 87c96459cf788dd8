//! Sends a request, and reads as much of the answer as is kept.

use std::net::IpAddr;
use std::sync::Arc;

use larder_registry::model::{Health, MAX_OUTPUT_BYTES};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};

use super::allow::Allow;
use super::probe::Finding;
use super::resolve;

/// How many redirects are followed; as many as Consul does.
const MAX_REDIRECTS: usize = 10;

/// Asks. Keeps no connection open: a check that passes says that new ones are accepted.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    client: Client,
    allow: Arc<Allow>,
}

impl Asker {
    /// Fails only if the system gives a program no random numbers or the like.
    pub(super) fn new(allow: Arc<Allow>) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent("Larder Health Check")
            .dns_resolver(AllowedOnly(allow.clone()))
            .redirect(redirects(allow.clone()))
            .pool_max_idle_per_host(0)
            // A proxy may reach what this server must not.
            .no_proxy()
            .build()?;
        Ok(Self { client, allow })
    }

    /// As Consul: passing for 2xx, warning for 429, else critical.
    pub(super) async fn probe(&self, url: &str) -> Finding {
        let target = match target(url) {
            Ok(target) => target,
            Err(says) => return Finding::critical(format!("not probed: {says}")),
        };
        if let Err(error) = literal(&self.allow, &target) {
            return Finding::critical(error.to_string());
        }
        match self.client.get(target).send().await {
            Ok(response) => finding(url, response).await,
            Err(error) => Finding::critical(format!("HTTP GET {url}: {}", deepest(&error))),
        }
    }
}

/// A URL that can be probed, or why not.
pub(crate) fn target(url: &str) -> Result<Url, String> {
    let expected = "expected a URL such as http://127.0.0.1:8080/health";
    let target = Url::parse(url).map_err(|_| format!("{expected}, found {url:?}"))?;
    match target.scheme() {
        "http" if !target.username().is_empty() || target.password().is_some() => {
            Err("a URL that everybody can read must hold no password".to_owned())
        }
        "http" => Ok(target),
        "https" => Err("TLS is not supported yet, only http://".to_owned()),
        _ => Err(format!("{expected}, found {url:?}")),
    }
}

/// Judges a host that is an address: those are connected to without being resolved.
fn literal(allow: &Allow, url: &Url) -> Result<(), resolve::Error> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) if !allow.address(ip) => Err(resolve::Error::NotAllowed(host.to_owned())),
        _ => Ok(()),
    }
}

/// Whoever is probed must not send the prober where it would not have gone by itself.
fn redirects(allow: Arc<Allow>) -> Policy {
    Policy::custom(move |attempt: Attempt<'_>| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
        }
        let judged = target(attempt.url().as_str()).map(|url| literal(&allow, &url));
        match judged {
            Ok(Ok(())) => attempt.follow(),
            Ok(Err(error)) => attempt.error(error),
            Err(says) => attempt.error(format!("redirected: {says}")),
        }
    })
}

/// Resolves names to the addresses that may be connected to.
struct AllowedOnly(Arc<Allow>);

impl Resolve for AllowedOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.0.clone();
        Box::pin(async move {
            // The port is put in by the client.
            let addresses = resolve::addresses(&allow, name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn finding(url: &str, response: Response) -> Finding {
    let status = response.status();
    let health = match status {
        status if status.is_success() => Health::Passing,
        StatusCode::TOO_MANY_REQUESTS => Health::Warning,
        _ => Health::Critical,
    };
    let body = start_of(response).await;
    Finding { health, output: format!("HTTP GET {url}: {status} Output: {body}") }
}

/// The start of the body, as much as there is until it fails or is long enough.
async fn start_of(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_OUTPUT_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        let room = MAX_OUTPUT_BYTES - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// What is at the bottom of an error: what surrounds it says only that a request failed.
pub(crate) fn deepest(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_probed_is_a_target() {
        assert!(target("http://127.0.0.1:80/health?deep=1").is_ok());
        for wrong in ["", "h:1", "/health", "https://h/", "ftp://h", "http://", "http://u:p@h/"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
